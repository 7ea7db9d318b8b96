//! The embedded engine's plans of every reading statement: look-ups by key, and no table gone through that
//! grows with transfers.

use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

use super::{
    acts, as_of, close, effective, external, gather, halving, journal, metadata, migration, outbox,
    pinned, read, reconcile, sets, signatures, sqlite,
};

/// Tables of which a statement may go through all rows: the chart, what a trial balance is made of, and days.
const SMALL: [&str; 7] = ["accounts", "a", "balances", "b", "currencies", "c", "backdated_days"];

#[tokio::test]
async fn no_read_goes_through_a_table_that_grows() {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    migration::run(&mut connection, &sqlite::MIGRATIONS, "memory", |error| panic!("{error}"))
        .await
        .unwrap();
    let statements: Vec<&str> = [
        acts::STATEMENTS,
        metadata::STATEMENTS,
        outbox::STATEMENTS,
        read::STATEMENTS,
        as_of::STATEMENTS,
        effective::STATEMENTS,
        pinned::STATEMENTS,
        journal::STATEMENTS,
        halving::STATEMENTS,
        close::STATEMENTS,
        gather::STATEMENTS,
        external::STATEMENTS_READ,
        reconcile::STATEMENTS_READ,
        sets::STATEMENTS,
        signatures::STATEMENTS,
        sqlite::LOOK_UPS,
    ]
    .concat();
    assert!(statements.len() > 20);
    for sql in statements {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        for row in sqlx::query(explain).fetch_all(&mut connection).await.expect(sql) {
            let step: String = row.get(3);
            let Some(table) = step.strip_prefix("SCAN ") else { continue };
            let table = table.split(' ').next().unwrap_or(table);
            let harmless = table == "wanted"
                // What was found on the way back.
                || ["w", "way"].contains(&table)
                || step == "SCAN CONSTANT ROW"
                || SMALL.contains(&table)
                // A page that is cut already.
                || sql.contains(&format!(") AS {table}\n"))
                // The last row by key is a look-up too.
                || sql.contains("DESC LIMIT 1");
            assert!(harmless, "{step}: {sql}");
        }
    }
}
