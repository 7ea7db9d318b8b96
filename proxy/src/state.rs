//! The state of the process, which outlives every configuration.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::compress::Encoding;
use crate::drain::Drain;
use crate::generation::Generation;
use crate::kept_folder;
use crate::line_writer::LineWriter;
use crate::listening::Listening;
use crate::metrics::Metrics;
use crate::operator_log::Moderation;
use crate::runtimes::Handles;
use crate::slowest::Slowest;
use crate::standing::Standing;
use crate::telemetry::Spans;
use crate::tls::kept::Kept;
use crate::tuning::history::History;
use crate::upstream::connector::Connector;
use crate::upstream::probe::Probes;
use crate::upstream::resolve::Renewals;

/// The process: one of each.
pub struct State {
    pub metrics: Metrics,
    pub standing: Standing,
    pub runtimes: Handles,
    /// Responses that are being compressed.
    pub encoding: Encoding,
    pub probes: Probes,
    pub renewals: Renewals,
    /// Connections of what this proxy asks by itself; what pingora's proxy asks has a pool per listener there.
    pub connector: Arc<Connector>,
    pub access_log: LineWriter,
    pub error_log: LineWriter,
    pub drain: Drain,
    /// Where bodies of requests become files.
    pub kept_folders: kept_folder::Folders,
    pub moderation: Moderation,
    pub slowest: Slowest,
    /// On their way to the collector of traces.
    pub spans: Arc<Spans>,
    pub listening: Listening,
    pub tls: Kept,
    /// What is in force.
    pub generation: ArcSwap<Generation>,
    /// What has been in force. Whoever changes it holds this lock.
    pub history: Mutex<History>,
}

impl State {
    pub fn current(&self) -> Arc<Generation> {
        self.generation.load_full()
    }
}
