//! What a request must be before anything is decided on it, and the one form it then has:
//! origin-form target, one valid Host, one reading of its length.

use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Version};
use memchr::memchr2_iter;
use pingora::http::RequestHeader;
use pingora::protocols::http::v1::server::HttpSession;
use pingora::proxy::Session;
use proxy_config::listener::{Listener, RequestHeadLimits};

use crate::failure::Failure;
use crate::path::{TargetFault, normalize_target};
use crate::tunnel;

/// Fields that `Connection` must not name.
const NEVER_TAKEN_OFF: [&str; 4] =
    ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
/// What it may name.
const CONNECTION_TOKENS_MAX: usize = 9;
/// Characters of a name that are neither letters nor digits (RFC 9110 section 5.6.2).
const TOKEN_MARKS: &[u8] = b"!#$%&'*+-.^_`|~";

/// Longest request id taken over from a client, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// Checks the request and brings it into its one form, in place.
///
/// Errors: as of [`settle`].
pub fn admit(session: &mut Session, listener: Option<&Listener>) -> Result<(), Failure> {
    let raw = session.as_http1().map(HttpSession::get_headers_raw_bytes);
    if session.req_header().version == Version::HTTP_10 {
        // It knows no interim responses (RFC 9110 section 15.2).
        session.downstream_session.set_ignore_info_resp(true);
    }
    settle(session.req_header_mut(), raw.as_deref(), listener)
}

/// The same for a head by itself; `raw` is the head as it came, where it was HTTP/1.
///
/// Errors: `BadRequest`, `NotImplemented`, `MethodNotAllowed` and what is over the listener's limits,
/// never anything about the upstream.
pub fn settle(
    head: &mut RequestHeader,
    raw: Option<&[u8]>,
    listener: Option<&Listener>,
) -> Result<(), Failure> {
    if let Some(listener) = listener {
        check_size(head, raw, &listener.request_head)?;
    }
    if let Some(raw) = raw {
        check_lines(raw, listener.is_some_and(|listener| listener.bare_line_feeds))?;
        check_request_line(raw)?;
    }
    check_method(head, listener)?;
    check_length(&head.headers, raw.unwrap_or_default())?;
    check_connection(&head.headers)?;
    settle_upgrade(head)?;
    settle_cookies(head)?;
    settle_host(head, listener.is_some_and(|listener| listener.host_of_target))?;
    settle_target(head)
}

/// Tunnels are never opened, and other methods are refused where the listener says so. No route takes it, so
/// there is none whose methods could be named.
fn check_method(head: &RequestHeader, listener: Option<&Listener>) -> Result<(), Failure> {
    let refused = listener.map_or(&[][..], |listener| listener.methods_refused.as_slice());
    let is_tunnel = head.method == Method::CONNECT;
    match is_tunnel || refused.iter().any(|method| method == head.method.as_str()) {
        true => Err(Failure::MethodNotAllowed { allow: String::new() }),
        false => Ok(()),
    }
}

/// The limits of the listener. Heads of HTTP/2 are counted as RFC 9113 section 6.5.2 has it, 32 bytes
/// for each field on top.
fn check_size(
    head: &RequestHeader,
    raw: Option<&[u8]>,
    limits: &RequestHeadLimits,
) -> Result<(), Failure> {
    let size = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    if size(head.raw_path().len()) > limits.uri_max.as_bytes() {
        return Err(Failure::TargetTooLong);
    }
    let fields = head.headers.iter();
    let bytes = raw.map_or_else(
        || fields.map(|(name, value)| name.as_str().len() + value.len() + 32).sum(),
        <[u8]>::len,
    );
    let count = u32::try_from(head.headers.len()).unwrap_or(u32::MAX);
    match count > limits.headers_max || size(bytes) > limits.bytes_max.as_bytes() {
        true => Err(Failure::HeadTooLarge),
        false => Ok(()),
    }
}

/// Every line ends in CRLF, or where the listener says so in LF (RFC 9112 section 2.2); a CR alone
/// ends none. A parser that takes a bare LF as an end and one that does not would see different
/// headers; what goes on is written anew, with CRLF.
fn check_lines(raw: &[u8], bare_line_feeds: bool) -> Result<(), Failure> {
    for at in memchr2_iter(b'\r', b'\n', raw) {
        let fits = match raw[at] {
            b'\n' => {
                bare_line_feeds || at.checked_sub(1).is_some_and(|before| raw[before] == b'\r')
            }
            _ => raw.get(at + 1).is_none_or(|after| *after == b'\n'),
        };
        if !fits {
            return Err(Failure::BadRequest("a line of the request head does not end in CR LF"));
        }
    }
    Ok(())
}

/// Method, target and version with one space between them (RFC 9112 section 3). Pingora drops
/// fragments and reads a target of no known form as `/`; it has escaped spaces before this.
pub fn check_request_line(raw: &[u8]) -> Result<(), Failure> {
    let lines = raw.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let line = lines.into_iter().find(|line| !line.is_empty()).unwrap_or_default();
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(_), Some(target), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Failure::BadRequest("the request line is not method, target and version"));
    };
    let starts =
        |with: &[u8]| target.get(..with.len()).is_some_and(|t| t.eq_ignore_ascii_case(with));
    if !(starts(b"/") || starts(b"http://") || starts(b"https://") || target == b"*") {
        return Err(Failure::Target(TargetFault::NotAbsolute));
    }
    if target.contains(&b'#') {
        return Err(Failure::Target(TargetFault::Fragment));
    }
    match target.iter().any(u8::is_ascii_control) {
        true => Err(Failure::Target(TargetFault::Control)),
        false => Ok(()),
    }
}

/// One statement of the body's length (RFC 9112 section 6.3). Pingora drops Content-Length when
/// Transfer-Encoding is there too, so what was sent is looked up in the raw head.
fn check_length(headers: &HeaderMap, raw: &[u8]) -> Result<(), Failure> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if raw_names(raw).any(|name| name.eq_ignore_ascii_case(CONTENT_LENGTH.as_str().as_bytes()))
        {
            return Err(Failure::BadRequest("both Content-Length and Transfer-Encoding are given"));
        }
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(Failure::NotImplemented("the only transfer coding supported is chunked"));
        }
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        let text = length.as_bytes();
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
        if number.is_none() || !text.iter().all(u8::is_ascii_digit) {
            return Err(Failure::BadRequest("Content-Length is not a number"));
        }
        if lengths.next().is_some() {
            return Err(Failure::BadRequest("Content-Length is given more than once"));
        }
    }
    Ok(())
}

fn raw_names(raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    raw.split(|byte| *byte == b'\n')
        .skip(1)
        .filter_map(|line| line.iter().position(|byte| *byte == b':').map(|at| &line[..at]))
}

/// What a client would go on in: nothing but what may be offered to a server.
fn settle_upgrade(head: &mut RequestHeader) -> Result<(), Failure> {
    if !head.headers.contains_key(UPGRADE) {
        return Ok(());
    }
    let offers = match head.version {
        Version::HTTP_11 => tunnel::offers(&head.headers, head.version)?,
        // It means nothing there (RFC 9110 section 7.8).
        _ => None,
    };
    head.remove_header(&UPGRADE);
    match offers {
        Some(offers) => head.insert_header(UPGRADE, offers).map_err(|_| Failure::Internal),
        None => Ok(()),
    }
}

/// What `Connection` names is taken off before a server is asked (RFC 9110 section 7.6.1). Who names what a server is to believe would have
/// it see another request than was matched.
fn check_connection(headers: &HeaderMap) -> Result<(), Failure> {
    let values = headers.get_all(CONNECTION).iter().map(HeaderValue::as_bytes);
    let mut tokens = 0;
    for token in values.flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
    {
        tokens += usize::from(!token.is_empty());
        let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || TOKEN_MARKS.contains(byte);
        if tokens > CONNECTION_TOKENS_MAX || !token.iter().all(is_token) {
            return Err(Failure::BadRequest("Connection is no list of a few names"));
        }
        if NEVER_TAKEN_OFF.iter().any(|name| token.eq_ignore_ascii_case(name.as_bytes())) {
            return Err(Failure::BadRequest("Connection names a field that it must not name"));
        }
    }
    Ok(())
}

/// HTTP/2 clients may send each cookie in a field of its own; HTTP/1.1 knows only one field
/// (RFC 9113 section 8.2.3).
fn settle_cookies(head: &mut RequestHeader) -> Result<(), Failure> {
    if head.version != Version::HTTP_2 || head.headers.get_all(COOKIE).iter().nth(1).is_none() {
        return Ok(());
    }
    let all: Vec<&[u8]> = head.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let joined = all.join(&b"; "[..]);
    head.insert_header(COOKIE, joined).map_err(|_| Failure::Internal)
}

/// One Host that is a host and an optional port (RFC 9112 section 3.2). HTTP/2's `:authority` and
/// an absolute target become the Host, also in place of another where the listener says so; only an HTTP/1.0 request may be without.
fn settle_host(head: &mut RequestHeader, of_target: bool) -> Result<(), Failure> {
    let authority = head.uri.authority().map(|authority| authority.as_str().to_owned());
    let mut hosts = head.headers.get_all(HOST).iter();
    let host = hosts.next().cloned();
    if hosts.next().is_some() {
        return Err(Failure::BadRequest("Host is given more than once"));
    }
    // HTTP/2 has two names for one thing, and not one that counts before the other.
    let replaces = of_target && head.version != Version::HTTP_2;
    let host = match (host.filter(|_| !(replaces && authority.is_some())), authority) {
        (Some(host), Some(authority)) if host.as_bytes() != authority.as_bytes() => {
            return Err(Failure::BadRequest("Host differs from the authority of the target"));
        }
        (Some(host), _) => host,
        (None, Some(authority)) => {
            let value = HeaderValue::from_str(&authority)
                .map_err(|_| Failure::BadRequest("the authority of the target is not a host"))?;
            head.insert_header(HOST, value.clone()).map_err(|_| Failure::Internal)?;
            value
        }
        (None, None) if head.version == Version::HTTP_10 => return Ok(()),
        (None, None) => return Err(Failure::BadRequest("Host is missing")),
    };
    if is_host(host.as_bytes()) {
        Ok(())
    } else {
        Err(Failure::BadRequest("Host is not a host name or address with an optional port"))
    }
}

/// `name`, `192.0.2.1`, `[::1]`, each with an optional port.
fn is_host(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            ("v6", port)
        }
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let port_is_fine = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
    };
    // A dot may end it; two in a row, or one alone, would be a step upwards wherever a name becomes a path.
    let mut labels = name.strip_suffix('.').unwrap_or(name).split('.');
    let is_name = labels.all(|label| !label.is_empty() && label.bytes().all(legal));
    is_name && name.len() <= 255 && port_is_fine
}

/// The target as path and query in its one form; `*` stays for OPTIONS (RFC 9112 section 3.2.4).
fn settle_target(head: &mut RequestHeader) -> Result<(), Failure> {
    let target: &[u8] = match head.uri.path_and_query() {
        Some(target) if head.raw_path_is_utf8() => target.as_str().as_bytes(),
        _ => head.raw_path(),
    };
    if target == b"*" && head.method == Method::OPTIONS {
        return Ok(());
    }
    let form = normalize_target(target).map_err(Failure::Target)?;
    if head.uri.authority().is_some() || form != head.raw_path() {
        let form = form.into_owned();
        head.set_raw_path(&form)
            .map_err(|_| Failure::BadRequest("the request target cannot be parsed"))?;
    }
    Ok(())
}

/// The id under which the request is logged and passed on: the client's own if it is short and
/// plain, so that one id can be followed through several proxies; otherwise a new one of this date.
pub fn request_id(headers: &HeaderMap, date: SystemTime) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    headers
        .get(crate::headers::X_REQUEST_ID)
        .map(HeaderValue::as_bytes)
        .filter(|id| (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(plain))
        .and_then(|id| std::str::from_utf8(id).ok())
        .map_or_else(|| new_id(date), str::to_owned)
}

/// A version 7 UUID. It is to differ from others, not to be hard to guess, so its bits come from this thread's
/// generator and not, with a system call, from the kernel's.
fn new_id(date: SystemTime) -> String {
    let since = date.duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or_default();
    let mut bits = [0; 10];
    fastrand::fill(&mut bits);
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &bits).into_uuid();
    id.hyphenated().encode_lower(&mut [0; 36]).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> RequestHeader {
        let mut head = RequestHeader::build(method, target.as_bytes(), None).unwrap();
        head.set_version(Version::HTTP_11);
        for (name, value) in headers {
            head.append_header((*name).to_owned(), *value).unwrap();
        }
        head
    }

    #[test]
    fn connection_names_a_few_fields_that_servers_need_not_believe() {
        let checked = |value: &str| {
            let fields = [(CONNECTION, HeaderValue::from_str(value).unwrap())];
            check_connection(&fields.into_iter().collect()).is_ok()
        };
        for value in ["", "close", "Keep-Alive, TE, ,x-a", "a,b,c,d,e,f,g,h,i"] {
            assert!(checked(value), "{value}");
        }
        for value in [
            "Host",
            "close, X-FORWARDED-FOR",
            "\"Host\"",
            ":authority",
            "a b",
            "a,b,c,d,e,f,g,h,i,j",
        ] {
            assert!(!checked(value), "{value}");
        }
    }

    #[test]
    fn hosts() {
        for host in [
            "a",
            "example.com:8443",
            "a.example.",
            "a_b.c",
            "192.0.2.1:80",
            "[::1]",
            "[2001:db8::1]:443",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "", ":80", "a:b", "a:70000", "a b", "u@h", "a/b", "a%41", "[::1", "[x]", "a:80:90",
            "[::1]x", "a:+80", "a,b", ".", "..", "...", ".a", "a..b", "a..", "..:80",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn lines_end_in_cr_lf() {
        assert!(check_lines(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", false).is_ok());
        for raw in [&b"GET / HTTP/1.1\nHost: a\r\n\r\n"[..], b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n"] {
            assert!(check_lines(raw, false).is_err());
        }
    }

    #[test]
    fn request_lines() {
        for line in [
            "GET / HTTP/1.1",
            "\r\nGET /x?y HTTP/1.0",
            "GET HTTP://a HTTP/1.1",
            "OPTIONS * HTTP/1.1",
        ] {
            assert_eq!(
                check_request_line(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()),
                Ok(()),
                "{line}"
            );
        }
        for line in [
            "GET  / HTTP/1.1",
            "GET /a b HTTP/1.1",
            "GET \\private\\x HTTP/1.1",
            "GET a/ HTTP/1.1",
            "GET a:80 HTTP/1.1",
            "GET ftp://a/ HTTP/1.1",
            "GET /private# HTTP/1.1",
            "GET /?\x01 HTTP/1.1",
            "GET /",
            "",
        ] {
            assert!(
                check_request_line(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()).is_err(),
                "{line}"
            );
        }
    }

    #[test]
    fn lines_end_as_the_listener_says() {
        let ends =
            |head: &[u8]| (check_lines(head, false).is_ok(), check_lines(head, true).is_ok());
        assert_eq!(ends(b"GET / HTTP/1.1\r\nA: b\r\n\r\n"), (true, true));
        assert_eq!(ends(b"GET / HTTP/1.1\nA: b\n\n"), (false, true));
        assert_eq!(ends(b"GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n"), (false, false));
        assert_eq!(ends(b"GET / HTTP/1.1\r\nA: b\r\r\n\r\n"), (false, false));
    }

    #[test]
    fn an_offer_stays_where_it_means_something() {
        for (version, offer, left) in [
            (Version::HTTP_11, "h2c", None),
            (Version::HTTP_11, "h2c, websocket", Some("websocket")),
            (Version::HTTP_10, "websocket", None),
            (Version::HTTP_10, "", None),
        ] {
            let mut head = head("GET", "/", &[("Upgrade", offer), ("Connection", "upgrade")]);
            head.set_version(version);
            settle_upgrade(&mut head).unwrap();
            let is = head.headers.get(UPGRADE).map(|value| value.to_str().unwrap());
            assert_eq!(is, left, "{version:?} {offer}");
        }
    }

    #[test]
    fn cookies_of_http2_become_one_field() {
        let mut split = head("GET", "/", &[("Cookie", "a=b"), ("Cookie", "c=d")]);
        split.set_version(Version::HTTP_2);
        settle_cookies(&mut split).unwrap();
        let cookies: Vec<_> = split.headers.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=b; c=d"]);
    }

    #[test]
    fn lengths() {
        let refused: &[&[(&str, &str)]] = &[
            &[("Content-Length", "+5")],
            &[("Content-Length", "5, 5")],
            &[("Content-Length", "5"), ("Content-Length", "5")],
            &[("Content-Length", "99999999999999999999")],
            &[("Content-Length", "-1")],
            &[("Transfer-Encoding", "gzip, chunked")],
            &[("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")],
            &[("Transfer-Encoding", "chunked, identity")],
        ];
        for headers in refused {
            assert!(check_length(&head("POST", "/", headers).headers, b"").is_err(), "{headers:?}");
        }
        let chunked = head("POST", "/", &[("Transfer-Encoding", "chunked")]).headers.clone();
        assert!(check_length(&chunked, b"POST / HTTP/1.1\r\nA: b\r\n\r\n").is_ok());
        assert!(check_length(&chunked, b"POST / HTTP/1.1\r\ncontent-LENGTH: 5\r\n\r\n").is_err());
    }

    #[test]
    fn absolute_targets_become_origin_form() {
        let mut absolute = head("GET", "http://a.example/x?y", &[("Host", "a.example")]);
        settle_host(&mut absolute, false).unwrap();
        settle_target(&mut absolute).unwrap();
        assert_eq!(absolute.raw_path(), b"/x?y");
        assert_eq!(absolute.headers[HOST], "a.example");
    }

    #[test]
    fn request_ids_are_taken_over_only_when_plain() {
        let with = |id: &str| head("GET", "/", &[("X-Request-Id", id)]).headers.clone();
        let request_id = |headers: &HeaderMap| request_id(headers, UNIX_EPOCH);
        assert_eq!(request_id(&with("abc-1.2_3")), "abc-1.2_3");
        for odd in ["", "a b", "a\"b", &"x".repeat(65)] {
            assert_ne!(request_id(&with(odd)), odd);
        }
    }
}
