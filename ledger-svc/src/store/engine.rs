//! One name for the three engines. Nothing is decided here.

use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;

use super::durability::UnsafeSetting;
use super::faults::{Step, may_fail};
use super::gather::List;
use super::migration::Migrated;
use super::reader::Reader;
use super::row::Columns;
use super::rows::Rows;
use super::url::{DatabaseUrl, SqliteFile};
use super::{
    Access, Audit, StoreError, Stream, mysql, postgres, sealed, sqlite, threading, unique,
};
use crate::account::{Account, AccountBody, CurrencyBody};
use crate::chain::Record;
use crate::link::Head;

/// Links written in one statement while a database is chained for the first time.
const LINKS_AT_ONCE: usize = 1000;

/// What writes: all the lanes there are, of which those that fly are with their flights.
#[derive(Debug)]
pub struct Writer {
    lanes: Vec<Lane>,
}

/// A writing connection. PostgreSQL has two, so that the rows of one batch are inserted while the batch before it is being
/// written; SQLite has one writer at a time, and on MySQL it does not pay.
#[derive(Debug)]
pub enum Lane {
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

/// The writer's second connection, on which it looks ahead while a batch is being written.
#[derive(Clone, Debug)]
pub enum Ahead {
    Sqlite(SqlitePool),
    MySql(mysql::Ahead),
    Postgres(PgPool),
}

/// Statements that write rows, ready to be sent.
pub enum Inserts {
    Sqlite(Vec<sqlite::Insert>),
    MySql(mysql::Inserts),
    Postgres(Vec<postgres::Insert>),
}

/// A database opened for one service.
#[derive(Debug)]
pub struct Opened {
    pub writer: Writer,
    pub reader: Reader,
    pub ahead: Ahead,
    /// Empty unless `Access::allow_unsafe` was given and needed.
    pub unsafe_settings: Vec<UnsafeSetting>,
}

impl Opened {
    pub(super) async fn close(self) -> Result<(), StoreError> {
        self.reader.close().await;
        self.ahead.close().await;
        self.writer.close().await
    }
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
    if !is_complete(url).await? {
        // Opening does the rest.
        open_unheld(url, Access { migrate: true, allow_unsafe }).await?.close().await?;
    }
    Ok(migrated)
}

/// Copies a file of the embedded engine, also while a service writes it.
pub async fn copy(from: &SqliteFile, to: &SqliteFile) -> Result<(), StoreError> {
    sqlite::copy(&from.path, &to.path).await
}

/// Reading connections to a current database, which a service may be writing meanwhile.
pub async fn read_only(url: &DatabaseUrl) -> Result<Reader, StoreError> {
    let mut audit = Audit::open(url).await?;
    audit.check_migrations(url).await?;
    audit.close().await?;
    Ok(match url {
        DatabaseUrl::Sqlite(file) => Reader::Sqlite(sqlite::readers(file)),
        DatabaseUrl::MySql(server) => Reader::MySql(mysql::readers(server)),
        DatabaseUrl::Postgres(server) => Reader::Postgres(postgres::readers(server)),
    })
}

/// Whether everything that is there is chained, sealed and has its way back.
async fn is_complete(url: &DatabaseUrl) -> Result<bool, StoreError> {
    let mut audit = Audit::open(url).await?;
    let complete =
        audit.is_threaded().await? && audit.is_chained().await? && audit.is_sealed().await?;
    audit.close().await?;
    Ok(complete)
}

/// What the statements of the migrations leave to be done to what earlier versions booked.
async fn complete(url: &DatabaseUrl, writer: &mut Writer) -> Result<(), StoreError> {
    let mut audit = Audit::open(url).await?;
    let (threaded, chained) = (audit.is_threaded().await?, audit.is_chained().await?);
    let sealed = audit.is_sealed().await?;
    audit.close().await?;
    if !threaded {
        threading::thread(writer).await?;
    }
    if !chained {
        chain_what_is_there(url, writer).await?;
    }
    if !sealed {
        sealed::seal(writer).await?;
    }
    Ok(())
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

/// Opens the database for one service: takes its lock, refuses what is foreign or unsafe or would book twice, migrates
/// when it may, and proves by a write that it can be written.
pub async fn open(url: &DatabaseUrl, access: Access) -> Result<Opened, StoreError> {
    let opened = open_unheld(url, access).await?;
    let mut audit = Audit::open(url).await?;
    let mut columns = audit.not_unique().await?;
    audit.close().await?;
    columns.retain(|columns| unique::RELIED_ON.contains(columns));
    if columns.is_empty() {
        return Ok(opened);
    }
    opened.close().await?;
    Err(StoreError::Doubling { database: url.to_string(), columns })
}

/// The same, whatever became of its indexes.
pub(super) async fn open_unheld(url: &DatabaseUrl, access: Access) -> Result<Opened, StoreError> {
    let (lanes, reader, ahead, unsafe_settings) = match url {
        DatabaseUrl::Sqlite(file) => {
            let (writer, pool, ahead, unsafe_settings) = sqlite::open(file, access).await?;
            let lanes = vec![Lane::Sqlite(Box::new(writer))];
            (lanes, Reader::Sqlite(pool), Ahead::Sqlite(ahead), unsafe_settings)
        }
        DatabaseUrl::MySql(server) => {
            let (writer, pool, ahead, unsafe_settings) = mysql::open(server, access).await?;
            let lanes = vec![Lane::MySql(writer)];
            (lanes, Reader::MySql(pool), Ahead::MySql(ahead), unsafe_settings)
        }
        DatabaseUrl::Postgres(server) => {
            let (lanes, pool, ahead, unsafe_settings) = postgres::open(server, access).await?;
            let lanes = lanes.map(Lane::Postgres).into();
            (lanes, Reader::Postgres(pool), Ahead::Postgres(ahead), unsafe_settings)
        }
    };
    let mut writer = Writer { lanes };
    if !is_complete(url).await? {
        if !access.migrate {
            let (database, url) = (url.to_string(), url.to_string());
            return Err(StoreError::Unmigrated { database, url });
        }
        complete(url, &mut writer).await?;
    }
    Ok(Opened { writer, reader, ahead, unsafe_settings })
}

impl Writer {
    /// Begins a batch while none flies. After a failure it connects all lanes again, which on a server succeeds only
    /// once the failed connections have ended there.
    pub async fn begin(&mut self) -> Result<Batch<'_>, StoreError> {
        let (first, others) = self.lanes.split_first_mut().expect("no lane flies");
        for lane in others {
            on!(Lane, lane, lane => lane.ready().await)?;
        }
        first.begin().await
    }

    /// Drops the connections after a failed batch.
    pub async fn reset(&mut self) {
        for lane in &mut self.lanes {
            lane.reset().await;
        }
    }

    pub async fn close(self) -> Result<(), StoreError> {
        for lane in self.lanes {
            on!(Lane, lane, lane => lane.close().await)?;
        }
        Ok(())
    }

    /// A lane for a flight, which is to be given back.
    pub fn take(&mut self) -> Option<Lane> {
        (!self.lanes.is_empty()).then(|| self.lanes.remove(0))
    }

    pub fn give_back(&mut self, lane: Lane) {
        self.lanes.push(lane);
    }

    /// Whether a lane is free.
    pub fn has_lane(&self) -> bool {
        !self.lanes.is_empty()
    }

    /// With a second lane on SQLite, which has to wait for its turn before it does anything.
    #[cfg(test)]
    pub fn with_two_lanes(mut self) -> Self {
        if let [Lane::Sqlite(writer)] = self.lanes.as_slice() {
            let beside = Lane::Sqlite(Box::new(writer.beside()));
            self.lanes.push(beside);
        }
        self
    }
}

impl Lane {
    /// Whether rows can be inserted while another lane inserts its own.
    pub fn flies_beside(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Begins a batch.
    pub async fn begin(&mut self) -> Result<Batch<'_>, StoreError> {
        may_fail(Step::Begin)?;
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
}

impl Ahead {
    pub(super) async fn look_up<T>(
        &self,
        list: List<'_>,
        of: impl Fn(&dyn Columns) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        may_fail(Step::LookUp)?;
        match self {
            Self::Sqlite(pool) => {
                let rows = sqlite::look_up(list).fetch_all(pool).await?;
                rows.iter().map(|row| of(row)).collect()
            }
            Self::MySql(ahead) => {
                let rows = mysql::look_up(list).fetch_all(&ahead.pool).await?;
                rows.iter().map(|row| of(row)).collect()
            }
            Self::Postgres(pool) => {
                let rows = postgres::look_up(list).fetch_all(pool).await?;
                rows.iter().map(|row| of(row)).collect()
            }
        }
    }

    pub(super) fn inserts_of(&self, tables: &[Rows<'_>]) -> Result<Inserts, StoreError> {
        Ok(match self {
            Self::Sqlite(_) => Inserts::Sqlite(sqlite::inserts(tables)?),
            Self::MySql(ahead) => Inserts::MySql(ahead.inserts_of(tables)),
            Self::Postgres(_) => Inserts::Postgres(postgres::inserts(tables)?),
        })
    }

    pub async fn close(&self) {
        on!(Self, self, pool => pool.close().await);
    }
}

/// What the engines do differently; `gather` puts it together.
impl Batch<'_> {
    /// Takes the write lock, and fails when another service has opened this database since.
    pub(super) async fn fence(&mut self) -> Result<(), StoreError> {
        may_fail(Step::Fence)?;
        on!(Self, self, batch => batch.fence().await)
    }

    /// `sql` has no parameters, and nothing in it that came from outside but numbers and dates.
    pub(super) async fn query<T>(
        &mut self,
        sql: &str,
        of: impl Fn(&dyn Columns) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        on!(Self, self, batch => batch.query(sql.to_owned(), of).await)
    }

    /// The same, for a text that is not met again: the connection does not keep it prepared.
    pub(super) async fn query_once<T>(
        &mut self,
        sql: &str,
        of: impl Fn(&dyn Columns) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        on!(Self, self, batch => batch.query_once(sql.to_owned(), of).await)
    }

    pub(super) async fn look_up<T>(
        &mut self,
        list: List<'_>,
        of: impl Fn(&dyn Columns) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        may_fail(Step::LookUp)?;
        on!(Self, self, batch => batch.look_up(list, of).await)
    }

    /// `sql` has nothing in it that came from outside but numbers. Says how many rows it changed.
    pub(super) async fn run(&mut self, sql: String) -> Result<u64, StoreError> {
        on!(Self, self, batch => batch.run(sql).await)
    }

    /// All the rows, or an error.
    pub(super) async fn insert(&mut self, tables: &[Rows<'_>]) -> Result<(), StoreError> {
        may_fail(Step::Insert)?;
        match self {
            Self::Sqlite(batch) => batch.insert(sqlite::inserts(tables)?).await,
            Self::MySql(batch) => {
                let inserts = batch.inserts_of(tables);
                batch.insert(inserts).await
            }
            Self::Postgres(batch) => batch.insert(postgres::inserts(tables)?).await,
        }
    }

    /// All the rows of statements made before, by the same engine.
    pub async fn insert_made(&mut self, inserts: Inserts) -> Result<(), StoreError> {
        may_fail(Step::Insert)?;
        match (self, inserts) {
            (Self::Sqlite(batch), Inserts::Sqlite(inserts)) => batch.insert(inserts).await,
            (Self::MySql(batch), Inserts::MySql(inserts)) => batch.insert(inserts).await,
            (Self::Postgres(batch), Inserts::Postgres(inserts)) => batch.insert(inserts).await,
            _ => Err(StoreError::Engine("these statements are another engine's".into())),
        }
    }

    pub(super) async fn currency(
        &mut self,
        code: &str,
    ) -> Result<Option<CurrencyBody>, StoreError> {
        on!(Self, self, batch => batch.currency(code).await)
    }

    pub(super) async fn insert_currency(&mut self, body: &CurrencyBody) -> Result<(), StoreError> {
        on!(Self, self, batch => batch.insert_currency(body).await)
    }

    pub(super) async fn account(&mut self, code: &str) -> Result<Option<Account>, StoreError> {
        on!(Self, self, batch => batch.account(code).await)
    }

    /// With a balance of nothing.
    pub(super) async fn insert_account(
        &mut self,
        body: &AccountBody,
        created_at_us: i64,
    ) -> Result<(), StoreError> {
        on!(Self, self, batch => batch.insert_account(body, created_at_us).await)
    }

    /// Makes the batch durable. When this fails, nothing of the batch may be acknowledged.
    pub async fn commit(self) -> Result<(), StoreError> {
        may_fail(Step::Commit)?;
        on!(Batch, self, batch => batch.commit().await)?;
        may_fail(Step::Committed)
    }
}
