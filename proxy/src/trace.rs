//! Trace context (W3C Trace Context, level 2): a request that is a part of a trace goes on as one, under a
//! span of this proxy's own, and the access log says which. Where there is somebody to send spans to
//! ([`crate::telemetry`]), any other request begins one, and a part of those is recorded.
//!
//! A `traceparent` that is malformed or comes twice says nothing; it goes no further, nor does its
//! `tracestate`. Routes with `forwarded_headers: pass_on` pass both on as they came.

pub mod enter;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::telemetry::span::new_id;

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Length of version 00; later versions may add to it (section 3.2.2.2 and 3.2.4).
const LENGTH: usize = 55;
/// The trace is recorded.
const SAMPLED: u8 = 0b01;
/// Its id is random.
const RANDOM: u8 = 0b10;
/// Flags that are known.
const FLAGS: u8 = SAMPLED | RANDOM;
/// A request's place in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// 32 hex digits.
    pub id: String,
    /// The span that this request is a part of, 16 hex digits; nothing where the trace begins here.
    pub parent: Option<String>,
    /// This proxy's own span.
    pub span: String,
    flags: u8,
}

/// A trace that begins with this request.
fn begin(sampled: bool) -> Trace {
    let id = format!("{:032x}", fastrand::u128(1..));
    let flags = RANDOM | if sampled { SAMPLED } else { 0 };
    Trace { id, parent: None, span: new_id(), flags }
}

/// What the next one is told.
pub fn header(id: &str, span: &str, flags: u8) -> String {
    format!("00-{id}-{span}-{flags:02x}")
}

fn parse(headers: &HeaderMap, span: String) -> Option<Trace> {
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
    let (id, parent) = (id.to_owned(), Some(parent.to_owned()));
    Some(Trace { id, parent, span, flags })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Option<Trace> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, value.parse().unwrap());
        }
        parse(&headers, format!("{:016x}", 0x2a))
    }

    impl Trace {
        fn header(&self) -> String {
            header(&self.id, &self.span, self.flags)
        }
    }

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_trace_goes_on_under_a_span_of_its_own() {
        let trace = of(&[GOOD]).unwrap();
        assert_eq!(trace.header(), "00-0af7651916cd43dd8448eb211c80319c-000000000000002a-01");
        assert_eq!(trace.parent.as_deref(), Some("b7ad6b7169203331"));
        let later = GOOD.replacen("00", "cc", 1).replace("-01", "-ff-what-the-future-will-be");
        let trace = of(&[&later]).unwrap();
        assert!(trace.header().starts_with("00-") && trace.header().ends_with("-03"));
    }

    #[test]
    fn a_trace_begins_with_ids_that_are_none() {
        let (one, other) = (begin(true), begin(false));
        assert!(one.id != other.id && one.parent.is_none());
        assert!(one.header().ends_with("-03") && other.header().ends_with("-02"));
        assert_eq!(of(&[&one.header()]).unwrap().id, one.id, "it is well formed");
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
