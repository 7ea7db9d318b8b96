//! Which settings of a database can lose a transfer that was acknowledged, or post it otherwise than
//! written. Pure: settings by name go in, the unsafe ones come out.

use std::collections::HashMap;
use std::fmt;

/// A setting that is not safe for money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsafeSetting {
    pub name: &'static str,
    pub found: String,
    pub safe: &'static str,
}

impl fmt::Display for UnsafeSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, set it to {}", self.name, self.found, self.safe)
    }
}

/// Settings as the connection itself reports them.
pub type Settings = HashMap<String, String>;

struct Rule {
    name: &'static str,
    safe: &'static str,
    /// Of the value in small letters.
    is_safe: fn(&str) -> bool,
}

const SQLITE: [Rule; 3] = [
    Rule {
        name: "PRAGMA synchronous",
        safe: "FULL (or EXTRA)",
        is_safe: |v| v == "full" || v == "extra",
    },
    Rule {
        name: "PRAGMA journal_mode",
        safe: "WAL (on a local file system)",
        is_safe: |v| v == "wal",
    },
    Rule { name: "PRAGMA foreign_keys", safe: "ON", is_safe: |v| v == "on" },
];

/// A server that does not have a variable is not asked about it: MariaDB and MySQL differ, and so do
/// their versions.
const MYSQL: [Rule; 6] = [
    Rule { name: "innodb_flush_log_at_trx_commit", safe: "1", is_safe: |v| v == "1" },
    Rule {
        name: "innodb_flush_method",
        safe: "O_DIRECT (or fsync)",
        is_safe: |v| !v.contains("nosync") && v != "littlesync",
    },
    Rule { name: "default_storage_engine", safe: "InnoDB", is_safe: |v| v == "innodb" },
    Rule {
        name: "sql_mode",
        safe: "a list with STRICT_TRANS_TABLES",
        is_safe: |v| v.contains("strict_trans_tables") || v.contains("strict_all_tables"),
    },
    Rule {
        name: "transaction_isolation",
        safe: "REPEATABLE-READ",
        is_safe: |v| v == "repeatable-read" || v == "serializable",
    },
    Rule {
        name: "tx_isolation",
        safe: "REPEATABLE-READ",
        is_safe: |v| v == "repeatable-read" || v == "serializable",
    },
];
/// Only where the binary log is on: it decides at a crash which transactions there were.
const MYSQL_BINARY_LOG: Rule = Rule { name: "sync_binlog", safe: "1", is_safe: |v| v == "1" };
/// Not on Aurora, whose storage has no pages to tear.
const MYSQL_DOUBLEWRITE: Rule = Rule {
    name: "innodb_doublewrite",
    safe: "ON",
    is_safe: |v| v != "off" && v != "0" && v != "detect_only",
};

/// `local` and the two `remote_*` levels flush here before they answer, as `on` does.
const POSTGRES: [Rule; 4] = [
    Rule { name: "fsync", safe: "on", is_safe: |v| v == "on" },
    Rule { name: "full_page_writes", safe: "on", is_safe: |v| v == "on" },
    Rule { name: "synchronous_commit", safe: "on", is_safe: |v| v != "off" },
    Rule {
        name: "transaction_isolation",
        safe: "read committed",
        is_safe: |v| v == "read committed",
    },
];

pub fn sqlite(settings: &Settings) -> Vec<UnsafeSetting> {
    SQLITE.iter().filter_map(|rule| broken(rule, settings)).collect()
}

pub fn mysql(settings: &Settings) -> Vec<UnsafeSetting> {
    let is_on =
        |name: &str| settings.get(name).is_some_and(|value| value.eq_ignore_ascii_case("on"));
    let mut rules: Vec<&Rule> = MYSQL.iter().collect();
    if is_on("log_bin") {
        rules.push(&MYSQL_BINARY_LOG);
    }
    if !settings.contains_key("aurora_version") {
        rules.push(&MYSQL_DOUBLEWRITE);
    }
    rules.into_iter().filter_map(|rule| broken(rule, settings)).collect()
}

pub fn postgres(settings: &Settings) -> Vec<UnsafeSetting> {
    POSTGRES.iter().filter_map(|rule| broken(rule, settings)).collect()
}

fn broken(rule: &Rule, settings: &Settings) -> Option<UnsafeSetting> {
    let found = settings.get(rule.name)?;
    let is_safe = (rule.is_safe)(&found.to_ascii_lowercase());
    (!is_safe).then(|| UnsafeSetting { name: rule.name, found: quoted(found), safe: rule.safe })
}

fn quoted(value: &str) -> String {
    if value.is_empty() { "empty".into() } else { value.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn names(found: &[UnsafeSetting]) -> Vec<&'static str> {
        found.iter().map(|setting| setting.name).collect()
    }

    const MYSQL_SAFE: [(&str, &str); 8] = [
        ("innodb_flush_log_at_trx_commit", "1"),
        ("innodb_flush_method", "O_DIRECT"),
        ("default_storage_engine", "InnoDB"),
        ("sql_mode", "STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION"),
        ("transaction_isolation", "REPEATABLE-READ"),
        ("log_bin", "ON"),
        ("sync_binlog", "1"),
        ("innodb_doublewrite", "ON"),
    ];

    #[test]
    fn each_unsafe_setting_is_named_with_what_was_found_and_the_safe_value() {
        assert_eq!(mysql(&settings(&MYSQL_SAFE)), []);
        for (name, value) in [
            ("innodb_flush_log_at_trx_commit", "2"),
            ("innodb_flush_log_at_trx_commit", "0"),
            ("innodb_flush_method", "nosync"),
            ("default_storage_engine", "MyISAM"),
            ("sql_mode", ""),
            ("transaction_isolation", "READ-UNCOMMITTED"),
            ("sync_binlog", "0"),
            ("innodb_doublewrite", "OFF"),
            ("innodb_doublewrite", "DETECT_ONLY"),
        ] {
            let mut all = settings(&MYSQL_SAFE);
            all.insert(name.into(), value.into());
            let found = mysql(&all);
            assert_eq!(names(&found), [name]);
            let said = found[0].to_string();
            assert!(said.contains(found[0].safe) && said.contains(value), "{said}");
        }
        let safe =
            [("fsync", "on"), ("full_page_writes", "on"), ("synchronous_commit", "remote_apply")];
        assert_eq!(postgres(&settings(&safe)), []);
        for name in ["fsync", "full_page_writes", "synchronous_commit"] {
            let mut all = settings(&safe);
            all.insert(name.into(), "off".into());
            assert_eq!(names(&postgres(&all)), [name]);
        }
    }

    #[test]
    fn what_does_not_apply_is_not_asked_for() {
        let mut without_log = settings(&MYSQL_SAFE);
        without_log.insert("log_bin".into(), "OFF".into());
        without_log.insert("sync_binlog".into(), "0".into());
        assert_eq!(mysql(&without_log), []);
        let mut aurora = settings(&MYSQL_SAFE);
        aurora.insert("aurora_version".into(), "3.08.0".into());
        aurora.insert("innodb_doublewrite".into(), "OFF".into());
        assert_eq!(mysql(&aurora), []);
    }
}
