//! What every engine does alike in a batch: what is read in which order, what is created, what is
//! written. The engines say how.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use uuid::Uuid;

use super::current::last_late;
use super::engine::{Ahead, Batch, Inserts};
use super::error::{StoreError, impossible};
use super::list::List;
use super::metadata::metadata_row;
use super::row::{self, Columns};
use super::rows;
use super::table::Clash;
use crate::account::{Account, AccountBody, Created, CurrencyBody};
use crate::batch::{Changes, Snapshot, Wanted};
use crate::behind::{Behind, ENTRIES_MAX};
use crate::link::{Head, Link};
use crate::naming::{validate_code, validate_currency};
use crate::posting::{Limits, LimitsRow, Standing, Target, TargetEntry};
use crate::trail::{Step, Trail};

/// Pending transfers that are expired in one batch at most; the next batch goes on.
const DUE_MAX: i64 = 200;

const LAST: &str = "SELECT
     (SELECT coalesce(max(seq), 0) FROM transfers),
     (SELECT coalesce(max(id), 0) FROM entries),
     (SELECT coalesce(max(id), 0) FROM pending_entries),
     coalesce((SELECT booked_at_us FROM transfers ORDER BY seq DESC LIMIT 1), 0)";
const HEAD: &str = "SELECT seq, hash FROM chain ORDER BY seq DESC LIMIT 1";
/// None of a transfer whose link is in `chain`.
const HEAD_OF_TRANSFERS: &str = "SELECT link_seq, link FROM transfers ORDER BY seq DESC LIMIT 1";
const KEYS_APART: &str =
    "SELECT transfer_seq FROM idempotency_keys ORDER BY transfer_seq DESC LIMIT 1";
const NEXT_EXPIRY: &str = "SELECT min(expires_at_us) FROM holds WHERE expires_at_us IS NOT NULL";
const NEXT_LIMITS: &str = "SELECT coalesce(max(id), 0) + 1 FROM account_limits";
const MARK: &str = "SELECT balances_through FROM service WHERE id = 1";
const BEHIND: &str = concat!(
    "SELECT b.account_id, n.debits_after_minor, n.credits_after_minor, n.number,
        b.pending_debits_minor, b.pending_credits_minor, n.id
     FROM ",
    last_late!(),
    " AS late
     JOIN entries AS n ON n.id = late.id
     JOIN balances AS b ON b.account_id = late.account_id
     WHERE n.number > b.entries
     ORDER BY n.id"
);
const LIMITS: &str =
    "SELECT balance_min_minor, balance_max_minor FROM balances WHERE account_id = ?";

#[cfg(test)]
pub const STATEMENTS: &[&str] =
    &[LAST, HEAD, HEAD_OF_TRANSFERS, KEYS_APART, NEXT_EXPIRY, NEXT_LIMITS, MARK, BEHIND, LIMITS];

impl Batch<'_> {
    /// Adds what a batch needs to know to what is known. Takes the write lock first, and fails when another
    /// service has opened this database since.
    pub async fn lock_and_read(
        &mut self,
        wanted: &Wanted<'_>,
        known: &mut Snapshot,
    ) -> Result<(), StoreError> {
        self.fence().await?;
        if wanted.ends {
            known.last = self.query(LAST, |row| row::last(row)).await?.pop().unwrap_or_default();
            known.books.closed_through = self.last_close().await?.map(|close| close.through);
            known.head = self.head().await?;
            known.behind = self.behind(known.last.entry_id).await?;
            known.keys_apart = !self.query(KEYS_APART, |row| row.long(0)).await?.is_empty();
        }
        let mut found = Vec::new();
        if let Some(now) = wanted.due {
            found =
                self.look_up(List::Due(now.as_microsecond(), DUE_MAX), |r| row::target(r)).await?;
            known.due = found.iter().map(|(target, _)| target.id).collect();
        }
        let mut targets: BTreeSet<Uuid> = wanted.targets.iter().copied().collect();
        if !wanted.keys.is_empty() {
            let answers = self.look_up(List::Answers(&wanted.keys), |r| row::answer(r)).await?;
            known.answers = answers.into_iter().collect();
            // An answer that is not stored is written again from its transfer.
            let unwritten = known.answers.values().filter(|stored| stored.body.is_none());
            targets.extend(unwritten.map(|stored| stored.transfer_id));
        }
        if !targets.is_empty() {
            let targets: Vec<Uuid> = targets.into_iter().collect();
            found.extend(self.look_up(List::Targets(&targets), |r| row::target(r)).await?);
        }
        for moves in [true, false] {
            let ids = entry_ids(&found, moves);
            if !ids.is_empty() {
                let list = if moves { List::Entries(&ids) } else { List::PendingEntries(&ids) };
                let entries = self.look_up(list, |r| row::target_entry(r)).await?;
                fill(&mut found, moves, &entries.into_iter().collect());
            }
        }
        self.call(&mut found).await?;
        let accounts = unknown_accounts(wanted, &found, known);
        known.books.targets = found.into_iter().map(|(target, _)| (target.id, target)).collect();
        if !accounts.is_empty() {
            let rows = self.look_up(List::Standings(&accounts), |r| row::standing(r)).await?;
            let standings = known.behind.caught_up(rows);
            let last_ids = last_ids(&standings);
            let steps = match last_ids.as_slice() {
                [] => Vec::new(),
                ids => self.look_up(List::Trails(ids), step).await?,
            };
            known.trails.extend(trails(&standings, steps)?);
            known.books.accounts.0.extend(standings);
        }
        Ok(())
    }

    /// What follows a transfer is called as it is, unless it says otherwise.
    async fn call(&mut self, found: &mut [(Target, i64)]) -> Result<(), StoreError> {
        let seqs: Vec<i64> = found.iter().map(|(target, _)| target.seq).collect();
        if seqs.is_empty() {
            return Ok(());
        }
        for (seq, name, value) in self.look_up(List::Called(&seqs), metadata_row).await? {
            for (target, _) in found.iter_mut().filter(|(target, _)| target.seq == seq) {
                target.metadata.0.insert(name.clone(), value.clone());
            }
        }
        Ok(())
    }

    /// The later of the two ends: of the transfers, and of everything else that is chained.
    async fn head(&mut self) -> Result<Head, StoreError> {
        let mut heads = self.query(HEAD, |row| row::head(row)).await?;
        let linked = |row: &dyn Columns| {
            if row.is_null(0)? { Ok(None) } else { row::head(row).map(Some) }
        };
        heads.extend(self.query(HEAD_OF_TRANSFERS, linked).await?.into_iter().flatten());
        Ok(heads.into_iter().max_by_key(|head| head.seq).unwrap_or_default())
    }

    /// When the next pending transfer expires, in microseconds since 1970.
    pub async fn next_expiry(&mut self) -> Result<Option<i64>, StoreError> {
        Ok(self.query(NEXT_EXPIRY, |row| row.long_if_any(0)).await?.pop().flatten())
    }

    pub async fn create_currency(
        &mut self,
        body: &CurrencyBody,
    ) -> Result<Created<CurrencyBody>, StoreError> {
        Ok(match self.currency(&body.code).await? {
            None => {
                self.insert_currency(body).await?;
                Created::New(body.clone())
            }
            Some(existing) if existing == *body => Created::Existing(existing),
            Some(existing) => Created::Conflict(existing),
        })
    }

    pub async fn create_account(
        &mut self,
        body: &AccountBody,
        now: Timestamp,
    ) -> Result<Created<Account>, StoreError> {
        if validate_currency(&body.currency).is_err()
            || self.currency(&body.currency).await?.is_none()
        {
            return Ok(Created::UnknownCurrency);
        }
        if let Some(account) = self.account(&body.code).await? {
            let account = self.metadata_of(account).await?;
            let same = account.metadata == body.metadata
                && account.name == body.name
                && account.currency == body.currency
                && account.normal_balance == body.normal_balance;
            return Ok(if same { Created::Existing(account) } else { Created::Conflict(account) });
        }
        self.insert_account(body, now.as_microsecond()).await?;
        let created = self.account(&body.code).await?;
        let nothing = || impossible("an account", &"nothing once created");
        let created = Account { metadata: body.metadata.clone(), ..created.ok_or_else(nothing)? };
        if !created.metadata.is_empty() {
            self.insert(&[rows::of_metadata(&created)]).await?;
        }
        Ok(Created::New(created))
    }

    /// Puts limits on an account from now on; none where it has others than `seen`.
    pub async fn set_limits(
        &mut self,
        account_id: i64,
        seen: Option<Limits>,
        limits: Limits,
        now: Timestamp,
    ) -> Result<Option<LimitsRow>, StoreError> {
        if let Some(seen) = seen {
            let sql = LIMITS.replace('?', &account_id.to_string());
            let in_force = |row: &dyn Columns| {
                Ok(Limits { min_minor: row.long_if_any(0)?, max_minor: row.long_if_any(1)? })
            };
            if self.query(&sql, in_force).await?.pop() != Some(seen) {
                return Ok(None);
            }
        }
        let id = self.query(NEXT_LIMITS, |row| row.long(0)).await?.pop().unwrap_or(1);
        let row = LimitsRow { id, account_id, limits, set_at_us: now.as_microsecond() };
        self.insert(&[rows::of_limits(&row)]).await?;
        let minor = |limit: Option<i64>| limit.map_or("NULL".to_owned(), |minor| minor.to_string());
        let (min, max) = (minor(limits.min_minor), minor(limits.max_minor));
        self.run(format!(
            "UPDATE balances SET balance_min_minor = {min}, balance_max_minor = {max} WHERE account_id = {account_id}"
        ))
        .await?;
        Ok(Some(row))
    }

    /// Appends to the chain.
    pub async fn write_links(&mut self, links: &[Link]) -> Result<(), StoreError> {
        self.insert(&[rows::of_links(links)]).await
    }

    /// Writes what was decided and its links of the chain.
    pub async fn write(&mut self, changes: &Changes, links: &[Link]) -> Result<(), StoreError> {
        let mut tables = rows::of_changes(changes)?;
        if !links.is_empty() {
            tables.push(rows::of_links(links));
        }
        if !tables.is_empty() {
            self.insert(&tables).await?;
        }
        self.mark(changes).await?;
        let closed: Vec<String> = changes.closed().map(|seq| seq.to_string()).collect();
        if closed.is_empty() {
            return Ok(());
        }
        let gone = self
            .run(format!("DELETE FROM holds WHERE transfer_seq IN ({})", closed.join(", ")))
            .await?;
        if gone == closed.len() as u64 {
            return Ok(());
        }
        Err(impossible("a batch", &format!("{gone} holds closed instead of {}", closed.len())))
    }

    /// The accounts whose balances' rows were left behind.
    async fn behind(&mut self, last_entry_id: i64) -> Result<Behind, StoreError> {
        let through = self.query(MARK, |row| row.long(0)).await?.pop().unwrap_or(0);
        if !(0..=2 * ENTRIES_MAX).contains(&(last_entry_id - through)) {
            let what = format!("balances written up to entry {through} of {last_entry_id}");
            return Err(impossible("a service", &what));
        }
        Ok(Behind::left(through, self.query(BEHIND, |row| row::balance_now(row)).await?))
    }
}

impl Ahead {
    /// Whether any of the keys is used, as of the last commit.
    pub async fn knows_any(&self, keys: &[&str]) -> Result<bool, StoreError> {
        Ok(!self.look_up(List::Answers(keys), |_| Ok(())).await?.is_empty())
    }

    /// The statements that write changes which end no hold: first those of rows that are nobody else's, then those that
    /// change rows which other batches change too. To make them takes as long as to decide, and meanwhile the database
    /// need not wait.
    pub fn inserts(&self, changes: &Changes) -> Result<[Inserts; 2], StoreError> {
        let tables = rows::of_changes(changes)?;
        let (own, shared): (Vec<_>, Vec<_>) =
            tables.into_iter().partition(|rows| rows.table.clash == Clash::Fails);
        Ok([self.inserts_of(&own)?, self.inserts_of(&shared)?])
    }

    /// Adds the accounts of these codes, as of the last commit.
    pub async fn look_up_accounts(
        &self,
        codes: &[String],
        known: &mut Snapshot,
    ) -> Result<(), StoreError> {
        let rows = self.look_up(List::Standings(codes), |row| row::standing(row)).await?;
        let standings = known.behind.caught_up(rows);
        let last_ids = last_ids(&standings);
        let steps = match last_ids.as_slice() {
            [] => Vec::new(),
            ids => self.look_up(List::Trails(ids), step).await?,
        };
        known.trails.extend(trails(&standings, steps)?);
        known.books.accounts.0.extend(standings);
        Ok(())
    }
}

/// Account, number, id.
fn step(row: &dyn Columns) -> Result<(i64, Step), StoreError> {
    Ok((row.long(0)?, Step { number: row.long(1)?, id: row.long(2)? }))
}

/// The last entries of those accounts that have any.
fn last_ids(standings: &[(String, Standing)]) -> Vec<i64> {
    standings.iter().map(|(_, account)| account.last_entry_id).filter(|id| *id != 0).collect()
}

/// The accounts' trails, made of what was found from their last entries.
fn trails(
    standings: &[(String, Standing)],
    found: Vec<(i64, Step)>,
) -> Result<Vec<(i64, Trail)>, StoreError> {
    let mut steps: HashMap<i64, Vec<Step>> = HashMap::new();
    for (account_id, step) in found {
        steps.entry(account_id).or_default().push(step);
    }
    let trail = |(code, account): &(String, Standing)| {
        let steps = steps.remove(&account.account_id).unwrap_or_default();
        let trail = Trail::of(account.balance.entries, steps);
        let broken = |error| StoreError::Corrupt(format!("account {code:?}: {error}"));
        Ok((account.account_id, trail.map_err(broken)?))
    };
    standings.iter().map(trail).collect()
}

/// The ids of the entries that transfers of one sort have; each comes with how many it has.
fn entry_ids(found: &[(Target, i64)], moves: bool) -> Vec<i64> {
    let of_sort = found.iter().filter(|(target, _)| target.kind.moves() == moves);
    let ids: BTreeSet<i64> = of_sort
        .flat_map(|(target, entries)| target.entry_id_first..target.entry_id_first + entries)
        .collect();
    ids.into_iter().collect()
}

/// Gives the transfers of one sort their entries, by id.
fn fill(found: &mut [(Target, i64)], moves: bool, entries: &HashMap<i64, TargetEntry>) {
    for (target, count) in found.iter_mut().filter(|(target, _)| target.kind.moves() == moves) {
        let ids = target.entry_id_first..target.entry_id_first + *count;
        target.entries = ids.filter_map(|id| entries.get(&id).cloned()).collect();
    }
}

/// The codes of all accounts that the batch touches and nothing is known of.
fn unknown_accounts(wanted: &Wanted<'_>, found: &[(Target, i64)], known: &Snapshot) -> Vec<String> {
    let of_targets = found.iter().flat_map(|(target, _)| &target.entries);
    let codes: BTreeSet<&str> = of_targets
        .map(|entry| entry.account.as_str())
        .chain(wanted.accounts.iter().copied())
        // No account is called what is no code: a database that took it amiss would fail the batch.
        .filter(|code| !known.books.accounts.0.contains_key(*code) && validate_code(code).is_ok())
        .collect();
    codes.into_iter().map(str::to_owned).collect()
}
