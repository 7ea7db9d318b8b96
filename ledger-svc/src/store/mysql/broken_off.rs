//! Finishes a migration that was broken off. MySQL commits at every statement that changes the catalogue, so some of the
//! migration's are done and the list says that it is not. All are run again from the first; of one that is done already the
//! server says so, and that is as good as doing it.

use sqlx::migrate::Migrate;
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Executor};

use super::super::error::StoreError;
use super::super::migration::{self, Source, TABLE};
use super::number;

/// How statements begin that cannot be done twice, and by which of the server's numbers it says that they were.
const DONE: [(&str, &[u16]); 7] = [
    ("CREATE TABLE ", &[1050]),
    ("CREATE UNIQUE INDEX ", &[1061]),
    ("CREATE TRIGGER ", &[1359]),
    ("DROP TRIGGER ", &[1360]),
    // Which of its names it looks at first is the server's.
    ("RENAME TABLE ", &[1050, 1146]),
    // Whole or not at all, so that one column, key or foreign key speaks for all that the statement changes.
    ("ALTER TABLE ", &[1060, 1061, 1091]),
    // Whole or not at all, too.
    ("INSERT INTO ", &[1062]),
];

/// Says whether there was one. `opening` says what an engine's error means for the database.
pub async fn finish(
    connection: &mut MySqlConnection,
    sources: &[Source],
    database: &str,
    opening: impl Fn(&sqlx::Error) -> StoreError,
) -> Result<bool, StoreError> {
    let failed = |error| migration::failed(error, database, &opening);
    connection.ensure_migrations_table(TABLE).await.map_err(failed)?;
    let Some(version) = connection.dirty_version(TABLE).await.map_err(failed)? else {
        return Ok(false);
    };
    let applied = connection.list_applied_migrations(TABLE).await.map_err(failed)?;
    let (name, last) = (database.to_owned(), applied.last().filter(|last| last.version == version));
    let Some(last) = last else {
        let reason = format!(
            "migration {version} is marked as not done, and later ones are there; somebody changed the list"
        );
        return Err(StoreError::Migration { database: name, reason });
    };
    let source = sources.iter().find(|source| source.0 == version);
    let Some(source) = source.filter(|source| migration::checksum(source) == *last.checksum) else {
        let reason = format!("its migration {version} is not the one this version has");
        return Err(StoreError::OtherVersion { database: name, reason });
    };
    tracing::warn!(version, "a migration was broken off; going on with it");
    for statement in statements(source.2) {
        match connection.execute(AssertSqlSafe(statement.as_str())).await {
            Err(error) if !is_done(&statement, number(&error)) => {
                return Err(migration::stopped(version, database, opening(&error)));
            }
            _ => {}
        }
    }
    let done = format!("UPDATE {TABLE} SET success = TRUE WHERE version = {version}");
    connection.execute(AssertSqlSafe(done)).await.map_err(|error| opening(&error))?;
    Ok(true)
}

fn is_done(statement: &str, said: Option<u16>) -> bool {
    let same = |(begin, numbers): &(&str, &[u16])| {
        statement.starts_with(begin) && said.is_some_and(|number| numbers.contains(&number))
    };
    DONE.iter().any(same)
}

/// Of a file in which each statement ends with its line, and each comment has lines of its own.
fn statements(file: &str) -> Vec<String> {
    let lines = file.lines().filter(|line| !line.trim_start().starts_with("--"));
    let (mut found, mut statement) = (Vec::new(), String::new());
    for line in lines.filter(|line| !line.trim().is_empty()) {
        statement.push_str(line);
        match statement.strip_suffix(';') {
            Some(whole) => {
                found.push(whole.to_owned());
                statement.clear();
            }
            None => statement.push('\n'),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::MIGRATIONS;
    use super::*;

    #[test]
    fn every_statement_may_be_run_again() {
        let all: Vec<_> = MIGRATIONS.iter().flat_map(|source| statements(source.2)).collect();
        assert!(all.len() >= 118, "{}", all.len());
        for statement in &all {
            // What an UPDATE sets follows from other tables, so it sets the same again.
            let again = statement.starts_with("UPDATE ")
                || DONE.iter().any(|(begin, _)| statement.starts_with(begin));
            assert!(again && !statement.contains("--"), "{statement}");
            assert_eq!(statement.matches('\'').count() % 2, 0, "{statement}");
        }
        let ends = MIGRATIONS.iter().map(|source| source.2.matches(";\n").count());
        let said = MIGRATIONS.iter().map(|source| {
            source.2.lines().filter(|line| line.starts_with("--") && line.ends_with(';')).count()
        });
        assert_eq!(ends.sum::<usize>(), all.len() + said.sum::<usize>());
    }

    #[test]
    fn a_server_says_of_what_is_done_that_it_is() {
        assert!(is_done("CREATE TABLE a (b BIGINT)", Some(1050)));
        assert!(is_done("ALTER TABLE a ADD COLUMN b BIGINT", Some(1060)));
        for other in [Some(1062), Some(1114), None] {
            assert!(!is_done("CREATE TABLE a (b BIGINT)", other));
        }
    }
}
