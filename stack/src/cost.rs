//! What an estate costs a month, from its templates and a dated table of prices. An estimate: list
//! prices on demand, without discounts, taxes and what depends on use.
//!
//! [`prices`] is the table, [`items`] what a resource is charged for, [`told`] how it is said.

mod items;
mod prices;
pub mod told;

use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::Value;

pub use prices::{dates, processors};

/// Hours of a month, as AWS counts them.
pub const HOURS: u32 = 730;

/// What one resource costs a month, in US dollars.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Item {
    pub stack: String,
    pub id: String,
    /// `2 × db.r7g.large, two zones`.
    pub what: String,
    /// Whatever happens.
    pub always: Decimal,
    /// When everything that scales is at its largest.
    pub most: Decimal,
}

/// An estimate of all stacks.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Estimate {
    pub items: Vec<Item>,
    pub always: Decimal,
    pub most: Decimal,
    /// What is charged by use, and so is not in the sums.
    pub by_use: Vec<String>,
    /// What has no price in the table, and so is missing from the sums.
    pub unknown: Vec<String>,
}

/// What templates cost in a region: names of stacks and their templates.
pub fn of<'a>(region: &str, stacks: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Estimate {
    let mut estimate = Estimate::default();
    for (stack, template) in stacks {
        for (id, resource) in template["Resources"].as_object().into_iter().flatten() {
            match items::charged(region, &template["Resources"], id, resource) {
                items::Charge::Free => {}
                items::Charge::ByUse => estimate.by_use.push(format!("{stack}/{id}")),
                items::Charge::Unknown(why) => {
                    estimate.unknown.push(format!("{stack}/{id}: {why}"));
                }
                items::Charge::Monthly { what, always, most } => {
                    let (always, most) = (always.round_dp(2), most.round_dp(2));
                    estimate.always += always;
                    estimate.most += most;
                    let (stack, id) = (stack.to_owned(), id.clone());
                    estimate.items.push(Item { stack, id, what, always, most });
                }
            }
        }
    }
    estimate
}

#[cfg(test)]
mod tests;
