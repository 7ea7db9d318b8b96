//! Traces: where spans of requests are sent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Percent;

/// OpenTelemetry traces: a span for each request, and one for each question to an upstream's server, sent by OTLP over
/// HTTP in JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// URL of an OTLP collector: `http://127.0.0.1:4318`. Spans go to `/v1/traces` beneath it.
    pub otlp_endpoint: String,
    /// Part of the requests that is traced, unless the client's `traceparent` decides.
    #[serde(default = "sample")]
    pub sample: Percent,
    /// What the collector knows this proxy as (`service.name`).
    #[serde(default = "service_name")]
    pub service_name: String,
}

fn sample() -> Percent {
    Percent::whole(1)
}

fn service_name() -> String {
    "forebay-proxy".to_owned()
}

/// Where spans are sent, in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub tls: bool,
    /// Without brackets.
    pub host: String,
    pub port: u16,
    /// What `Host` says.
    pub authority: String,
    /// `/v1/traces` and what it stands beneath.
    pub target: String,
}

/// The path of traces (OTLP specification, "OTLP/HTTP Request").
const TRACES: &str = "/v1/traces";

impl Endpoint {
    /// `None` for what is no URL of a collector.
    pub fn parse(url: &str) -> Option<Endpoint> {
        let uri: http::Uri = url.parse().ok()?;
        let tls = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = uri.authority()?.as_str();
        let is_more = authority.contains('@') || uri.query().is_some() || url.contains('#');
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
        let behind = authority.rsplit(']').next().unwrap_or(authority);
        let has_fault = behind.contains(':') && uri.port_u16().is_none_or(|port| port == 0);
        if is_more || host.is_empty() || has_fault {
            return None;
        }
        let beneath = uri.path().trim_end_matches('/');
        let target = match beneath.ends_with(TRACES) {
            true => beneath.to_owned(),
            false => format!("{beneath}{TRACES}"),
        };
        Some(Endpoint {
            tls,
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: authority.to_owned(),
            target,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_and_no_more() {
        let of = |url: &str| {
            let Endpoint { tls, host, port, target, .. } = Endpoint::parse(url)?;
            Some((tls, host, port, target))
        };
        let is = |tls, host: &str, port, target: &str| {
            Some((tls, host.to_owned(), port, target.to_owned()))
        };
        assert_eq!(of("http://127.0.0.1:4318"), is(false, "127.0.0.1", 4318, "/v1/traces"));
        assert_eq!(of("http://[::1]:4318/"), is(false, "::1", 4318, "/v1/traces"));
        assert_eq!(of("https://otel.example"), is(true, "otel.example", 443, "/v1/traces"));
        assert_eq!(of("http://a/otlp/"), is(false, "a", 80, "/otlp/v1/traces"));
        assert_eq!(of("http://a/otlp/v1/traces"), is(false, "a", 80, "/otlp/v1/traces"));
        for none in [
            "127.0.0.1:4318",
            "grpc://127.0.0.1:4317",
            "http://",
            "http:///v1/traces",
            "http://user:secret@a",
            "http://a:0",
            "http://a:99999",
            "http://a/?x=1",
            "http://a/#x",
            "",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
