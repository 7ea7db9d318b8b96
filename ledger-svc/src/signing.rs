//! Signs the chain's head: at intervals while something was booked, and when a period is closed.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::act::{Act, Acted, Actor};
use crate::metrics::Metrics;
use crate::signature::{PublicKey, SignatureRow, SigningKey};
use crate::store::{Reader, StoreError};
use crate::writer::{Handle, WriteError};

/// What the head of the chain is signed with.
#[derive(Clone, Debug)]
pub struct Signing {
    pub key: Arc<SigningKey>,
    pub every: Duration,
}

/// What signs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Signer {
    key: Arc<SigningKey>,
    reader: Reader,
    writer: Arc<Handle>,
    metrics: Metrics,
}

/// Why a head is not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Signer {
    /// Of a service that has a key.
    pub fn of(
        signing: Option<&Signing>,
        reader: &Reader,
        writer: &Arc<Handle>,
        metrics: &Metrics,
    ) -> Option<Self> {
        signing.map(|signing| Self {
            key: Arc::clone(&signing.key),
            reader: reader.clone(),
            writer: Arc::clone(writer),
            metrics: metrics.clone(),
        })
    }

    pub fn public(&self) -> PublicKey {
        self.key.public
    }

    /// Signs the head as it is committed, unless it is a signature itself.
    pub async fn sign(&self) -> Result<Option<SignatureRow>, SignError> {
        let signed = sign(&self.key, &self.reader, &self.writer, Actor::Service).await;
        match &signed {
            Ok(Some(row)) => {
                self.metrics.signatures.inc();
                self.metrics.signed_link.set(row.head.seq);
            }
            Ok(None) => {}
            Err(error) => {
                self.metrics.signature_failures.inc();
                tracing::error!(%error, "the head of the chain could not be signed");
            }
        }
        signed
    }

    /// Signs every so often, until the stop.
    pub fn keep(self, every: Duration, mut stop: watch::Receiver<bool>) -> JoinHandle<()> {
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => break,
                    () = tokio::time::sleep(every) => {}
                }
                // What failed is logged and tried again the next time.
                let _ = self.sign().await;
            }
            let _ = self.sign().await;
        })
    }
}

/// Signs the head of a database.
pub async fn sign(
    key: &SigningKey,
    reader: &Reader,
    writer: &Handle,
    actor: Actor,
) -> Result<Option<SignatureRow>, SignError> {
    let head = reader.head().await?;
    // A signature is the link behind the head it signs: nothing was booked since.
    let last = reader.last_signature().await?;
    let nothing_new =
        last.is_some_and(|last| last.head.seq + 1 == head.seq && last.public_key == key.public);
    if head.seq == 0 || nothing_new {
        return Ok(None);
    }
    let row = key.sign(head, Timestamp::now());
    match writer.act(Act::Sign(row), actor).await? {
        Acted::Signed(row) => Ok(Some(row)),
        other => unreachable!("a signature became {other:?}"),
    }
}
