//! Whether pingora takes a head, and what it is refused for where it does not. What is plainly right is seen at a glance;
//! about all else pingora is asked, so that there is no head that it refuses and this does not.

use std::io::Cursor;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use httparse::{EMPTY_HEADER, Request, Status};
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use proxy_config::listener::Listener;

use crate::failure::Failure;
use crate::framing::is_token;
use crate::path::percent_encode;
use crate::request;

/// Bytes of a request line that are not its target: room for any method, and the version.
pub const AROUND_TARGET: usize = 128;
/// Fields that pingora takes.
const FIELDS_MAX: usize = 256;
/// Longest target there is room for once it is parsed.
const TARGET_BYTES_MAX: usize = 65_000;

/// What becomes of a head.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on as it came.
    Fit,
    /// It goes on like this: its target had bytes that have to be escaped.
    As(Bytes),
    Unfit(Failure),
}

/// What a head is refused for before it has ended: nobody may be going to send the rest of it.
pub fn early(read: &[u8], listener: &Listener) -> Option<Failure> {
    if let Some(end) = memchr::memchr(b'\n', read) {
        let line = &read[..end];
        return request_line(line.strip_suffix(b"\r").unwrap_or(line), listener).err();
    }
    let method = read.split(|byte| *byte == b' ').next().unwrap_or_default();
    let may_be = read == b"\r" || method.iter().all(|byte| is_token(*byte));
    (!may_be).then_some(METHOD)
}

/// Judges a head that is there whole, without empty lines ahead of it.
pub async fn judge(head: &[u8], listener: &Listener) -> Verdict {
    let (verdict, is_plain) = glance(head, listener);
    if is_plain {
        return verdict;
    }
    let form = match &verdict {
        Verdict::As(form) => form,
        _ => head,
    };
    match is_taken(form).await {
        true => verdict,
        false => Verdict::Unfit(refused_for(form, listener)),
    }
}

/// A verdict, and whether nothing more has to be known.
fn glance(head: &[u8], listener: &Listener) -> (Verdict, bool) {
    let line = &head[..memchr::memchr(b'\n', head).unwrap_or(head.len())];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let escaped = match request_line(line, listener) {
        Ok(escaped) => escaped.map(|escaped| [&escaped, &head[line.len()..]].concat()),
        Err(failure) => return (Verdict::Unfit(failure), true),
    };
    let form = escaped.as_deref().unwrap_or(head);
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    let mut request = Request::new(&mut fields);
    match request.parse(form) {
        Ok(Status::Complete(length)) if length == form.len() => {}
        Ok(_) => return (Verdict::Unfit(MALFORMED), true),
        Err(error) => return (Verdict::Unfit(unparsed(error)), true),
    }
    let is_plain = is_plain(&request);
    (escaped.map_or(Verdict::Fit, |form| Verdict::As(Bytes::from(form))), is_plain)
}

const MALFORMED: Failure = Failure::BadRequest("the head of the request is malformed");
const METHOD: Failure = Failure::BadRequest("the request's method is malformed");

/// The line with its target escaped; none where it needs none.
fn request_line(line: &[u8], listener: &Listener) -> Result<Option<Vec<u8>>, Failure> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Failure::BadRequest("the request line is not method, target and version"));
    };
    if !matches!(version, b"HTTP/1.1" | b"HTTP/1.0") {
        return Err(Failure::BadRequest("the request's version is neither HTTP/1.1 nor HTTP/1.0"));
    }
    if method == b"CONNECT" {
        return Err(Failure::MethodNotAllowed { allow: String::new() });
    }
    let limit = usize::try_from(listener.request_head.uri_max.as_bytes()).unwrap_or(usize::MAX);
    if target.len() > limit.min(TARGET_BYTES_MAX) {
        return Err(Failure::TargetTooLong);
    }
    request::check_request_line(line)?;
    if !target.iter().any(|byte| has_to_be_escaped(*byte)) {
        return Ok(None);
    }
    let mut escaped = [method, b" "].concat();
    for byte in target {
        match has_to_be_escaped(*byte) {
            true => percent_encode(*byte, &mut escaped),
            false => escaped.push(*byte),
        }
    }
    escaped.push(b' ');
    escaped.extend_from_slice(version);
    Ok(Some(escaped))
}

/// Bytes that no target may have (RFC 3986), which clients send all the same and pingora does not take everywhere. Other
/// such bytes are escaped, in a path, when its one form is made.
fn has_to_be_escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>' | b'`' | 0x80..)
}

/// Whether there is nothing in a head, parsed and with its target escaped, that pingora looks at twice.
fn is_plain(request: &Request<'_, '_>) -> bool {
    let (mut hosts, mut lengths, mut codings) = (0, 0, 0);
    let fields = request.headers.iter().all(|field| {
        let is = |name: &http::HeaderName| field.name.eq_ignore_ascii_case(name.as_str());
        if is(&HOST) {
            hosts += 1;
            !field.value.contains(&b'@')
        } else if is(&CONTENT_LENGTH) {
            lengths += 1;
            (1..=18).contains(&field.value.len()) && field.value.iter().all(u8::is_ascii_digit)
        } else if is(&TRANSFER_ENCODING) {
            codings += 1;
            field.value.eq_ignore_ascii_case(b"chunked")
        } else {
            true
        }
    });
    let chunks = codings == 0 || (codings == 1 && lengths == 0 && request.version == Some(1));
    let is_path = request.path.is_some_and(|path| path.starts_with('/'));
    fields && is_path && chunks && hosts <= 1 && lengths <= 1
}

/// Whether pingora takes a head.
async fn is_taken(head: &[u8]) -> bool {
    let stream = Box::new(Cursor::new(head.to_vec()));
    let mut session = ServerSession::new_http1(stream);
    Box::pin(session.read_request()).await.is_ok_and(|taken| taken)
}

fn unparsed(error: httparse::Error) -> Failure {
    use httparse::Error as E;
    Failure::BadRequest(match error {
        E::TooManyHeaders => return Failure::HeadTooLarge,
        E::HeaderName => "the name of a header field is malformed",
        E::HeaderValue => "the value of a header field has a character that none may have",
        E::NewLine => "a line of the request head does not end in CR LF",
        E::Token => return METHOD,
        E::Version | E::Status => return MALFORMED,
    })
}

/// What a head is refused for that pingora does not take: as for all others, where it is seen there too.
fn refused_for(raw: &[u8], listener: &Listener) -> Failure {
    let settled = || {
        let mut fields = [EMPTY_HEADER; FIELDS_MAX];
        let mut request = Request::new(&mut fields);
        request.parse(raw).ok()?;
        let (method, path) = (request.method?, request.path?);
        let mut head = RequestHeader::build(method, path.as_bytes(), None).ok()?;
        head.set_version(match request.version {
            Some(0) => http::Version::HTTP_10,
            _ => http::Version::HTTP_11,
        });
        for field in request.headers.iter() {
            head.append_header(field.name.to_owned(), field.value).ok()?;
        }
        request::settle(&mut head, Some(raw), Some(listener)).err()
    };
    settled().unwrap_or(MALFORMED)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn judged(text: &str) -> Verdict {
        judge(text.as_bytes(), &listener()).await
    }

    fn listener() -> Listener {
        Listener::at("127.0.0.1:80".parse().unwrap())
    }

    #[tokio::test]
    async fn what_has_to_be_escaped_is() {
        for (target, form) in [
            ("/a<b>", "/a%3Cb%3E"),
            ("/\u{e9}`", "/%C3%A9%60"),
            ("/x?q=\"<\u{e9}", "/x?q=%22%3C%C3%A9"),
            ("http://a/<", "http://a/%3C"),
        ] {
            for end in ["\r\n", "\n"] {
                let head = |target| format!("GET {target} HTTP/1.1{end}Host: a{end}{end}");
                let expected = Verdict::As(Bytes::from(head(form)));
                assert_eq!(judged(&head(target)).await, expected, "{target}");
            }
        }
        for target in ["/", "/{a}|^\\?[b]={c}|^`"] {
            let target = target.replace('`', "");
            let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(judged(&head).await, Verdict::Fit, "{target}");
        }
    }

    #[tokio::test]
    async fn what_is_refused_has_a_reason() {
        for (head, reason) in [
            ("nonsense\r\n\r\n", "the request line is not method, target and version"),
            ("GET /a b HTTP/1.1\r\n\r\n", "the request line is not method, target and version"),
            ("GET / HTTP/2.0\r\n\r\n", "the request's version is neither HTTP/1.1 nor HTTP/1.0"),
            ("G\x01T / HTTP/1.1\r\n\r\n", "the request's method is malformed"),
            ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "this path does not take this method"),
            ("GET / HTTP/1.1\r\nA b: c\r\n\r\n", "the name of a header field is malformed"),
            (
                "GET / HTTP/1.1\r\nA: \0\r\n\r\n",
                "the value of a header field has a character that none may have",
            ),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "Host is given more than once"),
            (
                "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
                "Host is not a host name or address with an optional port",
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
                "Content-Length is not a number",
            ),
            (
                "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
                "the head of the request is malformed",
            ),
        ] {
            let Verdict::Unfit(failure) = judged(head).await else { panic!("{head:?}") };
            assert_eq!(failure.to_string(), reason, "{head:?}");
        }
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(256));
        assert_eq!(judged(&many).await, Verdict::Unfit(Failure::HeadTooLarge));
        let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(17_000));
        assert_eq!(judged(&long).await, Verdict::Unfit(Failure::TargetTooLong));
    }

    #[test]
    fn what_cannot_become_a_request_is_not_waited_for() {
        for (read, is_refused) in [
            ("\u{16}\u{3}\u{1}", true),
            ("GET /\r\n", true),
            ("\n", true),
            ("\r", false),
            ("GE", false),
            ("GET /a b", false),
            ("GET / HTTP/1.1\r\nHo", false),
        ] {
            assert_eq!(early(read.as_bytes(), &listener()).is_some(), is_refused, "{read:?}");
        }
    }

    /// Whatever a head is, pingora takes what goes on to it.
    #[tokio::test]
    async fn pingora_takes_what_goes_on() {
        let heads = [
            "GET /x?a=b HTTP/1.1\r\nHost: a.example\r\nUser-Agent: t\r\n\r\n",
            "POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\n",
            "POST http://a.example/x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n",
        ];
        let mut random = fastrand::Rng::with_seed(7);
        for head in heads {
            for _ in 0..2000 {
                let mut bytes = head.as_bytes().to_vec();
                for _ in 0..random.usize(1..3) {
                    let at = random.usize(..bytes.len() - 4);
                    bytes[at] = random.u8(..);
                }
                if crate::vetting::end_of_head(&bytes, 0) != Some(bytes.len()) {
                    continue;
                }
                let taken = match judge(&bytes, &listener()).await {
                    Verdict::Fit => bytes.clone(),
                    Verdict::As(form) => form.to_vec(),
                    Verdict::Unfit(_) => crate::vetting::stand_in::of(&bytes).to_vec(),
                };
                assert!(is_taken(&taken).await, "{:?}", String::from_utf8_lossy(&bytes));
            }
        }
    }
}
