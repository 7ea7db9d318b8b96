//! Balances as of the last commit, for readers: what was read once is kept up by the writer, commit by commit,
//! and need not be asked of the database again.
//!
//! Three things keep it true. A balance is kept only if nothing was committed since before it was read. After a
//! failure everything is forgotten, and nothing kept, until the next commit: by then the one that failed is
//! done or undone. And what is kept counts only for a second after the database last confirmed that this
//! service is the one to write; a reader who finds that over has the writer ask again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::metrics::Metrics;
use crate::posting::{Balance, Limits, Standing};

/// How long a confirmation counts: as long as a service that has been replaced may go on telling old balances.
const CONFIRMED_FOR: Duration = Duration::from_secs(1);

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Published(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: RwLock<State>,
    /// A reader wants it confirmed that this is still the service to write.
    unconfirmed: Notify,
    accounts_max: usize,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct State {
    ids: HashMap<String, i64>,
    accounts: HashMap<i64, Standing>,
    /// Commits and failures so far.
    turns: u64,
    /// When this service was last known to be the one to write; nothing while a commit is in doubt.
    confirmed: Option<Instant>,
}

/// A moment before which a balance must not have been read.
#[derive(Clone, Copy, Debug)]
pub struct Since(u64);

/// What is known of a balance.
#[derive(Clone, Debug)]
pub enum Known {
    /// As of the last commit.
    Balance(Standing),
    /// To be read from the database, and kept if nothing has happened since.
    Nothing(Since),
}

impl Published {
    pub fn new(accounts_max: usize, metrics: Metrics) -> Self {
        let (state, unconfirmed) = (RwLock::default(), Notify::new());
        Self(Arc::new(Shared { state, unconfirmed, accounts_max, metrics }))
    }

    /// The balance of the account of this code, if it is known.
    pub fn read(&self, code: &str) -> Known {
        let known = self.read_at(code, Instant::now());
        let from = if matches!(known, Known::Balance(_)) { "memory" } else { "database" };
        self.0.metrics.balance_reads.with_label_values(&[from]).inc();
        known
    }

    fn read_at(&self, code: &str, now: Instant) -> Known {
        let state = self.state();
        let since = Since(state.turns);
        let Some(confirmed) = state.confirmed else { return Known::Nothing(since) };
        let Some(standing) = state.ids.get(code).and_then(|id| state.accounts.get(id)) else {
            return Known::Nothing(since);
        };
        if now.saturating_duration_since(confirmed) < CONFIRMED_FOR {
            return Known::Balance(standing.clone());
        }
        self.0.unconfirmed.notify_one();
        Known::Nothing(since)
    }

    /// Keeps what was read from the database, unless it may be old by now.
    pub fn keep(&self, since: Since, code: &str, standing: &Standing) {
        let mut state = self.state_to_change();
        if state.confirmed.is_none() || state.turns != since.0 {
            return;
        }
        if state.accounts.len() >= self.0.accounts_max {
            state.ids.clear();
            state.accounts.clear();
        }
        state.ids.insert(code.to_owned(), standing.account_id);
        state.accounts.insert(standing.account_id, standing.clone());
        self.count(&state);
    }

    /// After a commit and before anybody is answered. It `began` before the database confirmed the writer.
    pub fn committed(
        &self,
        balances: &BTreeMap<i64, Balance>,
        limits: &[(i64, Limits)],
        began: Instant,
    ) {
        let mut state = self.state_to_change();
        state.turns += 1;
        state.confirmed = Some(began);
        for (id, balance) in balances {
            if let Some(standing) = state.accounts.get_mut(id) {
                standing.balance = *balance;
            }
        }
        for (id, limits) in limits {
            if let Some(standing) = state.accounts.get_mut(id) {
                standing.limits = *limits;
            }
        }
    }

    /// After a failure: the commit may be done, or still come to be.
    pub fn in_doubt(&self) {
        let mut state = self.state_to_change();
        *state = State { turns: state.turns + 1, ..State::default() };
        self.count(&state);
    }

    /// Returns when a reader wants a confirmation and there has been none for a while.
    pub async fn unconfirmed(&self) {
        loop {
            self.0.unconfirmed.notified().await;
            let confirmed = self.state().confirmed;
            if confirmed.is_some_and(|at| at.elapsed() >= CONFIRMED_FOR) {
                return;
            }
        }
    }

    fn count(&self, state: &State) {
        let kept = i64::try_from(state.accounts.len()).unwrap_or(i64::MAX);
        self.0.metrics.balances_kept.set(kept);
    }

    // Whoever panics while holding the lock has changed at most one whole account.
    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_to_change(&self) -> RwLockWriteGuard<'_, State> {
        self.0.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Side;
    use crate::money::Currency;

    fn standing(account_id: i64, debits_minor: i64) -> Standing {
        Standing {
            account_id,
            currency: Currency { code: "EUR".into(), scale: 2 },
            normal: Side::Debit,
            balance: Balance { debits_minor, ..Balance::default() },
            limits: Limits::default(),
            last_entry_id: 0,
        }
    }

    fn since(published: &Published, code: &str) -> Since {
        match published.read(code) {
            Known::Nothing(since) => since,
            Known::Balance(standing) => panic!("{standing:?}"),
        }
    }

    fn debits(published: &Published, code: &str) -> Option<i64> {
        match published.read(code) {
            Known::Nothing(_) => None,
            Known::Balance(standing) => Some(standing.balance.debits_minor),
        }
    }

    fn moved(id: i64, debits_minor: i64) -> BTreeMap<i64, Balance> {
        BTreeMap::from([(id, standing(id, debits_minor).balance)])
    }

    fn new(accounts_max: usize) -> Published {
        Published::new(accounts_max, Metrics::new())
    }

    #[test]
    fn what_is_kept_follows_the_commits() {
        let published = new(10);
        published.keep(since(&published, "a"), "a", &standing(1, 5));
        assert_eq!(debits(&published, "a"), None, "nothing is confirmed yet");
        published.committed(&moved(1, 5), &[], Instant::now());
        published.keep(since(&published, "a"), "a", &standing(1, 5));
        assert_eq!(debits(&published, "a"), Some(5));
        let limits = Limits { min_minor: Some(0), max_minor: None };
        published.committed(&moved(1, 7), &[(1, limits), (2, limits)], Instant::now());
        let Known::Balance(known) = published.read("a") else { panic!() };
        assert_eq!((known.balance.debits_minor, known.limits), (7, limits));
    }

    #[test]
    fn what_was_read_before_a_commit_is_not_kept() {
        let published = new(10);
        published.committed(&BTreeMap::new(), &[], Instant::now());
        let before = since(&published, "a");
        published.committed(&moved(1, 7), &[], Instant::now());
        published.keep(before, "a", &standing(1, 5));
        assert_eq!(debits(&published, "a"), None);
    }

    #[test]
    fn after_a_failure_nothing_is_known_until_the_next_commit() {
        let published = new(10);
        published.committed(&BTreeMap::new(), &[], Instant::now());
        published.keep(since(&published, "a"), "a", &standing(1, 5));
        published.in_doubt();
        let doubtful = since(&published, "a");
        published.keep(doubtful, "a", &standing(1, 5));
        assert_eq!(debits(&published, "a"), None);
        published.committed(&BTreeMap::new(), &[], Instant::now());
        published.keep(doubtful, "a", &standing(1, 5));
        assert_eq!(debits(&published, "a"), None, "it was read while the outcome was open");
        published.keep(since(&published, "a"), "a", &standing(1, 7));
        assert_eq!(debits(&published, "a"), Some(7));
    }

    #[tokio::test]
    async fn a_confirmation_counts_for_a_second_and_is_asked_for_again() {
        let published = new(10);
        let long_ago = Instant::now().checked_sub(2 * CONFIRMED_FOR).unwrap();
        published.committed(&BTreeMap::new(), &[], long_ago);
        published.keep(Since(1), "a", &standing(1, 5));
        let soon = long_ago + CONFIRMED_FOR / 2;
        assert!(matches!(published.read_at("a", soon), Known::Balance(_)));
        assert_eq!(debits(&published, "a"), None);
        published.unconfirmed().await;
        published.committed(&BTreeMap::new(), &[], Instant::now());
        assert_eq!(debits(&published, "a"), Some(5), "nobody else has written");
    }

    #[test]
    fn no_more_accounts_are_kept_than_allowed() {
        let published = new(2);
        published.committed(&BTreeMap::new(), &[], Instant::now());
        for (code, id) in [("a", 1), ("b", 2), ("c", 3)] {
            published.keep(since(&published, code), code, &standing(id, id));
        }
        let known = ["a", "b", "c"].map(|code| debits(&published, code));
        assert_eq!(known, [None, None, Some(3)]);
        assert_eq!(published.0.metrics.balances_kept.get(), 1);
    }
}
