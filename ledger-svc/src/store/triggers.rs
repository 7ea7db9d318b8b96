//! Tables are append-only by triggers. Whoever drops them, or brings the database back from a copy without them, is no longer
//! kept from changing what is booked, and no row tells.

use std::collections::{BTreeMap, BTreeSet};

use super::audit::Audit;
use super::migration::Source;
use super::reader::Reader;
use super::row::Columns;
use super::{StoreError, mysql, postgres, sqlite};

const SQLITE: &str = "SELECT name FROM sqlite_schema WHERE type = 'trigger'";
const MYSQL: &str = "SELECT CAST(trigger_name AS CHAR) FROM information_schema.triggers
     WHERE trigger_schema = DATABASE()";
/// Those that are enabled, whether or not rows come from another server.
const POSTGRES: &str =
    "SELECT t.tgname::text FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
     WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
        AND c.relnamespace = current_schema()::regnamespace";
/// What a user may do. MySQL shows triggers only to those who may make some.
const MYSQL_RIGHTS: &str =
    "SELECT CAST(privilege_type AS CHAR) FROM information_schema.user_privileges
     UNION SELECT CAST(privilege_type AS CHAR) FROM information_schema.schema_privileges
     WHERE DATABASE() LIKE table_schema";

fn name(row: &dyn Columns) -> Result<String, StoreError> {
    row.string(0)
}

impl Audit {
    /// Triggers that the migrations made and that are not there; none where that cannot be seen.
    pub async fn missing_triggers(&mut self) -> Result<Vec<String>, StoreError> {
        let (sources, sql) = match self {
            Self::Sqlite(_) => (&sqlite::MIGRATIONS, SQLITE),
            Self::Postgres(_) => (&postgres::MIGRATIONS, POSTGRES),
            Self::MySql(_) => {
                let rights = self.rows(MYSQL_RIGHTS.to_owned(), name).await?;
                if !sees(&rights) {
                    return Ok(Vec::new());
                }
                (&mysql::MIGRATIONS, MYSQL)
            }
        };
        Ok(missing(sources, &self.rows(sql.to_owned(), name).await?))
    }
}

impl Reader {
    /// The same, as a service asks it.
    pub async fn missing_triggers(&self) -> Result<Vec<String>, StoreError> {
        let (sources, sql) = match self {
            Self::Sqlite(_) => (&sqlite::MIGRATIONS, SQLITE),
            Self::Postgres(_) => (&postgres::MIGRATIONS, POSTGRES),
            Self::MySql(_) => {
                if !sees(&self.rows_once(MYSQL_RIGHTS, &[], name).await?) {
                    return Ok(Vec::new());
                }
                (&mysql::MIGRATIONS, MYSQL)
            }
        };
        Ok(missing(sources, &self.rows_once(sql, &[], name).await?))
    }
}

fn sees(rights: &[String]) -> bool {
    rights.iter().any(|right| right == "TRIGGER")
}

fn missing(sources: &[Source], there: &[String]) -> Vec<String> {
    let there: BTreeSet<&str> = there.iter().map(String::as_str).collect();
    made(sources).into_iter().filter(|name| !there.contains(name.as_str())).collect()
}

/// The triggers there are after all migrations. With a table go its triggers.
fn made(sources: &[Source]) -> Vec<String> {
    let mut tables: BTreeMap<String, String> = BTreeMap::new();
    for (_, _, sql) in sources {
        let code = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
        let code: Vec<&str> = code.flat_map(str::split_whitespace).collect();
        for (place, words) in code.windows(2).enumerate() {
            let behind = &code[place + 2..];
            let first = behind.first().map_or("", |word| word.trim_end_matches([';', '(']));
            match words {
                ["CREATE", "TRIGGER"] => {
                    let on = behind.iter().position(|word| *word == "ON");
                    let table = on.and_then(|on| behind.get(on + 1)).unwrap_or(&"");
                    tables.insert(first.to_owned(), (*table).to_owned());
                }
                ["DROP", "TRIGGER"] => drop(tables.remove(first)),
                ["DROP", "TABLE"] => tables.retain(|_, table| table.as_str() != first),
                ["RENAME", "TO"] => {
                    let renamed = code[..place].last().copied().unwrap_or_default();
                    let of_it = tables.values_mut().filter(|table| table.as_str() == renamed);
                    of_it.for_each(|table| first.clone_into(table));
                }
                _ => {}
            }
        }
    }
    tables.into_keys().collect()
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

    use super::*;
    use crate::store::migration;

    #[tokio::test]
    async fn what_migrations_make_is_what_is_looked_for() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        migration::run(&mut connection, &sqlite::MIGRATIONS, "memory", |error| panic!("{error}"))
            .await
            .unwrap();
        let sql = format!("{SQLITE} ORDER BY name");
        let there: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
        assert_eq!(made(&sqlite::MIGRATIONS), there);
        assert!(made(&mysql::MIGRATIONS).len() > 40 && made(&postgres::MIGRATIONS).len() > 20);
    }
}
