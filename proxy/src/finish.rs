//! The last stop of a request: metrics, the access log line, and those of error logs.

use std::borrow::Cow;
use std::time::Duration;

use bytes::BytesMut;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, HOST, HeaderName, REFERER, TRANSFER_ENCODING, USER_AGENT};
use jiff::Timestamp;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use proxy_config::ending::Ending;
use proxy_config::facts::basic_user;
use proxy_config::late::cache_state;

use crate::cache::serve::CACHE_STATUS;
use crate::edge::Edge;
use crate::error_logs::{self, Told};
use crate::exchange::Exchange;
use crate::front::as_stored::AsStored;
use crate::log_entry::Entry;
use crate::metrics::code_label;
use crate::route::NO_ROUTE;
use crate::slowest::{Slow, millis};
use crate::telemetry::server;
use crate::upstream::lines::Lines;
use crate::{mirror, raw, rules};

/// The head that was sent.
#[derive(Clone, Copy)]
pub enum Sent<'a> {
    Head(&'a ResponseHeader),
    AsStored(&'a AsStored),
    AsCame(&'a Lines),
}

impl Sent<'_> {
    fn status(self) -> StatusCode {
        match self {
            Sent::Head(head) => head.status,
            Sent::AsStored(sent) => sent.status(),
            Sent::AsCame(lines) => lines.status(),
        }
    }

    /// How long it is in HTTP/1.1.
    fn bytes(self) -> u64 {
        match self {
            Sent::Head(head) => head_bytes(head),
            Sent::AsStored(sent) => sent.head().len() as u64,
            Sent::AsCame(lines) => {
                let mut out = BytesMut::new();
                lines.write(&mut out);
                // The end of the head.
                out.len() as u64 + 2
            }
        }
    }

    /// What the last to have put it there says of how the cache dealt with it.
    fn cache_status(self) -> Option<String> {
        match self {
            Sent::Head(head) => {
                let value = head.headers.get_all(CACHE_STATUS).iter().next_back()?;
                Some(text_of(value.as_bytes()))
            }
            Sent::AsStored(sent) => sent.text(&CACHE_STATUS),
            Sent::AsCame(lines) => lines.values(&CACHE_STATUS).next_back().map(text_of),
        }
    }

    /// A field of it.
    fn text(self, name: &str) -> Option<String> {
        match self {
            Sent::Head(head) => {
                let value = head.headers.get(name)?;
                Some(text_of(value.as_bytes()))
            }
            Sent::AsStored(sent) => sent.text(&HeaderName::from_bytes(name.as_bytes()).ok()?),
            Sent::AsCame(lines) => {
                lines.values(&HeaderName::from_bytes(name.as_bytes()).ok()?).next().map(text_of)
            }
        }
    }
}

/// What went over the client's connection: heads, and bytes of bodies without their framing.
pub struct Moved<'a> {
    pub head: &'a RequestHeader,
    pub sent: Option<Sent<'a>>,
    pub bytes_in: usize,
    pub bytes_out: usize,
}

impl<'a> Moved<'a> {
    pub fn by(session: &'a Session) -> Moved<'a> {
        Moved {
            head: session.req_header(),
            sent: session.response_written().map(Sent::Head),
            bytes_in: session.body_bytes_read(),
            bytes_out: session.body_bytes_sent(),
        }
    }
}

/// Records what pingora has let go of, and waits for lines of error logs. A part of a page counts as its page, and a tunnel
/// where it ends.
pub async fn end(edge: &Edge, session: &Session, failed: bool, exchange: &mut Exchange) {
    if exchange.tunnel.has_departed {
        return;
    }
    reset_if_endless(session, failed, exchange);
    let told = match exchange.trail.is_inside {
        true => error_logs::tell(&edge.state, session.req_header(), exchange),
        false => record(edge, &Moved::by(session), failed, exchange),
    };
    told.written().await;
}

/// Without an answer of this proxy's own, a failure means that the client has no whole response.
fn is_aborted(failed: bool, exchange: &Exchange) -> bool {
    (failed || exchange.failure.is_some()) && exchange.answered.is_none()
}

/// An answer whose end is that of its connection, as clients of HTTP/1.0 get some, would look whole (RFC 9112 section 8).
fn reset_if_endless(session: &Session, failed: bool, exchange: &Exchange) {
    let is_endless = |head: &ResponseHeader| {
        let framed = [CONTENT_LENGTH, TRANSFER_ENCODING];
        !framed.iter().any(|name| head.headers.contains_key(name))
    };
    let is_sent = session.response_written().is_some_and(is_endless);
    if !is_sent || !is_aborted(failed, exchange) || exchange.tunnel.carried.is_some() {
        return;
    }
    if let Some(stream) = session.downstream_session.stream() {
        // Of a Unix socket there is no such thing.
        let _ = raw::reset(stream);
    }
}

/// Counts the request and writes its line, and those of error logs, where they hear of it.
pub fn record(edge: &Edge, moved: &Moved<'_>, failed: bool, exchange: &mut Exchange) -> Told {
    let aborted = is_aborted(failed, exchange);
    let sent = moved.sent.map(Sent::status);
    let status = sent.filter(|status| !status.is_informational());
    let took = exchange.begun.elapsed();
    let end = match &exchange.tunnel.carried {
        Some(carried) => End {
            aborted: false,
            status: Some(StatusCode::SWITCHING_PROTOCOLS),
            took,
            bytes_in: carried.from_client,
            bytes_out: carried.to_client,
        },
        None => {
            let bytes_in = moved.bytes_in as u64;
            End { aborted, status, took, bytes_in, bytes_out: moved.bytes_out as u64 }
        }
    };
    mirror::answered(exchange, !end.aborted);
    let exchange = &*exchange;
    count(edge, exchange, &end);
    if exchange.tunnel.carried.is_none() {
        let slow = || slow(moved.head, exchange, &end);
        edge.state.slowest.ended(exchange.begun + end.took, end.took, slow);
    }
    log(edge, moved, exchange, &end);
    error_logs::tell(&edge.state, moved.head, exchange)
}

/// How it ended.
struct End {
    aborted: bool,
    status: Option<StatusCode>,
    took: Duration,
    bytes_in: u64,
    bytes_out: u64,
}

fn count(edge: &Edge, exchange: &Exchange, end: &End) {
    // A page stands in for a failure of the route that was asked.
    let route = exchange.trail.failed.as_deref().or(exchange.route.as_deref());
    let name = route.map_or(NO_ROUTE, |route| route.name.as_str());
    let lane = route.map_or(NO_ROUTE, |route| route.lane.name());
    let code = end.status.as_ref().map_or("aborted", code_label);
    let labels = [edge.listener.as_str(), name, lane, code];
    edge.state.metrics.requests.with_label_values(&labels).inc();
    let series = route.map_or(&exchange.generation.routes.unmatched, |route| &route.series);
    if exchange.tunnel.carried.is_none() {
        // A tunnel lasts as long as its client likes, and has counted its bytes.
        series.seconds.observe(end.took.as_secs_f64());
        series.bytes_in.inc_by(end.bytes_in);
        series.bytes_out.inc_by(end.bytes_out);
    }
    if let Some(first_byte) = exchange.first_byte {
        series.first_byte_seconds.observe(first_byte.as_secs_f64());
    }
    if end.aborted {
        series.aborted.inc();
    }
    if let (Some(upstream), Some(first_byte)) = (&exchange.upstream, exchange.upstream_first_byte) {
        upstream.first_byte_seconds.observe(first_byte.as_secs_f64());
    }
}

fn slow(head: &RequestHeader, exchange: &Exchange, end: &End) -> Slow {
    let first = exchange.trail.asked.as_ref();
    let asked = first.map(|(_, target)| target.as_str()).or(exchange.ruled.asked.as_deref());
    let path = asked.unwrap_or_else(|| head.uri.path()).split('?').next().unwrap_or_default();
    let route = exchange.trail.failed.as_deref().or(exchange.route.as_deref());
    Slow {
        duration_ms: millis(end.took),
        first_byte_ms: exchange.first_byte.map(millis),
        request_id: exchange.request_id.clone(),
        method: first.map_or(&head.method, |(method, _)| method).to_string(),
        path: path.to_owned(),
        status: end.status.map(|status| status.as_u16()),
        route: route.map_or(NO_ROUTE, |route| route.name.as_str()).to_owned(),
        lane: route.map_or(NO_ROUTE, |route| route.lane.name()).to_owned(),
        upstream: exchange.upstream.as_ref().map(|upstream| upstream.name.clone()),
    }
}

/// What a log has to tell of it; `request_uri` is what the client asked for.
fn entry<'a>(
    edge: &'a Edge,
    head: &'a RequestHeader,
    exchange: &'a Exchange,
    end: &End,
    request_uri: &'a str,
) -> Entry<'a> {
    let route = exchange.trail.failed.as_deref().or(exchange.route.as_deref());
    let upstream = exchange.upstream.as_ref();
    let method = exchange.trail.asked.as_ref().map_or(&head.method, |(method, _)| method);
    let (path, query) =
        request_uri.split_once('?').map_or((request_uri, None), |(path, q)| (path, Some(q)));
    Entry {
        time: Timestamp::try_from(exchange.date).unwrap_or_default(),
        request_id: &exchange.request_id,
        client: exchange.client,
        listener: &edge.listener,
        method: method.as_str(),
        host: text(head, &HOST).or_else(|| head.uri.authority().map(http::uri::Authority::as_str)),
        path,
        query,
        protocol: rules::protocol(head.version),
        tls: exchange.tls.as_deref(),
        status: end.status.map(|status| status.as_u16()),
        bytes_in: end.bytes_in,
        bytes_out: end.bytes_out,
        duration: end.took,
        first_byte: exchange.first_byte,
        route: route.map(|route| route.name.as_str()),
        lane: route.map(|route| route.lane.name()),
        cache: exchange.cache.map(crate::cache::verdict::Verdict::name),
        rate_limit: exchange.limits.over.as_deref(),
        upstream: upstream.map(|upstream| upstream.name.as_str()),
        upstream_address: upstream.and_then(|u| u.server_name(&exchange.attempts)),
        upstream_reused: exchange.reused,
        upstream_connect: exchange.connect_time,
        upstream_first_byte: exchange.upstream_first_byte,
        retries: exchange.attempts.retries(),
        error: exchange.failure.as_ref().map(crate::failure::Failure::name),
        aborted: end.aborted,
        tunnel_ended_by: exchange.tunnel.carried.as_ref().map(|carried| carried.ended_by.name()),
        trace_id: exchange.trace.as_ref().map(|trace| trace.id.as_str()),
        span_id: exchange.trace.as_ref().map(|trace| trace.span.as_str()),
        parent_span_id: exchange.trace.as_ref().and_then(|trace| trace.parent.as_deref()),
        generation: exchange.generation.number,
        user_agent: text(head, &USER_AGENT),
        referer: text(head, &REFERER),
    }
}

fn log(edge: &Edge, moved: &Moved<'_>, exchange: &Exchange, end: &End) {
    let logs = &exchange.generation.logs;
    // The log is that of the route that answered, even in place of another.
    let place = exchange.route.as_ref().map(|route| route.index);
    if exchange.recorder.is_none() && logs.are_off(place) {
        return;
    }
    let head = moved.head;
    let first = exchange.trail.asked.as_ref();
    let asked = first.map(|(_, target)| target.as_str()).or(exchange.ruled.asked.as_deref());
    let request_uri = asked.map_or_else(|| String::from_utf8_lossy(head.raw_path()), Cow::Borrowed);
    let entry = entry(edge, head, exchange, end, &request_uri);
    server::record(exchange, head, &entry);
    let facts = || {
        let target = rules::target(&edge.listener, head);
        rules::facts(head, exchange, target, &request_uri, &exchange.ruled.walk)
    };
    let ended = |of: &Ending| match of {
        Ending::User => basic_user(&head.headers),
        Ending::CacheState => {
            let verdict = exchange.cache?;
            let said = moved.sent.and_then(Sent::cache_status);
            Some(said.map_or(verdict.state(), |said| cache_state(&said)).to_owned())
        }
        Ending::UpstreamStatus => exchange.upstream_status.map(|status| status.to_string()),
        Ending::BytesSent => {
            let head = moved.sent.map_or(0, Sent::bytes);
            Some((head + end.bytes_out).to_string())
        }
        Ending::RequestBody => exchange.kept_body.told().map(|told| told.text.clone()),
        Ending::RequestBodyFile => exchange.kept_body.told().map(|told| told.file.clone()),
        Ending::Sent(name) => moved.sent?.text(name),
        _ => None,
    };
    logs.write(&edge.state.access_log, place, facts, &entry, &ended);
}

/// How long a head is in HTTP/1.1.
fn head_bytes(head: &ResponseHeader) -> u64 {
    let reason = head.get_reason_phrase().unwrap_or_default();
    let mut wire = BytesMut::new();
    head.header_to_h1_wire(&mut wire);
    // `HTTP/1.1 200 `, the reason, the ends of that line and of the head.
    (13 + reason.len() + 4 + wire.len()) as u64
}

fn text_of(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

fn text<'a>(head: &'a RequestHeader, name: &HeaderName) -> Option<&'a str> {
    head.headers.get(name).and_then(|value| value.to_str().ok())
}
