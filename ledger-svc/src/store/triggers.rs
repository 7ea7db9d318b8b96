//! Tables are append-only by triggers. Whoever drops them, puts others under their names, or brings the database back from a
//! copy without them, is no longer kept from changing what is booked, and no row tells. So what the catalogue shows is held
//! against what the migrations make, word by word. With them are told, and made again, unique indexes that are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::audit::Audit;
use super::error::StoreError;
use super::migration::Source;
use super::opening::open_unheld;
use super::row::Columns;
use super::url::{Access, DatabaseUrl};
use super::{mysql, postgres, sqlite, unique};

/// Of each: the name, what it says, and the language and text of its function where it has one.
const SQLITE: &str = "SELECT name, sql, '' FROM sqlite_schema WHERE type = 'trigger'";
const MYSQL: &str = "SELECT CAST(trigger_name AS CHAR),
        CAST(CONCAT('CREATE TRIGGER ', trigger_name, ' ', action_timing, ' ', event_manipulation, ' ON ',
            event_object_table, ' FOR EACH ', action_orientation, ' ', action_statement) AS CHAR),
        ''
     FROM information_schema.triggers WHERE trigger_schema = DATABASE()";
/// Those that are enabled, whether or not rows come from another server.
const POSTGRES: &str =
    "SELECT t.tgname::text, pg_get_triggerdef(t.oid, true), l.lanname::text || ' ' || p.prosrc
     FROM pg_trigger AS t
     JOIN pg_class AS c ON c.oid = t.tgrelid
     JOIN pg_proc AS p ON p.oid = t.tgfoid
     JOIN pg_language AS l ON l.oid = p.prolang
     WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
        AND c.relnamespace = current_schema()::regnamespace";
/// What a user may do. MySQL shows triggers only to those who may make some.
const MYSQL_RIGHTS: &str =
    "SELECT CAST(privilege_type AS CHAR) FROM information_schema.user_privileges
     UNION SELECT CAST(privilege_type AS CHAR) FROM information_schema.schema_privileges
     WHERE DATABASE() LIKE table_schema";

/// What the migrations made to keep rows as they are, and single, and does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unguarded {
    /// Names of triggers.
    pub gone: Vec<String>,
    /// There is one of the name, and it is another.
    pub other: Vec<String>,
    /// Tables and columns that no unique index is on.
    pub not_unique: Vec<&'static str>,
}

impl Unguarded {
    pub fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.other.is_empty() && self.not_unique.is_empty()
    }
}

impl fmt::Display for Unguarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(&self.gone, "gone"), (&self.other, "not what the migrations made them")];
        let parts = parts.iter().filter(|(names, _)| !names.is_empty()).map(|(names, how)| {
            let (count, names) = (names.len(), names.join(", "));
            format!("{count} triggers that keep rows from being changed are {how}: {names}")
        });
        let mut parts: Vec<String> = parts.collect();
        if !self.not_unique.is_empty() {
            let (count, columns) = (self.not_unique.len(), self.not_unique.join(", "));
            parts.push(format!(
                "{count} unique indexes that keep rows from being there twice are gone: {columns}"
            ));
        }
        f.write_str(&parts.join("; "))
    }
}

/// A trigger as the catalogue shows it.
struct Shown {
    name: String,
    text: String,
}

fn shown(row: &dyn Columns) -> Result<Shown, StoreError> {
    let text = plain(&format!("{} {}", row.string(1)?, row.string(2)?));
    Ok(Shown { name: row.string(0)?, text })
}

impl Audit {
    /// What of triggers and unique indexes is missing or another; nothing of triggers where they cannot be seen.
    pub async fn unguarded(&mut self) -> Result<Unguarded, StoreError> {
        let not_unique = self.not_unique().await?;
        let (sources, sql) = match self {
            Self::Sqlite(_) => (&sqlite::MIGRATIONS, SQLITE),
            Self::Postgres(_) => (&postgres::MIGRATIONS, POSTGRES),
            Self::MySql(_) => {
                let rights = self.rows(MYSQL_RIGHTS.to_owned(), |row| row.string(0)).await?;
                if !rights.iter().any(|right| right == "TRIGGER") {
                    return Ok(Unguarded { not_unique, ..Unguarded::default() });
                }
                (&mysql::MIGRATIONS, MYSQL)
            }
        };
        let triggers = self.rows(sql.to_owned(), shown).await?;
        Ok(Unguarded { not_unique, ..held(&Made::by(sources), &triggers) })
    }
}

/// The same of a database that somebody else may be writing.
pub async fn unguarded(url: &DatabaseUrl) -> Result<Unguarded, StoreError> {
    let mut audit = Audit::open(url).await?;
    let unguarded = audit.unguarded().await?;
    audit.close().await?;
    Ok(unguarded)
}

/// Makes these triggers and indexes again, while no service runs.
pub async fn mend(
    url: &DatabaseUrl,
    unguarded: &Unguarded,
    allow_unsafe: bool,
) -> Result<(), StoreError> {
    let sources = match url {
        DatabaseUrl::Sqlite(_) => &sqlite::MIGRATIONS,
        DatabaseUrl::MySql(_) => &mysql::MIGRATIONS,
        DatabaseUrl::Postgres(_) => &postgres::MIGRATIONS,
    };
    let is_mysql = matches!(url, DatabaseUrl::MySql(_));
    let is_postgres = matches!(url, DatabaseUrl::Postgres(_));
    let made = Made::by(sources);
    let mut opened = open_unheld(url, Access { migrate: true, allow_unsafe }).await?;
    let mut batch = opened.writer.begin().await?;
    let functions = made.functions.iter().filter(|_| is_postgres);
    for (name, (body, language)) in functions {
        let function = format!(
            "CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE {language} AS $${body}$$"
        );
        batch.run(function).await?;
    }
    for name in unguarded.gone.iter().chain(&unguarded.other) {
        let Some(Trigger { table, sql }) = made.triggers.get(name) else { continue };
        let on = if is_postgres { format!(" ON {table}") } else { String::new() };
        batch.run(format!("DROP TRIGGER IF EXISTS {name}{on}")).await?;
        batch.run(sql.clone()).await?;
    }
    for columns in &unguarded.not_unique {
        for sql in unique::statements(columns, is_mysql) {
            batch.run(sql).await?;
        }
    }
    batch.commit().await?;
    opened.close().await
}

/// Text with one space between words.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What the catalogue shows of a trigger that was made by this text: PostgreSQL has an order of its own for what sets one off.
fn in_order(sql: &str) -> String {
    let words: Vec<&str> = sql.split(' ').collect();
    let Some(on) = words.iter().position(|word| *word == "ON") else { return sql.to_owned() };
    let Some(events) = words.get(4..on).filter(|events| events.contains(&"OR")) else {
        return sql.to_owned();
    };
    let sorted: BTreeSet<&str> = events.iter().copied().filter(|word| *word != "OR").collect();
    let sorted = sorted.into_iter().collect::<Vec<_>>().join(" OR ");
    format!("{} {sorted} {}", words[..4].join(" "), words[on..].join(" "))
}

fn held(made: &Made, there: &[Shown]) -> Unguarded {
    let texts: BTreeSet<String> = there.iter().map(|shown| in_order(&shown.text)).collect();
    let names: BTreeSet<&str> = there.iter().map(|shown| shown.name.as_str()).collect();
    let mut unguarded = Unguarded::default();
    for (name, trigger) in &made.triggers {
        if texts.contains(&made.text(trigger)) {
            continue;
        }
        let of =
            if names.contains(name.as_str()) { &mut unguarded.other } else { &mut unguarded.gone };
        of.push(name.clone());
    }
    unguarded
}

struct Trigger {
    table: String,
    /// The statement that makes it, in one line.
    sql: String,
}

/// What there is after all migrations: triggers by name, and bodies and languages of functions.
#[derive(Default)]
struct Made {
    triggers: BTreeMap<String, Trigger>,
    functions: BTreeMap<String, (String, String)>,
}

impl Made {
    fn by(sources: &[Source]) -> Self {
        let mut made = Self::default();
        for (_, _, sql) in sources {
            let code = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
            let code: Vec<&str> = code.flat_map(str::split_whitespace).collect();
            for place in 0..code.len().saturating_sub(2) {
                made.read(&code, place);
            }
        }
        made
    }

    /// Reads the statement that may begin at a word. With a table go its triggers.
    fn read(&mut self, code: &[&str], place: usize) {
        let behind = &code[place + 2..];
        let first = behind.first().map_or("", |word| word.trim_end_matches([';', '(']));
        match (code[place], code[place + 1]) {
            ("CREATE", "TRIGGER") => {
                let on = behind.iter().position(|word| *word == "ON");
                let table = on.and_then(|on| behind.get(on + 1)).copied().unwrap_or_default();
                let (table, sql) = (table.to_owned(), statement(&code[place..]));
                self.triggers.insert(first.to_owned(), Trigger { table, sql });
            }
            ("CREATE", "FUNCTION") => self.read_function(first, behind),
            ("DROP", "TRIGGER") => drop(self.triggers.remove(first)),
            ("DROP", "TABLE") => self.triggers.retain(|_, trigger| trigger.table != first),
            ("RENAME", "TO") => {
                let renamed = code[..place].last().copied().unwrap_or_default();
                let of_it = self.triggers.values_mut().filter(|trigger| trigger.table == renamed);
                of_it.for_each(|trigger| first.clone_into(&mut trigger.table));
            }
            _ => {}
        }
    }

    fn read_function(&mut self, name: &str, behind: &[&str]) {
        let after = |word: &str| behind.iter().position(|found| *found == word).map(|at| at + 1);
        let language = after("LANGUAGE").and_then(|at| behind.get(at)).copied();
        let Some(begin) = after("$$") else { return };
        let body = behind[begin..].iter().take_while(|word| !word.starts_with("$$"));
        let body = body.copied().collect::<Vec<_>>().join(" ");
        let name = name.trim_end_matches("()").to_owned();
        self.functions.insert(name, (body, language.unwrap_or_default().to_owned()));
    }

    /// What the catalogue shows of it.
    fn text(&self, trigger: &Trigger) -> String {
        let function = trigger.sql.split_once("EXECUTE FUNCTION ").map(|(_, call)| call);
        let function = function.and_then(|call| self.functions.get(call.split('(').next()?));
        let (body, language) = function.cloned().unwrap_or_default();
        in_order(&plain(&format!("{} {language} {body}", trigger.sql)))
    }
}

/// The words of the statement that begins there; one with a block ends with the block.
fn statement(code: &[&str]) -> String {
    let mut words = Vec::new();
    let mut block = false;
    for word in code {
        words.push(*word);
        block |= *word == "BEGIN";
        if word.ends_with(';') && (!block || *word == "END;") {
            break;
        }
    }
    words.join(" ").trim_end_matches(';').to_owned()
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, Executor, Row, SqliteConnection};

    use super::*;
    use crate::store::migration;

    async fn there(connection: &mut SqliteConnection) -> Vec<Shown> {
        let rows = sqlx::query(SQLITE).fetch_all(connection).await.unwrap();
        let shown = |row: &sqlx::sqlite::SqliteRow| Shown {
            name: row.get(0),
            text: plain(&row.get::<String, _>(1)),
        };
        rows.iter().map(shown).collect()
    }

    #[tokio::test]
    async fn what_migrations_make_is_what_is_looked_for() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        migration::run(&mut connection, &sqlite::MIGRATIONS, "memory", |error| panic!("{error}"))
            .await
            .unwrap();
        let made = Made::by(&sqlite::MIGRATIONS);
        let found = there(&mut connection).await;
        assert_eq!(held(&made, &found), Unguarded::default());
        let names: BTreeSet<&str> = found.iter().map(|shown| shown.name.as_str()).collect();
        assert!(names.into_iter().eq(made.triggers.keys().map(String::as_str)));

        for sql in [
            "DROP TRIGGER entries_no_update",
            "DROP TRIGGER entries_no_delete",
            "CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries BEGIN SELECT 1; END",
            "DROP TRIGGER chain_no_update",
            "CREATE TRIGGER chain_no_update BEFORE UPDATE OF seq ON chain BEGIN SELECT RAISE(ABORT, 'the chain is append-only'); END",
        ] {
            connection.execute(sql).await.unwrap();
        }
        let unguarded = held(&made, &there(&mut connection).await);
        assert_eq!(unguarded.gone, ["entries_no_update"]);
        assert_eq!(unguarded.other, ["chain_no_update", "entries_no_delete"]);
        assert_eq!(
            unguarded.to_string(),
            "1 triggers that keep rows from being changed are gone: entries_no_update; \
             2 triggers that keep rows from being changed are not what the migrations made them: chain_no_update, entries_no_delete"
        );
    }

    #[test]
    fn servers_show_them_in_their_own_order() {
        let made = Made::by(&postgres::MIGRATIONS);
        assert!(made.triggers.len() > 20 && Made::by(&mysql::MIGRATIONS).triggers.len() > 40);
        let body = "plpgsql\nBEGIN\n    RAISE EXCEPTION '%', TG_ARGV[0];\nEND ";
        let shown = |body: &str| {
            let text = format!(
                "CREATE TRIGGER chain_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON chain FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('the chain is append-only') {body}"
            );
            [Shown { name: "chain_append_only".into(), text: plain(&text) }]
        };
        let wrong = |there: &[Shown]| {
            let unguarded = held(&made, there);
            unguarded.gone.iter().chain(&unguarded.other).any(|name| name == "chain_append_only")
        };
        assert!(!wrong(&shown(body)));
        // The function says no more what it said.
        assert!(wrong(&shown("plpgsql BEGIN RETURN NULL; END")));
        assert!(wrong(&shown(&body.replace("plpgsql", "plperl"))));
    }
}
