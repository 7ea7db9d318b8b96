//! Carries events to webhooks: one task per endpoint, one delivery at a time, in booking order. An endpoint is told an
//! event again until it takes it, or until it has failed too often and is suspended; nothing is ever left out. How far
//! each has come is written every second, so that after a crash the last second may be told twice.

pub mod backoff;
pub mod tail;

use std::collections::{HashMap, HashSet};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::{Request, StatusCode, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use self::backoff::Next;
use self::tail::Tail;
use crate::metrics::Metrics;
use crate::outbox::event::{Delivery, Event};
use crate::outbox::{EndpointRow, Limits, Progress};
use crate::store::Reader;
use crate::writer;

/// How often the endpoints are read again, and progress is written.
const STEP: Duration = Duration::from_secs(1);
/// How much of an endpoint's answer is read; it says nothing of interest.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Longest error kept.
const ERROR_CHARS_MAX: usize = 200;
/// After the books could not be read.
const READ_PAUSE: Duration = Duration::from_secs(1);

type Post = Client<HttpsConnector<HttpConnector>, Body>;

/// Tells the deliveries that endpoints changed. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Changes(Arc<Changed>);

#[derive(Debug, Default)]
struct Changed {
    notify: Notify,
    resumed: Mutex<HashSet<i64>>,
}

impl Changes {
    /// Endpoints came or went.
    pub fn changed(&self) {
        self.0.notify.notify_one();
    }

    /// An endpoint is to be tried again.
    pub fn resumed(&self, id: i64) {
        self.0.resumed.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        self.changed();
    }

    fn take_resumed(&self) -> HashSet<i64> {
        std::mem::take(&mut *self.0.resumed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What every delivery works with.
#[derive(Clone)]
struct Tools {
    reader: Reader,
    tail: Tail,
    limits: Limits,
    metrics: Metrics,
    post: Post,
}

/// An endpoint's task and how far it has come.
struct Serving {
    task: JoinHandle<()>,
    progress: Arc<Mutex<Progress>>,
    written: Progress,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Delivers until `stop`.
pub fn start(
    reader: Reader,
    writer: Arc<writer::Handle>,
    tail: Tail,
    changes: Changes,
    limits: Limits,
    metrics: Metrics,
    stop: watch::Receiver<bool>,
) -> std::io::Result<JoinHandle<()>> {
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(rustls::crypto::ring::default_provider())?
        .https_or_http()
        .enable_http1()
        .build();
    let post = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(1)
        .build(connector);
    let tools = Tools { reader, tail, limits, metrics, post };
    Ok(tokio::spawn(run(tools, writer, changes, stop)))
}

async fn run(
    tools: Tools,
    writer: Arc<writer::Handle>,
    changes: Changes,
    mut stop: watch::Receiver<bool>,
) {
    let mut serving: HashMap<i64, Serving> = HashMap::new();
    loop {
        let resumed = changes.take_resumed();
        match tools.reader.endpoints_in_force().await {
            Ok(endpoints) => {
                serving.retain(|id, _| {
                    !resumed.contains(id) && endpoints.iter().any(|(row, _)| row.id == *id)
                });
                for (row, progress) in endpoints {
                    serving.entry(row.id).or_insert_with(|| Serving::start(&tools, row, progress));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the webhooks could not be read again");
                changes.0.resumed.lock().unwrap_or_else(PoisonError::into_inner).extend(resumed);
            }
        }
        let stopped = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => true,
            () = changes.0.notify.notified() => false,
            () = tokio::time::sleep(STEP) => false,
        };
        if stopped {
            serving.values().for_each(|serving| serving.task.abort());
        }
        write_progress(&mut serving, &writer).await;
        observe(&tools, &serving);
        if stopped {
            return;
        }
    }
}

impl Serving {
    fn start(tools: &Tools, row: EndpointRow, progress: Progress) -> Self {
        let written = progress.clone();
        let progress = Arc::new(Mutex::new(progress));
        let task = tokio::spawn(serve(tools.clone(), row, Arc::clone(&progress)));
        Self { task, progress, written }
    }
}

fn locked(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn write_progress(serving: &mut HashMap<i64, Serving>, writer: &writer::Handle) {
    let newer = |serving: &Serving| {
        let progress = locked(&serving.progress).clone();
        (progress != serving.written).then_some(progress)
    };
    let rows: Vec<Progress> = serving.values().filter_map(newer).collect();
    // What cannot be written now is written the next time.
    if rows.is_empty() || writer.webhook_progress(rows.clone()).await.is_err() {
        return;
    }
    for row in rows {
        if let Some(serving) = serving.get_mut(&row.endpoint_id) {
            serving.written = row;
        }
    }
}

fn observe(tools: &Tools, serving: &HashMap<i64, Serving>) {
    let (mut behind, mut suspended) = (0, 0);
    for serving in serving.values() {
        let progress = locked(&serving.progress);
        behind = behind.max(tools.tail.seen() - progress.delivered_seq);
        suspended += i64::from(progress.suspended_at_us.is_some());
    }
    tools.metrics.webhooks.set(i64::try_from(serving.len()).unwrap_or(i64::MAX));
    tools.metrics.webhooks_suspended.set(suspended);
    tools.metrics.webhook_behind.set(behind);
}

/// One endpoint, for as long as it is registered.
async fn serve(tools: Tools, row: EndpointRow, progress: Arc<Mutex<Progress>>) {
    let mut watching = tools.tail.watch();
    // A delivery that failed is sent again as it was.
    let mut again: Option<usize> = None;
    loop {
        let at = locked(&progress).clone();
        if at.suspended_at_us.is_some() {
            pending::<()>().await;
        }
        if let Some(next) = at.next_attempt_at_us {
            let wait = next.saturating_sub(Timestamp::now().as_microsecond());
            tokio::time::sleep(Duration::from_micros(u64::try_from(wait).unwrap_or(0))).await;
        }
        if watching.wait_for(|last| *last > at.delivered_seq).await.is_err() {
            return;
        }
        let most = again.unwrap_or(tools.limits.batch_max);
        let Ok(events) = tools.reader.events(at.delivered_seq, most).await else {
            tokio::time::sleep(READ_PAUSE).await;
            continue;
        };
        let Some(last) = events.last().map(|event| event.id) else { continue };
        match deliver(&tools, &row, &events).await {
            Ok(()) => {
                again = None;
                tools.metrics.deliveries.with_label_values(&["taken"]).inc();
                tools.metrics.events_delivered.inc_by(events.len() as u64);
                let (endpoint_id, delivered_seq) = (row.id, last);
                *locked(&progress) = Progress { endpoint_id, delivered_seq, ..Progress::default() };
            }
            Err(failure) => {
                again = Some(events.len());
                tools.metrics.deliveries.with_label_values(&["failed"]).inc();
                failed(&tools, &row, &mut locked(&progress), &failure);
            }
        }
    }
}

/// Why an attempt failed.
struct Failure {
    said: String,
    gone: bool,
}

fn failed(tools: &Tools, row: &EndpointRow, progress: &mut Progress, failure: &Failure) {
    let now = Timestamp::now();
    let us = |wait: Duration| i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
    progress.failures += 1;
    let failures = u32::try_from(progress.failures).unwrap_or(u32::MAX);
    progress.next_attempt_at_us = None;
    match backoff::next(failures, failure.gone, &tools.limits) {
        Next::After(wait) => {
            progress.next_attempt_at_us = Some(now.as_microsecond().saturating_add(us(wait)));
            tracing::warn!(webhook = row.id, failures, said = failure.said, "a delivery failed");
        }
        Next::Suspend => {
            progress.suspended_at_us = Some(now.as_microsecond());
            tracing::error!(
                webhook = row.id,
                failures,
                said = failure.said,
                "a webhook is suspended"
            );
        }
    }
    progress.error = failure.said.chars().take(ERROR_CHARS_MAX).collect();
}

async fn deliver(tools: &Tools, row: &EndpointRow, events: &[Event]) -> Result<(), Failure> {
    let failure = |said: String| Failure { said, gone: false };
    let body =
        serde_json::to_string(&Delivery { events }).map_err(|error| failure(error.to_string()))?;
    let (first, last) = (events.first().map_or(0, |e| e.id), events.last().map_or(0, |e| e.id));
    let id = format!("{}-{first}-{last}", row.id);
    let at = Timestamp::now().as_second();
    let request = Request::post(&row.url)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, concat!("forebay-ledger/", env!("CARGO_PKG_VERSION")))
        .header("webhook-id", &id)
        .header("webhook-timestamp", at)
        .header("webhook-signature", row.secret.signature(&id, at, &body))
        .body(Body::from(body))
        .map_err(|error| failure(error.to_string()))?;
    let asked = async {
        let answer = tools.post.request(request).await.map_err(|error| failure(because(&error)))?;
        let status = answer.status();
        // Read, so that the connection can be used again.
        let _ = to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX).await;
        if status.is_success() {
            return Ok(());
        }
        Err(Failure { said: format!("it answered {status}"), gone: status == StatusCode::GONE })
    };
    let answered = tokio::time::timeout(tools.limits.timeout, asked).await;
    answered.unwrap_or_else(|_| {
        Err(failure(format!("no answer within {} ms", tools.limits.timeout.as_millis())))
    })
}

/// An error with what caused it: the outermost says little.
fn because(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        said.push_str(": ");
        said.push_str(&cause.to_string());
        source = cause.source();
    }
    said
}
