//! What is told of the books to others, and to whom: events, webhook endpoints and how far each has come.

use jiff::Timestamp;

use super::engine::Batch;
use super::error::{StoreError, impossible};
use super::read::{ENTRIES_OF_HELD, ENTRIES_OF_MOVED};
use super::reader::{Arg, Reader};
use super::row::{self, Columns, one_more};
use super::rows;
use crate::act::{Acted, Booked};
use crate::outbox::event::Event;
use crate::outbox::sign::Secret;
use crate::outbox::{Endpoint, EndpointRow, NewEndpoint, Progress, RemovalRow};
use crate::report::Page;
use crate::transfer::{Transfer, TransferEntry, TransferKind};

/// As `row::transfer` reads them; what followed them later is not told. Then id and sequence number.
const EVENTS: &str = "SELECT t.description, t.effective_date, t.booked_at_us, t.entry_id_first, t.entries, t.kind, t.expires_at_us,
        o.id, NULL, NULL, t.id, t.seq
     FROM transfers AS t LEFT JOIN transfers AS o ON o.seq = t.of_seq
     WHERE t.seq > ? ORDER BY t.seq LIMIT ?";
const LAST_TRANSFER: &str = "SELECT coalesce(max(seq), 0) FROM transfers";
const ENDPOINTS: &str =
    "SELECT e.id, e.url, e.description, e.secret, e.after_seq, e.created_at_us, r.removed_at_us,
        p.delivered_seq, p.failures, p.next_attempt_at_us, p.suspended_at_us, p.error
     FROM webhook_endpoints AS e
     JOIN webhook_progress AS p ON p.endpoint_id = e.id
     LEFT JOIN webhook_removals AS r ON r.endpoint_id = e.id
     WHERE e.id > ? ORDER BY e.id LIMIT ?";
const ENDPOINT: &str =
    "SELECT e.id, e.url, e.description, e.secret, e.after_seq, e.created_at_us, r.removed_at_us,
        p.delivered_seq, p.failures, p.next_attempt_at_us, p.suspended_at_us, p.error
     FROM webhook_endpoints AS e
     JOIN webhook_progress AS p ON p.endpoint_id = e.id
     LEFT JOIN webhook_removals AS r ON r.endpoint_id = e.id
     WHERE e.id = ?";
const LAST_ENDPOINT: &str = "SELECT coalesce(max(id), 0) FROM webhook_endpoints";
const REMOVED: &str = "SELECT count(*) FROM webhook_removals";
/// Endpoints read at once.
const PAGE: usize = 1000;

#[cfg(test)]
pub const STATEMENTS: &[&str] = &[EVENTS, LAST_TRANSFER, ENDPOINTS, ENDPOINT, LAST_ENDPOINT];

/// An endpoint with how far it has come and when it was removed.
type Known = (EndpointRow, Progress, Option<i64>);

/// Id, address, description, secret, start, created at.
pub(super) fn endpoint_row(row: &dyn Columns) -> Result<EndpointRow, StoreError> {
    Ok(EndpointRow {
        id: row.long(0)?,
        url: row.string(1)?,
        description: row.string(2)?,
        secret: Secret::from_bytes(row.bytes(3)?),
        after_seq: row.long(4)?,
        created_at_us: row.long(5)?,
    })
}

fn known(row: &dyn Columns) -> Result<Known, StoreError> {
    let endpoint = endpoint_row(row)?;
    let progress = Progress {
        endpoint_id: endpoint.id,
        delivered_seq: row.long(7)?,
        failures: row.long(8)?,
        next_attempt_at_us: row.long_if_any(9)?,
        suspended_at_us: row.long_if_any(10)?,
        error: row.string(11)?,
    };
    Ok((endpoint, progress, row.long_if_any(6)?))
}

fn listed((row, progress, removed_at_us): Known) -> Result<Endpoint, StoreError> {
    let instant = |us: i64| Timestamp::from_microsecond(us).map_err(|_| impossible("a time", &us));
    Ok(Endpoint {
        id: row.id,
        url: row.url,
        description: row.description,
        created_at: instant(row.created_at_us)?,
        removed_at: removed_at_us.map(instant).transpose()?,
        delivered: progress.delivered_seq,
        failures: progress.failures,
        next_attempt_at: progress.next_attempt_at_us.map(instant).transpose()?,
        suspended_at: progress.suspended_at_us.map(instant).transpose()?,
        error: Some(progress.error).filter(|error| !error.is_empty()),
    })
}

impl Reader {
    /// Transfers after the `after`th as they were booked, at most `limit`.
    pub async fn events(&self, after: i64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let arguments = [Arg::Long(after), Arg::Long(one_more(limit) - 1)];
        let read = |row: &dyn Columns| {
            let transfer = row::transfer(row.uuid(10)?, row)?;
            Ok((row.long(11)?, row.long(3)?, row.long(4)?, transfer))
        };
        let mut booked = self.rows(EVENTS, &arguments, read).await?;
        // The entries of transfers in a row are in a row themselves: of those that move, and of those that hold.
        for moves in [true, false] {
            let sort = |kind: TransferKind| {
                if moves { kind.moves() } else { kind == TransferKind::Pending }
            };
            let ids = booked
                .iter()
                .filter(|(.., transfer)| sort(transfer.kind))
                .map(|(_, first, count, _)| (*first, first + count));
            let Some((first, _)) = ids.clone().next() else { continue };
            let end = ids.map(|(_, end)| end).max().unwrap_or(first);
            let mut entries = self.entries_between(moves, first, end).await?.into_iter();
            for (_, _, count, transfer) in booked.iter_mut().filter(|(.., t)| sort(t.kind)) {
                transfer.entries =
                    entries.by_ref().take(usize::try_from(*count).unwrap_or(0)).collect();
            }
        }
        let ids: Vec<_> = booked.iter().map(|(.., transfer)| transfer.id).collect();
        let mut called = self.called(&ids).await?;
        let mut events = Vec::with_capacity(booked.len());
        for (seq, first, count, mut transfer) in booked {
            transfer.metadata = called.remove(&transfer.id).unwrap_or_default();
            let releases = matches!(transfer.kind, TransferKind::Void | TransferKind::Expire);
            let transfer = if releases {
                Transfer {
                    entries: self.entries_between(false, first, first + count).await?,
                    ..transfer
                }
            } else {
                transfer
            };
            events.push(Event::new(seq, transfer));
        }
        Ok(events)
    }

    async fn entries_between(
        &self,
        moves: bool,
        first: i64,
        end: i64,
    ) -> Result<Vec<TransferEntry>, StoreError> {
        let statement = if moves { ENTRIES_OF_MOVED } else { ENTRIES_OF_HELD };
        self.rows(statement, &[Arg::Long(first), Arg::Long(end)], |row| row::transfer_entry(row))
            .await
    }

    /// The number of the last transfer; 0 when there is none.
    pub async fn last_transfer(&self) -> Result<i64, StoreError> {
        Ok(self.row(LAST_TRANSFER, &[], |row| row.long(0)).await?.unwrap_or(0))
    }

    /// Endpoints after the `after`th, removed ones too.
    pub async fn endpoints(&self, after: i64, limit: usize) -> Result<Page<Endpoint>, StoreError> {
        let arguments = [Arg::Long(after), Arg::Long(one_more(limit))];
        let rows = self.rows(ENDPOINTS, &arguments, |row| listed(known(row)?)).await?;
        Ok(Page::cut(rows, limit, |endpoint| endpoint.id.to_string()))
    }

    pub async fn endpoint(&self, id: i64) -> Result<Option<Endpoint>, StoreError> {
        self.row(ENDPOINT, &[Arg::Long(id)], |row| listed(known(row)?)).await
    }

    /// Every endpoint that is not removed, and how far it has come.
    pub async fn endpoints_in_force(&self) -> Result<Vec<(EndpointRow, Progress)>, StoreError> {
        let (mut in_force, mut after) = (Vec::new(), 0);
        loop {
            let arguments = [Arg::Long(after), Arg::Long(one_more(PAGE) - 1)];
            let page = self.rows(ENDPOINTS, &arguments, known).await?;
            let Some((last, ..)) = page.last() else { return Ok(in_force) };
            after = last.id;
            let valid = page.into_iter().filter(|(_, _, removed)| removed.is_none());
            in_force.extend(valid.map(|(row, progress, _)| (row, progress)));
        }
    }
}

impl Batch<'_> {
    pub(super) async fn create_endpoint(
        &mut self,
        new: &NewEndpoint,
        endpoints_max: usize,
        now: Timestamp,
    ) -> Result<(Acted, Vec<Booked>), StoreError> {
        let number = |rows: Vec<i64>| rows.first().copied().unwrap_or(0);
        let last = number(self.query(LAST_ENDPOINT, |row| row.long(0)).await?);
        let removed = number(self.query(REMOVED, |row| row.long(0)).await?);
        if usize::try_from(last - removed).is_ok_and(|in_force| in_force >= endpoints_max) {
            return Ok((Acted::TooManyEndpoints, Vec::new()));
        }
        let after_seq = match new.body.after {
            Some(after) => after,
            None => number(self.query(LAST_TRANSFER, |row| row.long(0)).await?),
        };
        let row = EndpointRow {
            id: last + 1,
            url: new.body.url.clone(),
            description: new.body.description.clone(),
            secret: new.secret.clone(),
            after_seq,
            created_at_us: now.as_microsecond(),
        };
        let progress =
            Progress { endpoint_id: row.id, delivered_seq: after_seq, ..Progress::default() };
        self.insert(&[rows::of_endpoint(&row), rows::of_new_progress(&progress)]).await?;
        let endpoint = listed((row.clone(), progress, None))?;
        Ok((Acted::Endpoint(endpoint), vec![Booked::Endpoint(row)]))
    }

    pub(super) async fn remove_endpoint(
        &mut self,
        id: i64,
        seen: Option<&Endpoint>,
        now: Timestamp,
    ) -> Result<(Acted, Vec<Booked>), StoreError> {
        let Some((row, progress, removed)) = self.endpoint(id).await? else {
            return Ok((Acted::NoSuchEndpoint, Vec::new()));
        };
        let current = listed((row.clone(), progress.clone(), removed))?;
        if seen.is_some_and(|seen| *seen != current) {
            return Ok((Acted::Changed, Vec::new()));
        }
        if removed.is_some() {
            return Ok((Acted::Endpoint(current), Vec::new()));
        }
        let removal = RemovalRow { endpoint_id: id, removed_at_us: now.as_microsecond() };
        self.insert(&[rows::of_removal(removal)]).await?;
        let endpoint = listed((row, progress, Some(removal.removed_at_us)))?;
        Ok((Acted::Endpoint(endpoint), vec![Booked::Removal(removal)]))
    }

    /// One that is not suspended stays as it is.
    pub(super) async fn resume_endpoint(
        &mut self,
        id: i64,
        seen: Option<&Endpoint>,
    ) -> Result<(Acted, Vec<Booked>), StoreError> {
        let Some((row, progress, removed)) = self.endpoint(id).await? else {
            return Ok((Acted::NoSuchEndpoint, Vec::new()));
        };
        let current = listed((row.clone(), progress.clone(), removed))?;
        if seen.is_some_and(|seen| *seen != current) {
            return Ok((Acted::Changed, Vec::new()));
        }
        if removed.is_some() || progress.suspended_at_us.is_none() {
            return Ok((Acted::Endpoint(current), Vec::new()));
        }
        let delivered_seq = progress.delivered_seq;
        let progress = Progress { endpoint_id: id, delivered_seq, ..Progress::default() };
        self.insert(&[rows::of_progress(std::slice::from_ref(&progress))]).await?;
        Ok((Acted::Endpoint(listed((row, progress, None))?), vec![Booked::Resumed(id)]))
    }

    async fn endpoint(&mut self, id: i64) -> Result<Option<Known>, StoreError> {
        Ok(self.query(&ENDPOINT.replace('?', &id.to_string()), known).await?.pop())
    }
}
