//! What a server behind the proxy may take for something else than the proxy did. Servers in use cut parameters off path
//! segments, decode escapes twice, and read `_` in the name of a header as `-`.

use http::HeaderMap;
use http::header::HeaderName;

/// Fields that frame a message or that this proxy vouches for. CGI and its children know a header as `HTTP_X_FORWARDED_FOR`,
/// whichever way it was written.
const VOUCHED: [&str; 14] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "transfer-encoding",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
];

/// Fields that a server may take for one of those the proxy vouches for.
pub fn twins_of_vouched(headers: &HeaderMap) -> Vec<HeaderName> {
    twins(headers, |name| VOUCHED.contains(&name))
}

/// Fields with `_` in their names that a server may take for one that `is` true of.
pub fn twins(headers: &HeaderMap, is: impl Fn(&str) -> bool) -> Vec<HeaderName> {
    let odd = headers.keys().filter(|name| name.as_str().contains('_'));
    odd.filter(|name| is(&name.as_str().replace('_', "-"))).cloned().collect()
}

/// The path as a server may read it that decodes it twice or drops parameters, in the form that routes match;
/// nothing for most paths, which there is only one way to read.
pub fn other_reading(path: &str) -> Option<String> {
    let may_differ = path.bytes().any(|byte| matches!(byte, b';' | b'%'));
    if !may_differ || !path.contains(';') && !path.contains("%25") && !path.contains("%3B") {
        return None;
    }
    let bytes = decoded(&decoded(path.as_bytes()));
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in bytes.split(|byte| matches!(byte, b'/' | b'\\')) {
        let end = segment.iter().position(|byte| *byte == b';').unwrap_or(segment.len());
        match &segment[..end] {
            b"" | b"." => {}
            b".." => {
                segments.pop();
            }
            name => segments.push(name),
        }
    }
    let mut reading = String::with_capacity(path.len());
    for segment in &segments {
        reading.push('/');
        segment.iter().for_each(|byte| push(*byte, &mut reading));
    }
    if path.ends_with('/') || segments.is_empty() {
        reading.push('/');
    }
    (reading != path).then_some(reading)
}

/// A byte as `path::normalize_target` leaves it.
fn push(byte: u8, text: &mut String) {
    if byte.is_ascii_alphanumeric() || b"-_~.!$&'()*+,=:@".contains(&byte) {
        text.push(char::from(byte));
    } else {
        text.push_str(&format!("%{byte:02X}"));
    }
}

fn decoded(bytes: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        rest = after;
        if let (b'%', [high, low, after @ ..]) = (first, after)
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            out.push(high * 16 + low);
            rest = after;
        } else {
            out.push(*first);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_servers_read_otherwise() {
        for (path, other) in [
            ("/private;x/y", Some("/private/y")),
            ("/private%3Bx/y", Some("/private/y")),
            ("/a/%252e%252e/private/y", Some("/private/y")),
            ("/a%252f..%252fprivate/", Some("/private/")),
            ("/a;b", Some("/a")),
            (";", Some("/")),
            ("/caf%25C3%25A9", Some("/caf%C3%A9")),
            ("/a/b", None),
            ("/a%20b/(c)", None),
        ] {
            assert_eq!(other_reading(path).as_deref(), other, "{path}");
        }
    }

    #[test]
    fn headers_that_servers_read_otherwise() {
        let mut headers = HeaderMap::new();
        for name in ["content_length", "x_forwarded-for", "x_own", "content-length"] {
            headers.insert(HeaderName::from_static(name), "1".parse().unwrap());
        }
        let mut found = twins_of_vouched(&headers);
        found.sort_by_key(|name| name.as_str().to_owned());
        assert_eq!(found, ["content_length", "x_forwarded-for"]);
        assert_eq!(twins(&headers, |name| name == "x-own"), ["x_own"]);
    }
}
