//! A database of the previous version, with money in it, taken over by this one.

use forebay_ledger::transfer::{self, IdempotencyKey};
use serde_json::json;
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migrate, Migration, MigrationType, Migrator};

use crate::engine::{Database, Engine, Server, on_every_engine};
use crate::raw::Raw;
use crate::running::{Running, answer, moving, options};

on_every_engine!(what_the_first_version_booked_is_taken_over);

/// The migrations of the first version, as released.
macro_rules! first {
    ($engine:literal) => {
        [
            (1, "ledger", include_str!(concat!("../migrations/", $engine, "/0001_ledger.sql"))),
            (
                2,
                "iso currencies",
                include_str!(concat!("../migrations/", $engine, "/0002_iso_currencies.sql")),
            ),
        ]
    };
}

async fn migrate<C: Migrate>(
    connection: &mut C,
    first: [(i64, &'static str, &'static str); 2],
    name: &'static str,
) {
    let of = |(version, described, sql): (i64, &'static str, &'static str)| {
        let described = if version == 1 { name } else { described };
        Migration::new(version, described.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    let migrator = Migrator::with_migrations(first.map(of).to_vec());
    connection.ensure_migrations_table("_sqlx_migrations").await.unwrap();
    migrator.run_direct(None, connection, false).await.unwrap();
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
    match &mut raw {
        Raw::Sqlite(connection) => migrate(connection, first!("sqlite"), "ledger").await,
        Raw::MySql(connection) => migrate(connection, first!("mysql"), "forebay ledger").await,
        Raw::Postgres(connection) => {
            migrate(connection, first!("postgres"), "forebay ledger").await;
        }
    }
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
