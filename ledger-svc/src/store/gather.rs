//! Joins what a batch wants to what was found of it: which entries and accounts are read next. The
//! same for every engine.

use std::collections::{BTreeSet, HashMap};

use crate::batch::Wanted;
use crate::posting::{Target, TargetEntry};

/// Pending transfers that are expired in one batch at most; the next batch goes on.
pub const DUE_MAX: i64 = 200;

/// The ids of the entries that transfers of one sort have; each comes with how many it has.
pub fn entry_ids(found: &[(Target, i64)], moves: bool) -> Vec<i64> {
    let of_sort = found.iter().filter(|(target, _)| target.kind.moves() == moves);
    let ids: BTreeSet<i64> = of_sort
        .flat_map(|(target, entries)| target.entry_id_first..target.entry_id_first + entries)
        .collect();
    ids.into_iter().collect()
}

/// Gives the transfers of one sort their entries, by id.
pub fn fill(found: &mut [(Target, i64)], moves: bool, entries: &HashMap<i64, TargetEntry>) {
    for (target, count) in found.iter_mut().filter(|(target, _)| target.kind.moves() == moves) {
        let ids = target.entry_id_first..target.entry_id_first + *count;
        target.entries = ids.filter_map(|id| entries.get(&id).cloned()).collect();
    }
}

/// The codes of all accounts that the batch touches.
pub fn accounts_of<'a>(wanted: &Wanted<'a>, found: &'a [(Target, i64)]) -> Vec<String> {
    let of_targets = found.iter().flat_map(|(target, _)| &target.entries);
    let codes: BTreeSet<&str> = of_targets
        .map(|entry| entry.account.as_str())
        .chain(wanted.accounts.iter().copied())
        .collect();
    codes.into_iter().map(str::to_owned).collect()
}
