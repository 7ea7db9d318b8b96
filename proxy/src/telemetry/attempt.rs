//! The span of one question to an upstream's server. It is recorded when it is dropped: however the question ends, there
//! is one.

use std::time::Instant;

use http::{HeaderValue, Version};

use crate::telemetry::Recorder;
use crate::telemetry::span::{Attributes, Kind, Span, known_method, new_id, times};
use crate::trace;

/// One question, under way.
pub struct Attempt {
    recorder: Recorder,
    id: String,
    begun: Instant,
    method: String,
    /// With its query, as it was sent.
    target: String,
    tls: bool,
    upstream: String,
    /// As `HOST:PORT`.
    server: String,
    /// Questions of the same request before this one.
    resent: u32,
    pub version: Option<Version>,
    pub reused: Option<bool>,
    status: Option<u16>,
    error: Option<&'static str>,
}

/// Who is asked.
pub struct Asked<'a> {
    pub upstream: &'a str,
    pub server: &'a str,
    pub tls: bool,
    pub resent: u32,
}

impl Attempt {
    pub fn new(recorder: &Recorder, method: &str, target: &[u8], asked: &Asked<'_>) -> Attempt {
        Attempt {
            recorder: recorder.clone(),
            id: new_id(),
            begun: Instant::now(),
            method: method.to_owned(),
            target: String::from_utf8_lossy(target).into_owned(),
            tls: asked.tls,
            upstream: asked.upstream.to_owned(),
            server: asked.server.to_owned(),
            resent: asked.resent,
            version: None,
            reused: None,
            status: None,
            error: None,
        }
    }

    /// What the server is told of the trace: this question is what it answers to.
    pub fn traceparent(&self) -> Option<HeaderValue> {
        let Recorder { trace, flags, .. } = &self.recorder;
        HeaderValue::from_str(&trace::header(trace, &self.id, *flags)).ok()
    }

    /// It was answered with this status.
    pub fn answered(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// It failed; `kind` is one of `upstream::fault::failure_kind`.
    pub fn failed(&mut self, kind: &'static str) {
        self.error = Some(kind);
    }

    fn attributes(&self) -> Attributes {
        let mut all = Attributes::default();
        all.method(&self.method);
        let scheme = if self.tls { "https" } else { "http" };
        let target = match self.target.split_once('?') {
            Some((path, query)) => format!("{path}?{}", self.recorder.told(query)),
            None => self.target.clone(),
        };
        all.text("url.full", Some(format!("{scheme}://{}{target}", self.server)));
        all.server(&self.server);
        all.number("http.response.status_code", self.status);
        all.text("network.protocol.version", self.version.and_then(version));
        all.text("error.type", self.error_type());
        all.number("http.request.resend_count", Some(self.resent).filter(|resent| *resent > 0));
        all.text("forebay.upstream", Some(self.upstream.as_str()));
        all.truth("forebay.connection_reused", self.reused);
        all
    }

    /// To a client any answer of 400 and above is one.
    fn error_type(&self) -> Option<String> {
        let status = self.status.filter(|status| *status >= 400).map(|status| status.to_string());
        let unanswered = self.status.is_none().then(|| "cancelled".to_owned());
        self.error.map(str::to_owned).or(status).or(unanswered)
    }
}

fn version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        _ => None,
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let (begun_ns, ended_ns) = times(self.begun.elapsed());
        let span = Span {
            trace: self.recorder.trace.clone(),
            id: std::mem::take(&mut self.id),
            parent: Some(self.recorder.span.clone()),
            state: None,
            flags: self.recorder.flags,
            kind: Kind::Client,
            name: known_method(&self.method).unwrap_or("HTTP").to_owned(),
            begun_ns,
            ended_ns,
            attributes: self.attributes(),
            failed: self.error_type().is_some(),
        };
        self.recorder.spans.record(span);
    }
}
