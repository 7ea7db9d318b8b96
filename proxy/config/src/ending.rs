//! What is only known of a request when its answer is there, or when it has ended; and text that
//! names such things beside the variables of templates.

use crate::template::{Compiled, Scope, TemplateError, split_name};

/// What such text may name besides the variables of templates, and what it is.
pub const ENDINGS: [(&str, Ending, &str); 27] = [
    (
        "answer_status",
        Ending::Status,
        "status sent; else 444 where a route closed the connection, 499 where the client left, 000",
    ),
    ("bytes_out", Ending::BytesOut, "bytes of the response's body"),
    ("bytes_sent", Ending::BytesSent, "the same with its head, as HTTP/1 has it"),
    ("bytes_in", Ending::BytesIn, "bytes of the request's body"),
    ("request_line", Ending::RequestLine, "method, target and protocol as the client sent them"),
    ("user", Ending::User, "user name of Basic authentication"),
    ("time_local", Ending::TimeLocal, "`27/Nov/2026:08:44:15 +0100`, in the machine's time zone"),
    ("time_iso", Ending::TimeIso, "`2026-11-27T08:44:15+01:00`, in the machine's time zone"),
    ("time_unix", Ending::TimeUnix, "seconds since 1970, with milliseconds"),
    ("duration", Ending::Duration, "seconds from the head to the end, with milliseconds"),
    ("route", Ending::Route, "name of the route"),
    ("lane", Ending::Lane, "name of the lane"),
    ("cache", Ending::Cache, "how the cache dealt with it"),
    ("answer_cache", Ending::CacheState, "the same in nginx's words: `HIT`, `MISS`, `STALE`"),
    ("error", Ending::Error, "name of the failure"),
    ("upstream", Ending::Upstream, "name of the upstream"),
    ("upstream_address", Ending::UpstreamAddress, "server that answered"),
    ("upstream_status", Ending::UpstreamStatus, "status it answered with"),
    ("upstream_connect", Ending::UpstreamConnect, "seconds until it was connected"),
    ("upstream_first_byte", Ending::UpstreamFirstByte, "seconds until its answer began"),
    (
        "request_body",
        Ending::RequestBody,
        "the request's body, where `kept_body` keeps it in memory",
    ),
    ("request_body_file", Ending::RequestBodyFile, "the file it lies in, where it lies in one"),
    ("tls", Ending::Tls, "version of TLS the client speaks"),
    ("process", Ending::Process, "id of the process"),
    ("generation", Ending::Generation, "number of the configuration"),
    ("trace_id", Ending::TraceId, "trace the request is a part of (`traceparent`)"),
    ("span_id", Ending::SpanId, "this proxy's span in it"),
];

/// What is only known of a request when it has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    Status,
    BytesOut,
    BytesSent,
    BytesIn,
    RequestLine,
    User,
    TimeLocal,
    TimeIso,
    TimeUnix,
    Duration,
    Route,
    Lane,
    Cache,
    CacheState,
    Error,
    Upstream,
    UpstreamAddress,
    UpstreamStatus,
    UpstreamConnect,
    UpstreamFirstByte,
    RequestBody,
    RequestBodyFile,
    Tls,
    Process,
    Generation,
    TraceId,
    SpanId,
    /// A header of the response, `$answer_content_type`.
    Sent(String),
}

/// A part of such text.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Text(String),
    Of(Compiled),
    At(Ending),
}

/// The parts of a text, in order.
pub(crate) fn parts(text: &str, scope: &Scope<'_>) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        parts.push(Part::Text(before.to_owned()));
        let (name, after) = match after.strip_prefix('$') {
            Some(after) => ("$", after),
            None => split_name(after),
        };
        parts.push(match ending(name).filter(|_| !scope.knows(name)) {
            Some(ending) => Part::At(ending),
            None if name == "$" => Part::Text("$".to_owned()),
            None => Part::Of(Compiled::new(&format!("${{{name}}}"), scope)?),
        });
        rest = after;
    }
    parts.push(Part::Text(rest.to_owned()));
    Ok(parts)
}

fn ending(name: &str) -> Option<Ending> {
    if let Some((_, ending, _)) = ENDINGS.iter().find(|(is, ..)| *is == name) {
        return Some(ending.clone());
    }
    let header = name.strip_prefix("answer_").filter(|header| !header.is_empty())?;
    Some(Ending::Sent(header.to_ascii_lowercase().replace('_', "-")))
}
