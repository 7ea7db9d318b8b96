//! Spans as OTLP has them in JSON (opentelemetry-proto 1.x, `ExportTraceServiceRequest`): ids are hex digits, numbers of
//! 64 bits are texts. And what a collector says of those it did not take.

use serde_json::{Map, Value as Json, json};

use crate::telemetry::span::{Kind, Span, Value};

const SERVER: u8 = 2;
const CLIENT: u8 = 3;
const STATUS_ERROR: u8 = 2;

/// The body of a request to a collector.
pub fn body(service: &str, spans: &[Span]) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let resource = [
        ("service.name", Value::Text(service.to_owned())),
        ("service.version", Value::Text(version.to_owned())),
        ("process.pid", Value::Number(u64::from(std::process::id()))),
        ("host.name", Value::Text(host())),
    ];
    let request = json!({ "resourceSpans": [ {
        "resource": { "attributes": attributes(&resource) },
        "scopeSpans": [ {
            "scope": { "name": "forebay-proxy", "version": version },
            "spans": spans.iter().map(span).collect::<Vec<_>>(),
        } ],
    } ] });
    request.to_string().into_bytes()
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn span(span: &Span) -> Json {
    let mut told = Map::new();
    let mut put = |name: &str, value: Json| told.insert(name.to_owned(), value);
    put("traceId", json!(span.trace));
    put("spanId", json!(span.id));
    if let Some(parent) = &span.parent {
        put("parentSpanId", json!(parent));
    }
    if let Some(state) = &span.state {
        put("traceState", json!(state));
    }
    put("flags", json!(span.flags));
    put("name", json!(span.name));
    put(
        "kind",
        json!(match span.kind {
            Kind::Server => SERVER,
            Kind::Client => CLIENT,
        }),
    );
    put("startTimeUnixNano", json!(span.begun_ns.to_string()));
    put("endTimeUnixNano", json!(span.ended_ns.to_string()));
    put("attributes", attributes(&span.attributes.0));
    if span.failed {
        put("status", json!({ "code": STATUS_ERROR }));
    }
    Json::Object(told)
}

fn attributes(all: &[(&'static str, Value)]) -> Json {
    let of = |(name, value): &(&'static str, Value)| {
        let value = match value {
            Value::Text(text) => json!({ "stringValue": text }),
            Value::Number(number) => json!({ "intValue": number.to_string() }),
            Value::Truth(truth) => json!({ "boolValue": truth }),
        };
        json!({ "key": name, "value": value })
    };
    all.iter().map(of).collect()
}

/// How many spans of a batch that was taken were not (`partialSuccess`), and why.
pub fn rejected(answer: &[u8]) -> Option<(u64, String)> {
    let answer: Json = serde_json::from_slice(answer).ok()?;
    let partial = answer.get("partialSuccess")?;
    let count = partial.get("rejectedSpans")?;
    let count = count.as_u64().or_else(|| count.as_str()?.parse().ok())?;
    let why = partial.get("errorMessage").and_then(Json::as_str).unwrap_or_default();
    (count > 0).then(|| (count, why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::span::Attributes;

    #[test]
    fn a_span_is_written_as_the_protocol_has_it() {
        let mut attributes = Attributes::default();
        attributes.number("http.response.status_code", Some(503_u16));
        attributes.truth("forebay.aborted", Some(true));
        let span = Span {
            trace: "5b8efff798038103d269b633813fc60c".to_owned(),
            id: "eee19b7ec3c1b174".to_owned(),
            parent: None,
            state: Some("a=b".to_owned()),
            flags: 1,
            kind: Kind::Client,
            name: "GET".to_owned(),
            begun_ns: 1_544_712_660_000_000_000,
            ended_ns: u64::MAX,
            attributes,
            failed: true,
        };
        let body: Json = serde_json::from_slice(&body("edge", &[span])).unwrap();
        let of = &body["resourceSpans"][0];
        let service = json!({ "key": "service.name", "value": { "stringValue": "edge" } });
        assert_eq!(of["resource"]["attributes"][0], service);
        let expected = json!({
            "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174",
            "traceState": "a=b", "flags": 1, "name": "GET", "kind": 3,
            "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "18446744073709551615",
            "attributes": [
                { "key": "http.response.status_code", "value": { "intValue": "503" } },
                { "key": "forebay.aborted", "value": { "boolValue": true } },
            ],
            "status": { "code": 2 },
        });
        assert_eq!(of["scopeSpans"][0]["spans"], json!([expected]));
    }

    #[test]
    fn what_was_not_taken_is_counted() {
        let of = |text: &str| rejected(text.as_bytes());
        assert_eq!(of("{}"), None);
        assert_eq!(of(""), None);
        assert_eq!(of(r#"{"partialSuccess":{}}"#), None);
        assert_eq!(of(r#"{"partialSuccess":{"rejectedSpans":"0"}}"#), None);
        let told = of(r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#);
        assert_eq!(told, Some((3, "too old".to_owned())));
        assert_eq!(of(r#"{"partialSuccess":{"rejectedSpans":2}}"#), Some((2, String::new())));
    }
}
