//! One span: what happened from when to when, and where in its trace it belongs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Method;

/// Longest text of an attribute, bytes; what is longer is cut.
const TEXT_BYTES_MAX: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request that came in.
    Server,
    /// One that went out.
    Client,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(String),
    Number(u64),
    Truth(bool),
}

/// What is recorded.
#[derive(Clone, Debug)]
pub struct Span {
    /// Hex digits: 32, 16 and 16.
    pub trace: String,
    pub id: String,
    pub parent: Option<String>,
    pub state: Option<String>,
    pub flags: u8,
    pub kind: Kind,
    pub name: String,
    /// Nanoseconds since 1970.
    pub begun_ns: u64,
    pub ended_ns: u64,
    pub attributes: Attributes,
    /// Whether it counts as an error.
    pub failed: bool,
}

/// Attributes under the names of the semantic conventions; absent values are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes(pub Vec<(&'static str, Value)>);

impl Attributes {
    pub fn text(&mut self, name: &'static str, text: Option<impl Into<String>>) {
        let Some(text) = text else { return };
        let mut text: String = text.into();
        if text.len() > TEXT_BYTES_MAX {
            text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        }
        self.0.push((name, Value::Text(text)));
    }

    pub fn number(&mut self, name: &'static str, number: Option<impl Into<u64>>) {
        self.0.extend(number.map(|number| (name, Value::Number(number.into()))));
    }

    pub fn truth(&mut self, name: &'static str, truth: Option<bool>) {
        self.0.extend(truth.map(|truth| (name, Value::Truth(truth))));
    }

    /// A method, one of those that are known, or how it was called.
    pub fn method(&mut self, method: &str) {
        let known = known_method(method);
        self.text("http.request.method", Some(known.unwrap_or("_OTHER")));
        if known.is_none() {
            self.text("http.request.method_original", Some(method));
        }
    }

    /// A server as `HOST:PORT`, the port where there is one.
    pub fn server(&mut self, authority: &str) {
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') => (host, port.parse::<u16>().ok()),
            _ => (authority, None),
        };
        let host = if port.is_some() { host } else { authority };
        self.text("server.address", Some(host.trim_matches(['[', ']'])));
        self.number("server.port", port);
    }
}

/// A method whose name may be that of a span: there are few of them.
pub fn known_method(method: &str) -> Option<&'static str> {
    const KNOWN: [Method; 9] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::CONNECT,
        Method::OPTIONS,
        Method::TRACE,
        Method::PATCH,
    ];
    const NAMES: [&str; 9] =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    let index = KNOWN.iter().position(|known| known.as_str() == method)?;
    Some(NAMES[index])
}

/// A new span's id: 16 hex digits, not all of them 0.
pub fn new_id() -> String {
    format!("{:016x}", fastrand::u64(1..))
}

/// When something that took so long, and has just ended, began and ended.
pub fn times(took: Duration) -> (u64, u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    (nanos(now.saturating_sub(took)), nanos(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_have_ports_or_not() {
        let of = |authority: &str| {
            let mut attributes = Attributes::default();
            attributes.server(authority);
            attributes.0
        };
        let text = |text: &str| ("server.address", Value::Text(text.to_owned()));
        let port = ("server.port", Value::Number(80));
        assert_eq!(of("a.example"), [text("a.example")]);
        assert_eq!(of("a.example:80"), [text("a.example"), port.clone()]);
        assert_eq!(of("[::1]:80"), [text("::1"), port]);
        assert_eq!(of("[::1]"), [text("::1")]);
    }

    #[test]
    fn methods_are_few_and_texts_are_short() {
        let mut attributes = Attributes::default();
        attributes.method("BREW");
        let text = |name, text: &str| (name, Value::Text(text.to_owned()));
        let expected =
            [text("http.request.method", "_OTHER"), text("http.request.method_original", "BREW")];
        assert_eq!(attributes.0, expected);
        let mut attributes = Attributes::default();
        attributes.text("a", Some("ä".repeat(TEXT_BYTES_MAX)));
        let Value::Text(text) = &attributes.0[0].1 else { panic!("a text") };
        assert_eq!(text.len(), TEXT_BYTES_MAX);
    }
}
