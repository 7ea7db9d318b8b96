//! The span of a request that a client made, from what its line in the access log says.

use pingora::http::RequestHeader;

use crate::exchange::Exchange;
use crate::log_entry::Entry;
use crate::telemetry::span::{Attributes, Kind, Span, known_method, times};
use crate::trace::TRACESTATE;

/// Records it, where the request is traced.
pub fn record(exchange: &Exchange, head: &RequestHeader, entry: &Entry<'_>) {
    let (Some(recorder), Some(trace)) = (exchange.recorder(), &exchange.trace) else { return };
    let (begun_ns, ended_ns) = times(entry.duration);
    let state = head.headers.get(TRACESTATE).and_then(|state| state.to_str().ok());
    let method = known_method(entry.method).unwrap_or("HTTP");
    recorder.spans.record(Span {
        trace: trace.id.clone(),
        id: trace.span.clone(),
        parent: trace.parent.clone(),
        state: state.map(str::to_owned),
        flags: recorder.flags,
        kind: Kind::Server,
        name: entry.route.map_or(method.to_owned(), |route| format!("{method} {route}")),
        begun_ns,
        ended_ns,
        attributes: attributes(entry, entry.query.map(|query| recorder.told(query))),
        failed: failed(entry),
    });
}

/// What the proxy or who stands behind it has done wrong; what the client has is none of it.
fn failed(entry: &Entry<'_>) -> bool {
    entry.status.is_some_and(|status| status >= 500) || (entry.aborted && entry.error.is_some())
}

fn attributes(entry: &Entry<'_>, query: Option<String>) -> Attributes {
    let mut all = Attributes::default();
    all.method(entry.method);
    all.text("url.scheme", Some(if entry.tls.is_some() { "https" } else { "http" }));
    all.text("url.path", Some(entry.path));
    all.text("url.query", query);
    if let Some(host) = entry.host {
        all.server(host);
    }
    all.text("client.address", entry.client.map(|client| client.to_string()));
    all.text("network.protocol.version", Some(version(entry.protocol)));
    all.text("user_agent.original", entry.user_agent);
    all.number("http.response.status_code", entry.status);
    all.number("http.request.body.size", Some(entry.bytes_in));
    all.number("http.response.body.size", Some(entry.bytes_out));
    if failed(entry) {
        let status = entry.status.map(|status| status.to_string());
        all.text("error.type", entry.error.map(str::to_owned).or(status));
    }
    all.text("tls.protocol.version", entry.tls.and_then(|tls| tls.strip_prefix("TLSv")));
    all.text("forebay.request_id", Some(entry.request_id));
    all.text("forebay.listener", Some(entry.listener));
    all.text("forebay.route", entry.route);
    all.text("forebay.lane", entry.lane);
    all.text("forebay.cache", entry.cache);
    all.text("forebay.rate_limit", entry.rate_limit);
    all.text("forebay.upstream", entry.upstream);
    all.number("forebay.retries", Some(entry.retries).filter(|retries| *retries > 0));
    all.truth("forebay.aborted", Some(true).filter(|_| entry.aborted));
    all.text("forebay.tunnel_ended_by", entry.tunnel_ended_by);
    all
}

/// `HTTP/1.1` is 1.1, `HTTP/2.0` is 2.
fn version(protocol: &str) -> &str {
    let version = protocol.strip_prefix("HTTP/").unwrap_or(protocol);
    if version == "2.0" { "2" } else { version }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_entry::tests::entry;
    use crate::telemetry::span::Value;

    fn of(entry: &Entry<'_>, name: &str) -> Option<Value> {
        let all = attributes(entry, None).0;
        all.into_iter().find(|(is, _)| *is == name).map(|(_, value)| value)
    }

    #[test]
    fn only_servers_errors_are_errors() {
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        let with = |status, error| Entry { status: Some(status), error, ..entry("/") };
        assert_eq!(of(&with(404, Some("no_route")), "error.type"), None);
        assert_eq!(of(&with(503, Some("lane_full")), "error.type"), text("lane_full"));
        assert_eq!(of(&with(500, None), "error.type"), text("500"));
        let broken = Entry { aborted: true, error: Some("upstream_broken"), ..entry("/") };
        assert_eq!(of(&broken, "error.type"), text("upstream_broken"));
    }

    #[test]
    fn versions_are_those_of_the_conventions() {
        let all = ["HTTP/1.0", "HTTP/1.1", "HTTP/2.0"].map(version);
        assert_eq!(all, ["1.0", "1.1", "2"]);
    }
}
