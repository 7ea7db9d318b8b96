//! What handlers work with, and what a request may take.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use super::gate::Gate;
use super::problem::Problem;
use crate::delivering::Changes;
use crate::delivering::tail::Tail;
use crate::metrics::Metrics;
use crate::outbox;
use crate::posting::Standing;
use crate::signing::Signer;
use crate::store::{DatabaseUrl, Reader};
use crate::writer;

/// API keys in force, unless `--keys-max` says otherwise.
pub const KEYS_MAX_DEFAULT: usize = 10_000;

/// Exports under way at once, unless `--exports-max` says otherwise. Each has a connection to the database, and a
/// moment of it that is kept.
pub const EXPORTS_MAX_DEFAULT: usize = 2;

/// What a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub body_bytes_max: usize,
    pub header_bytes_max: usize,
    pub entries_max: usize,
    /// Requests in one batch.
    pub batch_max: usize,
    /// API keys in force.
    pub keys_max: usize,
    /// Exports under way at once.
    pub exports_max: usize,
    pub body_timeout: Duration,
    pub request_timeout: Duration,
}

/// What handlers work with. It is cloned several times a request, so it is one pointer.
#[derive(Clone, Debug)]
pub struct App(Arc<Parts>);

/// What an `App` is made of.
#[derive(Debug)]
pub struct Parts {
    /// For what reads all of it in one moment.
    pub database: DatabaseUrl,
    pub reader: Reader,
    pub writer: Arc<writer::Handle>,
    pub metrics: Metrics,
    pub limits: Limits,
    pub gate: Arc<Gate>,
    /// Signs the head of the chain, if it is to be signed.
    pub signer: Option<Signer>,
    pub outbox: outbox::Limits,
    pub tail: Tail,
    pub changes: Changes,
    /// Places for event streams.
    pub streams: Arc<Semaphore>,
    /// Places for exports.
    pub exports: Arc<Semaphore>,
    /// Turns true at a stop.
    pub stopping: watch::Receiver<bool>,
}

impl App {
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// How an account stands, or that there is none of this code.
    pub async fn standing(&self, code: &str) -> Result<Standing, Problem> {
        let standing = self.reader.standing(code).await?;
        standing.ok_or_else(|| Problem::no_account(code))
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
