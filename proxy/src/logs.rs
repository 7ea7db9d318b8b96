//! The access logs of a configuration: which of them has a request's line, and what the line says.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::header::{AUTHORIZATION, REFERER, USER_AGENT};
use proxy_config::Config;
use proxy_config::access_log::LogTarget;
use proxy_config::ending::Ending;
use proxy_config::facts::Facts;
use proxy_config::leads::Leads;
use proxy_config::log_line::LogLine;
use proxy_config::matching::Target;
use proxy_config::template::{Compiled, TemplateError};
use proxy_config::units::Percent;
use thiserror::Error;

use crate::error_logs::ErrorLogs;
use crate::line_writer::{LineWriter, Sink};
use crate::log_entry::{Entry, json};
use crate::redact::Redaction;

/// Why logs cannot be written.
#[derive(Debug, Error)]
pub enum LogFault {
    #[error("the log {path} cannot be opened: {error}")]
    Open { path: String, error: io::Error },
    #[error("a line of {path} cannot be made: {error}")]
    Line { path: String, error: TemplateError },
}

/// One log, ready to be written.
struct Log {
    sink: Arc<Sink>,
    /// None: JSON.
    line: Option<LogLine>,
    when: Option<Compiled>,
    /// Of requests that went well; none: all.
    sample: Option<Percent>,
    redaction: Option<Redaction>,
}

/// The logs of a configuration.
pub struct Logs {
    main: Vec<Arc<Log>>,
    /// For each route that names some, by its place in the document.
    of_routes: Vec<Option<Vec<Arc<Log>>>>,
    pub errors: ErrorLogs,
}

impl Logs {
    /// Opens what is not open already in the logs in force so far.
    pub fn open(config: &Config, before: Option<&Logs>) -> Result<Logs, LogFault> {
        let mut open: BTreeMap<String, Arc<Sink>> = before
            .map(Logs::sinks)
            .unwrap_or_default()
            .into_iter()
            .map(|sink| (sink.target().to_string(), sink))
            .collect();
        let leads = Leads::new(config);
        let scope = leads.scope();
        let mut log = |of: &proxy_config::access_log::AccessLog| {
            let path = of.path.to_string();
            let sink = match open.get(&path) {
                Some(sink) => Arc::clone(sink),
                None => {
                    let sink = Sink::open(&of.path);
                    let fault = |error| LogFault::Open { path: path.clone(), error };
                    let sink = Arc::new(sink.map_err(fault)?);
                    open.insert(path.clone(), Arc::clone(&sink));
                    sink
                }
            };
            let fault = |error| LogFault::Line { path: path.clone(), error };
            let line = of.template().map(|text| LogLine::new(text, of.escape, &scope));
            let when = of.when.as_ref().map(|when| Compiled::new(&when.0, &scope));
            Ok(Arc::new(Log {
                sink,
                line: line.transpose().map_err(fault)?,
                when: when.transpose().map_err(fault)?,
                sample: of.sample,
                redaction: Redaction::of(&of.redact),
            }))
        };
        let main = vec![log(&config.access_log)?];
        let mut named = BTreeMap::new();
        for (name, of) in &config.access_logs {
            named.insert(name.as_str(), log(of)?);
        }
        let of_routes = config.routes.iter().map(|route| {
            let names = route.access_logs.as_ref()?.iter();
            Some(names.filter_map(|name| named.get(name.as_str()).cloned()).collect())
        });
        let errors = ErrorLogs::open(config, before.map(|before| &before.errors))?;
        Ok(Logs { main, of_routes: of_routes.collect(), errors })
    }

    /// Every place that lines go to, once.
    pub fn sinks(&self) -> Vec<Arc<Sink>> {
        let all = self.main.iter().chain(self.of_routes.iter().flatten().flatten());
        let mut sinks: Vec<Arc<Sink>> = Vec::new();
        for log in all {
            if !sinks.iter().any(|known| Arc::ptr_eq(known, &log.sink)) {
                sinks.push(Arc::clone(&log.sink));
            }
        }
        sinks
    }

    /// A query as all the logs of a route tell it: what one of them hides is hidden, and what is known to be secret
    /// wherever it stands.
    pub fn told(&self, route: Option<usize>, query: &str) -> String {
        let redactions = self.of(route).iter().filter_map(|log| log.redaction.as_ref());
        let known = Redaction::of_signatures();
        redactions.chain([&known]).fold(query.to_owned(), |told, by| by.query(&told).into_owned())
    }

    /// The logs of requests that the route at this place answers.
    fn of(&self, route: Option<usize>) -> &[Arc<Log>] {
        let own = route.and_then(|route| self.of_routes.get(route)?.as_ref());
        own.unwrap_or(&self.main)
    }

    /// Whether nothing is written of them.
    pub fn are_off(&self, route: Option<usize>) -> bool {
        self.of(route).iter().all(|log| log.is_off())
    }

    /// Writes the line of a request that the route at this place answered. `facts` are only asked for where a
    /// line or a condition needs them.
    pub fn write<'f>(
        &self,
        to: &LineWriter,
        route: Option<usize>,
        facts: impl Fn() -> Facts<'f>,
        entry: &Entry<'_>,
        ended: Ended<'_>,
    ) {
        for log in self.of(route) {
            if log.is_off() || !log.takes(&facts) || !log.draws(entry) {
                continue;
            }
            let line = match (&log.line, &log.redaction) {
                (_, Some(redaction)) => log.redacted(redaction, &facts(), entry, ended),
                (None, None) => json(entry),
                (Some(line), None) => rendered(line, &facts(), entry, ended),
            };
            to.write(&log.sink, line);
        }
    }
}

/// What is only known in the end, where the entry does not have it.
type Ended<'a> = &'a dyn Fn(&Ending) -> Option<String>;

fn rendered(line: &LogLine, facts: &Facts<'_>, entry: &Entry<'_>, ended: Ended<'_>) -> Vec<u8> {
    let value = |of: &Ending| Cow::Owned(value(of, entry, ended));
    line.render(facts, value).into_bytes()
}

impl Log {
    fn is_off(&self) -> bool {
        *self.sink.target() == LogTarget::Off
    }

    /// Whether the request is one of those that are logged: all that went wrong, and a part of the others.
    fn draws(&self, entry: &Entry<'_>) -> bool {
        let went_well = entry.status.is_some_and(|status| status < 400)
            && entry.error.is_none()
            && !entry.aborted;
        let drawn = || fastrand::u16(..Percent::WHOLE);
        !went_well || self.sample.is_none_or(|sample| sample.takes(drawn()))
    }

    /// The line without what is not told.
    fn redacted(
        &self,
        redaction: &Redaction,
        facts: &Facts<'_>,
        entry: &Entry<'_>,
        ended: Ended<'_>,
    ) -> Vec<u8> {
        let told = |name: HeaderName, text: Option<&str>| {
            text.map(|text| redaction.header(&name, text).into_owned())
        };
        let (referer, user_agent) =
            (told(REFERER, entry.referer), told(USER_AGENT, entry.user_agent));
        let query = entry.query.map(|query| redaction.query(query));
        let entry = Entry {
            query: query.as_deref(),
            referer: referer.as_deref(),
            user_agent: user_agent.as_deref(),
            ..entry.clone()
        };
        let Some(line) = &self.line else { return json(&entry) };
        let headers = facts.target.headers.map(|headers| redaction.headers(headers));
        let query = redaction.query(facts.target.query);
        let request_uri = redaction.target(facts.request_uri);
        let target = Target { headers: headers.as_ref(), query: &query, ..facts.target };
        let facts = Facts { target, request_uri: &request_uri, ..*facts };
        let ended = |of: &Ending| match of {
            Ending::User if redaction.hides_header(AUTHORIZATION.as_str()) => None,
            Ending::Sent(name) if redaction.hides_header(name) => None,
            of => ended(of),
        };
        rendered(line, &facts, &entry, &ended)
    }

    fn takes<'f>(&self, facts: impl Fn() -> Facts<'f>) -> bool {
        let text = self.when.as_ref().map(|when| when.render(&facts()));
        text.is_none_or(|text| !text.is_empty() && text != "0")
    }
}

/// The status sent; where none was, what nginx has for it: 444 for a connection that a route closes, 499 for a client that left.
fn status(entry: &Entry<'_>) -> u16 {
    match (entry.status, entry.error) {
        (Some(status), _) => status,
        (None, Some("closed")) => 444,
        (None, Some("client_gone")) => 499,
        (None, _) => 0,
    }
}

/// What a line names, from the entry where it has it.
fn value(of: &Ending, entry: &Entry<'_>, ended: Ended<'_>) -> String {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let seconds = |time: Option<Duration>| match time {
        Some(time) => format!("{:.3}", time.as_secs_f64()),
        None => String::new(),
    };
    match of {
        Ending::Status => format!("{:03}", status(entry)),
        Ending::BytesOut => entry.bytes_out.to_string(),
        Ending::BytesIn => entry.bytes_in.to_string(),
        Ending::RequestLine => {
            let query = entry.query.map(|query| format!("?{query}")).unwrap_or_default();
            format!("{} {}{query} {}", entry.method, entry.path, entry.protocol)
        }
        Ending::Duration => seconds(Some(entry.duration)),
        Ending::Route => text(entry.route),
        Ending::Lane => text(entry.lane),
        Ending::Cache => text(entry.cache),
        Ending::Error => text(entry.error),
        Ending::Upstream => text(entry.upstream),
        Ending::UpstreamAddress => text(entry.upstream_address),
        Ending::UpstreamConnect => seconds(entry.upstream_connect),
        Ending::UpstreamFirstByte => seconds(entry.upstream_first_byte),
        Ending::Tls => text(entry.tls),
        Ending::Process => std::process::id().to_string(),
        Ending::Generation => entry.generation.to_string(),
        Ending::TraceId => text(entry.trace_id),
        Ending::SpanId => text(entry.span_id),
        Ending::TimeLocal => jiff::Zoned::now().strftime("%d/%b/%Y:%H:%M:%S %z").to_string(),
        Ending::TimeIso => jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        Ending::TimeUnix => {
            let millis = jiff::Timestamp::now().as_millisecond();
            format!("{}.{:03}", millis / 1000, millis % 1000)
        }
        Ending::User
        | Ending::UpstreamStatus
        | Ending::CacheState
        | Ending::BytesSent
        | Ending::RequestBody
        | Ending::RequestBodyFile
        | Ending::Sent(_) => ended(of).unwrap_or_default(),
    }
}
