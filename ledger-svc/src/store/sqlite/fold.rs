//! Folds the log into the file while the writer goes on: on a connection, and so a thread, of its own. The writer folds
//! what is left where its log has grown all the same, which bounds the log; after this that is little, and nobody waits
//! for it as long as for all of it.

use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Error};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

/// While there is something to fold, how long it may gather: a page that changes again and again is written once.
const GATHERS_FOR: Duration = Duration::from_millis(100);

/// Ends with its owner, who waits for it where the file is to be left without a log.
#[derive(Debug)]
pub struct Folding {
    committed: Arc<Notify>,
    /// Dropped, it ends the task.
    going_on: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Folding {
    pub fn start(options: SqliteConnectOptions) -> Self {
        let committed = Arc::new(Notify::new());
        let (going_on, ended) = oneshot::channel();
        let task = tokio::spawn(fold(options, Arc::clone(&committed), ended));
        Self { committed, going_on, task }
    }

    /// Closes the connection.
    pub async fn end(self) {
        drop(self.going_on);
        // Whatever became of it, it has no connection any more.
        let _ = self.task.await;
    }

    /// There is something to fold.
    pub fn committed(&self) {
        self.committed.notify_one();
    }
}

async fn fold(
    options: SqliteConnectOptions,
    committed: Arc<Notify>,
    mut ended: oneshot::Receiver<()>,
) {
    let mut connection = None;
    loop {
        let something = async {
            committed.notified().await;
            tokio::time::sleep(GATHERS_FOR).await;
        };
        tokio::select! {
            biased;
            _ = &mut ended => break,
            () = something => {}
        }
        if let Err(error) = fold_once(&options, &mut connection).await {
            // The writer folds by itself, and fails where the disk does.
            tracing::warn!(%error, "the log could not be folded beside the writer");
            connection = None;
        }
    }
    if let Some(connection) = connection {
        // An error while closing changes nothing of what is in the file.
        let _ = connection.close().await;
    }
}

/// What no reader needs, without waiting for anybody.
async fn fold_once(
    options: &SqliteConnectOptions,
    connection: &mut Option<SqliteConnection>,
) -> Result<(), Error> {
    let connection = match connection {
        Some(connected) => connected,
        None => connection.insert(options.connect().await?),
    };
    sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::super::url::{Access, SqliteFile, Synchronous};
    use super::super::open;
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn what_is_committed_comes_into_the_file_while_the_writer_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("l.sqlite");
        let file = SqliteFile { path: path.clone(), synchronous: Synchronous::Full };
        let access = Access { migrate: true, allow_unsafe: false };
        let (mut writer, ..) = open(&file, access).await.unwrap();
        let mut batch = writer.begin().await.unwrap();
        batch.run("UPDATE service SET probed_at_us = 77 WHERE id = 1".into()).await.unwrap();
        batch.commit().await.unwrap();
        let began = Instant::now();
        // The file alone, as it would be without its log.
        let alone = directory.path().join("alone.sqlite");
        loop {
            std::fs::copy(&path, &alone).unwrap();
            let options = SqliteConnectOptions::new().filename(&alone);
            let mut connection = options.connect().await.unwrap();
            let found = sqlx::query_scalar("SELECT probed_at_us FROM service WHERE id = 1")
                .fetch_one(&mut connection)
                .await;
            let _ = connection.close().await;
            if matches!(found, Ok(Some(77_i64))) {
                break;
            }
            assert!(began.elapsed() < DEADLINE, "nothing was folded");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        writer.close().await.unwrap();
    }
}
