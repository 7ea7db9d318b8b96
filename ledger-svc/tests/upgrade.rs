//! A database of the previous version, with money in it, taken over by this one.

use std::ops::RangeInclusive;
use std::path::Path;

use forebay_ledger::store::{DatabaseUrl, StoreError};
use forebay_ledger::transfer::{self, IdempotencyKey};
use forebay_ledger::verify::{VerifyError, verify};
use serde_json::json;
use sqlx::migrate::{Migrate, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use crate::engine::{Database, Engine, Server, on_every_engine};
use crate::raw::Raw;
use crate::running::{Running, answer, moving, options};

on_every_engine!(
    what_the_first_version_booked_is_taken_over,
    long_accounts_are_given_their_ways_back,
);

/// Those of an engine's migrations, as released.
pub fn migrations(engine: Engine, versions: RangeInclusive<i64>) -> Migrator {
    let (folder, name) = match engine {
        Engine::Sqlite => ("sqlite", "ledger"),
        Engine::MariaDb => ("mysql", "forebay ledger"),
        Engine::Postgres => ("postgres", "forebay ledger"),
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut found: Vec<Migration> = files
        .map(|file| {
            let (version, of) = file.file_stem().unwrap().to_str().unwrap().split_at(4);
            let version = version.parse().unwrap();
            let described = if version == 1 { name.into() } else { of[1..].replace('_', " ") };
            let sql = AssertSqlSafe(std::fs::read_to_string(&file).unwrap()).into_sql_str();
            Migration::new(version, described.into(), MigrationType::Simple, sql, false)
        })
        .filter(|migration| versions.contains(&migration.version))
        .collect();
    found.sort_by_key(|migration| migration.version);
    Migrator::with_migrations(found)
}

pub async fn migrate(raw: &mut Raw, engine: Engine, versions: RangeInclusive<i64>) {
    async fn run<C: Migrate>(connection: &mut C, migrator: &Migrator) {
        connection.ensure_migrations_table("_sqlx_migrations").await.unwrap();
        migrator.run_direct(None, connection, false).await.unwrap();
    }
    let migrator = migrations(engine, versions);
    match raw {
        Raw::Sqlite(connection) => run(connection, &migrator).await,
        Raw::MySql(connection) => run(connection, &migrator).await,
        Raw::Postgres(connection) => run(connection, &migrator).await,
    }
}

pub const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
pub const KEY: &str = "first";
pub const BODY: &str = r#"{"id":"01890a5d-ac96-774b-bcce-b302099a8057","description":"move","effective_date":"2026-01-02","booked_at":"2026-01-02T00:00:00.000000Z","entries":[{"account":"eur:debit","direction":"debit","amount":"5.00","currency":"EUR"},{"account":"eur:credit","direction":"credit","amount":"5.00","currency":"EUR"}]}"#;

/// A database as the first version left it: two accounts and one transfer.
pub async fn of_the_first_version(server: &Server) -> Database {
    let database = server.database().await;
    if server.engine == Engine::Sqlite {
        std::fs::write(database.directory.join("ledger.sqlite"), "").unwrap();
    }
    let mut raw = database.connect().await;
    migrate(&mut raw, server.engine, 1..=2).await;
    let body = moving("eur:credit", "eur:debit", "5").to_string();
    let key = IdempotencyKey::parse(KEY.as_bytes()).unwrap();
    let print = transfer::parse(key, body.as_bytes(), 10).unwrap().fingerprint;
    let print: String = print.iter().map(|byte| format!("{byte:02x}")).collect();
    let (id, print) = match server.engine {
        Engine::Sqlite => (format!("'{ID}'"), format!("x'{print}'")),
        Engine::MariaDb => {
            (format!("UNHEX('{}')", ID.replace('-', "")), format!("UNHEX('{print}')"))
        }
        Engine::Postgres => (format!("'{ID}'"), format!("decode('{print}', 'hex')")),
    };
    let key = if server.engine == Engine::MariaDb { "`key`" } else { "key" };
    let ids = if server.engine == Engine::Postgres { " OVERRIDING SYSTEM VALUE" } else { "" };
    for sql in [
        format!("INSERT INTO accounts (id, code, name, currency, normal_balance, created_at_us){ids} VALUES (1, 'eur:debit', 'd', 'EUR', 'debit', 1), (2, 'eur:credit', 'c', 'EUR', 'credit', 2)"),
        "INSERT INTO balances (account_id, debits_minor, credits_minor, entries) VALUES (1, 500, 0, 1), (2, 0, 500, 1)".into(),
        format!("INSERT INTO transfers (seq, id, description, effective_date, booked_at_us, entry_id_first, entries) VALUES (1, {id}, 'move', '2026-01-02', 1767312000000000, 1, 2)"),
        "INSERT INTO entries (id, transfer_seq, account_id, number, direction, amount_minor, debits_after_minor, credits_after_minor) VALUES (1, 1, 1, 1, 'debit', 500, 500, 0), (2, 1, 2, 1, 'credit', 500, 0, 500)".into(),
        format!("INSERT INTO idempotency_keys ({key}, fingerprint, transfer_seq, status, body) VALUES ('{KEY}', {print}, 1, 201, '{BODY}')"),
    ] {
        raw.execute(&sql).await.expect(&sql);
    }
    raw.close().await;
    database
}

async fn what_the_first_version_booked_is_taken_over(server: &Server) {
    let database = of_the_first_version(server).await;
    let running = Running::start(options(&database.url), database).await;
    let api = &running.api;
    let replayed = api.transfer(KEY, &moving("eur:credit", "eur:debit", "5")).await;
    assert_eq!((replayed.is_replay(), replayed.body.as_str()), (true, BODY));
    let found = api.read(&format!("/v1/transfers/{ID}")).await;
    assert_eq!((&found["kind"], &found["state"]), (&json!("transfer"), &json!("posted")));
    let balance = api.read("/v1/accounts/eur:debit/balance").await;
    assert_eq!((&balance["balance"], &balance["pending_debits"]), (&json!("5.00"), &json!("0.00")));
    let reverse = api
        .request(reqwest::Method::POST, &format!("/v1/transfers/{ID}/reverse"))
        .header("idempotency-key", "second")
        .json(&json!({}));
    assert_eq!(answer(reverse).await.status, 201);
    assert_eq!(api.read("/v1/accounts/eur:debit/balance").await["balance"], "0.00");
    assert_eq!(running.database.transfers().await, 2);
}

/// Transfers of one cent, so many that their entries are more than are given their ways back at once.
const TRANSFERS: i64 = 10_200;

/// What the version before the one with ways back would have booked: a transfer every second, between two accounts.
async fn book_many(raw: &mut Raw, engine: Engine) {
    let (id, bytes, key, keyed, body) = match engine {
        Engine::Sqlite => (
            "printf('00000000-0000-0000-0000-%012x', i)",
            "zeroblob(32)",
            "key",
            "'k' || i",
            r#"printf('{"id":"00000000-0000-0000-0000-%012x"}', i)"#,
        ),
        Engine::MariaDb => (
            "UNHEX(LPAD(HEX(i), 32, '0'))",
            "UNHEX(REPEAT('00', 32))",
            "`key`",
            "CONCAT('k', i)",
            r#"CONCAT('{"id":"00000000-0000-0000-0000-', LPAD(LOWER(HEX(i)), 12, '0'), '"}')"#,
        ),
        Engine::Postgres => (
            "('00000000-0000-0000-0000-' || lpad(to_hex(i), 12, '0'))::uuid",
            "decode(repeat('00', 32), 'hex')",
            "key",
            "'k' || i",
            r#"'{"id":"00000000-0000-0000-0000-' || lpad(to_hex(i), 12, '0') || '"}'"#,
        ),
    };
    let ids = if engine == Engine::Postgres { " OVERRIDING SYSTEM VALUE" } else { "" };
    let (end, one) = (TRANSFERS, if engine == Engine::Postgres { "1::bigint" } else { "1" });
    let many = format!(
        "WITH RECURSIVE n (i) AS (SELECT {one} UNION ALL SELECT i + 1 FROM n WHERE i < {end})"
    );
    if engine == Engine::MariaDb {
        raw.execute("SET SESSION max_recursive_iterations = 1000000").await.unwrap();
    }
    for sql in [
        format!(
            "INSERT INTO accounts (id, code, name, currency, normal_balance, created_at_us){ids} VALUES (1, 'eur:debit', 'd', 'EUR', 'debit', 1), (2, 'eur:credit', 'c', 'EUR', 'credit', 2)"
        ),
        format!(
            "INSERT INTO balances (account_id, debits_minor, credits_minor, entries) VALUES (1, {end}, 0, {end}), (2, 0, {end}, {end})"
        ),
        format!(
            "INSERT INTO transfers (seq, id, description, effective_date, booked_at_us, entry_id_first, entries) {many} SELECT i, {id}, 'move', '1970-01-01', i * 1000000, i * 2 - 1, 2 FROM n"
        ),
        format!(
            "INSERT INTO entries (id, transfer_seq, account_id, number, direction, amount_minor, debits_after_minor, credits_after_minor) {many} SELECT i * 2 - 1, i, 1, i, 'debit', 1, i, 0 FROM n UNION ALL SELECT i * 2, i, 2, i, 'credit', 1, 0, i FROM n ORDER BY 1"
        ),
        format!(
            "INSERT INTO idempotency_keys ({key}, fingerprint, transfer_seq, status, body) {many} SELECT {keyed}, {bytes}, i, 201, {body} FROM n"
        ),
    ] {
        raw.execute(&sql).await.expect(&sql);
    }
}

async fn long_accounts_are_given_their_ways_back(server: &Server) {
    let database = server.database().await;
    if server.engine == Engine::Sqlite {
        std::fs::write(database.directory.join("ledger.sqlite"), "").unwrap();
    }
    let mut raw = database.connect().await;
    migrate(&mut raw, server.engine, 1..=2).await;
    book_many(&mut raw, server.engine).await;
    let (role, granted) = (
        format!("keeps_{}", database.name()),
        "SELECT count(*) FROM information_schema.table_privileges WHERE table_name = 'entries' AND grantee = ",
    );
    if server.engine == Engine::Postgres {
        raw.execute(&format!("CREATE ROLE {role}; GRANT SELECT, INSERT ON entries TO {role}"))
            .await
            .unwrap();
    }
    migrate(&mut raw, server.engine, 1..=15).await;
    // Broken off after the first part, which here is a small one.
    raw.execute("INSERT INTO entries SELECT e.*, 0, 0 FROM entries_before AS e WHERE id <= 2")
        .await
        .unwrap();
    raw.close().await;
    let url: DatabaseUrl = database.url.parse().unwrap();
    let half = Box::pin(verify(&url, None)).await.unwrap_err();
    assert!(matches!(half, VerifyError::Store(StoreError::Unmigrated { .. })), "{half}");

    let running = Running::start(options(&database.url), database).await;
    let api = &running.api;
    assert_eq!(api.transfer("new", &moving("eur:credit", "eur:debit", "1")).await.status, 201);
    let end = TRANSFERS + 1;
    for after in [0, 1, 4095, 8191, end - 700, end] {
        let path = format!("/v1/accounts/eur:debit/entries?limit=600&cursor={after}");
        let page = api.read(&path).await;
        let items = page["items"].as_array().unwrap();
        let last = (after + 600).min(end);
        assert_eq!(i64::try_from(items.len()), Ok(last - after));
        for (number, item) in (after + 1..).zip(items) {
            let minor = if number == end { number + 99 } else { number };
            let balance = format!("{}.{:02}", minor / 100, minor % 100);
            assert_eq!((&item["number"], &item["balance"]), (&json!(number), &json!(balance)));
        }
        assert_eq!(page["next_cursor"].is_null(), last == end);
    }
    for number in [0, 1, 2, 3000, 8191, 8192, TRANSFERS] {
        let at = jiff::Timestamp::from_second(number + 1).unwrap();
        let path = format!("/v1/accounts/eur:credit/balance/as-of?booked_before={at}");
        assert_eq!(api.read(&path).await["entries"], number);
    }
    if server.engine == Engine::Postgres {
        let sql = format!("{granted}'{role}'");
        assert_eq!(running.database.connect().await.number(&sql).await, 2);
    }
    assert_eq!(tables_of_before(&running.database, server.engine).await, 0);
    Box::pin(verify(&url, None)).await.unwrap();
}

/// Tables that hold what was before.
async fn tables_of_before(database: &Database, engine: Engine) -> i64 {
    let sql = match engine {
        Engine::Sqlite => "SELECT count(*) FROM sqlite_schema WHERE name = 'entries_before'",
        Engine::MariaDb => {
            "SELECT count(*) FROM information_schema.tables WHERE table_name = 'entries_before' AND table_schema = DATABASE()"
        }
        Engine::Postgres => "SELECT count(*) FROM pg_tables WHERE tablename = 'entries_before'",
    };
    database.connect().await.number(sql).await
}
