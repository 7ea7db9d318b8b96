//! Tables of another program on MySQL or MariaDB, read to be taken over: everything as text, in one moment, and nothing
//! is written.

use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, Column, ConnectOptions, Connection, Executor, Row};

use super::error::StoreError;
use super::mysql;
use super::url::DatabaseUrl;

/// A connection inside one read-only SQL transaction.
#[derive(Debug)]
pub struct Source(MySqlConnection);

/// Rows as text: the columns' names, then each row's fields; nothing is NULL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Option<String>>>,
}

/// How many entries an account has on one side, and their sum as the source adds it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSum {
    pub account: String,
    pub direction: String,
    pub count: i64,
    pub sum: String,
}

impl Source {
    pub async fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let DatabaseUrl::MySql(server) = url else {
            let reason = "tables are taken over from MySQL and MariaDB only".into();
            return Err(StoreError::Unsupported { database: url.to_string(), reason });
        };
        let failed = |error: sqlx::Error| StoreError::Open {
            database: url.to_string(),
            reason: error.to_string(),
        };
        let mut connection = mysql::session(&server.options).connect().await.map_err(failed)?;
        connection.execute(mysql::READER_SESSION).await.map_err(failed)?;
        let begin = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
        connection.execute(begin).await.map_err(failed)?;
        Ok(Self(connection))
    }

    /// What a person's query for the chart gives, in the order of its codes.
    pub async fn accounts(&mut self, query: &str) -> Result<Texts, StoreError> {
        self.texts(format!("SELECT * FROM ({}) AS source ORDER BY code", bare(query))).await
    }

    /// What a person's query for entries gives: transfers by date, and each one's entries together, even where a collation
    /// takes two transfers' names for the same.
    pub async fn entries(&mut self, query: &str) -> Result<Texts, StoreError> {
        let sql = format!(
            "SELECT * FROM ({}) AS source ORDER BY effective_date, transfer, CAST(transfer AS BINARY)",
            bare(query)
        );
        self.texts(sql).await
    }

    /// The same query, added up by the source itself.
    pub async fn sums(&mut self, query: &str) -> Result<Vec<SourceSum>, StoreError> {
        let sql = format!(
            "SELECT account, direction, COUNT(*), SUM(amount) FROM ({}) AS source
             GROUP BY account, direction ORDER BY account, direction",
            bare(query)
        );
        let texts = self.texts(sql).await?;
        let sum = |row: Vec<Option<String>>| {
            let mut fields = row.into_iter().map(Option::unwrap_or_default);
            let mut field = || fields.next().unwrap_or_default();
            let (account, direction, count, sum) = (field(), field(), field(), field());
            let wrong = || StoreError::Corrupt(format!("the source counts {count:?}"));
            Ok(SourceSum { account, direction, count: count.parse().map_err(|_| wrong())?, sum })
        };
        texts.rows.into_iter().map(sum).collect()
    }

    pub async fn close(self) -> Result<(), StoreError> {
        Ok(self.0.close().await?)
    }

    async fn texts(&mut self, sql: String) -> Result<Texts, StoreError> {
        // The person's own query, at his own database. Without parameters every field comes as text.
        let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut self.0).await?;
        let columns = rows.first().map(names).unwrap_or_default();
        let fields = |row: &MySqlRow| {
            let fields = (0..row.columns().len()).map(|place| row.try_get_unchecked(place));
            fields.collect::<Result<Vec<Option<String>>, _>>()
        };
        let rows = rows.iter().map(fields).collect::<Result<_, _>>()?;
        Ok(Texts { columns, rows })
    }
}

fn names(row: &MySqlRow) -> Vec<String> {
    row.columns().iter().map(|column| column.name().to_owned()).collect()
}

/// A query that can stand between brackets.
fn bare(query: &str) -> &str {
    query.trim().trim_end_matches(';')
}
