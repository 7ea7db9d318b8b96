//! The books in booking order: transfers with their entries and keys, joined as they are read, so that
//! memory stays the same however many there are.

use std::collections::VecDeque;

use super::audit::Audit;
use super::error::StoreError;
use crate::chain::{BackdatedRow, EntryRow, KeyRow, TransferRow};
use crate::transfer::TransferKind;

/// Before any number; the very lowest is no literal in every engine.
const FIRST: i64 = i64::MIN + 1;

/// What has been read and not yet been given out.
#[derive(Debug)]
pub struct Stream {
    transfers: Ahead<TransferRow>,
    entries: Ahead<EntryRow>,
    pending: Ahead<EntryRow>,
    backdated: Ahead<BackdatedRow>,
    keys: Ahead<KeyRow>,
}

/// Rows read ahead, and the last number read.
#[derive(Debug)]
struct Ahead<T> {
    rows: VecDeque<T>,
    last: i64,
    ended: bool,
}

impl<T> Ahead<T> {
    fn new() -> Self {
        Self { rows: VecDeque::new(), last: FIRST, ended: false }
    }

    fn wants(&self) -> bool {
        self.rows.is_empty() && !self.ended
    }

    fn add(&mut self, page: Vec<T>, number: impl Fn(&T) -> i64) {
        self.ended = page.is_empty();
        self.last = page.last().map_or(self.last, number);
        self.rows.extend(page);
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            transfers: Ahead::new(),
            entries: Ahead::new(),
            pending: Ahead::new(),
            backdated: Ahead::new(),
            keys: Ahead::new(),
        }
    }
}

impl Stream {
    /// The next transfer with the entries and the key that name it.
    pub async fn next(&mut self, audit: &mut Audit) -> Result<Option<TransferRow>, StoreError> {
        if self.transfers.wants() {
            let page = audit.transfers(self.transfers.last).await?;
            self.transfers.add(page, |row| row.seq);
        }
        let Some(mut transfer) = self.transfers.rows.pop_front() else { return Ok(None) };
        let moves = transfer.kind.moves();
        while moves || transfer.kind == TransferKind::Pending {
            let ahead = if moves { &mut self.entries } else { &mut self.pending };
            if ahead.wants() {
                let page = if moves {
                    audit.entries(ahead.last).await?
                } else {
                    audit.pending_entries(ahead.last).await?
                };
                ahead.add(page, |row| row.id);
            }
            match ahead.rows.front() {
                Some(entry) if entry.transfer_seq == transfer.seq => {
                    transfer.entries.extend(ahead.rows.pop_front());
                }
                _ => break,
            }
        }
        while let (true, Some(last)) = (moves, transfer.entries.last()) {
            if self.backdated.wants() {
                let page = audit.backdated(self.backdated.last).await?;
                self.backdated.add(page, |row| row.id);
            }
            match self.backdated.rows.front() {
                Some(row) if row.id <= last.id => {
                    transfer.backdated.extend(self.backdated.rows.pop_front());
                }
                _ => break,
            }
        }
        if self.keys.wants() {
            let page = audit.keys(self.keys.last).await?;
            self.keys.add(page, |row| row.transfer_seq);
        }
        let kept_apart = self.keys.rows.front().is_some_and(|key| key.transfer_seq == transfer.seq);
        if kept_apart && transfer.key.is_none() {
            transfer.key = self.keys.rows.pop_front();
        }
        Ok(Some(transfer))
    }

    /// After the last transfer: a row that belongs to none, as its table and its number.
    pub async fn leftover(
        &mut self,
        audit: &mut Audit,
    ) -> Result<Option<(&'static str, String)>, StoreError> {
        if self.entries.wants() {
            let page = audit.entries(self.entries.last).await?;
            self.entries.add(page, |row| row.id);
        }
        if self.pending.wants() {
            let page = audit.pending_entries(self.pending.last).await?;
            self.pending.add(page, |row| row.id);
        }
        if self.keys.wants() {
            let page = audit.keys(self.keys.last).await?;
            self.keys.add(page, |row| row.transfer_seq);
        }
        if self.backdated.wants() {
            let page = audit.backdated(self.backdated.last).await?;
            self.backdated.add(page, |row| row.id);
        }
        let entry =
            |ahead: &Ahead<EntryRow>| ahead.rows.front().map(|row| format!("id {}", row.id));
        Ok(entry(&self.entries)
            .map(|row| ("entries", row))
            .or_else(|| entry(&self.pending).map(|row| ("pending_entries", row)))
            .or_else(|| {
                let key = self.keys.rows.front()?;
                Some(("idempotency_keys", format!("key {:?}", key.key)))
            })
            .or_else(|| {
                let row = self.backdated.rows.front()?;
                Some(("backdated_entries", format!("id {}", row.id)))
            }))
    }
}
