//! Every metric of the service, as one table: what is registered, what is documented and what is
//! scraped are the same rows. Base units; every label has a bounded set of values.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::operator_log;

enum Kind {
    Counter,
    Gauge,
    Histogram(&'static [f64]),
}

struct Row {
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
}

const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
const SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0];

const HTTP_REQUESTS: Row = Row {
    name: "forebay_ledger_http_requests_total",
    kind: Kind::Counter,
    labels: &["route", "method", "status"],
    help: "Requests answered, by route template (\"unmatched\" when there is none), method and status.",
};
const HTTP_SECONDS: Row = Row {
    name: "forebay_ledger_http_request_duration_seconds",
    kind: Kind::Histogram(SECONDS),
    labels: &["route", "method"],
    help: "From the whole head read to the answer ready, by route template and method.",
};
const HTTP_IN_FLIGHT: Row = Row {
    name: "forebay_ledger_http_requests_in_flight",
    kind: Kind::Gauge,
    labels: &[],
    help: "Requests read but not yet answered.",
};
const CONNECTIONS: Row = Row {
    name: "forebay_ledger_http_connections",
    kind: Kind::Gauge,
    labels: &[],
    help: "Open connections on the main listener.",
};
const CONNECTIONS_CAPACITY: Row = Row {
    name: "forebay_ledger_http_connections_capacity",
    kind: Kind::Gauge,
    labels: &[],
    help: "Most connections held open at once (--connections-max); further ones wait in the kernel.",
};
const QUEUE_DEPTH: Row = Row {
    name: "forebay_ledger_queue_depth",
    kind: Kind::Gauge,
    labels: &[],
    help: "Writes waiting for the next batch; those that came together count once.",
};
const QUEUE_CAPACITY: Row = Row {
    name: "forebay_ledger_queue_capacity",
    kind: Kind::Gauge,
    labels: &[],
    help: "Most writes that may wait (--queue-max); further ones get 503 with Retry-After.",
};
const QUEUE_ENTRIES: Row = Row {
    name: "forebay_ledger_queue_entries",
    kind: Kind::Gauge,
    labels: &[],
    help: "Entries of the transfers that wait or are being committed.",
};
const QUEUE_ENTRIES_CAPACITY: Row = Row {
    name: "forebay_ledger_queue_entries_capacity",
    kind: Kind::Gauge,
    labels: &[],
    help: "Most entries that may wait (--queue-entries-max); further transfers get 503 with Retry-After.",
};
const ACCOUNTS_KNOWN: Row = Row {
    name: "forebay_ledger_accounts_known",
    kind: Kind::Gauge,
    labels: &[],
    help: "Accounts whose balances the writer keeps in memory between batches.",
};
const ACCOUNTS_KNOWN_CAPACITY: Row = Row {
    name: "forebay_ledger_accounts_known_capacity",
    kind: Kind::Gauge,
    labels: &[],
    help: "Most accounts it keeps (--accounts-known-max); beyond, it forgets all and reads again.",
};
const BALANCES_BEHIND: Row = Row {
    name: "forebay_ledger_balances_behind",
    kind: Kind::Gauge,
    labels: &[],
    help: "Entries that rows of balances may be behind and that their readers look at, at most --balances-behind-max and a batch.",
};
const BALANCES_KEPT: Row = Row {
    name: "forebay_ledger_balances_kept",
    kind: Kind::Gauge,
    labels: &[],
    help: "Accounts whose balances are kept for readers, at most --accounts-known-max; beyond, all are forgotten and read again.",
};
const BALANCE_READS: Row = Row {
    name: "forebay_ledger_balance_reads_total",
    kind: Kind::Counter,
    labels: &["from"],
    help: "Balances asked for, by where they were read from (memory, database).",
};
const BATCH_SIZE: Row = Row {
    name: "forebay_ledger_batch_writes",
    kind: Kind::Histogram(SIZES),
    labels: &[],
    help: "Writes gathered into one SQL transaction.",
};
const COMMIT_SECONDS: Row = Row {
    name: "forebay_ledger_commit_duration_seconds",
    kind: Kind::Histogram(SECONDS),
    labels: &[],
    help: "Duration of the commit alone: the flush to the disk.",
};
const BATCH_SECONDS: Row = Row {
    name: "forebay_ledger_batch_duration_seconds",
    kind: Kind::Histogram(SECONDS),
    labels: &[],
    help: "Duration of a whole batch: lock, read, post, write and commit.",
};
const BATCH_FAILURES: Row = Row {
    name: "forebay_ledger_batch_failures_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Batches that failed in the database; none of their writes was acknowledged.",
};
const TRANSFERS: Row = Row {
    name: "forebay_ledger_transfers_posted_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Transfers booked on request: posted, pending, voided or reversed.",
};
const ENTRIES: Row = Row {
    name: "forebay_ledger_entries_posted_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Entries of the transfers posted.",
};
const EXPIRED: Row = Row {
    name: "forebay_ledger_transfers_expired_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Pending transfers released because their time was up.",
};
const REPLAYS: Row = Row {
    name: "forebay_ledger_transfers_replayed_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Transfers answered from their idempotency key.",
};
const PROBLEMS: Row = Row {
    name: "forebay_ledger_rejections_total",
    kind: Kind::Counter,
    labels: &["reason"],
    help: "Requests answered with a problem, by the problem's name.",
};
const KEYS: Row = Row {
    name: "forebay_ledger_api_keys",
    kind: Kind::Gauge,
    labels: &[],
    help: "API keys in force, expired ones included until somebody revokes them.",
};
const KEYS_CAPACITY: Row = Row {
    name: "forebay_ledger_api_keys_capacity",
    kind: Kind::Gauge,
    labels: &[],
    help: "Most API keys that may be in force (--keys-max).",
};
const REFUSALS: Row = Row {
    name: "forebay_ledger_refusals_total",
    kind: Kind::Counter,
    labels: &["reason"],
    help: "Requests turned away before they reached a route: unauthenticated, forbidden, too-many-requests.",
};
const ACTS: Row = Row {
    name: "forebay_ledger_audit_entries_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Entries added to the audit log.",
};
const SIGNATURES: Row = Row {
    name: "forebay_ledger_signatures_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Heads of the chain that were signed.",
};
const SIGNATURE_FAILURES: Row = Row {
    name: "forebay_ledger_signature_failures_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Heads of the chain that could not be signed; the next interval tries again.",
};
const SIGNED_LINK: Row = Row {
    name: "forebay_ledger_signed_link",
    kind: Kind::Gauge,
    labels: &[],
    help: "Number of the last link of the chain that was signed by this process; 0 before the first.",
};
const AUTH_OPEN: Row = Row {
    name: "forebay_ledger_auth_open",
    kind: Kind::Gauge,
    labels: &[],
    help: "1 when nobody is asked for a key (--auth open), otherwise 0. Alert on 1 in production.",
};
const WEBHOOKS: Row = Row {
    name: "forebay_ledger_webhooks",
    kind: Kind::Gauge,
    labels: &[],
    help: "Webhooks registered.",
};
const WEBHOOKS_CAPACITY: Row = Row {
    name: "forebay_ledger_webhooks_capacity",
    kind: Kind::Gauge,
    labels: &[],
    help: "Most webhooks that may be registered (--webhooks-max).",
};
const WEBHOOKS_SUSPENDED: Row = Row {
    name: "forebay_ledger_webhooks_suspended",
    kind: Kind::Gauge,
    labels: &[],
    help: "Webhooks that failed too often and wait for somebody to resume them. Alert on more than 0.",
};
const WEBHOOK_BEHIND: Row = Row {
    name: "forebay_ledger_webhook_events_behind",
    kind: Kind::Gauge,
    labels: &[],
    help: "Events the webhook that is furthest behind has not taken yet.",
};
const DELIVERIES: Row = Row {
    name: "forebay_ledger_webhook_deliveries_total",
    kind: Kind::Counter,
    labels: &["outcome"],
    help: "Attempts to deliver events to a webhook: taken or failed.",
};
const EVENTS_DELIVERED: Row = Row {
    name: "forebay_ledger_webhook_events_delivered_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Events that webhooks have taken.",
};
const EVENT_STREAMS: Row = Row {
    name: "forebay_ledger_event_streams",
    kind: Kind::Gauge,
    labels: &[],
    help: "Event streams open.",
};
const EVENT_STREAMS_CAPACITY: Row = Row {
    name: "forebay_ledger_event_streams_capacity",
    kind: Kind::Gauge,
    labels: &[],
    help: "Most event streams that may be open (--event-streams-max).",
};
const EXPORTS: Row = Row {
    name: "forebay_ledger_exports",
    kind: Kind::Gauge,
    labels: &[],
    help: "Exports under way.",
};
const EXPORTS_CAPACITY: Row = Row {
    name: "forebay_ledger_exports_capacity",
    kind: Kind::Gauge,
    labels: &[],
    help: "Most exports that may be under way (--exports-max).",
};
const RECONCILIATIONS: Row = Row {
    name: "forebay_ledger_reconciliations",
    kind: Kind::Gauge,
    labels: &[],
    help: "Accounts whose open lines and entries the rules of reconciliation are looking at, 2 at most.",
};
const RECONCILIATIONS_WAITING: Row = Row {
    name: "forebay_ledger_reconciliations_waiting",
    kind: Kind::Gauge,
    labels: &[],
    help: "Requests that wait until the rules have looked at others' accounts.",
};
const LOG_LINES_LOST: Row = Row {
    name: "forebay_ledger_log_lines_lost_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Lines of the service's own log that could not be written: a full disk, a pipe nobody reads.",
};
const BUILD: Row = Row {
    name: "forebay_ledger_build_info",
    kind: Kind::Gauge,
    labels: &["version"],
    help: "Always 1; the label says which version runs.",
};

const DATABASE: Row = Row {
    name: "forebay_ledger_database_info",
    kind: Kind::Gauge,
    labels: &["engine"],
    help: "Always 1; the label says which engine holds the ledger (sqlite, mysql, postgres).",
};
const UNSAFE_DURABILITY: Row = Row {
    name: "forebay_ledger_unsafe_durability",
    kind: Kind::Gauge,
    labels: &[],
    help: "1 when the database's settings can lose acknowledged transfers (--allow-unsafe-durability), otherwise 0. Alert on 1.",
};

const TABLE: [&Row; 47] = [
    &HTTP_REQUESTS,
    &HTTP_SECONDS,
    &HTTP_IN_FLIGHT,
    &CONNECTIONS,
    &CONNECTIONS_CAPACITY,
    &QUEUE_DEPTH,
    &QUEUE_CAPACITY,
    &QUEUE_ENTRIES,
    &QUEUE_ENTRIES_CAPACITY,
    &ACCOUNTS_KNOWN,
    &ACCOUNTS_KNOWN_CAPACITY,
    &BALANCES_BEHIND,
    &BALANCES_KEPT,
    &BALANCE_READS,
    &BATCH_SIZE,
    &BATCH_SECONDS,
    &COMMIT_SECONDS,
    &BATCH_FAILURES,
    &TRANSFERS,
    &ENTRIES,
    &EXPIRED,
    &REPLAYS,
    &PROBLEMS,
    &REFUSALS,
    &KEYS,
    &KEYS_CAPACITY,
    &ACTS,
    &SIGNATURES,
    &SIGNATURE_FAILURES,
    &SIGNED_LINK,
    &AUTH_OPEN,
    &WEBHOOKS,
    &WEBHOOKS_CAPACITY,
    &WEBHOOKS_SUSPENDED,
    &WEBHOOK_BEHIND,
    &DELIVERIES,
    &EVENTS_DELIVERED,
    &EVENT_STREAMS,
    &EVENT_STREAMS_CAPACITY,
    &EXPORTS,
    &EXPORTS_CAPACITY,
    &RECONCILIATIONS,
    &RECONCILIATIONS_WAITING,
    &LOG_LINES_LOST,
    &BUILD,
    &DATABASE,
    &UNSAFE_DURABILITY,
];

/// The service's metrics, ready to be counted and scraped. Cheap to clone: every request does.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Registered>);

impl Deref for Metrics {
    type Target = Registered;

    fn deref(&self) -> &Registered {
        &self.0
    }
}

#[derive(Debug)]
pub struct Registered {
    registry: Registry,
    pub http_requests: IntCounterVec,
    pub http_seconds: HistogramVec,
    pub http_in_flight: prometheus::IntGauge,
    pub connections: prometheus::IntGauge,
    pub connections_capacity: prometheus::IntGauge,
    pub queue_depth: prometheus::IntGauge,
    pub queue_capacity: prometheus::IntGauge,
    pub queue_entries: prometheus::IntGauge,
    pub queue_entries_capacity: prometheus::IntGauge,
    pub accounts_known: prometheus::IntGauge,
    pub accounts_known_capacity: prometheus::IntGauge,
    pub balances_behind: prometheus::IntGauge,
    pub balances_kept: prometheus::IntGauge,
    pub balance_reads: IntCounterVec,
    pub batch_writes: prometheus::Histogram,
    pub batch_seconds: prometheus::Histogram,
    pub commit_seconds: prometheus::Histogram,
    pub batch_failures: prometheus::IntCounter,
    pub transfers: prometheus::IntCounter,
    pub entries: prometheus::IntCounter,
    pub expired: prometheus::IntCounter,
    log_lines_lost: prometheus::IntCounter,
    pub replays: prometheus::IntCounter,
    pub problems: IntCounterVec,
    pub refusals: IntCounterVec,
    pub keys: prometheus::IntGauge,
    pub keys_capacity: prometheus::IntGauge,
    pub audit_entries: prometheus::IntCounter,
    pub signatures: prometheus::IntCounter,
    pub signature_failures: prometheus::IntCounter,
    pub signed_link: prometheus::IntGauge,
    pub auth_open: prometheus::IntGauge,
    pub webhooks: prometheus::IntGauge,
    pub webhooks_capacity: prometheus::IntGauge,
    pub webhooks_suspended: prometheus::IntGauge,
    pub webhook_behind: prometheus::IntGauge,
    pub deliveries: IntCounterVec,
    pub events_delivered: prometheus::IntCounter,
    pub event_streams: prometheus::IntGauge,
    pub event_streams_capacity: prometheus::IntGauge,
    pub exports: prometheus::IntGauge,
    pub exports_capacity: prometheus::IntGauge,
    pub reconciliations: prometheus::IntGauge,
    pub reconciliations_waiting: prometheus::IntGauge,
    /// Set once, by engine.
    pub database: IntGaugeVec,
    pub unsafe_durability: prometheus::IntGauge,
}

impl Metrics {
    /// Registers the table.
    pub fn new() -> Self {
        let registry = Registry::new();
        gauges(&registry, &BUILD).with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let none: [&str; 0] = [];
        Self(Arc::new(Registered {
            http_requests: counters(&registry, &HTTP_REQUESTS),
            http_seconds: histograms(&registry, &HTTP_SECONDS),
            http_in_flight: gauges(&registry, &HTTP_IN_FLIGHT).with_label_values(&none),
            connections: gauges(&registry, &CONNECTIONS).with_label_values(&none),
            connections_capacity: gauges(&registry, &CONNECTIONS_CAPACITY).with_label_values(&none),
            queue_depth: gauges(&registry, &QUEUE_DEPTH).with_label_values(&none),
            queue_capacity: gauges(&registry, &QUEUE_CAPACITY).with_label_values(&none),
            queue_entries: gauges(&registry, &QUEUE_ENTRIES).with_label_values(&none),
            queue_entries_capacity: gauges(&registry, &QUEUE_ENTRIES_CAPACITY)
                .with_label_values(&none),
            accounts_known: gauges(&registry, &ACCOUNTS_KNOWN).with_label_values(&none),
            accounts_known_capacity: gauges(&registry, &ACCOUNTS_KNOWN_CAPACITY)
                .with_label_values(&none),
            balances_behind: gauges(&registry, &BALANCES_BEHIND).with_label_values(&none),
            balances_kept: gauges(&registry, &BALANCES_KEPT).with_label_values(&none),
            balance_reads: counters(&registry, &BALANCE_READS),
            batch_writes: histograms(&registry, &BATCH_SIZE).with_label_values(&none),
            batch_seconds: histograms(&registry, &BATCH_SECONDS).with_label_values(&none),
            commit_seconds: histograms(&registry, &COMMIT_SECONDS).with_label_values(&none),
            batch_failures: counters(&registry, &BATCH_FAILURES).with_label_values(&none),
            transfers: counters(&registry, &TRANSFERS).with_label_values(&none),
            entries: counters(&registry, &ENTRIES).with_label_values(&none),
            expired: counters(&registry, &EXPIRED).with_label_values(&none),
            log_lines_lost: counters(&registry, &LOG_LINES_LOST).with_label_values(&none),
            replays: counters(&registry, &REPLAYS).with_label_values(&none),
            problems: counters(&registry, &PROBLEMS),
            refusals: counters(&registry, &REFUSALS),
            keys: gauges(&registry, &KEYS).with_label_values(&none),
            keys_capacity: gauges(&registry, &KEYS_CAPACITY).with_label_values(&none),
            audit_entries: counters(&registry, &ACTS).with_label_values(&none),
            signatures: counters(&registry, &SIGNATURES).with_label_values(&none),
            signature_failures: counters(&registry, &SIGNATURE_FAILURES).with_label_values(&none),
            signed_link: gauges(&registry, &SIGNED_LINK).with_label_values(&none),
            auth_open: gauges(&registry, &AUTH_OPEN).with_label_values(&none),
            webhooks: gauges(&registry, &WEBHOOKS).with_label_values(&none),
            webhooks_capacity: gauges(&registry, &WEBHOOKS_CAPACITY).with_label_values(&none),
            webhooks_suspended: gauges(&registry, &WEBHOOKS_SUSPENDED).with_label_values(&none),
            webhook_behind: gauges(&registry, &WEBHOOK_BEHIND).with_label_values(&none),
            deliveries: counters(&registry, &DELIVERIES),
            events_delivered: counters(&registry, &EVENTS_DELIVERED).with_label_values(&none),
            event_streams: gauges(&registry, &EVENT_STREAMS).with_label_values(&none),
            event_streams_capacity: gauges(&registry, &EVENT_STREAMS_CAPACITY)
                .with_label_values(&none),
            exports: gauges(&registry, &EXPORTS).with_label_values(&none),
            exports_capacity: gauges(&registry, &EXPORTS_CAPACITY).with_label_values(&none),
            reconciliations: gauges(&registry, &RECONCILIATIONS).with_label_values(&none),
            reconciliations_waiting: gauges(&registry, &RECONCILIATIONS_WAITING)
                .with_label_values(&none),
            database: gauges(&registry, &DATABASE),
            unsafe_durability: gauges(&registry, &UNSAFE_DURABILITY).with_label_values(&none),
            registry,
        }))
    }

    /// The Prometheus text format.
    pub fn text(&self) -> String {
        self.log_lines_lost.inc_by(operator_log::lost());
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("writing to memory does not fail");
        String::from_utf8(text).expect("the text format is UTF-8")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

const VALID: &str = "the table has valid, unique names";

fn counters(registry: &Registry, row: &Row) -> IntCounterVec {
    let counters = IntCounterVec::new(Opts::new(row.name, row.help), row.labels).expect(VALID);
    registry.register(Box::new(counters.clone())).expect(VALID);
    counters
}

fn gauges(registry: &Registry, row: &Row) -> IntGaugeVec {
    let gauges = IntGaugeVec::new(Opts::new(row.name, row.help), row.labels).expect(VALID);
    registry.register(Box::new(gauges.clone())).expect(VALID);
    gauges
}

fn histograms(registry: &Registry, row: &Row) -> HistogramVec {
    let buckets = match row.kind {
        Kind::Histogram(buckets) => buckets.to_vec(),
        Kind::Counter | Kind::Gauge => Vec::new(),
    };
    let options = HistogramOpts::new(row.name, row.help).buckets(buckets);
    let histograms = HistogramVec::new(options, row.labels).expect(VALID);
    registry.register(Box::new(histograms.clone())).expect(VALID);
    histograms
}

/// Seconds as Prometheus wants them.
pub fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// The table as Markdown, for docs/METRICS.md.
pub fn markdown() -> String {
    let mut text = String::from(
        "## forebay-ledger\n\nServed on the admin listener at `/metrics`.\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for row in TABLE {
        let kind = match row.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let labels: Vec<String> = row.labels.iter().map(|label| format!("`{label}`")).collect();
        text.push_str(&format!(
            "| `{}` | {kind} | {} | {} |\n",
            row.name,
            labels.join(", "),
            row.help
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_scraped_and_documented() {
        let metrics = Metrics::new();
        metrics.http_requests.with_label_values(&["/v1/x", "GET", "200"]).inc();
        metrics.http_seconds.with_label_values(&["/v1/x", "GET"]).observe(0.1);
        metrics.problems.with_label_values(&["unbalanced"]).inc();
        metrics.refusals.with_label_values(&["forbidden"]).inc();
        metrics.deliveries.with_label_values(&["taken"]).inc();
        metrics.balance_reads.with_label_values(&["memory"]).inc();
        metrics.database.with_label_values(&["sqlite"]).set(1);
        let (text, documented) = (metrics.text(), markdown());
        for row in TABLE {
            let kind = match row.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram(_) => "histogram",
            };
            assert!(text.contains(&format!("# TYPE {} {kind}\n", row.name)), "{}", row.name);
            assert!(documented.contains(&format!("| `{}` | {kind} |", row.name)), "{}", row.name);
            assert_eq!(row.name.ends_with("_total"), kind == "counter", "{}", row.name);
        }
    }
}
