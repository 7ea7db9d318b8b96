//! What a script is told of a request: the variables of CGI (RFC 3875 section 4.1) and those that PHP
//! and its frameworks read, as nginx's `fastcgi_params` has them. Pure.

use std::borrow::Cow;

use bytes::BytesMut;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, HeaderName};
use http::{HeaderValue, Version};
use pingora::http::RequestHeader;
use proxy_config::matching::normalize_path;

use crate::fastcgi::Gateway;
use crate::fastcgi::caller::Caller;
use crate::fastcgi::record::pair;

/// The head's field of this name would become `HTTP_PROXY`, which programs take for their own proxy
/// (CVE-2016-5385).
const PROXY: HeaderName = HeaderName::from_static("proxy");

/// The parameters of one request; `length` is that of its body.
pub fn encode(
    gateway: &Gateway,
    caller: &Caller,
    head: &RequestHeader,
    tls: bool,
    length: u64,
) -> BytesMut {
    let mut into = BytesMut::with_capacity(2048);
    let mut put = |name: &str, value: &[u8]| {
        if !caller.params.iter().any(|(own, _)| own == name) {
            pair(name.as_bytes(), value, &mut into);
        }
    };
    let path = decoded(head.uri.path());
    let (script, info) = script(&path, gateway.index.as_deref(), &gateway.split);
    let root = gateway.root.as_os_str().as_encoded_bytes();
    let root = root.strip_suffix(b"/").unwrap_or(root);
    let query = head.uri.query().unwrap_or_default();
    let uri = caller.request_uri.as_ref().map_or(head.raw_path(), String::as_bytes);
    let body = if length > 0 { length.to_string() } else { String::new() };
    let field =
        |name: &HeaderName| head.headers.get(name).map_or(&b""[..], |value| value.as_bytes());
    put("QUERY_STRING", query.as_bytes());
    put("REQUEST_METHOD", head.method.as_str().as_bytes());
    put("CONTENT_TYPE", field(&CONTENT_TYPE));
    put("CONTENT_LENGTH", body.as_bytes());
    put("SCRIPT_NAME", &script);
    put("SCRIPT_FILENAME", &[root, &script].concat());
    put("PATH_INFO", info);
    put("REQUEST_URI", uri);
    put("DOCUMENT_URI", &script);
    put("DOCUMENT_ROOT", root);
    put("SERVER_PROTOCOL", protocol(head.version).as_bytes());
    put("REQUEST_SCHEME", if tls { b"https" } else { b"http" });
    if tls {
        put("HTTPS", b"on");
    }
    put("GATEWAY_INTERFACE", b"CGI/1.1");
    put("SERVER_SOFTWARE", concat!("forebay/", env!("CARGO_PKG_VERSION")).as_bytes());
    put("REMOTE_ADDR", caller.client.map(|ip| ip.to_string()).unwrap_or_default().as_bytes());
    put("REMOTE_PORT", caller.port.map(|port| port.to_string()).unwrap_or_default().as_bytes());
    let local = caller.local.map(|at| (at.ip().to_string(), at.port().to_string()));
    let (address, port) = local.unwrap_or_default();
    put("SERVER_ADDR", address.as_bytes());
    put("SERVER_PORT", port.as_bytes());
    put("SERVER_NAME", name_of(field(&HOST)));
    // PHP built to be called by a web server only asks for it.
    put("REDIRECT_STATUS", b"200");
    for name in head.headers.keys() {
        if let Some(param) = param_of(name) {
            let values = head.headers.get_all(name).iter().map(HeaderValue::as_bytes);
            // RFC 9113 section 8.2.3; all else is a list.
            let between = if *name == COOKIE { &b"; "[..] } else { &b", "[..] };
            put(&param, &values.collect::<Vec<_>>().join(between));
        }
    }
    for (name, value) in &caller.params {
        pair(name.as_bytes(), value.as_bytes(), &mut into);
    }
    into
}

/// `HTTP_X_NAME`. Names with a character that would become `_` too are left out: `X_Forwarded_For`
/// must not pass for `X-Forwarded-For`.
fn param_of(name: &HeaderName) -> Option<String> {
    let plain = name.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_own = *name == CONTENT_LENGTH || *name == CONTENT_TYPE || *name == PROXY;
    (plain && !is_own || *name == AUTHORIZATION)
        .then(|| format!("HTTP_{}", name.as_str().to_ascii_uppercase().replace('-', "_")))
}

/// The path as files are named. A target that reaches a route holds no escaped slash and no control
/// character.
fn decoded(path: &str) -> Vec<u8> {
    let normal = normalize_path(path);
    let mut decoded = Vec::with_capacity(normal.len());
    let mut rest = &normal[..];
    while let Some(at) = rest.windows(3).position(|three| three == b"%25") {
        decoded.extend_from_slice(&rest[..at]);
        decoded.push(b'%');
        rest = &rest[at + 3..];
    }
    decoded.extend_from_slice(rest);
    decoded
}

/// The script a path names, and what of the path follows it. A path that ends in `/` names the index
/// there.
fn script<'a>(
    path: &'a [u8],
    index: Option<&str>,
    endings: &[String],
) -> (Cow<'a, [u8]>, &'a [u8]) {
    for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/').skip(1) {
        let ends = endings.iter().any(|ending| path[..at].ends_with(ending.as_bytes()));
        if ends {
            return (Cow::Borrowed(&path[..at]), &path[at..]);
        }
    }
    match index {
        Some(index) if path.ends_with(b"/") => {
            (Cow::Owned([path, index.as_bytes()].concat()), &b""[..])
        }
        _ => (Cow::Borrowed(path), &b""[..]),
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// The host without its port.
fn name_of(host: &[u8]) -> &[u8] {
    match host.first() {
        Some(b'[') => host.split_inclusive(|byte| *byte == b']').next().unwrap_or(host),
        _ => host.split(|byte| *byte == b':').next().unwrap_or(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_end_where_their_names_say() {
        let endings = [".php".to_owned()];
        for (path, name, info) in [
            ("/index.php", "/index.php", ""),
            ("/", "/index.php", ""),
            ("/a/", "/a/index.php", ""),
            ("/index.php/a/b", "/index.php", "/a/b"),
            ("/index.php/", "/index.php", "/"),
            ("/a.jpg/x.php", "/a.jpg/x.php", ""),
            ("/a.php/b.php/c", "/a.php", "/b.php/c"),
            ("/a.php5/x", "/a.php5/x", ""),
            ("/about", "/about", ""),
        ] {
            let (script, rest) = script(path.as_bytes(), Some("index.php"), &endings);
            assert_eq!((&*script, rest), (name.as_bytes(), info.as_bytes()), "{path}");
        }
        assert_eq!(&*script(b"/a.php/x", None, &[]).0, b"/a.php/x");
    }

    #[test]
    fn fields_become_variables_that_no_other_field_can_pass_for() {
        for (name, expected) in [
            ("x-forwarded-for", Some("HTTP_X_FORWARDED_FOR")),
            ("x_forwarded_for", None),
            ("proxy", None),
            ("content-length", None),
            ("authorization", Some("HTTP_AUTHORIZATION")),
            ("x.y", None),
        ] {
            let name: HeaderName = name.parse().unwrap();
            assert_eq!(param_of(&name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn paths_are_decoded_once() {
        assert_eq!(decoded("/a%20b/%2e/c%2541"), b"/a b/c%41");
        assert_eq!(decoded("/caf%C3%A9"), "/caf\u{e9}".as_bytes());
        assert_eq!(name_of(b"a.example:80"), b"a.example");
        assert_eq!(name_of(b"[::1]:80"), b"[::1]");
    }
}
