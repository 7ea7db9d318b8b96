//! The database's parameters: tuned for a ledger, each with the reason for its value.

use crate::environment::aws::{Database, Engine};

/// One server parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub name: String,
    pub value: String,
    pub why: String,
}

/// What a parameter is set to and why. Values in braces are formulas RDS evaluates on the instance.
type Tuned = (&'static str, &'static str, &'static str);

const DURABLE: &str = "an acknowledged transfer is on disk";

/// Set always, and refused in `database.parameters`: the ledger would not start without them.
const MYSQL_FIXED: [Tuned; 7] = [
    ("innodb_flush_log_at_trx_commit", "1", DURABLE),
    ("sync_binlog", "1", "what a standby or a restore replays is on disk with the commit"),
    ("innodb_doublewrite", "1", "a page half written when the power fails is repaired"),
    (
        "log_bin_trust_function_creators",
        "1",
        "migrations create the triggers that keep entries append-only",
    ),
    ("require_secure_transport", "1", "nobody reads balances off the wire"),
    (
        "sql_mode",
        "STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION",
        "a value that does not fit is an error, never cut",
    ),
    ("transaction_isolation", "REPEATABLE-READ", "what the writer locked is what it reads again"),
];

const MYSQL_TUNED: [Tuned; 9] = [
    (
        "innodb_buffer_pool_size",
        "{DBInstanceClassMemory*7/10}",
        "accounts and recent entries stay in memory; three tenths are left for connections and the system",
    ),
    (
        "innodb_flush_method",
        "O_DIRECT",
        "pages are not kept twice, in the pool and in the kernel's cache",
    ),
    (
        "max_connections",
        "200",
        "two ledgers with their pools and an operator; more would only take the pool's memory",
    ),
    ("max_allowed_packet", "67108864", "a batch of a thousand transfers is one statement"),
    (
        "innodb_lock_wait_timeout",
        "10",
        "one writer waits for nobody; a stray session is not waited for",
    ),
    ("slow_query_log", "1", "statements that became slow are found"),
    ("log_output", "FILE", "in a file, which CloudWatch is sent, not in a table"),
    ("long_query_time", "0.5", "twice what a transfer may take in all"),
    ("character_set_server", "utf8mb4", "descriptions hold any character"),
];

const POSTGRES_FIXED: [Tuned; 3] = [
    ("synchronous_commit", "on", DURABLE),
    ("rds.force_ssl", "1", "nobody reads balances off the wire"),
    (
        "default_transaction_isolation",
        "read committed",
        "the writer's own locks order what it reads",
    ),
];

const POSTGRES_TUNED: [Tuned; 6] = [
    (
        "shared_buffers",
        "{DBInstanceClassMemory/32768}",
        "a quarter of memory, in pages of 8 KiB; the kernel's cache holds the rest",
    ),
    ("max_connections", "200", "two ledgers with their pools and an operator"),
    (
        "idle_in_transaction_session_timeout",
        "60000",
        "a session that forgot its transaction keeps no locks",
    ),
    ("log_min_duration_statement", "500", "statements that became slow are found"),
    ("random_page_cost", "1.1", "storage is solid state: an index is worth its while"),
    ("log_lock_waits", "1", "who waits for whom is in the log"),
];

fn tables(engine: Engine) -> (&'static [Tuned], &'static [Tuned]) {
    if engine.is_mysql() {
        (&MYSQL_FIXED, &MYSQL_TUNED)
    } else {
        (&POSTGRES_FIXED, &POSTGRES_TUNED)
    }
}

/// Set for a whole Aurora cluster; what its storage does by itself, its instances decide or nobody may
/// change is left to it.
const AURORA: [&str; 13] = [
    "character_set_server",
    "idle_in_transaction_session_timeout",
    "innodb_flush_log_at_trx_commit",
    "innodb_lock_wait_timeout",
    "log_bin_trust_function_creators",
    "log_lock_waits",
    "log_min_duration_statement",
    "long_query_time",
    "max_allowed_packet",
    "rds.force_ssl",
    "require_secure_transport",
    "slow_query_log",
    "synchronous_commit",
];

/// Whether a parameter is written: RDS keeps the double write on itself, and MariaDB's isolation has
/// a name that differs from version to version and the right default in all.
fn is_written(engine: Engine, name: &str) -> bool {
    (!engine.is_aurora() || AURORA.contains(&name))
        && name != "innodb_doublewrite"
        && !(engine == Engine::Mariadb && ISOLATION.contains(&name))
}

const ISOLATION: [&str; 2] = ["transaction_isolation", "tx_isolation"];

/// Why a parameter may not be changed; none when it may.
pub fn fixed(engine: Engine, name: &str) -> Option<&'static str> {
    let (fixed, _) = tables(engine);
    let name = if name == "tx_isolation" { "transaction_isolation" } else { name };
    fixed.iter().find(|tuned| tuned.0 == name).map(|(_, _, why)| *why)
}

/// Every parameter of a database: the tuned ones, with what the file sets laid over them, by name.
pub fn tuned(database: &Database) -> Vec<Parameter> {
    let (fixed, tuned) = tables(database.engine);
    let mut parameters: Vec<Parameter> = fixed
        .iter()
        .chain(tuned)
        .filter(|(name, ..)| is_written(database.engine, name))
        .map(|(name, value, why)| Parameter {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
            why: (*why).to_owned(),
        })
        .collect();
    for (name, value) in &database.parameters {
        parameters.retain(|parameter| parameter.name != *name);
        let why = "written in the file".to_owned();
        parameters.push(Parameter { name: name.clone(), value: value.clone(), why });
    }
    parameters.sort_by(|a, b| a.name.cmp(&b.name));
    parameters
}

/// The parameter group's family: `mysql8.4`, `mariadb11.4`, `postgres17`.
pub fn family(database: &Database) -> String {
    let version = database.version.as_deref().unwrap_or(database.engine.version());
    let parts = if database.engine.is_mysql() { 2 } else { 1 };
    let major: Vec<&str> = version.split('.').take(parts).collect();
    format!("{}{}", database.engine.word(), major.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(engine: Engine) -> Database {
        Database {
            engine,
            version: None,
            major_upgrade: false,
            class: "db.r7g.large".to_owned(),
            storage: Some(proxy_config::units::ByteSize::bytes(100 << 30)),
            multi_az: true,
            readers: 1,
            proxy: false,
            backups: proxy_config::units::Duration::secs(14 * 86_400),
            parameters: [("max_connections".to_owned(), "400".to_owned())].into(),
        }
    }

    #[test]
    fn what_the_file_sets_wins_and_what_durability_rests_on_is_fixed() {
        let parameters = tuned(&database(Engine::Mysql));
        let value = |name: &str| parameters.iter().find(|p| p.name == name).map(|p| &*p.value);
        assert_eq!(value("max_connections"), Some("400"));
        assert_eq!(value("innodb_flush_log_at_trx_commit"), Some("1"));
        assert!(fixed(Engine::Mysql, "sync_binlog").is_some());
        assert!(fixed(Engine::Mysql, "max_connections").is_none());
        assert!(parameters.is_sorted_by(|a, b| a.name < b.name), "each once");
    }

    #[test]
    fn what_is_not_written_is_refused_all_the_same() {
        let names: Vec<String> =
            tuned(&database(Engine::Mariadb)).into_iter().map(|p| p.name).collect();
        for name in ["tx_isolation", "transaction_isolation", "innodb_doublewrite"] {
            assert!(!names.contains(&name.to_owned()), "{name}");
            assert!(fixed(Engine::Mariadb, name).is_some(), "{name}");
        }
    }

    #[test]
    fn families_follow_the_version() {
        let of = |engine, version: &str| {
            family(&Database { version: Some(version.to_owned()), ..database(engine) })
        };
        assert_eq!(of(Engine::Mysql, "8.0.39"), "mysql8.0");
        assert_eq!(of(Engine::Mariadb, "11.4"), "mariadb11.4");
        assert_eq!(of(Engine::Postgres, "16.4"), "postgres16");
        assert_eq!(of(Engine::AuroraMysql, "8.0.mysql_aurora.3.10.0"), "aurora-mysql8.0");
        assert_eq!(of(Engine::AuroraPostgresql, "17.5"), "aurora-postgresql17");
    }
}
