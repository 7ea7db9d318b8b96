//! What a proxy must take off messages, and what it adds.
//!
//! Taken off in both directions: fields named by `Connection`, and the hop-by-hop fields of
//! RFC 9110 section 7.6.1; off requests also what a server could take for a field vouched for here
//! ([`crate::disguise`]). Added to requests:
//! - `X-Forwarded-For` and `Forwarded` (RFC 7239) are lists; the address this proxy saw is appended,
//!   so only the last entry is this proxy's word, the others are the client's.
//! - `X-Forwarded-Proto` and `X-Forwarded-Host` are set, never passed on: they state one fact.
//! - `Host` goes on as sent. `X-Request-Id` goes on as logged.

use std::net::IpAddr;

use bytes::{BufMut, BytesMut};
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, FORWARDED, HOST, HeaderName, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use pingora::http::{HeaderNameVariant, RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, Result};
use proxy_config::route::ForwardedHeaders;

use crate::disguise;
use crate::failure::SWITCHED;

/// The media type of a body, without parameters; empty where there is none. Its case does not count.
pub fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Hop-by-hop fields. Transfer-Encoding is not among them: pingora frames each side by it, having
/// decoded what it received. A static: a constant would be made anew for each name that is looked for.
pub static HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Fields that a `Connection` header cannot take off: without them a message means another thing.
const NEVER_NOMINATED: [&str; 6] =
    ["content-length", "transfer-encoding", "content-encoding", "content-range", "host", "date"];

/// Transfer codings that a client would have to undo (RFC 9112 section 7.2), and what is not to be
/// mistaken for chunked.
const REGISTERED_CODINGS: [&str; 7] =
    ["gzip", "x-gzip", "deflate", "compress", "x-compress", "identity", "trailers"];

/// What this proxy knows of the client's side of a request.
pub struct Downstream<'a> {
    /// Who connects: what was believed of the client stands in the lists already.
    pub client: Option<IpAddr>,
    pub tls: bool,
    pub request_id: &'a str,
    pub forwarded: ForwardedHeaders,
}

/// Prepares a request for the upstream. `server` stands in for Host when an HTTP/1.0 client sent
/// none.
pub fn to_upstream(
    head: &mut RequestHeader,
    downstream: &Downstream<'_>,
    server: &str,
) -> Result<()> {
    for name in to_take_off(&head.headers) {
        head.remove_header(&name);
    }
    for name in disguise::twins_of_vouched(&head.headers) {
        head.remove_header(&name);
    }
    let host = head.headers.get(HOST).cloned();
    if downstream.forwarded == ForwardedHeaders::PassOn {
        if host.is_none() {
            head.insert_header(HOST, server)?;
        }
        return Ok(());
    }
    let scheme = if downstream.tls { "https" } else { "http" };
    if let Some(client) = downstream.client {
        let mut list = BytesMut::new();
        put_addresses(&head.headers, client, &mut list);
        head.insert_header(X_FORWARDED_FOR, &list[..])?;
        list.clear();
        put_elements(&head.headers, client, scheme, &mut list);
        head.insert_header(FORWARDED, &list[..])?;
    }
    head.insert_header(X_FORWARDED_PROTO, scheme)?;
    match host {
        Some(host) => head.insert_header(X_FORWARDED_HOST, host)?,
        None => {
            head.remove_header(&X_FORWARDED_HOST);
            head.insert_header(HOST, server)?;
        }
    }
    head.insert_header(X_REQUEST_ID, downstream.request_id)
}

/// Fields that say what this proxy saw, where it says anything.
static SEEN: [HeaderName; 5] =
    [X_FORWARDED_FOR, FORWARDED, X_FORWARDED_PROTO, X_FORWARDED_HOST, X_REQUEST_ID];

/// Writes the fields of a request as [`to_upstream`] makes them, those that are added last.
pub fn write_to_upstream(
    head: &RequestHeader,
    downstream: &Downstream<'_>,
    server: &str,
    into: &mut BytesMut,
) {
    let headers = &head.headers;
    let mut off = to_take_off(headers);
    off.extend(disguise::twins_of_vouched(headers));
    let seen = match downstream.forwarded {
        ForwardedHeaders::PassOn => &[],
        // Who is not named to the upstream takes nothing off the lists either.
        _ if downstream.client.is_none() => &SEEN[2..],
        _ => &SEEN[..],
    };
    let mut names = headers.iter().map(|(name, _)| name);
    let written = head.map(|name, value| {
        if names.next().is_some_and(|name| !off.contains(name) && !seen.contains(name)) {
            let name = match &name {
                HeaderNameVariant::Case(name) => name.as_slice(),
                HeaderNameVariant::Titled(name) => name.as_bytes(),
            };
            put_field(name, value.as_bytes(), into);
        }
        Ok(())
    });
    debug_assert!(written.is_ok(), "nothing above fails");
    let host = headers.get(HOST).map(HeaderValue::as_bytes);
    if host.is_none() {
        put_field(b"Host", server.as_bytes(), into);
    }
    if downstream.forwarded == ForwardedHeaders::PassOn {
        return;
    }
    let scheme = if downstream.tls { "https" } else { "http" };
    if let Some(client) = downstream.client {
        begin_field(X_FORWARDED_FOR.as_str().as_bytes(), into);
        put_addresses(headers, client, into);
        into.put_slice(b"\r\n");
        begin_field(FORWARDED.as_str().as_bytes(), into);
        put_elements(headers, client, scheme, into);
        into.put_slice(b"\r\n");
    }
    put_field(X_FORWARDED_PROTO.as_str().as_bytes(), scheme.as_bytes(), into);
    if let Some(host) = host {
        put_field(X_FORWARDED_HOST.as_str().as_bytes(), host, into);
    }
    put_field(X_REQUEST_ID.as_str().as_bytes(), downstream.request_id.as_bytes(), into);
}

fn put_field(name: &[u8], value: &[u8], into: &mut BytesMut) {
    begin_field(name, into);
    into.put_slice(value);
    into.put_slice(b"\r\n");
}

fn begin_field(name: &[u8], into: &mut BytesMut) {
    into.put_slice(name);
    into.put_slice(b": ");
}

/// The addresses that requests came by, and one more.
fn put_addresses(headers: &HeaderMap, client: IpAddr, into: &mut BytesMut) {
    put_list(headers, &X_FORWARDED_FOR, into);
    put_address(client, into);
}

/// The same of `Forwarded` (RFC 7239 section 4): addresses of version 6 in brackets and quotes, the host quoted for its
/// port.
fn put_elements(headers: &HeaderMap, client: IpAddr, scheme: &str, into: &mut BytesMut) {
    put_list(headers, &FORWARDED, into);
    let (before, after) = if client.is_ipv6() { ("\"[", "]\"") } else { ("", "") };
    into.put_slice(b"for=");
    into.put_slice(before.as_bytes());
    put_address(client, into);
    into.put_slice(after.as_bytes());
    // The host was checked to hold nothing that would need escaping inside quotes.
    if let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) {
        into.put_slice(b";host=\"");
        into.put_slice(host.as_bytes());
        into.put_u8(b'"');
    }
    into.put_slice(b";proto=");
    into.put_slice(scheme.as_bytes());
}

/// The entries there are; several fields of that name become one.
fn put_list(headers: &HeaderMap, name: &HeaderName, into: &mut BytesMut) {
    for value in headers.get_all(name) {
        into.put_slice(value.as_bytes());
        into.put_slice(b", ");
    }
}

/// Writes an address; those of version 4 without the machinery of formatting, which would cost more than the field.
pub fn put_address(address: IpAddr, into: &mut impl BufMut) {
    let IpAddr::V4(address) = address else {
        into.put_slice(address.to_string().as_bytes());
        return;
    };
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            into.put_u8(b'.');
        }
        into.put_slice(itoa::Buffer::new().format(octet).as_bytes());
    }
}

/// Whether whoever asks can read trailers, which gRPC cannot do without.
pub fn takes_trailers(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(TE).iter().flat_map(|v| v.as_bytes().split(|b| *b == b','));
    fields.map(<[u8]>::trim_ascii).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

/// Takes off what belongs to one connection.
pub fn take_off_hop_by_hop(head: &mut ResponseHeader) -> Result<()> {
    take_off(head, &to_take_off(&head.headers))
}

/// Prepares a response for the client, or refuses one that two clients could read differently.
pub fn from_upstream(head: &mut ResponseHeader) -> Result<()> {
    take_off_hop_by_hop(head)?;
    let invalid = |why| Error::explain(ErrorType::InvalidHTTPHeader, why).into_up();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        // Offers are made elsewhere (`tunnel`).
        return Err(Error::new(ErrorType::Custom(SWITCHED)).into_up());
    }
    if head.version < Version::HTTP_11 {
        if head.headers.contains_key(TRANSFER_ENCODING) {
            // Whoever sent it knows of none (RFC 9112 section 6.1).
            return Err(invalid("a response in HTTP/1.0 has a transfer coding"));
        }
        // What is sent on is this proxy's message (RFC 9110 section 2.5).
        head.set_version(Version::HTTP_11);
    }
    if !settle_coding(head) {
        return Err(invalid("the response has a transfer coding other than chunked"));
    }
    if head.status.is_informational() || head.status == StatusCode::NO_CONTENT {
        // They have no body, and no field that would frame one (RFC 9110 section 8.6).
        head.remove_header(&TRANSFER_ENCODING);
        head.remove_header(&CONTENT_LENGTH);
    }
    settle_length(head)
}

/// Chunked alone, or none; `false` when the body cannot be told or undone. A single name that is no
/// registered coding says nothing about the bytes: they end with their connection (RFC 9112 section
/// 6.3), which is how pingora reads them, and the field goes no further.
fn settle_coding(head: &mut ResponseHeader) -> bool {
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next().map(HeaderValue::as_bytes) else { return true };
    let is = |name: &&str| coding.eq_ignore_ascii_case(name.as_bytes());
    if codings.next().is_some() {
        return false;
    }
    if is(&"chunked") {
        return true;
    }
    let is_token = coding.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    let framed = head.headers.contains_key(CONTENT_LENGTH);
    if !is_token || framed || REGISTERED_CODINGS.iter().any(is) {
        return false;
    }
    head.remove_header(&TRANSFER_ENCODING);
    true
}

/// One Content-Length. Equal ones may be read as one (RFC 9110 section 8.6); pingora has refused
/// those that differ from field to field.
fn settle_length(head: &mut ResponseHeader) -> Result<()> {
    let fields = head.headers.get_all(CONTENT_LENGTH).iter();
    let mut lengths =
        fields.flat_map(|v| v.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii);
    let Some(first) = lengths.next().map(<[u8]>::to_vec) else { return Ok(()) };
    let Some(second) = lengths.next() else { return Ok(()) };
    if second != first || lengths.any(|length| length != first) {
        let why = "the response has several lengths";
        return Err(Error::explain(ErrorType::InvalidHTTPHeader, why).into_up());
    }
    head.insert_header(CONTENT_LENGTH, first)
}

/// Takes these fields off. The others stay in their order, which removing one by one would not leave them in.
pub fn take_off(head: &mut ResponseHeader, names: &[HeaderName]) -> Result<()> {
    if !names.iter().any(|name| head.headers.contains_key(name)) {
        return Ok(());
    }
    let mut left = ResponseHeader::build(head.status, Some(head.headers.len()))?;
    left.set_version(head.version);
    left.set_reason_phrase(head.get_reason_phrase())?;
    let keys = head.headers.iter().map(|(name, _)| name);
    for ((written, value), name) in head.case_header_iter().zip(keys) {
        if !names.contains(name) {
            left.append_header(written.clone(), value.clone())?;
        }
    }
    *head = left;
    Ok(())
}

/// A name as HTTP/1 usually has it: `www-authenticate` is `WWW-Authenticate`.
pub fn titled(name: &HeaderName) -> String {
    match name.as_str() {
        "etag" => return "ETag".to_owned(),
        "www-authenticate" => return "WWW-Authenticate".to_owned(),
        _ => {}
    }
    let mut begins = true;
    let title = |c: char| {
        let titled = if begins { c.to_ascii_uppercase() } else { c };
        begins = c == '-';
        titled
    };
    name.as_str().chars().map(title).collect()
}

fn to_take_off(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut off: Vec<HeaderName> =
        headers.keys().filter(|name| HOP_BY_HOP.contains(name)).cloned().collect();
    if !off.contains(&CONNECTION) {
        return off;
    }
    let tokens = headers.get_all(CONNECTION).iter();
    let tokens = tokens.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let nominated = tokens
        .map(<[u8]>::trim_ascii)
        // Said by every browser, and gone in any case.
        .filter(|token| !token.eq_ignore_ascii_case(b"keep-alive"))
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .filter(|name| !NEVER_NOMINATED.contains(&name.as_str()) && headers.contains_key(name));
    off.extend(nominated);
    off
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> RequestHeader {
        let mut head = RequestHeader::build("GET", b"/", None).unwrap();
        for (name, value) in headers {
            head.append_header((*name).to_owned(), *value).unwrap();
        }
        head
    }

    fn sent(headers: &[(&str, &str)], client: &str, tls: bool) -> HeaderMap {
        let mut head = request(headers);
        let client = client.parse().ok();
        let forwarded = ForwardedHeaders::Add;
        let downstream = Downstream { client, tls, request_id: "id-1", forwarded };
        to_upstream(&mut head, &downstream, "10.0.0.1:80").unwrap();
        head.headers.clone()
    }

    #[test]
    fn the_client_is_appended_and_single_facts_are_set() {
        let headers = sent(
            &[
                ("Host", "a.example:8080"),
                ("X-Forwarded-For", "1.1.1.1"),
                ("X-Forwarded-For", "2.2.2.2"),
                ("X-Forwarded-Proto", "https"),
                ("X-Forwarded-Host", "evil.example"),
                ("Forwarded", "for=1.1.1.1"),
            ],
            "192.0.2.7",
            false,
        );
        assert_eq!(headers[X_FORWARDED_FOR], "1.1.1.1, 2.2.2.2, 192.0.2.7");
        assert_eq!(headers[X_FORWARDED_PROTO], "http");
        assert_eq!(headers[X_FORWARDED_HOST], "a.example:8080");
        assert_eq!(
            headers[FORWARDED],
            "for=1.1.1.1, for=192.0.2.7;host=\"a.example:8080\";proto=http"
        );
        assert_eq!(headers[HOST], "a.example:8080");
        assert_eq!(headers[X_REQUEST_ID], "id-1");
    }

    #[test]
    fn ipv6_is_quoted_and_a_missing_host_becomes_the_server() {
        let headers = sent(&[("X-Forwarded-Host", "evil.example")], "2001:db8::1", true);
        assert_eq!(headers[FORWARDED], "for=\"[2001:db8::1]\";proto=https");
        assert_eq!(headers[HOST], "10.0.0.1:80");
        assert!(!headers.contains_key(X_FORWARDED_HOST));
    }

    #[test]
    fn hop_by_hop_fields_are_taken_off_both_ways() {
        let fields = [
            ("Connection", "close, X-Secret, content-length"),
            ("X-Secret", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("Proxy-Authorization", "Basic x"),
            ("Proxy-Authenticate", "Basic"),
            ("TE", "trailers"),
            ("Trailer", "X"),
            ("Upgrade", "h2c"),
            ("Content-Length", "0"),
            ("X-Kept", "1"),
        ];
        let headers = sent(&fields, "192.0.2.7", false);
        let mut response = ResponseHeader::build(200, None).unwrap();
        for (name, value) in fields {
            response.append_header(name, value).unwrap();
        }
        from_upstream(&mut response).unwrap();
        for headers in [&headers, &response.headers] {
            assert!(headers.contains_key("x-kept") && headers.contains_key("content-length"));
            for gone in &fields[..9] {
                assert!(!headers.contains_key(gone.0), "{}", gone.0);
            }
        }
    }

    #[test]
    fn responses_are_framed_in_one_way_or_refused() {
        // Status, fields, and the Content-Length and Transfer-Encoding left; None when refused.
        type Case = (u16, &'static [(&'static str, &'static str)], Option<&'static [&'static str]>);
        let cases: &[Case] = &[
            (200, &[("Content-Length", "4")], Some(&["4"])),
            (200, &[("Content-Length", "4"), ("Content-Length", "4")], Some(&["4"])),
            (200, &[("Content-Length", "4, 4")], Some(&["4"])),
            (200, &[("Content-Length", "4, 5")], None),
            (200, &[("Transfer-Encoding", "Chunked")], Some(&["Chunked"])),
            (200, &[("Transfer-Encoding", "gzip, chunked")], None),
            (200, &[("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")], None),
            (200, &[("Transfer-Encoding", "gzip")], None),
            (200, &[("Transfer-Encoding", "foo")], Some(&[])),
            (200, &[("Transfer-Encoding", "foo"), ("Content-Length", "4")], None),
            (200, &[("Transfer-Encoding", "chunked;x")], None),
            (200, &[("Transfer-Encoding", "foo, chunked")], None),
            (204, &[("Transfer-Encoding", "chunked")], Some(&[])),
            (204, &[("Content-Length", "4")], Some(&[])),
            (304, &[("Content-Length", "4")], Some(&["4"])),
            (101, &[("Upgrade", "x")], None),
        ];
        for (status, fields, expected) in cases {
            let mut head = ResponseHeader::build(*status, None).unwrap();
            for (name, value) in *fields {
                head.append_header((*name).to_owned(), *value).unwrap();
            }
            let done = from_upstream(&mut head).ok();
            let left = done.map(|()| {
                let framing = [CONTENT_LENGTH, TRANSFER_ENCODING];
                let values = framing.iter().flat_map(|name| head.headers.get_all(name));
                values.map(|value| value.to_str().unwrap()).collect::<Vec<_>>()
            });
            assert_eq!(left.as_deref(), *expected, "{status} {fields:?}");
        }
    }
}
