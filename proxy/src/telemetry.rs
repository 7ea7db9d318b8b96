//! OpenTelemetry: what a traced request is told of it, and to whom. Whether a request is traced is decided where it is
//! [`crate::trace`]d; a request that is not has no [`Recorder`] and does nothing of all this.
//!
//! A [`span`] is made when what it tells of has ended: that of the request by [`server`], that of each question to an
//! upstream by [`attempt`]. It waits in a bounded queue; [`exporter`] sends what waits in batches, [`encode`]d, to the
//! [`collector`].

pub mod attempt;
pub mod collector;
pub mod encode;
pub mod exporter;
pub mod server;
pub mod span;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use prometheus::{IntCounter, IntGauge};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

use crate::generation::Generation;
use crate::metrics::Metrics;
use crate::runtimes::{Handles, Place};
use crate::telemetry::collector::Collector;
use crate::telemetry::exporter::Exporter;
use crate::telemetry::span::Span;
use crate::upstream::connector::Connector;

/// Spans that wait to be sent.
const QUEUE_MAX: usize = 4096;

/// What the exporter is told.
pub enum Message {
    Span(Box<Span>),
    /// Answered once all before it was sent or given up.
    Flush(oneshot::Sender<()>),
}

/// Where spans are put. It belongs to the process; a reload may change the collector.
pub struct Spans {
    queue: mpsc::Sender<Message>,
    collector: Arc<ArcSwapOption<Collector>>,
    hurry: Arc<Notify>,
    waiting: IntGauge,
    dropped_full: IntCounter,
    dropped_closed: IntCounter,
}

impl Spans {
    /// Begins the task that sends, with nobody to send to yet.
    pub fn start(runtimes: &Handles, connector: &Arc<Connector>, metrics: &Metrics) -> Spans {
        let (queue, messages) = mpsc::channel(QUEUE_MAX);
        let (collector, hurry) = (Arc::new(ArcSwapOption::empty()), Arc::new(Notify::new()));
        let exporter = Exporter {
            messages,
            collector: Arc::clone(&collector),
            connector: Arc::clone(connector),
            hurry: Arc::clone(&hurry),
            counts: metrics.telemetry.clone(),
            is_failing: false,
        };
        // It never holds up a request.
        runtimes.of(Place::Bulk).spawn(exporter.run());
        let waiting = metrics.telemetry.waiting.clone();
        let dropped_full = metrics.telemetry.dropped("queue_full");
        let dropped_closed = metrics.telemetry.dropped("closed");
        Spans { queue, collector, hurry, waiting, dropped_full, dropped_closed }
    }

    /// Sends to this collector from now on; without one what waits is thrown away.
    pub fn send_to(&self, telemetry: Option<&proxy_config::telemetry::Telemetry>) {
        let collector = telemetry.and_then(Collector::new).map(Arc::new);
        self.collector.store(collector);
    }

    pub fn record(&self, span: Span) {
        self.waiting.inc();
        if let Err(error) = self.queue.try_send(Message::Span(Box::new(span))) {
            self.waiting.dec();
            match error {
                TrySendError::Full(_) => self.dropped_full.inc(),
                TrySendError::Closed(_) => self.dropped_closed.inc(),
            }
        }
    }

    /// Sends all that waits, if that is done in this time.
    pub async fn flush(&self, patience: Duration) {
        if self.collector.load().is_none() {
            return;
        }
        let flushed = async {
            let (done, is_done) = oneshot::channel();
            // Who waits to try again tries now.
            self.hurry.notify_one();
            if self.queue.send(Message::Flush(done)).await.is_ok() {
                let _ = is_done.await;
            }
        };
        if timeout(patience, flushed).await.is_err() {
            let spans = self.waiting.get();
            tracing::warn!(spans, "spans were not sent: the collector takes too long");
        }
    }
}

/// What a traced request records its spans with.
#[derive(Clone)]
pub struct Recorder {
    spans: Arc<Spans>,
    /// The trace, 32 hex digits, and the request's own span, 16.
    trace: String,
    span: String,
    flags: u8,
    generation: Arc<Generation>,
    /// The route whose logs say what is not told.
    pub route: Option<usize>,
}

impl Recorder {
    pub fn new(
        spans: &Arc<Spans>,
        (trace, span): (&str, &str),
        flags: u8,
        generation: &Arc<Generation>,
    ) -> Recorder {
        Recorder {
            spans: Arc::clone(spans),
            trace: trace.to_owned(),
            span: span.to_owned(),
            flags,
            generation: Arc::clone(generation),
            route: None,
        }
    }

    /// A query as the route's access logs would tell it.
    fn told(&self, query: &str) -> String {
        self.generation.logs.told(self.route, query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::span::{Attributes, Kind};

    #[tokio::test]
    async fn who_finds_the_queue_full_drops_what_he_has() {
        let metrics = Metrics::new();
        let (queue, mut messages) = mpsc::channel(QUEUE_MAX);
        let spans = Spans {
            queue,
            collector: Arc::default(),
            hurry: Arc::default(),
            waiting: metrics.telemetry.waiting.clone(),
            dropped_full: metrics.telemetry.dropped("queue_full"),
            dropped_closed: metrics.telemetry.dropped("closed"),
        };
        let record = || {
            spans.record(Span {
                trace: String::new(),
                id: String::new(),
                parent: None,
                state: None,
                flags: 1,
                kind: Kind::Server,
                name: String::new(),
                begun_ns: 0,
                ended_ns: 0,
                attributes: Attributes::default(),
                failed: false,
            });
        };
        (0..QUEUE_MAX + 3).for_each(|_| record());
        let bound = i64::try_from(QUEUE_MAX).unwrap();
        assert_eq!((spans.waiting.get(), spans.dropped_full.get()), (bound, 3));
        assert!(messages.recv().await.is_some());
        drop(messages);
        record();
        assert_eq!((spans.waiting.get(), spans.dropped_closed.get()), (bound, 1));
    }
}
