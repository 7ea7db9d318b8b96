//! Reads a whole database in one moment, in order, a page at a time, and writes nothing. The statements
//! have no parameters but numbers, and so are nearly the same on every engine.

use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Executor};

use super::error::StoreError;
use super::row::{self, Columns};
use super::url::DatabaseUrl;
use super::{acts, metadata, outbox, reconcile, sets, signatures};
use super::{migration, mysql, postgres, sqlite};
use crate::account::{Account, CurrencyBody, Side};
use crate::account_set::{MemberRow, SetRow};
use crate::act::{AuditRow, RevocationRow};
use crate::as_of::Totals;
use crate::batch::STATUS_CREATED;
use crate::chain::{BackdatedRow, EntryRow, KeyRow, TransferRow};
use crate::close::CloseRow;
use crate::key::ApiKeyRow;
use crate::link::Link;
use crate::metadata::Metadata;
use crate::outbox::{EndpointRow, RemovalRow};
use crate::posting::{Balance, Limits, LimitsRow};
use crate::reconcile::{MatchRow, UnmatchRow};
use crate::signature::SignatureRow;
use crate::trail::Back;

/// Rows of one page.
const PAGE: i64 = 1000;

/// One connection, inside one SQL transaction that sees one moment.
#[derive(Debug)]
pub enum Audit {
    Sqlite(Box<SqliteConnection>),
    MySql(Box<MySqlConnection>),
    Postgres(Box<PgConnection>),
}

/// Damages that are told.
const DAMAGES_MAX: usize = 10;

/// A row of `backdated_days`: account, effective date, day of booking, and its sums.
pub type BackdatedDay = ((i64, String, String), Totals);

/// A row of `balances`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BalanceRow {
    pub account_id: i64,
    pub balance: Balance,
    pub limits: Limits,
    pub last_entry_id: i64,
}

impl Audit {
    /// Connects to a current database, which a service may be writing meanwhile.
    pub async fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let failed = |error: sqlx::Error| StoreError::Open {
            database: url.to_string(),
            reason: error.to_string(),
        };
        let mut audit = match url {
            DatabaseUrl::Sqlite(file) => {
                let options =
                    SqliteConnectOptions::new().filename(&file.path).pragma("query_only", "ON");
                Self::Sqlite(Box::new(options.connect().await.map_err(failed)?))
            }
            DatabaseUrl::MySql(server) => {
                let mut connection =
                    mysql::session(&server.options).connect().await.map_err(failed)?;
                connection.execute(mysql::READER_SESSION).await.map_err(failed)?;
                Self::MySql(Box::new(connection))
            }
            DatabaseUrl::Postgres(server) => {
                let options = postgres::session(&server.options, &postgres::READER_SESSION);
                Self::Postgres(Box::new(options.connect().await.map_err(failed)?))
            }
        };
        let begin = match &audit {
            Self::Sqlite(_) => "BEGIN",
            Self::MySql(_) => "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
            Self::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        audit.execute(begin).await.map_err(failed)?;
        Ok(audit)
    }

    /// The migrations it has had, each of which must be this version's.
    pub async fn check_migrations(&mut self, url: &DatabaseUrl) -> Result<(), StoreError> {
        let sources = match self {
            Self::Sqlite(_) => &sqlite::MIGRATIONS,
            Self::MySql(_) => &mysql::MIGRATIONS,
            Self::Postgres(_) => &postgres::MIGRATIONS,
        };
        let sql = "SELECT version, checksum, CASE WHEN success THEN version ELSE 0 END
            FROM _sqlx_migrations ORDER BY version";
        let applied = |row: &dyn Columns| {
            Ok((row.long(0)?, row.bytes(1)?.to_vec(), row.long(2)? == row.long(0)?))
        };
        let applied = self.rows(sql.to_owned(), applied).await;
        let applied = applied.map_err(|error| StoreError::Foreign {
            database: url.to_string(),
            reason: error.to_string(),
        })?;
        migration::compare(&url.to_string(), sources, &applied)?;
        if self.is_threaded().await? && self.is_sealed().await? {
            return Ok(());
        }
        let (database, url) = (url.to_string(), url.to_string());
        Err(StoreError::Unmigrated { database, url })
    }

    /// What the embedded engine finds wrong with its file, the first of it: pages, and indexes that lack what their tables have.
    /// Servers keep sums of their pages, and have tools of their own.
    pub async fn damages(&mut self) -> Result<Vec<String>, StoreError> {
        let Self::Sqlite(_) = self else { return Ok(Vec::new()) };
        let sql = format!("PRAGMA integrity_check({DAMAGES_MAX})");
        let mut found = match self.rows(sql, |row| row.string(0)).await {
            // So damaged that it is not even looked through.
            Err(StoreError::Engine(error)) => vec![error],
            found => found?,
        };
        found.retain(|damage| damage != "ok");
        Ok(found.into_iter().map(|damage| damage.replace('\n', " ")).collect())
    }

    pub async fn close(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(connection) => connection.close().await?,
            Self::MySql(connection) => connection.close().await?,
            Self::Postgres(connection) => connection.close().await?,
        }
        Ok(())
    }

    async fn execute(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(connection) => connection.execute(sql).await.map(|_| ()),
            Self::MySql(connection) => connection.execute(sql).await.map(|_| ()),
            Self::Postgres(connection) => connection.execute(sql).await.map(|_| ()),
        }
    }

    /// `sql` has nothing in it that came from outside.
    pub(super) async fn rows<T>(
        &mut self,
        sql: String,
        of: impl Fn(&dyn Columns) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        match self {
            Self::Sqlite(connection) => sqlite::rows_once(connection, sql, of).await,
            Self::MySql(connection) => mysql::rows_once(connection, sql, of).await,
            Self::Postgres(connection) => postgres::rows_once(connection, sql, of).await,
        }
    }

    /// Whether anything has been chained yet.
    pub async fn is_chained(&mut self) -> Result<bool, StoreError> {
        let first = "SELECT seq FROM chain ORDER BY seq LIMIT 1".to_owned();
        Ok(!self.rows(first, |row| row.long(0)).await?.is_empty())
    }

    /// Links after the one numbered so, and after the transfer numbered so; without more there are none.
    /// Those of transfers are with them, unless an earlier version put them into the chain's own table.
    pub async fn links(&mut self, after: i64, transfer: i64) -> Result<Vec<Link>, StoreError> {
        let sql = format!(
            "SELECT seq, subject, hash FROM chain WHERE seq > {after} ORDER BY seq LIMIT {PAGE}"
        );
        let others = self.rows(sql, |row| link(row.long(0)?, row.string(1)?, row.bytes(2)?));
        let mut links = others.await?;
        let sql = format!(
            "SELECT seq, link_seq, link FROM transfers WHERE seq > {transfer} ORDER BY seq LIMIT {PAGE}"
        );
        let of_transfers = self.rows(sql, |row| {
            let subject = format!("transfer:{}", row.long(0)?);
            if row.is_null(1)? {
                Ok(None)
            } else {
                link(row.long(1)?, subject, row.bytes(2)?).map(Some)
            }
        });
        let of_transfers = of_transfers.await?;
        // Beyond the last of a full page there may be more that belong before the last of the other.
        let is_full = |rows: usize| i64::try_from(rows).is_ok_and(|rows| rows >= PAGE);
        let end = |rows: usize, last: Option<&Link>| match last {
            Some(last) if is_full(rows) => last.seq,
            _ => i64::MAX,
        };
        let until = end(links.len(), links.last())
            .min(end(of_transfers.len(), of_transfers.iter().rev().flatten().next()));
        links.extend(of_transfers.into_iter().flatten());
        links.sort_by_key(|link| link.seq);
        links.retain(|link| link.seq <= until);
        Ok(links)
    }

    pub async fn currencies(&mut self) -> Result<Vec<CurrencyBody>, StoreError> {
        let sql = "SELECT code, scale FROM currencies ORDER BY code";
        self.rows(sql.to_owned(), |row| row::currency(row)).await
    }

    pub async fn accounts(&mut self) -> Result<Vec<Account>, StoreError> {
        let sql = "SELECT code, name, currency, normal_balance, created_at_us, id FROM accounts ORDER BY id";
        let mut accounts = self.rows(sql.to_owned(), |row| row::account(row)).await?;
        let sql = "SELECT account_id, name, value FROM account_metadata";
        metadata::fill(&mut accounts, self.rows(sql.to_owned(), metadata::metadata_row).await?);
        Ok(accounts)
    }

    /// How many names are of accounts there are not.
    pub async fn stray_metadata(&mut self) -> Result<i64, StoreError> {
        let sql = "SELECT count(*) FROM account_metadata AS m
             WHERE NOT EXISTS (SELECT 1 FROM accounts AS a WHERE a.id = m.account_id)";
        Ok(self.rows(sql.to_owned(), |row| row.long(0)).await?.pop().unwrap_or(0))
    }

    /// How many names are of transfers there are not.
    pub async fn stray_transfer_metadata(&mut self) -> Result<i64, StoreError> {
        let sql = "SELECT count(*) FROM transfer_metadata AS m
             WHERE NOT EXISTS (SELECT 1 FROM transfers AS t WHERE t.seq = m.transfer_seq)";
        Ok(self.rows(sql.to_owned(), |row| row.long(0)).await?.pop().unwrap_or(0))
    }

    pub async fn limits(&mut self) -> Result<Vec<LimitsRow>, StoreError> {
        let sql = "SELECT id, account_id, balance_min_minor, balance_max_minor, set_at_us FROM account_limits ORDER BY id";
        self.rows(sql.to_owned(), |row| {
            Ok(LimitsRow {
                id: row.long(0)?,
                account_id: row.long(1)?,
                limits: Limits { min_minor: row.long_if_any(2)?, max_minor: row.long_if_any(3)? },
                set_at_us: row.long(4)?,
            })
        })
        .await
    }

    pub async fn balances(&mut self) -> Result<Vec<BalanceRow>, StoreError> {
        let sql = "SELECT account_id, debits_minor, credits_minor, entries, pending_debits_minor, pending_credits_minor,
                balance_min_minor, balance_max_minor, last_entry_id FROM balances ORDER BY account_id";
        self.rows(sql.to_owned(), |row| {
            Ok(BalanceRow {
                account_id: row.long(0)?,
                balance: row::totals_at(row, 1)?,
                limits: Limits { min_minor: row.long_if_any(6)?, max_minor: row.long_if_any(7)? },
                last_entry_id: row.long(8)?,
            })
        })
        .await
    }

    pub(super) async fn has_table(&mut self, name: &str) -> Result<bool, StoreError> {
        // What a role may not touch is not in PostgreSQL's information_schema.
        let tables = match self {
            Self::Sqlite(_) => "sqlite_schema WHERE name",
            Self::MySql(_) => {
                "information_schema.tables WHERE table_schema = DATABASE() AND table_name"
            }
            Self::Postgres(_) => {
                "pg_catalog.pg_tables WHERE schemaname = current_schema() AND tablename"
            }
        };
        let sql = format!("SELECT count(*) FROM {tables} = '{name}'");
        Ok(self.rows(sql, |row| row.long(0)).await? != [0])
    }

    /// Up to which entry the rows of `balances` are written.
    pub async fn balances_through(&mut self) -> Result<i64, StoreError> {
        let sql = "SELECT balances_through FROM service WHERE id = 1".to_owned();
        let found = self.rows(sql, |row| row.long(0)).await?;
        Ok(found.first().copied().unwrap_or(0))
    }

    /// Transfer and time of expiry of everything held.
    pub async fn holds(&mut self) -> Result<Vec<(i64, Option<i64>)>, StoreError> {
        let sql = "SELECT transfer_seq, expires_at_us FROM holds ORDER BY transfer_seq".to_owned();
        self.rows(sql, |row| Ok((row.long(0)?, row.long_if_any(1)?))).await
    }

    /// Transfers after the one numbered so, without their entries; of earlier versions', also without their keys.
    pub async fn transfers(&mut self, after: i64) -> Result<Vec<TransferRow>, StoreError> {
        let key = self.key();
        let sql = format!(
            "SELECT seq, id, kind, of_seq, description, effective_date, booked_at_us, expires_at_us, entry_id_first, entries,
                {key}, fingerprint
             FROM transfers WHERE seq > {after} ORDER BY seq LIMIT {PAGE}"
        );
        let transfers = self.rows(sql, |row| {
            Ok(TransferRow {
                seq: row.long(0)?,
                id: row.uuid(1)?,
                kind: row.kind(2)?,
                of_seq: row.long_if_any(3)?,
                description: row.string(4)?,
                effective_date: row.string(5)?,
                booked_at_us: row.long(6)?,
                expires_at_us: row.long_if_any(7)?,
                entry_id_first: row.long(8)?,
                entry_count: row.long(9)?,
                entries: Vec::new(),
                backdated: Vec::new(),
                key: if row.is_null(10)? { None } else { Some(own_key(row)?) },
                metadata: Metadata::default(),
            })
        });
        let mut transfers = transfers.await?;
        let Some(last) = transfers.last() else { return Ok(transfers) };
        let sql = format!(
            "SELECT transfer_seq, name, value FROM transfer_metadata
             WHERE transfer_seq > {after} AND transfer_seq <= {} ORDER BY transfer_seq",
            last.seq
        );
        for (seq, name, value) in self.rows(sql, metadata::metadata_row).await? {
            if let Ok(place) = transfers.binary_search_by_key(&seq, |row| row.seq) {
                transfers[place].metadata.0.insert(name, value);
            }
        }
        Ok(transfers)
    }

    /// Entries after the one with this id.
    pub async fn entries(&mut self, after: i64) -> Result<Vec<EntryRow>, StoreError> {
        let sql = format!(
            "SELECT id, transfer_seq, account_id, direction, amount_minor, number, debits_after_minor, credits_after_minor,
                previous_id, jump_id
             FROM entries WHERE id > {after} ORDER BY id LIMIT {PAGE}"
        );
        self.rows(sql, |row| {
            let back = Back { previous_id: row.long(8)?, jump_id: row.long(9)? };
            Ok(EntryRow { back, ..entry(row)? })
        })
        .await
    }

    /// Held entries after the one with this id.
    pub async fn pending_entries(&mut self, after: i64) -> Result<Vec<EntryRow>, StoreError> {
        let sql = format!(
            "SELECT id, transfer_seq, account_id, direction, amount_minor
             FROM pending_entries WHERE id > {after} ORDER BY id LIMIT {PAGE}"
        );
        self.rows(sql, pending_entry).await
    }

    /// Backdated entries after the one with this id.
    pub async fn backdated(&mut self, after: i64) -> Result<Vec<BackdatedRow>, StoreError> {
        let sql = format!(
            "SELECT id, account_id, effective_date, number FROM backdated_entries
             WHERE id > {after} ORDER BY id LIMIT {PAGE}"
        );
        self.rows(sql, |row| {
            Ok(BackdatedRow {
                id: row.long(0)?,
                account_id: row.long(1)?,
                effective_date: row.string(2)?,
                number: row.long(3)?,
            })
        })
        .await
    }

    /// Sums of backdated entries by account, effective date and day of booking.
    pub async fn backdated_days(&mut self) -> Result<Vec<BackdatedDay>, StoreError> {
        let sql =
            "SELECT account_id, effective_date, booked_date, debits_minor, credits_minor, entries
             FROM backdated_days ORDER BY account_id, effective_date, booked_date";
        self.rows(sql.to_owned(), |row| {
            let totals = Totals {
                debits_minor: row.long(3)?,
                credits_minor: row.long(4)?,
                entries: row.long(5)?,
            };
            Ok(((row.long(0)?, row.string(1)?, row.string(2)?), totals))
        })
        .await
    }

    /// Closes without what they carry forward.
    pub async fn closes(&mut self) -> Result<Vec<CloseRow>, StoreError> {
        let sql = "SELECT id, through, description, closed_at_us FROM closes ORDER BY id";
        self.rows(sql.to_owned(), |row| {
            Ok(CloseRow {
                id: row.long(0)?,
                through: row.string(1)?,
                description: row.string(2)?,
                closed_at_us: row.long(3)?,
                balances: Vec::new(),
            })
        })
        .await
    }

    /// What a close carries forward, by account.
    pub async fn close_balances(&mut self, id: i64) -> Result<Vec<(i64, i64, i64)>, StoreError> {
        let sql = format!(
            "SELECT account_id, debits_minor, credits_minor FROM close_balances
             WHERE close_id = {id} ORDER BY account_id"
        );
        self.rows(sql, |row| Ok((row.long(0)?, row.long(1)?, row.long(2)?))).await
    }

    /// How many balances are carried forward by closes there are not.
    pub async fn stray_close_balances(&mut self) -> Result<i64, StoreError> {
        let sql = "SELECT count(*) FROM close_balances AS b
             WHERE NOT EXISTS (SELECT 1 FROM closes AS c WHERE c.id = b.close_id)";
        Ok(self.rows(sql.to_owned(), |row| row.long(0)).await?.pop().unwrap_or(0))
    }

    /// How many links there are before the first.
    pub async fn stray_links(&mut self) -> Result<i64, StoreError> {
        let sql = "SELECT count(*) FROM chain WHERE seq < 1".to_owned();
        Ok(self.rows(sql, |row| row.long(0)).await?.pop().unwrap_or(0))
    }

    /// API keys, without when they were last used, which is no part of the books.
    pub async fn api_keys(&mut self) -> Result<Vec<ApiKeyRow>, StoreError> {
        let sql = "SELECT id, name, prefix, hash, role, rate_per_second, rate_burst, created_at_us, expires_at_us
             FROM api_keys ORDER BY id";
        self.rows(sql.to_owned(), acts::stored_key).await
    }

    pub async fn revocations(&mut self) -> Result<Vec<RevocationRow>, StoreError> {
        let sql = "SELECT key_id, revoked_at_us FROM api_key_revocations ORDER BY key_id";
        let read = |row: &dyn Columns| {
            Ok(RevocationRow { key_id: row.long(0)?, revoked_at_us: row.long(1)? })
        };
        self.rows(sql.to_owned(), read).await
    }

    /// Webhook endpoints, without how far they have come, which is no part of the books.
    pub async fn endpoints(&mut self) -> Result<Vec<EndpointRow>, StoreError> {
        let sql = "SELECT id, url, description, secret, after_seq, created_at_us
             FROM webhook_endpoints ORDER BY id";
        self.rows(sql.to_owned(), outbox::endpoint_row).await
    }

    pub async fn removals(&mut self) -> Result<Vec<RemovalRow>, StoreError> {
        let sql = "SELECT endpoint_id, removed_at_us FROM webhook_removals ORDER BY endpoint_id";
        self.rows(sql.to_owned(), |row| {
            Ok(RemovalRow { endpoint_id: row.long(0)?, removed_at_us: row.long(1)? })
        })
        .await
    }

    pub async fn audit_log(&mut self) -> Result<Vec<AuditRow>, StoreError> {
        let sql = "SELECT id, at_us, actor, action, subject, detail FROM audit_log ORDER BY id";
        self.rows(sql.to_owned(), |row| {
            Ok(AuditRow {
                id: row.long(0)?,
                at_us: row.long(1)?,
                actor: row.string(2)?,
                action: row.string(3)?,
                subject: row.string(4)?,
                detail: row.string(5)?,
            })
        })
        .await
    }

    pub async fn sets(&mut self) -> Result<Vec<SetRow>, StoreError> {
        let sql = "SELECT id, code, name, created_at_us FROM account_sets ORDER BY id";
        self.rows(sql.to_owned(), sets::set_row).await
    }

    pub async fn members(&mut self) -> Result<Vec<MemberRow>, StoreError> {
        let sql = "SELECT id, set_id, account_id, member_set_id, added_at_us FROM account_set_members ORDER BY id";
        self.rows(sql.to_owned(), sets::member_row).await
    }

    /// Matches, with what they join.
    pub async fn matches(&mut self) -> Result<Vec<MatchRow>, StoreError> {
        let sql = "SELECT id, account_id, rule, reason, matched_at_us FROM matches ORDER BY id";
        let mut matches = self.rows(sql.to_owned(), reconcile::match_row).await?;
        let pair = |row: &dyn Columns| Ok((row.long(0)?, row.long(1)?));
        let sql = "SELECT match_id, line_id FROM match_lines ORDER BY match_id, line_id";
        for (id, line) in self.rows(sql.to_owned(), pair).await? {
            match matches.binary_search_by_key(&id, |row| row.id) {
                Ok(place) => matches[place].lines.push(line),
                Err(_) => return Err(stray("match_lines", id)),
            }
        }
        let sql = "SELECT match_id, entry_id FROM match_entries ORDER BY match_id, entry_id";
        for (id, entry) in self.rows(sql.to_owned(), pair).await? {
            match matches.binary_search_by_key(&id, |row| row.id) {
                Ok(place) => matches[place].entries.push(entry),
                Err(_) => return Err(stray("match_entries", id)),
            }
        }
        Ok(matches)
    }

    pub async fn unmatches(&mut self) -> Result<Vec<UnmatchRow>, StoreError> {
        let sql = "SELECT match_id, reason, unmatched_at_us FROM unmatches ORDER BY match_id";
        self.rows(sql.to_owned(), |row| {
            let (match_id, reason) = (row.long(0)?, row.string(1)?);
            Ok(UnmatchRow { match_id, reason, unmatched_at_us: row.long(2)? })
        })
        .await
    }

    /// Line and account of everything open; entry and match of everything matched.
    pub async fn reconciled(&mut self) -> Result<[Vec<(i64, i64)>; 2], StoreError> {
        let pair = |row: &dyn Columns| Ok((row.long(0)?, row.long(1)?));
        let open = "SELECT line_id, account_id FROM open_lines ORDER BY line_id".to_owned();
        let matched = "SELECT entry_id, match_id FROM matched_entries ORDER BY entry_id".to_owned();
        Ok([self.rows(open, pair).await?, self.rows(matched, pair).await?])
    }

    pub async fn signatures(&mut self) -> Result<Vec<SignatureRow>, StoreError> {
        let sql = "SELECT id, head_seq, head_hash, public_key, signature, signed_at_us
             FROM head_signatures ORDER BY id";
        self.rows(sql.to_owned(), signatures::signature_row).await
    }

    /// The column's name, which is a word of its own in MySQL.
    fn key(&self) -> &'static str {
        if matches!(self, Self::MySql(_)) { "`key`" } else { "key" }
    }

    /// Keys that earlier versions kept apart, of transfers after the one numbered so.
    pub async fn keys(&mut self, after: i64) -> Result<Vec<KeyRow>, StoreError> {
        let key = self.key();
        let sql = format!(
            "SELECT transfer_seq, {key}, fingerprint, status, body FROM idempotency_keys
             WHERE transfer_seq > {after} ORDER BY transfer_seq LIMIT {PAGE}"
        );
        self.rows(sql, |row| {
            Ok(KeyRow {
                transfer_seq: row.long(0)?,
                key: row.string(1)?,
                fingerprint: row.bytes(2)?.to_vec(),
                status: row.long(3)?,
                body: if row.is_null(4)? { None } else { Some(row.string(4)?) },
            })
        })
        .await
    }
}

/// A row that belongs to nothing.
pub(super) fn stray(table: &str, id: i64) -> StoreError {
    StoreError::Corrupt(format!("{table}, {id}: it belongs to nothing"))
}

fn link(seq: i64, subject: String, hash: &[u8]) -> Result<Link, StoreError> {
    let wrong = |_| StoreError::Corrupt("a hash of another length".into());
    Ok(Link { seq, subject, hash: hash.try_into().map_err(wrong)? })
}

/// A transfer's key as it is in its own row.
fn own_key(row: &dyn Columns) -> Result<KeyRow, StoreError> {
    Ok(KeyRow {
        transfer_seq: row.long(0)?,
        key: row.string(10)?,
        fingerprint: row.bytes(11)?.to_vec(),
        status: STATUS_CREATED.into(),
        body: None,
    })
}

/// An entry that counts, without where it points.
pub(super) fn entry(row: &dyn Columns) -> Result<EntryRow, StoreError> {
    Ok(EntryRow {
        number: row.long(5)?,
        debits_after_minor: row.long(6)?,
        credits_after_minor: row.long(7)?,
        ..pending_entry(row)?
    })
}

fn pending_entry(row: &dyn Columns) -> Result<EntryRow, StoreError> {
    Ok(EntryRow {
        id: row.long(0)?,
        transfer_seq: row.long(1)?,
        account_id: row.long(2)?,
        debit: row.side(3)? == Side::Debit,
        amount_minor: row.long(4)?,
        number: 0,
        debits_after_minor: 0,
        credits_after_minor: 0,
        back: Back::default(),
    })
}
