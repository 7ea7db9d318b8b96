//! Host names: how a route names them and how a request's `Host` is brought into that form.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::dns_name::name_fault;
use crate::pattern::Regex;
use crate::units::{UnitError, unit_error};

/// A host a route answers for: `ledger.example.com`, `*.example.com` (any name below it, however
/// deep, but not `example.com` itself), `example.*` (any name that begins so), `*` (any host), or `{regex: ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum HostPattern {
    Name(HostName),
    Regex(HostRegex),
}

// By hand, because serde's untagged reading loses both the place and the reason of an error.
impl<'de> Deserialize<'de> for HostPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<HostPattern, D::Error> {
        deserializer.deserialize_any(HostPatternVisitor)
    }
}

struct HostPatternVisitor;

impl<'de> Visitor<'de> for HostPatternVisitor {
    type Value = HostPattern;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a host name or `{regex: ...}`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<HostPattern, E> {
        text.parse().map(HostPattern::Name).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<HostPattern, A::Error> {
        HostRegex::deserialize(MapAccessDeserializer::new(map)).map(HostPattern::Regex)
    }
}

/// A regular expression over the whole host name in lower case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostRegex {
    /// Regular expression that the host name must match from start to end.
    pub regex: Regex,
}

/// A host name or a wildcard, as written; [`HostName::canonical`] is what is compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostName(String);

impl HostName {
    pub fn as_written(&self) -> &str {
        &self.0
    }

    /// Lower case, without a trailing dot.
    pub fn canonical(&self) -> String {
        self.0.strip_suffix('.').unwrap_or(&self.0).to_ascii_lowercase()
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HostName {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<HostName, UnitError> {
        if text == "*" {
            return Ok(HostName(text.to_owned()));
        }
        let message = format!("`{text}` is not a host name");
        if let Some((_, rest)) = text.split_once("://") {
            let host = rest.split(['/', ':']).next().unwrap_or(rest);
            return Err(unit_error(message, format!("write only the host: `{host}`")));
        }
        let name = text.strip_prefix("*.").or_else(|| text.strip_suffix(".*")).unwrap_or(text);
        if name.contains('*') {
            return Err(unit_error(
                message,
                "`*` may only stand for the first labels or for the last: `*.example.com`",
            ));
        }
        if is_ip(name) && name == text {
            return Ok(HostName(text.to_owned()));
        }
        if let Some((host, port)) = name.rsplit_once(':')
            && port.parse::<u16>().is_ok()
        {
            return Err(unit_error(
                message,
                format!("write `{host}`: the port belongs to the listener"),
            ));
        }
        match name_fault(&name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()) {
            Some(fault) => Err(unit_error(message, fault)),
            None => Ok(HostName(text.to_owned())),
        }
    }
}

fn is_ip(text: &str) -> bool {
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    match inner {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => text.parse::<std::net::Ipv4Addr>().is_ok(),
    }
}

/// The host of a request's `Host` or `:authority` in the form routes are compared with: without
/// port, without one trailing dot, in lower case; IPv6 keeps its brackets. Borrows when nothing
/// changes, which is nearly always.
pub fn normalize_host(host: &str) -> Cow<'_, str> {
    let host = match host.strip_prefix('[').and_then(|rest| rest.find(']')) {
        Some(end) => &host[..end + 2],
        None => host.split(':').next().unwrap_or(host),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

crate::written::written_as_text!(HostName, "HostName", {
    "description": "A host name, `*.` and a name for everything below it, a name and `.*` for every ending, or `*` for any host.",
    "type": "string",
    "examples": ["ledger.example.com", "*.example.com"]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_requests_are_brought_into_one_form() {
        let cases = [
            ("example.com", "example.com"),
            ("Example.COM:8080", "example.com"),
            ("example.com.", "example.com"),
            ("example.com.:80", "example.com"),
            ("[::1]:8080", "[::1]"),
            ("[::1]", "[::1]"),
            ("192.0.2.7:80", "192.0.2.7"),
            ("", ""),
            (":80", ""),
            ("[", "["),
            ("[::1", "["),
        ];
        for (host, expected) in cases {
            assert_eq!(normalize_host(host), expected, "{host}");
        }
        assert!(matches!(normalize_host("example.com:80"), Cow::Borrowed(_)));
    }
}
