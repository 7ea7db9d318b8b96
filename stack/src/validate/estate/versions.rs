//! Versions of databases: how each engine writes them, and the earliest that anybody can use.

use super::{Fault, fault};
use crate::environment::aws::{Database, Engine};

/// The earliest that RDS still makes, extended support included, and the earliest the ledger works
/// with (docs/OPERATIONS.md, "Engines").
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/extended-support-versions.html>
fn earliest(engine: Engine) -> ([u32; 2], [u32; 2]) {
    match engine {
        Engine::Mysql | Engine::AuroraMysql => ([5, 7], [8, 0]),
        Engine::Mariadb => ([10, 5], [10, 6]),
        Engine::Postgres | Engine::AuroraPostgresql => ([11, 0], [13, 0]),
    }
}

/// What is wrong with the version of a database; `of_ledger` if the ledger keeps its entries there.
pub(super) fn faults(database: &Database, of_ledger: bool) -> Vec<Fault> {
    let Database { engine, version: Some(version), .. } = database else { return Vec::new() };
    let offered = engine.version();
    if !is_whole(*engine, version) {
        let message = format!("`{version}` is not a version of {}", engine.word());
        let hint = format!("write one RDS offers, in quotes: \"{offered}\"");
        return vec![fault("version", message, &hint)];
    }
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let this = [numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)];
    let (of_rds, of_the_ledger) = earliest(*engine);
    let least = if of_ledger { of_the_ledger } else { of_rds };
    if this >= least {
        return Vec::new();
    }
    let [major, minor] = least;
    let least = if engine.is_mysql() { format!("{major}.{minor}") } else { major.to_string() };
    let message = match this < of_rds {
        true => format!("RDS makes no {} {version} any more", engine.word()),
        false => format!("the ledger does not work with {} {version}", engine.word()),
    };
    let hint = format!("write one of {least} or later, in quotes: \"{offered}\"");
    vec![fault("version", message, &hint)]
}

/// Whether it is written in full, as RDS has it: a shorter one would be whichever RDS prefers.
fn is_whole(engine: Engine, version: &str) -> bool {
    let numbers = |text: &str, parts: usize| {
        let number = |part: &str| part.parse::<u32>().is_ok() && !part.starts_with('+');
        text.split('.').all(number) && text.split('.').count() == parts
    };
    match engine {
        Engine::Mysql | Engine::Mariadb => numbers(version, 3),
        Engine::Postgres | Engine::AuroraPostgresql => numbers(version, 2),
        Engine::AuroraMysql => version
            .split_once(".mysql_aurora.")
            .is_some_and(|(mysql, aurora)| numbers(mysql, 2) && numbers(aurora, 3)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_whole_and_not_of_the_past() {
        let wrong = |engine, version: &str, of_ledger| {
            let database = Database {
                engine,
                version: Some(version.to_owned()),
                major_upgrade: false,
                class: String::new(),
                storage: None,
                multi_az: true,
                backups: proxy_config::units::Duration::secs(1),
                readers: 0,
                proxy: false,
                parameters: std::collections::BTreeMap::new(),
            };
            !faults(&database, of_ledger).is_empty()
        };
        use Engine::{AuroraMysql, AuroraPostgresql, Mariadb, Mysql, Postgres};
        for (engine, version) in [
            (Mysql, "8.4.8"),
            (Mysql, "8.0.40"),
            (Mariadb, "10.6.20"),
            (Postgres, "13.20"),
            (Postgres, "99.9"),
            (AuroraMysql, "8.0.mysql_aurora.3.10.0"),
            (AuroraPostgresql, "17.5"),
        ] {
            assert!(!wrong(engine, version, true), "{engine:?} {version}");
        }
        for (engine, version) in [
            (Mysql, "8.4"),
            (Mysql, "8.4.x"),
            (Mysql, "8.4.+8"),
            (Postgres, "17"),
            (Postgres, "9.6"),
            (Mysql, "5.6.51"),
            (AuroraMysql, "8.0.32"),
            (AuroraPostgresql, "9.6"),
        ] {
            assert!(wrong(engine, version, false), "{engine:?} {version}");
        }
        for (engine, version) in [(Postgres, "12.22"), (Mysql, "5.7.44"), (Mariadb, "10.5.29")] {
            assert!(wrong(engine, version, true), "{engine:?} {version}");
            assert!(!wrong(engine, version, false), "{engine:?} {version}");
        }
    }
}
