//! Trace context (W3C Trace Context, level 2): a request that is a part of a trace goes on as one, under a
//! span of this proxy's own, and the access log says which.
//!
//! A `traceparent` that is malformed or comes twice says nothing; it goes no further, nor does its
//! `tracestate`. Routes with `forwarded_headers: pass_on` pass both on as they came.

use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use proxy_config::route::ForwardedHeaders;

use crate::exchange::Exchange;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Length of version 00; later versions may add to it (section 3.2.2.2 and 3.2.4).
const LENGTH: usize = 55;
/// Flags that are known: sampled, random.
const FLAGS: u8 = 0b11;

/// A request's place in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// 32 hex digits.
    pub id: String,
    /// The span that this request is a part of, 16 hex digits.
    pub parent: String,
    /// This proxy's own span.
    pub span: String,
    flags: u8,
}

/// Takes part in the client's trace, if there is one.
pub fn enter(head: &mut RequestHeader, exchange: &mut Exchange) {
    if exchange.trace.is_some() || !head.headers.contains_key(TRACEPARENT) {
        return;
    }
    exchange.trace = parse(&head.headers, fastrand::u64(1..));
    if exchange.forwarded() == ForwardedHeaders::PassOn {
        return;
    }
    head.remove_header(&TRACEPARENT);
    match &exchange.trace {
        // It is made of hex digits.
        Some(trace) => drop(head.insert_header(TRACEPARENT, trace.header())),
        None => drop(head.remove_header(&TRACESTATE)),
    }
}

impl Trace {
    fn header(&self) -> String {
        format!("00-{}-{}-{:02x}", self.id, self.span, self.flags)
    }
}

fn parse(headers: &HeaderMap, span: u64) -> Option<Trace> {
    let mut values = headers.get_all(TRACEPARENT).iter().map(HeaderValue::as_bytes);
    let text = std::str::from_utf8(values.next()?).ok()?;
    if values.next().is_some() {
        return None;
    }
    let mut parts = text.splitn(5, '-');
    let mut part = |length: usize| {
        let part = parts.next().filter(|part| part.len() == length)?;
        part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).then_some(part)
    };
    let (version, id, parent, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    let fine = version != "ff" && (version != "00" || text.len() == LENGTH);
    if !fine || is_zero(id) || is_zero(parent) {
        return None;
    }
    let flags = u8::from_str_radix(flags, 16).ok()? & FLAGS;
    let (id, parent) = (id.to_owned(), parent.to_owned());
    Some(Trace { id, parent, span: format!("{span:016x}"), flags })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Option<Trace> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, value.parse().unwrap());
        }
        parse(&headers, 0x2a)
    }

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_trace_goes_on_under_a_span_of_its_own() {
        let trace = of(&[GOOD]).unwrap();
        assert_eq!(trace.header(), "00-0af7651916cd43dd8448eb211c80319c-000000000000002a-01");
        assert_eq!(trace.parent, "b7ad6b7169203331");
        let later = GOOD.replacen("00", "cc", 1).replace("-01", "-ff-what-the-future-will-be");
        let trace = of(&[&later]).unwrap();
        assert!(trace.header().starts_with("00-") && trace.header().ends_with("-03"));
    }

    #[test]
    fn what_is_malformed_says_nothing() {
        let cases = [
            GOOD.replacen("00", "ff", 1),
            GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            GOOD.replace("b7ad6b7169203331", &"0".repeat(16)),
            GOOD.to_uppercase(),
            format!("{GOOD}-more"),
            GOOD[..54].to_owned(),
            GOOD.replace("-01", "-0g"),
            String::new(),
        ];
        for case in cases {
            assert_eq!(of(&[&case]), None, "{case}");
        }
        assert_eq!(of(&[GOOD, GOOD]), None, "which of the two?");
    }
}
