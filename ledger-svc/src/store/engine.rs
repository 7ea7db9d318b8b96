//! One name for the three engines. Nothing is decided here.

use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;

use super::error::StoreError;
use super::faults::{Step, may_fail};
use super::list::List;
use super::row::Columns;
use super::table::Rows;
use super::url::SqliteFile;
use super::{mysql, postgres, sqlite};
use crate::account::{Account, AccountBody, CurrencyBody};

/// What writes: all the lanes there are, of which those that fly are with their flights.
#[derive(Debug)]
pub struct Writer {
    lanes: Vec<Lane>,
}

/// A writing connection. Servers have two, so that the rows of one batch are inserted while the batch before it is being
/// written; SQLite has one writer at a time.
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

/// Copies a file of the embedded engine, also while a service writes it.
pub async fn copy(from: &SqliteFile, to: &SqliteFile) -> Result<(), StoreError> {
    sqlite::copy(&from.path, &to.path).await
}

impl Writer {
    pub(super) fn of(lanes: Vec<Lane>) -> Self {
        Self { lanes }
    }

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
        !matches!(self, Self::Sqlite(_))
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
