//! What is said of an import.

use crate::importing::{Foreseen, Imported};

/// Lines that are named.
const LINES_MAX: usize = 20;

pub const SERVED: &str = "while the service runs, use its API: POST /v1/imports";

/// Lines that were taken for what was booked before because they say the same, and nothing tells them apart.
pub fn alike(foreseen: &Foreseen) -> String {
    let lines: Vec<String> = foreseen.alike().map(|line| line.to_string()).collect();
    if lines.is_empty() {
        return String::new();
    }
    let (first, more) =
        (&lines[..lines.len().min(LINES_MAX)], lines.len().saturating_sub(LINES_MAX));
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(
        "without a key and as booked before, so taken for the same: line {}{more}; another transfer needs a key of its own\n",
        first.join(", ")
    )
}

pub fn planned(foreseen: &Foreseen) -> String {
    let (plan, booked_before) = (&foreseen.plan, foreseen.known.len());
    let (transfers, entries) = (plan.planned.len(), plan.entries());
    let (currencies, accounts) = (plan.currencies.len(), plan.accounts.len());
    format!(
        "{transfers} transfers with {entries} entries ({booked_before} more were booked before), and open {currencies} currencies and {accounts} accounts"
    )
}

pub fn told(imported: &Imported) -> String {
    let Imported { currencies, accounts, transfers, entries, booked_before, .. } = imported;
    format!(
        "{transfers} transfers with {entries} entries ({booked_before} more were booked before); opened {currencies} currencies and {accounts} accounts"
    )
}
