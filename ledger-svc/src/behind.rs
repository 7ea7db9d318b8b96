//! Balances that are written for many batches. An account's last entry has its totals, so its row of `balances` may be
//! behind: it is written once for all entries of a while, and one mark says up to which entry every row is written. Who
//! reads a balance adds the entries behind the mark (`store/current.rs`), which are never more than `max`. Pure.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::posting::{Balance, Standing};

/// Entries that rows may be behind at most, whatever is asked for: as far as readers look beyond the mark.
pub const ENTRIES_MAX: i64 = 1 << 19;
/// A batch of fewer entries than this part of `max` writes all it touches: nobody waits for it, and nothing stays behind.
const SMALL: i64 = 1024;
/// The mark is written when it has advanced by this part of `max`.
const STEP: i64 = 32;
/// Of the entries of a batch, this part is the number of rows written whether they are due or not, so that they do not all
/// become due at once.
const SHARE: i64 = 8;
/// Rows written where nothing else is to be done.
const AT_REST: usize = 2000;
/// Batches that may be on their way to the database at once.
pub const ON_THEIR_WAY_MAX: usize = 2;

/// An account's totals as its row will have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BalanceNow {
    pub account_id: i64,
    pub balance: Balance,
    /// 0 where it has none.
    pub last_entry_id: i64,
}

/// What a batch does about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// By account.
    pub rows: Vec<BalanceNow>,
    /// Up to which entry all rows are written, where the stored mark is to say so.
    pub through: Option<i64>,
}

/// A batch, as far as balances go.
#[derive(Clone, Copy, Debug)]
pub struct Touched<'a> {
    pub balances: &'a BTreeMap<i64, Balance>,
    /// In the order of `balances`.
    pub last_ids: &'a [i64],
    /// The entries it adds are those after the first and up to the second of these ids.
    pub entries: (i64, i64),
    /// Whether it begins or ends a hold: what is held is in no entry, so its rows cannot be behind.
    pub holds: bool,
}

/// The accounts whose rows are behind.
#[derive(Clone, Debug, Default)]
pub struct Behind {
    accounts: HashMap<i64, Late>,
    /// Accounts in the order in which their rows fell behind; those written since are still in it, with another `since`.
    queue: VecDeque<(i64, i64)>,
    /// Rows written with the last batches, which may still be on their way: the latest first.
    written: VecDeque<BTreeMap<i64, BalanceNow>>,
    /// The mark as it is stored.
    through: i64,
}

#[derive(Clone, Copy, Debug)]
struct Late {
    /// The first entry its row may lack.
    since: i64,
    now: BalanceNow,
}

impl Behind {
    /// As it was left: the stored mark, and the accounts with entries behind it.
    pub fn left(through: i64, accounts: Vec<BalanceNow>) -> Self {
        let since = through + 1;
        let queue = accounts.iter().map(|now| (since, now.account_id)).collect();
        let late = |now: BalanceNow| (now.account_id, Late { since, now });
        let accounts = accounts.into_iter().map(late).collect();
        Self { accounts, queue, written: VecDeque::new(), through }
    }

    /// Whether no row is behind.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Standings as they were read from their rows, as they are.
    pub fn caught_up(&self, mut read: Vec<(String, Standing)>) -> Vec<(String, Standing)> {
        for (_, standing) in &mut read {
            let late = self.accounts.get(&standing.account_id).map(|late| late.now);
            let mut written = self.written.iter().filter_map(|rows| rows.get(&standing.account_id));
            let now = late.or_else(|| written.next().copied());
            if let Some(BalanceNow { balance, last_entry_id, .. }) = now {
                (standing.balance, standing.last_entry_id) = (balance, last_entry_id);
            }
        }
        read
    }

    /// Entries that readers have to look at, up to this one.
    pub fn entries(&self, last: i64) -> i64 {
        last - self.through
    }

    /// Takes a batch in, and says which rows are written with it so that none is more than `max` entries behind.
    pub fn take(&mut self, touched: Touched<'_>, max: i64) -> Written {
        let (before, last) = touched.entries;
        let small = last - before < max / SMALL || last == before;
        let mut rows = BTreeMap::new();
        for ((account_id, balance), last_entry_id) in touched.balances.iter().zip(touched.last_ids)
        {
            let (account_id, balance) = (*account_id, *balance);
            let now = BalanceNow { account_id, balance, last_entry_id: *last_entry_id };
            if small || touched.holds || max == 0 {
                self.accounts.remove(&account_id);
                rows.insert(account_id, now);
                continue;
            }
            let late = self.accounts.entry(account_id).or_insert_with(|| {
                self.queue.push_back((before + 1, account_id));
                Late { since: before + 1, now }
            });
            late.now = now;
        }
        let share =
            if small { AT_REST } else { usize::try_from((last - before) / SHARE).unwrap_or(0) };
        self.write_oldest(&mut rows, share, last - max);
        let through = self.queue.front().map_or(last, |(since, _)| since - 1);
        let advances = through - self.through > max / STEP || (self.is_empty() && last == before);
        let through = (advances && through > self.through).then_some(through);
        self.through = through.unwrap_or(self.through);
        self.written.truncate(ON_THEIR_WAY_MAX - 1);
        self.written.push_front(rows.clone());
        Written { rows: rows.into_values().collect(), through }
    }

    /// Those that fell behind first: a share, and all that lack an entry up to `due`.
    fn write_oldest(&mut self, rows: &mut BTreeMap<i64, BalanceNow>, share: usize, due: i64) {
        let mut room = share;
        while let Some((since, account_id)) = self.queue.front().copied() {
            if self.accounts.get(&account_id).is_some_and(|late| late.since == since) {
                if since > due && room == 0 {
                    return;
                }
                room = room.saturating_sub(1);
                if let Some(late) = self.accounts.remove(&account_id) {
                    rows.insert(account_id, late.now);
                }
            }
            self.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::account::Side;
    use crate::money::Currency;
    use crate::posting::Limits;

    /// What is stored: each account's row, and the mark; and what it must come to.
    #[derive(Default)]
    struct Books {
        rows: BTreeMap<i64, BalanceNow>,
        /// The rows as they were before each of the batches that may still be on their way, but for the last.
        before: Vec<BTreeMap<i64, BalanceNow>>,
        through: i64,
        /// Account of each entry, from the first.
        entries: Vec<i64>,
    }

    impl Books {
        fn last(&self) -> i64 {
            i64::try_from(self.entries.len()).unwrap()
        }

        /// An account as of its entries up to one.
        fn at(&self, account_id: i64, up_to: i64) -> BalanceNow {
            let numbered = (1..).zip(&self.entries).take_while(|(id, _)| *id <= up_to);
            let own: Vec<i64> =
                numbered.filter(|(_, of)| **of == account_id).map(|(id, _)| id).collect();
            let entries = i64::try_from(own.len()).unwrap();
            let balance = Balance { debits_minor: entries * 3, entries, ..Balance::default() };
            BalanceNow { account_id, balance, last_entry_id: own.last().copied().unwrap_or(0) }
        }

        /// A batch of entries on these accounts.
        fn book(
            &mut self,
            behind: &mut Behind,
            accounts: &[i64],
            holds: bool,
            max: i64,
        ) -> Written {
            let before = self.last();
            self.entries.extend(accounts);
            let touched: Vec<BalanceNow> = std::collections::BTreeSet::from_iter(accounts)
                .into_iter()
                .map(|account_id| self.at(*account_id, self.last()))
                .collect();
            let balances = touched.iter().map(|now| (now.account_id, now.balance)).collect();
            let last_ids: Vec<i64> = touched.iter().map(|now| now.last_entry_id).collect();
            let entries = (before, self.last());
            let touched = Touched { balances: &balances, last_ids: &last_ids, entries, holds };
            let written = behind.take(touched, max);
            self.before.push(self.rows.clone());
            self.before.drain(..self.before.len().saturating_sub(ON_THEIR_WAY_MAX));
            self.rows.extend(written.rows.iter().map(|now| (now.account_id, *now)));
            // What the next batch may read is as of now, or of before any of those on their way.
            for rows in self.before.iter().chain([&self.rows]) {
                let read = (0..10).map(|id| (String::new(), self.read(rows, id))).collect();
                for (_, standing) in behind.caught_up(read) {
                    let now = self.at(standing.account_id, self.last());
                    assert_eq!(
                        (standing.balance, standing.last_entry_id),
                        (now.balance, now.last_entry_id)
                    );
                }
            }
            self.through = written.through.unwrap_or(self.through);
            written
        }

        /// An account as its row says.
        fn read(&self, rows: &BTreeMap<i64, BalanceNow>, account_id: i64) -> Standing {
            let row = rows.get(&account_id).copied().unwrap_or(self.at(account_id, 0));
            Standing {
                account_id,
                currency: Currency { code: "EUR".into(), scale: 2 },
                normal: Side::Debit,
                balance: row.balance,
                limits: Limits::default(),
                last_entry_id: row.last_entry_id,
            }
        }

        /// Every row is what its account was at some entry not before the mark.
        fn check(&self, max: i64) {
            assert!((0..=self.last()).contains(&self.through));
            for account_id in 0..10 {
                let row = self.rows.get(&account_id);
                let row = row.copied().unwrap_or(self.at(account_id, 0));
                assert!(row.balance.entries >= self.at(account_id, self.through).balance.entries);
                assert_eq!(row, self.at(account_id, row.last_entry_id));
            }
            let (last, batch) = (self.last(), 40);
            assert!(last - self.through <= max + max / STEP + batch, "{last} {}", self.through);
        }
    }

    proptest! {
        #[test]
        fn no_row_is_more_than_so_far_behind_the_mark(
            batches in prop::collection::vec((prop::collection::vec(0..10_i64, 0..40), 0..8_u8), 1..60),
            max in 0..200_i64,
        ) {
            let (mut books, mut behind) = (Books::default(), Behind::default());
            for (accounts, chance) in batches {
                books.book(&mut behind, &accounts, chance == 0, max);
                books.check(max);
                // A service that starts again finds what it left.
                if chance == 1 {
                    let late = (0..10)
                        .map(|account_id| books.at(account_id, books.last()))
                        .filter(|now| now.last_entry_id > books.through)
                        .collect();
                    behind = Behind::left(books.through, late);
                    books.before.clear();
                }
            }
            while !behind.is_empty() {
                books.book(&mut behind, &[], false, max);
            }
            for account_id in 0..10 {
                let row = books.rows.get(&account_id).copied().unwrap_or(books.at(account_id, 0));
                prop_assert_eq!(row, books.at(account_id, books.last()));
            }
        }
    }

    #[test]
    fn an_account_is_written_once_for_many_batches() {
        let (mut books, mut behind) = (Books::default(), Behind::default());
        let batch: Vec<i64> = (0..10).chain(0..10).collect();
        let mut rows = 0;
        for _ in 0..100 {
            rows += books.book(&mut behind, &batch, false, 1000).rows.len();
        }
        // 10 accounts in 100 batches; a share of 20 / 8 of them each time.
        assert_eq!(rows, 200);
        assert!(!behind.is_empty() && behind.entries(books.last()) > 0);
        let at_rest = books.book(&mut behind, &[], false, 1000);
        assert_eq!((at_rest.rows.len(), at_rest.through), (8, Some(2000)));
        assert_eq!(behind.entries(books.last()), 0);
        assert_eq!(books.book(&mut behind, &[], false, 1000), Written::default());
    }

    #[test]
    fn what_begins_or_ends_a_hold_is_written_at_once_and_so_is_a_small_batch() {
        let (mut books, mut behind) = (Books::default(), Behind::default());
        let large: Vec<i64> = vec![1, 2, 3, 4];
        assert_eq!(books.book(&mut behind, &large, true, 4096).rows.len(), 4);
        assert_eq!(books.book(&mut behind, &large, false, 4096).rows.len(), 0);
        assert_eq!(books.book(&mut behind, &[5], false, 4096).rows.len(), 5);
        assert_eq!(books.book(&mut behind, &large, false, 0).rows.len(), 4);
    }
}
