//! The `--database` value: which engine, where, and how carefully it flushes. A password in it never
//! leaves this type: neither `Display`, `Debug` nor any error shows it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use thiserror::Error;

/// A parsed database URL.
#[derive(Clone, Debug)]
pub enum DatabaseUrl {
    /// `sqlite:PATH[?synchronous=full|extra]`
    Sqlite(SqliteFile),
    /// `mysql://USER[:PASSWORD]@HOST[:PORT]/DATABASE[?socket=…&ssl-mode=…]`, or `mariadb://…`
    MySql(Server<MySqlConnectOptions>),
    /// `postgres://USER[:PASSWORD]@HOST[:PORT]/DATABASE[?host=/socket/folder&sslmode=…]`
    Postgres(Server<PgConnectOptions>),
}

/// What opening a database may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Create or update the tables.
    pub migrate: bool,
    /// Go on with settings that can lose acknowledged transfers.
    pub allow_unsafe: bool,
}

/// A file of the embedded engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteFile {
    pub path: PathBuf,
    pub synchronous: Synchronous,
}

/// A database on a server.
#[derive(Clone)]
pub struct Server<O> {
    /// The URL without its password and parameters, for messages.
    pub name: String,
    pub options: Box<O>,
}

/// SQLite's `PRAGMA synchronous`. The two lower levels can be written, so that they are refused
/// for what they are, with the safe value, rather than as a typing error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    Off,
    Normal,
    Full,
    Extra,
}

/// Why a text is no database URL.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum UrlError {
    #[error(
        "{0:?} is not a database URL; write sqlite:PATH, such as sqlite:/var/lib/forebay/ledger.sqlite, mysql://USER:PASSWORD@HOST/DATABASE or postgres://USER:PASSWORD@HOST/DATABASE"
    )]
    Malformed(String),
    #[error("a ledger in memory would be gone after a restart; write sqlite:PATH with a file")]
    InMemory,
    #[error(
        "unknown parameter {0:?}; only synchronous=full or synchronous=extra may follow the \"?\""
    )]
    UnknownParameter(String),
    #[error("unknown parameter {name:?}; known are {known}")]
    UnknownServerParameter { name: String, known: String },
    #[error("the URL names no database; write {0}://USER:PASSWORD@HOST/DATABASE")]
    NoDatabase(&'static str),
    #[error("the {0} URL cannot be read: {1}; percent-encode what is special in the password")]
    Server(&'static str, String),
}

const MYSQL_PARAMETERS: &[&str] = &["socket", "ssl-mode", "ssl-ca", "ssl-cert", "ssl-key"];
const POSTGRES_PARAMETERS: &[&str] = &["host", "sslmode", "sslrootcert", "sslcert", "sslkey"];

impl FromStr for DatabaseUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(malformed(text));
        };
        match scheme {
            "sqlite" => sqlite(text, rest).map(Self::Sqlite),
            "mysql" | "mariadb" => {
                let name = server("mysql", rest, MYSQL_PARAMETERS)?;
                let options: MySqlConnectOptions =
                    format!("mysql:{rest}").parse().map_err(|error| unreadable("mysql", error))?;
                Ok(Self::MySql(Server { name, options: Box::new(options) }))
            }
            "postgres" | "postgresql" => {
                let name = server("postgres", rest, POSTGRES_PARAMETERS)?;
                let options: PgConnectOptions = format!("postgres:{rest}")
                    .parse()
                    .map_err(|error| unreadable("postgres", error))?;
                Ok(Self::Postgres(Server { name, options: Box::new(options) }))
            }
            _ => Err(malformed(text)),
        }
    }
}

fn sqlite(text: &str, rest: &str) -> Result<SqliteFile, UrlError> {
    let (path, parameters) = match rest.split_once('?') {
        Some((path, parameters)) => (path, Some(parameters)),
        None => (rest, None),
    };
    let path = path.strip_prefix("//").unwrap_or(path);
    if path == ":memory:" {
        return Err(UrlError::InMemory);
    }
    if path.is_empty() || path.ends_with('/') {
        return Err(malformed(text));
    }
    let synchronous = match parameters {
        None => Synchronous::Full,
        Some(parameters) => synchronous(parameters)
            .ok_or_else(|| UrlError::UnknownParameter(parameters.to_owned()))?,
    };
    Ok(SqliteFile { path: PathBuf::from(path), synchronous })
}

fn synchronous(parameters: &str) -> Option<Synchronous> {
    let (name, value) = parameters.split_once('=')?;
    match (name, value.to_ascii_lowercase().as_str()) {
        ("synchronous", "off" | "0") => Some(Synchronous::Off),
        ("synchronous", "normal" | "1") => Some(Synchronous::Normal),
        ("synchronous", "full" | "2") => Some(Synchronous::Full),
        ("synchronous", "extra" | "3") => Some(Synchronous::Extra),
        _ => None,
    }
}

/// Checks what the engine's own parser would pass over, and gives the URL without its password.
fn server(scheme: &'static str, rest: &str, known: &[&str]) -> Result<String, UrlError> {
    let Some(rest) = rest.strip_prefix("//") else {
        return Err(UrlError::Server(scheme, "\"//\" is missing after the scheme".into()));
    };
    // The last "@" ends the user information, whatever a password that should have been encoded holds.
    let (user, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
    let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let name = parameter.split('=').next().unwrap_or(parameter);
        if !known.contains(&name) {
            let name = name.to_owned();
            return Err(UrlError::UnknownServerParameter { name, known: known.join(", ") });
        }
    }
    let Some((host, database)) = place.split_once('/').filter(|(_, database)| !database.is_empty())
    else {
        return Err(UrlError::NoDatabase(scheme));
    };
    let user = user.split(':').next().unwrap_or(user);
    let at = if user.is_empty() { "" } else { "@" };
    Ok(format!("{scheme}://{user}{at}{host}/{database}"))
}

/// A text that is no URL may still hold a password: nothing before an "@" is repeated.
fn malformed(text: &str) -> UrlError {
    UrlError::Malformed(match text.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => text.to_owned(),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "given to map_err")]
fn unreadable(scheme: &'static str, error: sqlx::Error) -> UrlError {
    UrlError::Server(scheme, error.to_string())
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "sqlite:{}", file.path.display()),
            Self::MySql(server) => f.write_str(&server.name),
            Self::Postgres(server) => f.write_str(&server.name),
        }
    }
}

impl<O> fmt::Debug for Server<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> SqliteFile {
        match text.parse().unwrap() {
            DatabaseUrl::Sqlite(file) => file,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn urls() {
        assert_eq!(file("sqlite:/a/b.sqlite").path, PathBuf::from("/a/b.sqlite"));
        assert_eq!(file("sqlite:///a/b.sqlite").path, PathBuf::from("/a/b.sqlite"));
        assert_eq!(file("sqlite:b.sqlite?synchronous=EXTRA").path, PathBuf::from("b.sqlite"));
        assert_eq!(file("sqlite:b?synchronous=normal").synchronous, Synchronous::Normal);
        for (bad, part) in [
            ("mysql://h", "names no database"),
            ("mysql:h/db", "\"//\" is missing"),
            ("mysql://u@h/db?charset=latin1", "unknown parameter \"charset\"; known are socket"),
            ("mysql://u@h:port/db", "cannot be read"),
            ("postgres://u@h/db?sslmode=perhaps", "cannot be read"),
            ("postgres://u@h/db?options=-cfsync=off", "unknown parameter \"options\""),
            ("sqlite::memory:", "gone after a restart"),
            ("sqlite:", "not a database URL"),
            ("sqlite:/dir/", "not a database URL"),
            ("ledger.sqlite", "not a database URL"),
            ("oracle:x", "not a database URL"),
            ("sqlite:x?mode=ro", "unknown parameter"),
            ("sqlite:x?synchronous=maybe", "unknown parameter"),
            ("sqlite:x?", "unknown parameter"),
        ] {
            let error = bad.parse::<DatabaseUrl>().expect_err(bad).to_string();
            assert!(error.contains(part), "{bad}: {error}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for (text, shown) in [
            ("mysql://u:secret@h:3307/db?ssl-mode=required", "mysql://u@h:3307/db"),
            ("mariadb://u:secret@h/db", "mysql://u@h/db"),
            ("postgresql://u:secret@h/db?sslmode=verify-full", "postgres://u@h/db"),
            ("postgres://u:secret%40@%2Frun%2Fpg/db", "postgres://u@%2Frun%2Fpg/db"),
        ] {
            let url: DatabaseUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("secret"), "{url:?}");
        }
        for bad in [
            "maria://u:secret@h/db",
            "mysql://u:secret@h",
            "mysql://u:secret@h:x/db",
            "postgres:u:secret@h/db",
            "mysql://u:se/secret@h/db",
            "mysql://u:x?secret@h/db",
        ] {
            let error = bad.parse::<DatabaseUrl>().expect_err(bad);
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
    }
}
