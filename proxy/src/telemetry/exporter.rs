//! The task that sends spans: it gathers a batch, sends it, tries again what may be tried again, and gives up in time,
//! so that what waits behind is not held up for ever. What it drops it counts.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use crate::metrics::telemetry::TelemetryMetrics;
use crate::telemetry::Message;
use crate::telemetry::collector::{Collector, Outcome};
use crate::telemetry::encode;
use crate::telemetry::span::Span;
use crate::upstream::connector::Connector;

/// Spans sent at once.
const BATCH_MAX: usize = 512;
/// How long a batch may wait to be full.
const BATCH_TIME: Duration = Duration::from_secs(1);
/// Attempts at one batch, and the time all of them may take.
const ATTEMPTS_MAX: u32 = 5;
const ATTEMPTS_TIME: Duration = Duration::from_secs(60);
/// First pause between attempts; each is twice the one before it, and somewhat more or less.
const PAUSE: Duration = Duration::from_secs(1);

pub struct Exporter {
    pub messages: mpsc::Receiver<Message>,
    pub collector: Arc<ArcSwapOption<Collector>>,
    pub connector: Arc<Connector>,
    /// Told when nobody has time any more.
    pub hurry: Arc<Notify>,
    pub counts: TelemetryMetrics,
    /// The last batch was not taken; the operator knows.
    pub is_failing: bool,
}

impl Exporter {
    pub async fn run(mut self) {
        while let Some(first) = self.messages.recv().await {
            let (batch, flush) = self.gather(first).await;
            if !batch.is_empty() {
                self.send(&batch).await;
            }
            if let Some(flush) = flush {
                // Whoever waited for it may be gone.
                let _ = flush.send(());
            }
        }
    }

    /// A batch that is full, or old enough, or wanted now.
    async fn gather(&mut self, first: Message) -> (Vec<Span>, Option<oneshot::Sender<()>>) {
        let due = Instant::now() + BATCH_TIME;
        let (mut batch, mut next) = (Vec::new(), Some(first));
        loop {
            match next {
                Some(Message::Span(span)) => {
                    self.counts.waiting.dec();
                    batch.push(*span);
                }
                Some(Message::Flush(flush)) => return (batch, Some(flush)),
                None => return (batch, None),
            }
            if batch.len() >= BATCH_MAX {
                return (batch, None);
            }
            next = timeout_at(due, self.messages.recv()).await.ok().flatten();
        }
    }

    async fn send(&mut self, batch: &[Span]) {
        let deadline = Instant::now() + ATTEMPTS_TIME;
        for attempt in 1.. {
            let Some(collector) = self.collector.load_full() else {
                return self.counts.dropped("off").inc_by(batch.len() as u64);
            };
            let body = encode::body(&collector.service, batch);
            match collector.post(&self.connector, body).await {
                Outcome::Taken(answer) => return self.taken(&collector, batch.len(), &answer),
                Outcome::Refused(why) => return self.lost(&collector, batch, "refused", &why),
                Outcome::Later { why, after } => {
                    let pause = after.unwrap_or_else(|| backoff(attempt, fastrand::u32(..1000)));
                    if attempt >= ATTEMPTS_MAX || Instant::now() + pause > deadline {
                        return self.lost(&collector, batch, "unavailable", &why);
                    }
                    tracing::debug!(why, attempt, "spans are sent again later");
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = self.hurry.notified() => {}
                    }
                }
            }
        }
    }

    fn taken(&mut self, collector: &Collector, count: usize, answer: &[u8]) {
        let count = count as u64;
        let mut sent = count;
        if let Some((rejected, why)) = encode::rejected(answer) {
            let rejected = rejected.min(count);
            sent -= rejected;
            self.counts.dropped("rejected").inc_by(rejected);
            tracing::debug!(rejected, why, "the collector did not take all spans");
        }
        self.counts.sent.inc_by(sent);
        if std::mem::take(&mut self.is_failing) {
            tracing::info!(url = collector.url, "spans are sent again");
        }
    }

    fn lost(&mut self, collector: &Collector, batch: &[Span], reason: &str, why: &str) {
        self.counts.dropped(reason).inc_by(batch.len() as u64);
        if !std::mem::replace(&mut self.is_failing, true) {
            let url = &collector.url;
            tracing::warn!(url, why, "telemetry.otlp_endpoint: spans cannot be sent; said once");
        }
    }
}

/// The pause after so many attempts, between half and one and a half of its time; `jitter` is below 1000.
fn backoff(attempts: u32, jitter: u32) -> Duration {
    let whole = PAUSE * 2_u32.saturating_pow(attempts.saturating_sub(1).min(6));
    whole / 2 + whole * jitter / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_do_not_come_together() {
        assert_eq!(backoff(1, 0), PAUSE / 2);
        assert_eq!(backoff(1, 500), PAUSE);
        assert_eq!(backoff(3, 500), PAUSE * 4);
        assert!(backoff(2, 999) < PAUSE * 3 && backoff(u32::MAX, 0) == PAUSE * 32);
    }
}
