//! Error logs: why requests failed, in lines of nginx's form and, where it has some, its words. People and the programs that
//! ban addresses look for those.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, REFERER};
use pingora::http::RequestHeader;
use proxy_config::Config;
use proxy_config::access_log::LogTarget;
use proxy_config::host::HostPattern;
use proxy_config::severity::Severity;
use tokio::sync::oneshot;

use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::line_writer::Sink;
use crate::logs::LogFault;
use crate::rules;
use crate::state::State;
use crate::upstream::fault::in_body;

/// How long the end of a failed request waits for its line to be written: who looks after an answer finds it.
const WRITTEN_WITHIN: Duration = Duration::from_millis(20);

struct Log {
    sink: Arc<Sink>,
    level: Severity,
}

/// The error logs of a configuration.
pub struct ErrorLogs {
    main: Vec<Arc<Log>>,
    /// For each route that names some, by its place in the document.
    of_routes: Vec<Option<Vec<Arc<Log>>>>,
}

/// Lines on their way to the writer.
#[derive(Default)]
#[must_use]
pub struct Told(Vec<oneshot::Receiver<()>>);

impl Told {
    /// Most requests have none.
    pub fn is_nothing(&self) -> bool {
        self.0.is_empty()
    }

    /// Waits for them, but not for long.
    pub async fn written(self) {
        if self.is_nothing() {
            return;
        }
        let all = async {
            for line in self.0 {
                // One that was dropped is counted.
                let _ = line.await;
            }
        };
        let _ = tokio::time::timeout(WRITTEN_WITHIN, all).await;
    }
}

impl ErrorLogs {
    /// Opens what is not open already in the logs in force so far.
    pub fn open(config: &Config, before: Option<&ErrorLogs>) -> Result<ErrorLogs, LogFault> {
        let sinks = before.map(ErrorLogs::sinks).unwrap_or_default().into_iter();
        let mut open: BTreeMap<String, Arc<Sink>> =
            sinks.map(|sink| (sink.target().to_string(), sink)).collect();
        let mut named = BTreeMap::new();
        for (name, of) in &config.error_logs {
            let path = of.path.to_string();
            let sink = match open.get(&path) {
                Some(sink) => Arc::clone(sink),
                None => {
                    let sink = Sink::open(&of.path);
                    let sink =
                        sink.map_err(|error| LogFault::Open { path: path.clone(), error })?;
                    Arc::clone(open.entry(path).or_insert_with(|| Arc::new(sink)))
                }
            };
            named.insert(name.as_str(), Arc::new(Log { sink, level: of.level }));
        }
        let all = |names: &[String]| -> Vec<Arc<Log>> {
            names.iter().filter_map(|name| named.get(name.as_str()).cloned()).collect()
        };
        let of_routes = config.routes.iter().map(|route| route.error_logs.as_deref().map(&all));
        Ok(ErrorLogs { main: all(&config.error_log), of_routes: of_routes.collect() })
    }

    /// Every place that lines go to, once.
    pub fn sinks(&self) -> Vec<Arc<Sink>> {
        let mut sinks: Vec<Arc<Sink>> = Vec::new();
        for log in self.main.iter().chain(self.of_routes.iter().flatten().flatten()) {
            if !sinks.iter().any(|known| Arc::ptr_eq(known, &log.sink)) {
                sinks.push(Arc::clone(&log.sink));
            }
        }
        sinks
    }

    fn of(&self, route: Option<usize>) -> &[Arc<Log>] {
        let own = route.and_then(|route| self.of_routes.get(route)?.as_deref());
        own.unwrap_or(&self.main)
    }

    /// Whether this request's failure is told somewhere.
    pub fn hear(&self, exchange: &Exchange) -> bool {
        !self.of(concerned(exchange)).is_empty()
    }
}

/// Tells of a request that failed: what is the operator's to mend, and no error log hears of. `cause` may say more than the
/// client is told.
pub fn request_failed(state: &State, exchange: &Exchange, failure: &Failure, cause: &dyn Display) {
    let is_heard = || exchange.generation.logs.errors.hear(exchange);
    if failure.is_the_operators() && !is_heard() && state.moderation.may_tell() {
        let request_id = &exchange.request_id;
        let route = exchange.route.as_ref().map(|route| route.name.as_str());
        let failure = failure.name();
        tracing::warn!(%request_id, route, error = %cause, failure, "request failed");
    }
}

/// The route whose failure it is, by its place in the document.
fn concerned(exchange: &Exchange) -> Option<usize> {
    exchange.trail.failed.as_ref().or(exchange.route.as_ref()).map(|route| route.index)
}

/// Says what went wrong with a request that has ended, if anything did.
pub fn tell(state: &State, head: &RequestHeader, exchange: &Exchange) -> Told {
    let route = concerned(exchange);
    let logs = exchange.generation.logs.errors.of(route);
    if logs.is_empty() {
        return Told::default();
    }
    let mut told = Told::default();
    let all = events(head, exchange, route).into_iter();
    let hears_all = logs.iter().any(|log| log.level == Severity::Debug);
    for event in all.chain(hears_all.then(|| decided(exchange))) {
        let fits =
            |log: &&Arc<Log>| log.level <= event.severity && *log.sink.target() != LogTarget::Off;
        let mut line = None;
        for log in logs.iter().filter(fits) {
            let line: &String = line.get_or_insert_with(|| line_of(&event, head, exchange, route));
            let text = line.clone().into_bytes();
            told.0.push(state.error_log.tell(&log.sink, text, event.severity));
        }
    }
    told
}

struct Event {
    severity: Severity,
    text: String,
    /// The server it is about.
    server: Option<String>,
}

impl Event {
    fn new(severity: Severity, text: impl Into<String>) -> Event {
        Event { severity, text: text.into(), server: None }
    }
}

/// What became of a request, for who wants to see of each what was decided.
fn decided(exchange: &Exchange) -> Event {
    let route = exchange.trail.failed.as_deref().or(exchange.route.as_deref());
    let (name, lane) = route.map_or(("", ""), |route| (route.name.as_str(), route.lane.name()));
    let mut text = format!("route \"{name}\", lane \"{lane}\"");
    // Writing to a String cannot fail.
    if let Some(verdict) = exchange.cache {
        let _ = write!(text, ", cache {}", verdict.name());
    }
    let tried = &exchange.attempts.tried;
    if !tried.servers().is_empty() {
        let _ = write!(text, ", servers {}, which said {}", tried.servers(), tried.statuses());
    }
    if let Some(failure) = &exchange.failure {
        let _ = write!(text, ", {}", failure.name());
    }
    let _ = write!(text, ", after {:.3} ms", exchange.begun.elapsed().as_secs_f64() * 1000.0);
    Event::new(Severity::Debug, text)
}

/// What nginx says of a server that failed so.
fn of_attempt(kind: &str) -> &'static str {
    match kind {
        "connect" => "connect() failed (111: Connection refused) while connecting to upstream",
        "no_route" => "connect() failed (113: No route to host) while connecting to upstream",
        "socket" => "connect() failed while connecting to upstream",
        "tls" => "SSL_do_handshake() failed while SSL handshaking to upstream",
        "certificate" => "upstream SSL certificate verify error while SSL handshaking to upstream",
        "connect_timeout" => {
            "upstream timed out (110: Connection timed out) while connecting to upstream"
        }
        "write_timeout" => {
            "upstream timed out (110: Connection timed out) while sending request to upstream"
        }
        "read_timeout" => {
            "upstream timed out (110: Connection timed out) while reading response header from upstream"
        }
        "body_timeout" => "upstream timed out (110: Connection timed out) while reading upstream",
        "read" => {
            "upstream prematurely closed connection while reading response header from upstream"
        }
        "write" => "upstream prematurely closed connection while sending request to upstream",
        "body" => "upstream prematurely closed connection while reading upstream",
        _ => "upstream sent invalid header while reading response header from upstream",
    }
}

fn events(head: &RequestHeader, exchange: &Exchange, route: Option<usize>) -> Vec<Event> {
    let mut events = Vec::new();
    for (server, kind) in &exchange.attempts.failures {
        let text = of_attempt(kind).to_owned();
        events.push(Event { severity: Severity::Error, text, server: Some(server.clone()) });
    }
    let limited = matches!(exchange.failure, Some(Failure::RateLimited { .. }));
    if let Some(over) = exchange.limits.over.as_ref().filter(|_| !limited) {
        events.extend(let_through(over, exchange));
    }
    if let Some(failure) = &exchange.failure {
        let is_told = !exchange.attempts.failures.is_empty() && is_upstreams(failure);
        events.extend(of_failure(failure, head, exchange, route).filter(|_| !is_told));
    }
    events
}

/// A request over a limit that went on all the same.
fn let_through(over: &str, exchange: &Exchange) -> Option<Event> {
    let limit = exchange.generation.config.rate_limits.get(over)?;
    let level = limit.log_level;
    Some(match (limit.dry_run, limit.concurrency_max) {
        (true, Some(_)) => {
            Event::new(level, format!("limiting connections by zone \"{over}\", dry run"))
        }
        (true, None) => Event::new(level, limiting("limiting requests, dry run", over, exchange)),
        (false, _) => Event::new(level.lower(), limiting("delaying request", over, exchange)),
    })
}

fn limiting(what: &str, over: &str, exchange: &Exchange) -> String {
    format!("{what}, excess: {:.3} by zone \"{over}\"", exchange.limits.excess)
}

fn is_upstreams(failure: &Failure) -> bool {
    use Failure as F;
    matches!(failure, F::UpstreamUnreachable | F::UpstreamTimeout | F::UpstreamBroken)
}

/// What nginx would say; nothing for what is no error there.
fn of_failure(
    failure: &Failure,
    head: &RequestHeader,
    exchange: &Exchange,
    route: Option<usize>,
) -> Option<Event> {
    use Failure as F;
    use Severity as S;
    let said = |severity, text: &str| Some(Event::new(severity, text));
    match failure {
        F::RateLimited { .. } | F::LimitUnavailable => {
            let over = exchange.limits.over.as_deref().unwrap_or_default();
            let limit = exchange.generation.config.rate_limits.get(over);
            let level = limit.map_or(S::Error, |limit| limit.log_level);
            let is_count = limit.is_some_and(|limit| limit.concurrency_max.is_some());
            said(
                level,
                &match is_count {
                    true => format!("limiting connections by zone \"{over}\""),
                    false => limiting("limiting requests", over, exchange),
                },
            )
        }
        F::NoFile => {
            let file = file(head, exchange, route);
            said(S::Error, &format!("open() \"{file}\" failed (2: No such file or directory)"))
        }
        F::NoServer => said(S::Error, "no live upstreams while connecting to upstream"),
        // Of what no attempt is told by itself: an answer that broke off, for the most part.
        F::UpstreamUnreachable => said(S::Error, of_attempt("socket")),
        F::UpstreamTimeout => said(S::Error, of_attempt(while_read("read_timeout", exchange))),
        F::UpstreamBroken => said(S::Error, of_attempt(while_read("read", exchange))),
        F::SwitchedUnasked => said(S::Error, of_attempt("response")),
        F::Forbidden(_) => said(S::Error, "access forbidden by rule"),
        F::BodyTooLarge => {
            let length = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
            let length = length.unwrap_or("unknown");
            said(S::Error, &format!("client intended to send too large body: {length} bytes"))
        }
        F::Unauthorized { .. } if !head.headers.contains_key(AUTHORIZATION) => {
            said(S::Info, "no user/password was provided for basic authentication")
        }
        F::Circle => said(S::Error, "rewrite or internal redirection cycle"),
        // Redirects, steps that end so, and paths without a route are answers as any other.
        F::Tried(_)
        | F::UpstreamStatus(_)
        | F::Redirected(..)
        | F::NoRoute
        | F::Closed
        | F::NotCached => None,
        F::ClientGone => said(S::Info, "client prematurely closed connection"),
        failure if failure.is_the_clients() => said(S::Info, &failure.to_string()),
        F::RequestTimeout | F::Target(_) | F::NotImplemented(_) | F::MethodNotAllowed { .. } => {
            said(S::Info, &failure.to_string())
        }
        failure => said(S::Error, &failure.to_string()),
    }
}

/// The kind of a failure to read: of a head, or of the body behind it.
fn while_read(kind: &'static str, exchange: &Exchange) -> &'static str {
    if exchange.upstream_status.is_some() { in_body(kind) } else { kind }
}

/// The file that was looked for, as far as the document names it.
fn file(head: &RequestHeader, exchange: &Exchange, route: Option<usize>) -> String {
    let route = route.and_then(|route| exchange.generation.config.routes.get(route));
    let root = route.and_then(|route| route.files.as_ref()).map(|files| files.root.0.as_str());
    let root = root.filter(|root| !root.contains('$')).unwrap_or_default();
    format!("{}{}", root.trim_end_matches('/'), head.uri.path())
}

fn line_of(
    Event { severity, text, server }: &Event,
    head: &RequestHeader,
    exchange: &Exchange,
    route: Option<usize>,
) -> String {
    let time = jiff::Zoned::now().strftime("%Y/%m/%d %H:%M:%S").to_string();
    let (process, thread) = (std::process::id(), rustix::thread::gettid().as_raw_nonzero());
    let number = exchange.caller.number;
    let mut line = format!("{time} [{severity}] {process}#{thread}: *{number} {text}");
    // Writing to a String cannot fail.
    if let Some(client) = exchange.client {
        let _ = write!(line, ", client: {client}");
    }
    let route = route.and_then(|route| exchange.generation.config.routes.get(route));
    let host = route.and_then(|route| route.when.hosts.first());
    let host = host.and_then(|host| match host {
        HostPattern::Name(name) => Some(name.canonical()),
        HostPattern::Regex(_) => None,
    });
    let _ = write!(line, ", server: {}", host.unwrap_or_default());
    let asked = rules::asked_for(head, exchange);
    let method = exchange.trail.asked.as_ref().map_or(head.method.as_str(), |(m, _)| m.as_str());
    let _ = write!(line, ", request: \"{method} {asked} {}\"", rules::protocol(head.version));
    let field =
        |name| head.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let asked = || exchange.upstream.as_ref()?.server_name(&exchange.attempts);
    if let Some(server) = server.as_deref().or_else(asked) {
        let path = String::from_utf8_lossy(head.raw_path());
        let _ = write!(line, ", upstream: \"http://{server}{path}\"");
    }
    for (name, value) in [("host", field(HOST)), ("referrer", field(REFERER))] {
        if let Some(value) = value {
            let _ = write!(line, ", {name}: \"{value}\"");
        }
    }
    // What a request brings along must not begin a line of its own.
    let mut line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.push('\n');
    line
}
