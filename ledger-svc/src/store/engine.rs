//! One name for the three engines. Nothing is decided here.

use jiff::Timestamp;
use uuid::Uuid;

use super::durability::UnsafeSetting;
use super::migration::Migrated;
use super::statement::Point;
use super::url::DatabaseUrl;
use super::{Access, Audit, Created, StoreError, Stream, mysql, postgres, sqlite};
use crate::account::{AccountBody, CurrencyBody};
use crate::batch::{Changes, Snapshot, Wanted};
use crate::chain::{Head, LimitsRow, Link, Record};
use crate::posting::{Limits, Standing};
use crate::report::{Account, AccountBalance, AccountEntry, Page, TransferSummary, TrialBalance};
use crate::transfer::Transfer;

/// Links written in one statement while a database is chained for the first time.
const LINKS_AT_ONCE: usize = 1000;

/// The one writing connection.
#[derive(Debug)]
pub enum Writer {
    Sqlite(Box<sqlite::Writer>),
    MySql(mysql::Writer),
    Postgres(postgres::Writer),
}

/// One SQL transaction of the writer. Dropped without `commit`, it is rolled back.
pub enum Batch<'a> {
    Sqlite(sqlite::Batch<'a>),
    MySql(mysql::Batch<'a>),
    Postgres(postgres::Batch<'a>),
}

/// The reading connections. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Reader {
    Sqlite(sqlite::Reader),
    MySql(mysql::Reader),
    Postgres(postgres::Reader),
}

/// A database opened for one service.
#[derive(Debug)]
pub struct Opened {
    pub writer: Writer,
    pub reader: Reader,
    /// Empty unless `Access::allow_unsafe` was given and needed.
    pub unsafe_settings: Vec<UnsafeSetting>,
}

/// The same expression on whichever engine it is. A function cannot take three types at once.
macro_rules! on {
    ($engines:ident, $self:expr, $engine:ident => $expression:expr) => {
        match $self {
            $engines::Sqlite($engine) => $expression,
            $engines::MySql($engine) => $expression,
            $engines::Postgres($engine) => $expression,
        }
    };
}

/// Creates or updates the tables. Does nothing, and says so, when there is nothing to do.
pub async fn migrate(url: &DatabaseUrl, allow_unsafe: bool) -> Result<Migrated, StoreError> {
    let migrated = match url {
        DatabaseUrl::Sqlite(file) => sqlite::migrate(file, allow_unsafe).await,
        DatabaseUrl::MySql(server) => mysql::migrate(server, allow_unsafe).await,
        DatabaseUrl::Postgres(server) => postgres::migrate(server, allow_unsafe).await,
    }?;
    if !is_chained(url).await? {
        // Opening chains what is there.
        let opened = open(url, Access { migrate: true, allow_unsafe }).await?;
        opened.reader.close().await;
        opened.writer.close().await?;
    }
    Ok(migrated)
}

async fn is_chained(url: &DatabaseUrl) -> Result<bool, StoreError> {
    let mut audit = Audit::open(url).await?;
    let chained = audit.is_chained().await?;
    audit.close().await?;
    Ok(chained)
}

/// Gives everything that was booked before there was a chain its links, in one SQL transaction: the
/// chart in the order of codes and ids, then the transfers.
async fn chain_what_is_there(url: &DatabaseUrl, writer: &mut Writer) -> Result<(), StoreError> {
    let mut audit = Audit::open(url).await?;
    let mut batch = writer.begin().await?;
    let mut head = Head::default();
    let mut links = Vec::new();
    for currency in audit.currencies().await? {
        links.push(head.extend(Record::Currency(&currency)));
    }
    for account in audit.accounts().await? {
        links.push(head.extend(Record::Account(&account)));
    }
    for limits in audit.limits().await? {
        links.push(head.extend(Record::Limits(&limits)));
    }
    let mut stream = Stream::default();
    while let Some(transfer) = stream.next(&mut audit).await? {
        links.push(head.extend(Record::Transfer(&transfer)));
        if links.len() >= LINKS_AT_ONCE {
            batch.write_links(&links).await?;
            links.clear();
        }
    }
    if !links.is_empty() {
        batch.write_links(&links).await?;
    }
    batch.commit().await?;
    audit.close().await
}

/// Opens the database for one service: takes its lock, refuses what is foreign or unsafe, migrates
/// when it may, and proves by a write that it can be written.
pub async fn open(url: &DatabaseUrl, access: Access) -> Result<Opened, StoreError> {
    let (mut writer, reader, unsafe_settings) = match url {
        DatabaseUrl::Sqlite(file) => {
            let (writer, reader, unsafe_settings) = sqlite::open(file, access).await?;
            (Writer::Sqlite(Box::new(writer)), Reader::Sqlite(reader), unsafe_settings)
        }
        DatabaseUrl::MySql(server) => {
            let (writer, reader, unsafe_settings) = mysql::open(server, access).await?;
            (Writer::MySql(writer), Reader::MySql(reader), unsafe_settings)
        }
        DatabaseUrl::Postgres(server) => {
            let (writer, reader, unsafe_settings) = postgres::open(server, access).await?;
            (Writer::Postgres(writer), Reader::Postgres(reader), unsafe_settings)
        }
    };
    if !is_chained(url).await? {
        if !access.migrate {
            let (database, url) = (url.to_string(), url.to_string());
            return Err(StoreError::Unmigrated { database, url });
        }
        chain_what_is_there(url, &mut writer).await?;
    }
    Ok(Opened { writer, reader, unsafe_settings })
}

impl Writer {
    /// Begins a batch. After a failure it connects again, which on a server succeeds only once the
    /// failed connection has ended there.
    pub async fn begin(&mut self) -> Result<Batch<'_>, StoreError> {
        Ok(match self {
            Self::Sqlite(writer) => Batch::Sqlite(writer.begin().await?),
            Self::MySql(writer) => Batch::MySql(writer.begin().await?),
            Self::Postgres(writer) => Batch::Postgres(writer.begin().await?),
        })
    }

    /// Drops the connection after a failed batch: whatever state it is in, the next batch starts
    /// on a fresh one.
    pub async fn reset(&mut self) {
        on!(Self, self, writer => writer.reset().await);
    }

    pub async fn close(self) -> Result<(), StoreError> {
        on!(Self, self, writer => writer.close().await)
    }
}

impl Batch<'_> {
    pub async fn create_currency(
        &mut self,
        body: &CurrencyBody,
    ) -> Result<Created<CurrencyBody>, StoreError> {
        on!(Self, self, batch => batch.create_currency(body).await)
    }

    pub async fn create_account(
        &mut self,
        body: &AccountBody,
        now: Timestamp,
    ) -> Result<Created<Account>, StoreError> {
        on!(Self, self, batch => batch.create_account(body, now).await)
    }

    /// Puts limits on an account from now on.
    pub async fn set_limits(
        &mut self,
        account_id: i64,
        limits: Limits,
        now: Timestamp,
    ) -> Result<LimitsRow, StoreError> {
        on!(Self, self, batch => batch.set_limits(account_id, limits, now).await)
    }

    /// Appends to the chain.
    pub async fn write_links(&mut self, links: &[Link]) -> Result<(), StoreError> {
        on!(Self, self, batch => batch.write_links(links).await)
    }

    /// Everything the posting of a batch needs to know, under the write lock. Fails when another
    /// service has opened this database since.
    pub async fn lock_and_read(&mut self, wanted: &Wanted<'_>) -> Result<Snapshot, StoreError> {
        on!(Self, self, batch => batch.lock_and_read(wanted).await)
    }

    /// When the next pending transfer expires, in microseconds since 1970.
    pub async fn next_expiry(&mut self) -> Result<Option<i64>, StoreError> {
        on!(Self, self, batch => batch.next_expiry().await)
    }

    /// Writes what was decided: transfers, their entries, the new balances and the answers.
    pub async fn write(&mut self, changes: &Changes) -> Result<(), StoreError> {
        on!(Self, self, batch => batch.write(changes).await)
    }

    /// A write that changes nothing of the books; proves that the database can be written.
    pub async fn probe(&mut self, now: Timestamp) -> Result<(), StoreError> {
        on!(Self, self, batch => batch.probe(now).await)
    }

    /// Makes the batch durable. When this fails, nothing of the batch may be acknowledged.
    pub async fn commit(self) -> Result<(), StoreError> {
        on!(Batch, self, batch => batch.commit().await)
    }
}

impl Reader {
    /// The engine's name, for people and metrics.
    pub fn engine(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::MySql(_) => "mysql",
            Self::Postgres(_) => "postgres",
        }
    }

    /// Currencies with a code after `after`.
    pub async fn currencies(
        &self,
        after: &str,
        limit: usize,
    ) -> Result<Page<CurrencyBody>, StoreError> {
        on!(Self, self, reader => reader.currencies(after, limit).await)
    }

    /// Accounts with a code after `after`.
    pub async fn accounts(&self, after: &str, limit: usize) -> Result<Page<Account>, StoreError> {
        on!(Self, self, reader => reader.accounts(after, limit).await)
    }

    pub async fn account(&self, code: &str) -> Result<Option<Account>, StoreError> {
        on!(Self, self, reader => reader.account(code).await)
    }

    /// An account with its id, totals and limits.
    pub async fn standing(&self, code: &str) -> Result<Option<Standing>, StoreError> {
        on!(Self, self, reader => reader.standing(code).await)
    }

    /// How many entries a transfer has; nothing when there is none of this id.
    pub async fn entries_of(&self, id: Uuid) -> Result<Option<i64>, StoreError> {
        on!(Self, self, reader => reader.entries_of(id).await)
    }

    pub async fn balance(&self, code: &str) -> Result<Option<AccountBalance>, StoreError> {
        on!(Self, self, reader => reader.balance(code).await)
    }

    /// The entries of an account with a number after `after`; nothing when there is no account.
    pub async fn entries(
        &self,
        code: &str,
        after: i64,
        limit: usize,
    ) -> Result<Option<Page<AccountEntry>>, StoreError> {
        on!(Self, self, reader => reader.entries(code, after, limit).await)
    }

    pub async fn transfer(&self, id: Uuid) -> Result<Option<Transfer>, StoreError> {
        on!(Self, self, reader => reader.transfer(id).await)
    }

    /// The account's entry numbered so.
    pub async fn point(&self, account_id: i64, number: i64) -> Result<Option<Point>, StoreError> {
        on!(Self, self, reader => reader.point(account_id, number).await)
    }

    /// Transfers in booking order after the `after`th.
    pub async fn transfers(
        &self,
        after: i64,
        limit: usize,
    ) -> Result<Page<TransferSummary>, StoreError> {
        on!(Self, self, reader => reader.transfers(after, limit).await)
    }

    /// Totals over all accounts and a page of accounts, both of the same moment.
    pub async fn trial_balance(
        &self,
        after: &str,
        limit: usize,
    ) -> Result<TrialBalance, StoreError> {
        on!(Self, self, reader => reader.trial_balance(after, limit).await)
    }

    pub async fn close(&self) {
        on!(Self, self, reader => reader.close().await);
    }
}
