//! One side of what is open, lines or entries, found by amount and day, and by size and day: however many there are, a rule
//! looks at the few that may be meant.

use std::collections::{BTreeMap, BTreeSet};

use jiff::ToSpan;
use jiff::civil::Date;

use super::matching::Item;

#[derive(Default)]
pub struct Side<'a> {
    items: BTreeMap<i64, &'a Item>,
    /// Ids by amount and day.
    amounts: BTreeMap<(i64, Date), BTreeSet<i64>>,
    /// Sizes and ids by sign and day.
    sizes: BTreeMap<(i64, Date), BTreeSet<(u64, i64)>>,
}

impl<'a> Side<'a> {
    pub fn new(items: &'a [Item]) -> Self {
        Self::new_of(items.iter())
    }

    pub fn new_of(items: impl Iterator<Item = &'a Item>) -> Self {
        let mut side = Self::default();
        for item in items {
            side.items.insert(item.id, item);
            side.amounts.entry((item.minor, item.date)).or_default().insert(item.id);
            let size = (item.minor.unsigned_abs(), item.id);
            side.sizes.entry((item.minor.signum(), item.date)).or_default().insert(size);
        }
        side
    }

    pub fn get(&self, id: i64) -> Option<&'a Item> {
        self.items.get(&id).copied()
    }

    /// In the order of their ids.
    pub fn all(&self) -> impl Iterator<Item = &'a Item> + '_ {
        self.items.values().copied()
    }

    pub fn remove(&mut self, id: i64) -> Option<&'a Item> {
        let item = self.items.remove(&id)?;
        if let Some(same) = self.amounts.get_mut(&(item.minor, item.date)) {
            same.remove(&id);
        }
        if let Some(same) = self.sizes.get_mut(&(item.minor.signum(), item.date)) {
            same.remove(&(item.minor.unsigned_abs(), id));
        }
        Some(item)
    }

    /// Those of an item's amount, up to some days from its own: the nearest first.
    pub fn alike(&self, one: &Item, days: i32) -> impl Iterator<Item = &'a Item> + '_ {
        let minor = one.minor;
        around(one.date, days)
            .filter_map(move |date| self.amounts.get(&(minor, date)))
            .flatten()
            .map(|id| self.items[id])
    }

    /// The first of an item's amount that is so many days from its own.
    pub fn first_apart(&self, one: &Item, days: i32) -> Option<i64> {
        let ends = [one.date.checked_sub(days.days()), one.date.checked_add(days.days())];
        let days = ends.into_iter().filter_map(Result::ok);
        days.filter_map(|date| self.amounts.get(&(one.minor, date))?.first().copied()).min()
    }

    /// Whether there are any of an item's sign that are larger, up to some days from its own.
    pub fn has_larger(&self, one: &Item, days: i32) -> bool {
        let (sign, size) = (one.minor.signum(), one.minor.unsigned_abs());
        around(one.date, days)
            .filter_map(|date| self.sizes.get(&(sign, date))?.last())
            .any(|(largest, _)| *largest > size)
    }

    /// Those of an item's sign that are smaller, up to some days from its own.
    pub fn parts(&self, one: &Item, days: i32) -> impl Iterator<Item = &'a Item> + '_ {
        let (sign, size) = (one.minor.signum(), one.minor.unsigned_abs());
        around(one.date, days)
            .filter_map(move |date| self.sizes.get(&(sign, date)))
            .flat_map(move |same| same.range(..(size, i64::MIN)))
            .map(|(_, id)| self.items[id])
    }
}

/// A day and those up to `days` from it, the nearest first.
pub fn around(date: Date, days: i32) -> impl Iterator<Item = Date> {
    (0..=days).flat_map(move |apart| {
        let before = date.checked_sub(apart.days()).ok();
        let after = if apart == 0 { None } else { date.checked_add(apart.days()).ok() };
        before.into_iter().chain(after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_meant_is_found_and_nothing_else() {
        let item = |id, day, minor| Item {
            id,
            date: jiff::civil::date(2026, 1, day),
            minor,
            text: String::new(),
        };
        let items = [item(1, 9, 5), item(2, 5, 5), item(3, 6, 5), item(4, 6, -5), item(5, 6, 4)];
        let mut side = Side::new(&items);
        let alike = |side: &Side<'_>, days| -> Vec<i64> {
            side.alike(&item(9, 6, 5), days).map(|item| item.id).collect()
        };
        assert_eq!(alike(&side, 3), [3, 2, 1]);
        assert_eq!(alike(&side, 0), [3]);
        let parts: Vec<i64> = side.parts(&item(9, 7, 5), 1).map(|item| item.id).collect();
        assert_eq!(parts, [5]);
        assert_eq!(side.remove(3).map(|item| item.id), Some(3));
        assert_eq!((alike(&side, 1), side.remove(3).is_none()), (vec![2], true));
        // The first and the last day there is.
        assert_eq!(around(Date::MIN, 2).count(), 3);
        assert_eq!(around(Date::MAX, 2).count(), 3);
    }
}
