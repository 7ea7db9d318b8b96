//! What the access log says of one request, and its line as JSON. The line is a quarter of what a hit in memory
//! would cost through serde, so it is written by hand ([decision 0074]); a test reads it back with serde.
//!
//! [decision 0074]: ../../docs/decisions/0074-a-hit-is-written-not-built.md

use std::cell::Cell;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use crate::headers::put_address;

/// Room for a line of ordinary length.
const LINE_BYTES: usize = 768;
/// `2026-01-01T00:00:00`
const SECOND_BYTES: usize = 19;

/// One finished request. Absent values are left out of the line.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// When the request head had arrived; RFC 3339 in UTC with milliseconds.
    pub time: Timestamp,
    pub request_id: &'a str,
    pub client: Option<IpAddr>,
    pub listener: &'a str,
    pub method: &'a str,
    pub host: Option<&'a str>,
    pub path: &'a str,
    pub query: Option<&'a str>,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`, as the client spoke it.
    pub protocol: &'static str,
    pub tls: Option<&'a str>,
    /// The status sent; absent when the client left before one was.
    pub status: Option<u16>,
    /// Body bytes, without heads and framing; of a tunnel, all it carried.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Durations are told in milliseconds, with microseconds as decimals.
    pub duration: Duration,
    pub first_byte: Option<Duration>,
    pub route: Option<&'a str>,
    pub lane: Option<&'a str>,
    /// A name of `cache::answer::Verdict`, on routes with a cache policy.
    pub cache: Option<&'a str>,
    /// The first rate limit that the request was over, refused or not.
    pub rate_limit: Option<&'a str>,
    pub upstream: Option<&'a str>,
    pub upstream_address: Option<&'a str>,
    pub upstream_reused: Option<bool>,
    pub upstream_connect: Option<Duration>,
    pub upstream_first_byte: Option<Duration>,
    /// Attempts beyond the first; left out when there were none.
    pub retries: u32,
    /// A name of `respond::Failure`.
    pub error: Option<&'a str>,
    /// The response was not whole when it ended.
    pub aborted: bool,
    /// A name of `tunnel::carry::EndedBy`, where the connection was upgraded.
    pub tunnel_ended_by: Option<&'a str>,
    /// Of requests that are a part of a trace, hex digits.
    pub trace_id: Option<&'a str>,
    pub span_id: Option<&'a str>,
    pub parent_span_id: Option<&'a str>,
    /// Number of the configuration the request was served under.
    pub generation: u64,
    pub user_agent: Option<&'a str>,
    pub referer: Option<&'a str>,
}

/// The entry as a line of JSON, with its end.
pub fn json(entry: &Entry<'_>) -> Vec<u8> {
    let mut line = Line(Vec::with_capacity(LINE_BYTES));
    line.0.extend_from_slice(br#"{"time":""#);
    line.time(entry.time);
    line.0.extend_from_slice(br#"","request_id":"#);
    line.quoted(entry.request_id);
    line.address(entry.client);
    line.text(r#","listener":"#, Some(entry.listener));
    line.text(r#","method":"#, Some(entry.method));
    line.text(r#","host":"#, entry.host);
    line.text(r#","path":"#, Some(entry.path));
    line.text(r#","query":"#, entry.query);
    line.text(r#","protocol":"#, Some(entry.protocol));
    line.text(r#","tls":"#, entry.tls);
    line.number(r#","status":"#, entry.status.map(u64::from));
    line.number(r#","bytes_in":"#, Some(entry.bytes_in));
    line.number(r#","bytes_out":"#, Some(entry.bytes_out));
    line.millis(r#","duration_ms":"#, Some(entry.duration));
    line.millis(r#","first_byte_ms":"#, entry.first_byte);
    line.text(r#","route":"#, entry.route);
    line.text(r#","lane":"#, entry.lane);
    line.text(r#","cache":"#, entry.cache);
    line.text(r#","rate_limit":"#, entry.rate_limit);
    line.text(r#","upstream":"#, entry.upstream);
    line.text(r#","upstream_address":"#, entry.upstream_address);
    line.truth(r#","upstream_reused":"#, entry.upstream_reused);
    line.millis(r#","upstream_connect_ms":"#, entry.upstream_connect);
    line.millis(r#","upstream_first_byte_ms":"#, entry.upstream_first_byte);
    line.number(r#","retries":"#, Some(u64::from(entry.retries)).filter(|count| *count > 0));
    line.text(r#","error":"#, entry.error);
    line.truth(r#","aborted":"#, Some(entry.aborted));
    line.text(r#","tunnel_ended_by":"#, entry.tunnel_ended_by);
    line.text(r#","trace_id":"#, entry.trace_id);
    line.text(r#","span_id":"#, entry.span_id);
    line.text(r#","parent_span_id":"#, entry.parent_span_id);
    line.number(r#","generation":"#, Some(entry.generation));
    line.text(r#","user_agent":"#, entry.user_agent);
    line.text(r#","referer":"#, entry.referer);
    line.0.extend_from_slice(b"}\n");
    line.0
}

/// A line as far as it is written. Keys are given with what stands before and after them.
struct Line(Vec<u8>);

impl Line {
    #[inline]
    fn text(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.0.extend_from_slice(key.as_bytes());
            self.quoted(value);
        }
    }

    #[inline]
    fn number(&mut self, key: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.0.extend_from_slice(key.as_bytes());
            self.digits(value);
        }
    }

    #[inline]
    fn truth(&mut self, key: &str, value: Option<bool>) {
        if let Some(value) = value {
            self.0.extend_from_slice(key.as_bytes());
            self.0.extend_from_slice(if value { b"true" } else { b"false" });
        }
    }

    #[inline]
    fn millis(&mut self, key: &str, value: Option<Duration>) {
        let Some(value) = value else { return };
        self.0.extend_from_slice(key.as_bytes());
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        self.digits(micros / 1000);
        self.0.push(b'.');
        self.thousandths(micros % 1000);
    }

    fn digits(&mut self, value: u64) {
        self.0.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// Three digits.
    fn thousandths(&mut self, value: u64) {
        let digit = |of: u64| b'0' + u8::try_from(of % 10).unwrap_or_default();
        self.0.extend_from_slice(&[digit(value / 100), digit(value / 10), digit(value)]);
    }

    fn address(&mut self, address: Option<IpAddr>) {
        if let Some(address) = address {
            self.0.extend_from_slice(br#","client":""#);
            put_address(address, &mut self.0);
            self.0.push(b'"');
        }
    }

    /// A string (RFC 8259 section 7).
    fn quoted(&mut self, text: &str) {
        self.0.push(b'"');
        // Without a branch for each byte; nearly no text has anything to escape.
        if text.bytes().fold(false, |is, byte| is | is_escaped(byte)) {
            text.bytes().for_each(|byte| self.escaped(byte));
        } else {
            self.0.extend_from_slice(text.as_bytes());
        }
        self.0.push(b'"');
    }

    fn escaped(&mut self, byte: u8) {
        match byte {
            b'"' | b'\\' => self.0.extend_from_slice(&[b'\\', byte]),
            byte if is_escaped(byte) => {
                self.0.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
            }
            byte => self.0.push(byte),
        }
    }

    /// Lines of one second have its beginning in common.
    fn time(&mut self, time: Timestamp) {
        thread_local! {
            static SECOND: Cell<(i64, [u8; SECOND_BYTES])> = const { Cell::new((i64::MIN, [0; SECOND_BYTES])) };
        }
        let millis = time.as_millisecond();
        let (second, rest) = (millis.div_euclid(1000), millis.rem_euclid(1000));
        let (mut of, mut text) = SECOND.get();
        if of != second {
            let written = time.strftime("%Y-%m-%dT%H:%M:%S").to_string();
            let Ok(fixed) = <[u8; SECOND_BYTES]>::try_from(written.as_bytes()) else { return };
            (of, text) = (second, fixed);
            SECOND.set((of, text));
        }
        self.0.extend_from_slice(&text);
        self.0.push(b'.');
        self.thousandths(rest.unsigned_abs());
        self.0.push(b'Z');
    }
}

fn is_escaped(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json as value};

    /// An entry without anything that may be absent.
    pub fn entry(path: &str) -> Entry<'_> {
        Entry {
            time: "2026-01-01T00:00:00.007Z".parse().unwrap(),
            request_id: "id",
            client: None,
            listener: "public",
            method: "GET",
            host: None,
            path,
            query: None,
            protocol: "HTTP/1.1",
            tls: None,
            status: Some(200),
            bytes_in: 0,
            bytes_out: 0,
            duration: Duration::from_micros(1500),
            first_byte: None,
            route: None,
            lane: None,
            cache: None,
            rate_limit: None,
            upstream: None,
            upstream_address: None,
            upstream_reused: None,
            upstream_connect: None,
            upstream_first_byte: None,
            retries: 0,
            error: None,
            aborted: false,
            tunnel_ended_by: None,
            trace_id: None,
            span_id: None,
            parent_span_id: None,
            generation: 1,
            user_agent: None,
            referer: None,
        }
    }

    fn read(line: &[u8]) -> Value {
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
        assert_eq!(line.last(), Some(&b'\n'));
        serde_json::from_slice(line).unwrap()
    }

    #[test]
    fn what_is_absent_is_left_out() {
        let expected = value!({
            "time": "2026-01-01T00:00:00.007Z", "request_id": "id", "listener": "public", "method": "GET",
            "path": "/", "protocol": "HTTP/1.1", "status": 200, "bytes_in": 0, "bytes_out": 0,
            "duration_ms": 1.5, "aborted": false, "generation": 1
        });
        assert_eq!(read(&json(&entry("/"))), expected);
    }

    #[test]
    fn all_there_is_to_tell_is_told() {
        let micros = |micros| Some(Duration::from_micros(micros));
        let full = Entry {
            client: Some("192.0.2.107".parse().unwrap()),
            host: Some("a.example"),
            query: Some("b=c"),
            tls: Some("TLSv1.3"),
            status: Some(503),
            bytes_in: 1,
            bytes_out: u64::MAX,
            first_byte: micros(1),
            route: Some("r"),
            lane: Some("l"),
            cache: Some("hit"),
            rate_limit: Some("limit"),
            upstream: Some("u"),
            upstream_address: Some("[::1]:80"),
            upstream_reused: Some(true),
            upstream_connect: micros(12_345_678),
            upstream_first_byte: micros(0),
            retries: 2,
            error: Some("upstream_timeout"),
            aborted: true,
            tunnel_ended_by: Some("client"),
            trace_id: Some("t"),
            span_id: Some("s"),
            parent_span_id: Some("p"),
            user_agent: Some("agent"),
            referer: Some("/from"),
            ..entry("/x")
        };
        let expected = value!({
            "time": "2026-01-01T00:00:00.007Z", "request_id": "id", "client": "192.0.2.107",
            "listener": "public", "method": "GET", "host": "a.example", "path": "/x", "query": "b=c",
            "protocol": "HTTP/1.1", "tls": "TLSv1.3", "status": 503, "bytes_in": 1,
            "bytes_out": u64::MAX, "duration_ms": 1.5, "first_byte_ms": 0.001, "route": "r",
            "lane": "l", "cache": "hit", "rate_limit": "limit", "upstream": "u",
            "upstream_address": "[::1]:80", "upstream_reused": true,
            "upstream_connect_ms": 12345.678, "upstream_first_byte_ms": 0.0, "retries": 2,
            "error": "upstream_timeout", "aborted": true, "tunnel_ended_by": "client",
            "trace_id": "t", "span_id": "s", "parent_span_id": "p", "generation": 1,
            "user_agent": "agent", "referer": "/from"
        });
        assert_eq!(read(&json(&full)), expected);
        let of = |address: &str| Entry { client: address.parse().ok(), ..entry("/") };
        assert_eq!(read(&json(&of("2001:db8::1")))["client"], "2001:db8::1");
    }

    #[test]
    fn time_is_of_its_own_second() {
        for text in
            ["2026-01-01T00:00:00.999Z", "2026-01-01T00:00:01.000Z", "1969-12-31T23:59:59.250Z"]
        {
            let of = Entry { time: text.parse().unwrap(), ..entry("/") };
            assert_eq!(read(&json(&of))["time"], text);
        }
    }

    proptest! {
        #[test]
        fn hostile_texts_are_read_as_they_are(text in any::<String>(), agent in "[\\x00-\\x7f]{0,40}") {
            let of = Entry { user_agent: Some(&agent), ..entry(&text) };
            let read = read(&json(&of));
            prop_assert_eq!(&read["path"], &Value::from(text.as_str()));
            prop_assert_eq!(&read["user_agent"], &Value::from(agent.as_str()));
        }
    }
}
