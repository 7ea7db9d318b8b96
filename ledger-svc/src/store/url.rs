//! The `--database` value: which engine, where, and how carefully it flushes.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// A parsed database URL. Only SQLite for now: `sqlite:PATH[?synchronous=full|extra]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseUrl {
    pub path: PathBuf,
    pub synchronous: Synchronous,
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
    #[error("{0} databases are not supported yet; use sqlite:PATH")]
    NotSupportedYet(&'static str),
    #[error(
        "{0:?} is not a database URL; write sqlite:PATH, such as sqlite:/var/lib/forebay/ledger.sqlite"
    )]
    Malformed(String),
    #[error("a ledger in memory would be gone after a restart; write sqlite:PATH with a file")]
    InMemory,
    #[error(
        "unknown parameter {0:?}; only synchronous=full or synchronous=extra may follow the \"?\""
    )]
    UnknownParameter(String),
}

impl FromStr for DatabaseUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(UrlError::Malformed(text.to_owned()));
        };
        match scheme {
            "sqlite" => {}
            "mysql" => return Err(UrlError::NotSupportedYet("MySQL")),
            "mariadb" => return Err(UrlError::NotSupportedYet("MariaDB")),
            "postgres" | "postgresql" => return Err(UrlError::NotSupportedYet("PostgreSQL")),
            _ => return Err(UrlError::Malformed(text.to_owned())),
        }
        let (path, parameters) = match rest.split_once('?') {
            Some((path, parameters)) => (path, Some(parameters)),
            None => (rest, None),
        };
        let path = path.strip_prefix("//").unwrap_or(path);
        if path == ":memory:" {
            return Err(UrlError::InMemory);
        }
        if path.is_empty() || path.ends_with('/') {
            return Err(UrlError::Malformed(text.to_owned()));
        }
        let synchronous = match parameters {
            None => Synchronous::Full,
            Some(parameters) => synchronous(parameters)
                .ok_or_else(|| UrlError::UnknownParameter(parameters.to_owned()))?,
        };
        Ok(Self { path: PathBuf::from(path), synchronous })
    }
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

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sqlite:{}", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let path = |text: &str| text.parse::<DatabaseUrl>().map(|url| url.path);
        assert_eq!(path("sqlite:/a/b.sqlite"), Ok("/a/b.sqlite".into()));
        assert_eq!(path("sqlite:///a/b.sqlite"), Ok("/a/b.sqlite".into()));
        assert_eq!(path("sqlite:b.sqlite?synchronous=EXTRA"), Ok("b.sqlite".into()));
        assert_eq!(
            "sqlite:b?synchronous=normal".parse::<DatabaseUrl>().unwrap().synchronous,
            Synchronous::Normal
        );
        for (bad, part) in [
            ("mysql://h/db", "MySQL databases are not supported yet"),
            ("postgres://h/db", "PostgreSQL databases are not supported yet"),
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
}
