//! Reading connections: a small pool that never waits for the writer, because every engine shows each of
//! them the last commit. Statements are written once for all engines, with `?` for every parameter.

use std::fmt::Write as _;

use sqlx::mysql::{MySql, MySqlArguments, MySqlPool};
use sqlx::postgres::{PgArguments, PgPool, Postgres};
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqlitePool};
use sqlx::{AssertSqlSafe, Transaction};
use uuid::Uuid;

use super::current::in_postgres;
use super::error::StoreError;
use super::row::Columns;

/// The reading connections. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Reader {
    Sqlite(SqlitePool),
    MySql(MySqlPool),
    Postgres(PgPool),
}

/// One connection that sees one moment.
pub enum Moment {
    Sqlite(Transaction<'static, Sqlite>),
    MySql(Transaction<'static, MySql>),
    Postgres(Transaction<'static, Postgres>),
}

/// A parameter.
#[derive(Clone, Copy, Debug)]
pub enum Arg<'a> {
    Long(i64),
    Text(&'a str),
    Uuid(Uuid),
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

    pub(super) async fn rows<T>(
        &self,
        sql: &str,
        arguments: &[Arg<'_>],
        of: impl Fn(&dyn Columns) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        self.read(sql, arguments, true, of).await
    }

    /// A statement whose text is not met again: no connection keeps it prepared.
    pub(super) async fn rows_once<T>(
        &self,
        sql: &str,
        arguments: &[Arg<'_>],
        of: impl Fn(&dyn Columns) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        self.read(sql, arguments, false, of).await
    }

    async fn read<T>(
        &self,
        sql: &str,
        arguments: &[Arg<'_>],
        kept: bool,
        of: impl Fn(&dyn Columns) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        match self {
            Self::Sqlite(pool) => {
                let rows = sqlite(sql, arguments).persistent(kept).fetch_all(pool).await?;
                rows.iter().map(|row| of(row)).collect()
            }
            Self::MySql(pool) => {
                let rows = mysql(sql, arguments).persistent(kept).fetch_all(pool).await?;
                rows.iter().map(|row| of(row)).collect()
            }
            Self::Postgres(pool) => {
                let rows = postgres(sql, arguments).persistent(kept).fetch_all(pool).await?;
                rows.iter().map(|row| of(row)).collect()
            }
        }
    }

    pub(super) async fn row<T>(
        &self,
        sql: &str,
        arguments: &[Arg<'_>],
        of: impl Fn(&dyn Columns) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.rows(sql, arguments, of).await?.pop())
    }

    /// For what is read in several steps, of which one can change what another has seen.
    pub async fn moment(&self) -> Result<Moment, StoreError> {
        Ok(match self {
            Self::Sqlite(pool) => Moment::Sqlite(pool.begin().await?),
            Self::MySql(pool) => Moment::MySql(pool.begin().await?),
            Self::Postgres(pool) => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                Moment::Postgres(pool.begin_with(begin).await?)
            }
        })
    }

    pub async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::MySql(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Moment {
    pub(super) async fn rows<T>(
        &mut self,
        sql: &str,
        arguments: &[Arg<'_>],
        of: impl Fn(&dyn Columns) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        self.read(sql, arguments, true, of).await
    }

    /// A statement whose text is not met again: no connection keeps it prepared.
    pub(super) async fn rows_once<T>(
        &mut self,
        sql: &str,
        arguments: &[Arg<'_>],
        of: impl Fn(&dyn Columns) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        self.read(sql, arguments, false, of).await
    }

    pub(super) async fn row<T>(
        &mut self,
        sql: &str,
        arguments: &[Arg<'_>],
        of: impl Fn(&dyn Columns) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.rows(sql, arguments, of).await?.pop())
    }

    async fn read<T>(
        &mut self,
        sql: &str,
        arguments: &[Arg<'_>],
        kept: bool,
        of: impl Fn(&dyn Columns) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        match self {
            Self::Sqlite(moment) => {
                let query = sqlite(sql, arguments).persistent(kept);
                query.fetch_all(&mut **moment).await?.iter().map(|row| of(row)).collect()
            }
            Self::MySql(moment) => {
                let query = mysql(sql, arguments).persistent(kept);
                query.fetch_all(&mut **moment).await?.iter().map(|row| of(row)).collect()
            }
            Self::Postgres(moment) => {
                let query = postgres(sql, arguments).persistent(kept);
                query.fetch_all(&mut **moment).await?.iter().map(|row| of(row)).collect()
            }
        }
    }

    pub async fn end(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(moment) => moment.rollback().await?,
            Self::MySql(moment) => moment.rollback().await?,
            Self::Postgres(moment) => moment.rollback().await?,
        }
        Ok(())
    }
}

fn sqlite<'q>(sql: &str, arguments: &[Arg<'_>]) -> Query<'q, Sqlite, SqliteArguments> {
    let query = sqlx::query(AssertSqlSafe(sql.to_owned()));
    arguments.iter().fold(query, |query, argument| match argument {
        Arg::Long(number) => query.bind(*number),
        Arg::Text(text) => query.bind((*text).to_owned()),
        Arg::Uuid(id) => query.bind(id.to_string()),
    })
}

fn mysql<'q>(sql: &str, arguments: &[Arg<'_>]) -> Query<'q, MySql, MySqlArguments> {
    let query = sqlx::query(AssertSqlSafe(in_order(sql)));
    arguments.iter().fold(query, |query, argument| match argument {
        Arg::Long(number) => query.bind(*number),
        Arg::Text(text) => query.bind((*text).to_owned()),
        Arg::Uuid(id) => query.bind(*id),
    })
}

fn postgres<'q>(sql: &str, arguments: &[Arg<'_>]) -> Query<'q, Postgres, PgArguments> {
    let query = sqlx::query(AssertSqlSafe(numbered(&in_postgres(sql))));
    arguments.iter().fold(query, |query, argument| match argument {
        Arg::Long(number) => query.bind(*number),
        Arg::Text(text) => query.bind((*text).to_owned()),
        Arg::Uuid(id) => query.bind(*id),
    })
}

/// PostgreSQL numbers its parameters.
fn numbered(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len() + 16);
    for (index, part) in sql.split('?').enumerate() {
        if index > 0 {
            let _ = write!(text, "${index}");
        }
        text.push_str(part);
    }
    text
}

/// MySQL's word for 64 bits in a cast, and joins in the order they are written in: every statement begins with
/// the rows it looks for, which the optimiser does not always see.
fn in_order(sql: &str) -> String {
    sql.replace(" AS BIGINT)", " AS SIGNED)")
        .replace(" JOIN ", " STRAIGHT_JOIN ")
        .replace("LEFT STRAIGHT_JOIN ", "LEFT JOIN ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn joins_keep_their_order_in_mysql() {
        assert_eq!(
            super::in_order("SELECT CAST(x AS BIGINT) FROM a\n JOIN b ON 1 LEFT JOIN c ON 2"),
            "SELECT CAST(x AS SIGNED) FROM a\n STRAIGHT_JOIN b ON 1 LEFT JOIN c ON 2"
        );
    }

    #[test]
    fn parameters_are_numbered_in_their_order() {
        assert_eq!(super::numbered("a = ? AND b > ? LIMIT ?"), "a = $1 AND b > $2 LIMIT $3");
        assert_eq!(super::numbered("no parameter"), "no parameter");
    }
}
