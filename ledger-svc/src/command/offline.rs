//! A database without its service: what commands write goes through the same writer, under the same lock.

use anyhow::Context;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::database::DatabaseArgs;
use crate::act::{Act, Acted, Actor};
use crate::metrics::Metrics;
use crate::store::{self, Access, DatabaseUrl, Reader, StoreError};
use crate::writer::{self, Handle, Limits};

/// An opened database.
pub struct Offline {
    pub writer: Handle,
    pub metrics: Metrics,
    writing: JoinHandle<Result<(), StoreError>>,
    pub reader: Reader,
}

pub fn runtime() -> anyhow::Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

impl Offline {
    /// Opens a database that is current. `instead` is what to do while a service has it.
    pub async fn open(args: &DatabaseArgs, instead: &'static str) -> anyhow::Result<Self> {
        let database: DatabaseUrl = args.database.parse()?;
        let access = Access { migrate: false, allow_unsafe: args.allow_unsafe_durability };
        let opened = match store::open(&database, access).await {
            Err(error @ StoreError::Locked { .. }) => return Err(error).context(instead),
            opened => opened?,
        };
        let limits = Limits {
            queue_max: 16,
            queue_entries_max: 100_000,
            batch_max: 1000,
            accounts_known_max: 100_000,
            balances_behind_max: 32_768,
        };
        let metrics = Metrics::new();
        let (writer, writing) = writer::start(opened.writer, opened.ahead, limits, metrics.clone());
        Ok(Self { writer, metrics, writing, reader: opened.reader })
    }

    pub async fn act(&self, act: Act) -> anyhow::Result<Acted> {
        Ok(self.writer.act(act, Actor::Command).await?)
    }

    /// Waits until what fell due while nobody wrote is released: the writer's first batch does that.
    pub async fn release_due(&self) -> anyhow::Result<()> {
        Ok(self.writer.probe().await?)
    }

    /// Ends the writer and with it the lock.
    pub async fn close(self) -> anyhow::Result<()> {
        drop(self.writer);
        self.writing.await??;
        self.reader.close().await;
        Ok(())
    }
}
