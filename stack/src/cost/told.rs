//! An estimate as people and programs read it.

use std::fmt::Write;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{Estimate, dates};

/// Dollars with their cents and the sign of thousands: `1,234.50`.
pub fn dollars(amount: Decimal) -> String {
    let text = format!("{:.2}", amount.abs());
    let (whole, cents) = text.split_once('.').unwrap_or((&text, "00"));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let sign = if amount.is_sign_negative() && !amount.is_zero() { "-" } else { "" };
    format!("{sign}{grouped}.{cents}")
}

/// A line for each resource that is charged by the month, then the sums and what is not in them.
pub fn text(estimate: &Estimate, budget: Option<u32>) -> String {
    let mut text = format!("{:<58}{:>12}{:>12}\n", "US dollars a month", "always", "at most");
    let mut items: Vec<_> = estimate.items.iter().collect();
    items.sort_by(|a, b| a.stack.cmp(&b.stack).then(b.most.cmp(&a.most)).then(a.id.cmp(&b.id)));
    // Small change is one line for each stack: alarms, secrets, the key.
    let small = Decimal::TWO;
    let mut rest: Vec<(&str, usize, Decimal)> = Vec::new();
    for item in &items {
        if item.most >= small {
            let name = format!("{}/{}  {}", item.stack, item.id, item.what);
            let (always, most) = (dollars(item.always), dollars(item.most));
            let _ = writeln!(text, "{name:<58}{always:>12}{most:>12}");
        } else if let Some((_, count, sum)) =
            rest.iter_mut().find(|(stack, ..)| *stack == item.stack)
        {
            (*count, *sum) = (*count + 1, *sum + item.most);
        } else {
            rest.push((&item.stack, 1, item.most));
        }
    }
    for (stack, count, sum) in rest {
        let name = format!("{stack}  {count} alarms, keys and the like");
        let _ = writeln!(text, "{name:<58}{:>12}{:>12}", dollars(sum), dollars(sum));
    }
    let (always, most) = (dollars(estimate.always), dollars(estimate.most));
    let _ = writeln!(text, "{:<58}{always:>12}{most:>12}", "in all");
    if !estimate.by_use.is_empty() {
        let _ = writeln!(text, "by use, not counted: {}", estimate.by_use.join(", "));
    }
    for unknown in &estimate.unknown {
        let _ = writeln!(text, "not counted, {unknown}");
    }
    if let Some(budget) = budget {
        let share = estimate.always * Decimal::ONE_HUNDRED / Decimal::from(budget.max(1));
        let _ =
            writeln!(text, "of the budget of {budget}, what is always there takes {share:.0} %");
    }
    let _ = write!(text, "{}", basis());
    text
}

/// What the figures rest on.
pub fn basis() -> String {
    let (ec2, others) = dates();
    format!(
        "an estimate: list prices on demand, EC2's of {ec2}, others of {others} brought to the \
         region's level; no discounts, taxes, traffic"
    )
}

/// What a change does to the bill, in a line: `a month: 812.40 → 890.10 always`.
pub fn change(before: &Estimate, after: &Estimate) -> String {
    let step = |a: Decimal, b: Decimal| match a == b {
        true => dollars(a),
        false => {
            let sign = if b > a { "+" } else { "" };
            format!("{} → {} ({sign}{})", dollars(a), dollars(b), dollars(b - a))
        }
    };
    format!(
        "US dollars a month: always {}; at most {}",
        step(before.always, after.always),
        step(before.most, after.most)
    )
}

/// The sums of both sides, for `-o json`.
pub fn change_json(before: &Estimate, after: &Estimate) -> Value {
    let (ec2, others) = dates();
    let sums = |it: &Estimate| json!({ "always": it.always, "most": it.most });
    json!({ "before": sums(before), "after": sums(after), "prices_of": { "ec2": ec2, "others": others } })
}
