//! What is open and what is matched, recomputed from statements and matches.

use std::collections::BTreeMap;

use super::chart::Chart;
use super::finding::{Finding, wrong};

/// What the derived tables must hold.
#[derive(Debug)]
pub struct Reconciled {
    open: BTreeMap<i64, i64>,
    matched: BTreeMap<i64, i64>,
}

impl Reconciled {
    pub fn new(chart: &Chart) -> Self {
        let lines = chart
            .statements
            .values()
            .filter(|row| !chart.withdrawals.contains_key(&row.id))
            .flat_map(|row| row.lines.iter().map(move |line| (line.id, row.account_id)));
        let mut open: BTreeMap<i64, i64> = lines.collect();
        let mut matched = BTreeMap::new();
        for row in chart.matches.values() {
            if chart.unmatches.contains_key(&row.id) {
                continue;
            }
            for line in &row.lines {
                open.remove(line);
            }
            matched.extend(row.entries.iter().map(|entry| (*entry, row.id)));
        }
        Self { open, matched }
    }

    pub fn check(&self, open: &[(i64, i64)], matched: &[(i64, i64)]) -> Result<(), Finding> {
        for (table, key, due, found) in [
            ("open_lines", "line_id", &self.open, open),
            ("matched_entries", "entry_id", &self.matched, matched),
        ] {
            let found: BTreeMap<i64, i64> = found.iter().copied().collect();
            let differing = due
                .iter()
                .find(|(id, of)| found.get(id) != Some(of))
                .or_else(|| found.iter().find(|(id, of)| due.get(id) != Some(of)));
            if let Some((id, _)) = differing {
                let what = "it does not agree with the statements and the matches";
                return Err(wrong(table, format!("{key} {id}"), what));
            }
        }
        Ok(())
    }
}
