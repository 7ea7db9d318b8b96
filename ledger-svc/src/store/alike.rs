//! What the three engines do by the same words, each with types of its own. A function cannot take three types at once.

/// The migrations, in their order; of each engine there is a folder. The first one's name marks the database.
macro_rules! migrations {
    ($engine:literal, $mark:expr) => {
        [
            (1, $mark, alike::sql!($engine, "0001_ledger")),
            (2, "iso currencies", alike::sql!($engine, "0002_iso_currencies")),
            (3, "pending", alike::sql!($engine, "0003_pending")),
            (4, "chain", alike::sql!($engine, "0004_chain")),
            (5, "short answers", alike::sql!($engine, "0005_short_answers")),
            (6, "effective dates", alike::sql!($engine, "0006_effective_dates")),
            (7, "administration", alike::sql!($engine, "0007_administration")),
            (8, "one row a transfer", alike::sql!($engine, "0008_one_row_a_transfer")),
            (9, "webhooks", alike::sql!($engine, "0009_webhooks")),
            (10, "metadata", alike::sql!($engine, "0010_metadata")),
            (11, "transfer metadata", alike::sql!($engine, "0011_transfer_metadata")),
            (12, "signatures", alike::sql!($engine, "0012_signatures")),
            (13, "reconciliation", alike::sql!($engine, "0013_reconciliation")),
            (14, "account sets", alike::sql!($engine, "0014_account_sets")),
            (15, "ways back", alike::sql!($engine, "0015_ways_back")),
            (16, "balances behind", alike::sql!($engine, "0016_balances_behind")),
            (17, "seals", alike::sql!($engine, "0017_seals")),
            (18, "identities", alike::sql!($engine, "0018_identities")),
        ]
    };
}

/// How many of them there are.
pub const MIGRATIONS: usize = 18;

/// The text of one, as seen from the engine's file.
macro_rules! sql {
    ($engine:literal, $name:literal) => {
        include_str!(concat!("../../migrations/", $engine, "/", $name, ".sql"))
    };
}

/// Begins the next epoch in a transaction that holds the service's row.
macro_rules! next_epoch {
    ($transaction:expr, $sql:expr) => {{
        let mut transaction = $transaction;
        let row = sqlx::query_as(AssertSqlSafe($sql)).fetch_one(&mut *transaction).await?;
        let row = ServiceRow::found(row).next();
        sqlx::query(AssertSqlSafe(row.update())).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(row.epoch)
    }};
}

/// Reads by a text that is not met again, which the connection does not keep prepared.
macro_rules! rows_once {
    ($connection:ty) => {
        pub async fn rows_once<T>(
            connection: &mut $connection,
            sql: String,
            of: impl Fn(&dyn Columns) -> Result<T, StoreError>,
        ) -> Result<Vec<T>, StoreError> {
            let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
            let rows = query.fetch_all(connection).await?;
            rows.iter().map(|row| of(row)).collect()
        }
    };
}

/// How a batch reads, and how a writer gives its connection up. `$lock` is what locks a row that is read.
macro_rules! reads {
    ($lock:literal) => {
        impl Writer {
            /// Drops the connection after a failed batch: whatever state it is in, the next batch starts
            /// on a fresh one.
            pub async fn reset(&mut self) {
                if let Some(connection) = self.connection.take() {
                    // It is being given up; an error while closing changes nothing.
                    let _ = connection.close_hard().await;
                }
            }
        }

        impl Batch<'_> {
            pub async fn fence(&mut self) -> Result<(), StoreError> {
                let sql = concat!("SELECT epoch FROM service WHERE id = 1", $lock);
                let found: i64 = sqlx::query_scalar(sql).fetch_one(&mut *self.transaction).await?;
                if found != self.epoch {
                    return Err(StoreError::Replaced { ours: self.epoch, found });
                }
                Ok(())
            }

            pub async fn query<T>(
                &mut self,
                sql: String,
                of: impl Fn(&dyn Columns) -> Result<T, StoreError>,
            ) -> Result<Vec<T>, StoreError> {
                let query = sqlx::query(AssertSqlSafe(sql));
                let rows = query.fetch_all(&mut *self.transaction).await?;
                rows.iter().map(|row| of(row)).collect()
            }

            pub async fn query_once<T>(
                &mut self,
                sql: String,
                of: impl Fn(&dyn Columns) -> Result<T, StoreError>,
            ) -> Result<Vec<T>, StoreError> {
                super::rows_once(&mut self.transaction, sql, of).await
            }

            pub async fn look_up<T>(
                &mut self,
                list: List<'_>,
                of: impl Fn(&dyn Columns) -> Result<T, StoreError>,
            ) -> Result<Vec<T>, StoreError> {
                let query = look_up(list);
                let rows = query.fetch_all(&mut *self.transaction).await?;
                rows.iter().map(|row| of(row)).collect()
            }
        }
    };
}

pub(super) use {migrations, next_epoch, reads, rows_once, sql};
