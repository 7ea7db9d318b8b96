//! Rules for what browsers are told about requests from other origins: what is not written as browsers write it never matches.

use crate::findings::{Findings, item};
use crate::route::Route;

/// Methods whose case browsers mend, or that are in use (the Fetch standard, "methods").
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];

pub(crate) fn check(route: &Route, path: &str, findings: &mut Findings<'_>) {
    let Some(cors) = &route.cors else { return };
    let path = &format!("{path}.cors");
    if cors.credentials && cors.origins.iter().any(|origin| origin == "*") {
        let hint = "name the origins, or set `credentials: false`";
        findings.add(format!("{path}.origins"), "browsers refuse `*` with credentials", hint);
    }
    if !route.when.methods.is_empty() && !route.when.methods.iter().any(|name| name == "OPTIONS") {
        let hint = "add `OPTIONS` to `match.methods`";
        findings.add(path, "browsers ask first, with OPTIONS", hint);
    }
    for (index, origin) in cors.origins.iter().enumerate() {
        if let Err((message, hint)) = as_browsers_write(origin) {
            let message = format!("`{origin}` is never what a browser sends: {message}");
            findings.add(item(format!("{path}.origins"), index), message, hint);
        }
    }
    for (index, method) in cors.methods.iter().enumerate() {
        let place = item(format!("{path}.methods"), index);
        let known = METHODS.iter().find(|known| known.eq_ignore_ascii_case(method));
        if http::Method::from_bytes(method.as_bytes()).is_err() {
            findings.add(place, format!("`{method}` is not a method"), "write `GET`");
        } else if let Some(known) = known.filter(|known| *known != method) {
            let message = format!("`{method}` is not `{known}`: the case of methods counts");
            findings.add(place, message, format!("write `{known}`"));
        }
    }
    for (key, names) in [("headers", &cors.headers), ("expose_headers", &cors.expose_headers)] {
        for (index, name) in names.iter().enumerate() {
            if name.parse::<http::HeaderName>().is_err() {
                let message = format!("`{name}` is not the name of a header");
                findings.add(item(format!("{path}.{key}"), index), message, "write `x-token`");
            }
        }
    }
}

/// An origin's serialisation (RFC 6454 section 6.2): scheme, host, and a port that is not the scheme's own.
fn as_browsers_write(origin: &str) -> Result<(), (&'static str, String)> {
    if origin == "*" || origin == "null" {
        return Ok(());
    }
    let Some((scheme, rest)) = origin.split_once("://") else {
        return Err(("it has no scheme", format!("write `https://{origin}`")));
    };
    if origin.contains('*') {
        return Err(("`*` stands for any origin only by itself", "name each origin".to_owned()));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.len() < rest.len() {
        return Err(("it ends with its host", format!("write `{scheme}://{authority}`")));
    }
    let lower = origin.to_ascii_lowercase();
    if lower != origin {
        return Err(("it is in small letters", format!("write `{lower}`")));
    }
    let own_port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return Ok(()),
    };
    if let Some(host) = authority.strip_suffix(own_port) {
        return Err(("a scheme's own port is left out", format!("write `{scheme}://{host}`")));
    }
    let is_host = authority.parse::<http::uri::Authority>().is_ok() && !authority.contains('@');
    is_host.then_some(()).ok_or(("it has no host", "write `https://player.example.com`".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        for right in [
            "*",
            "null",
            "https://a.example",
            "http://a.example:8080",
            "http://[::1]:3000",
            "https://localhost",
            "capacitor://localhost",
            "chrome-extension://abcdefgh",
        ] {
            assert_eq!(as_browsers_write(right), Ok(()), "{right}");
        }
        for (wrong, hint) in [
            ("a.example", "write `https://a.example`"),
            ("https://a.example/", "write `https://a.example`"),
            ("https://*.example", "name each origin"),
            ("https://A.example", "write `https://a.example`"),
            ("https://a.example:443", "write `https://a.example`"),
            ("http://a.example:80", "write `http://a.example`"),
            ("https://", "write `https://player.example.com`"),
            ("https://me@a.example", "write `https://player.example.com`"),
        ] {
            assert_eq!(as_browsers_write(wrong).unwrap_err().1, hint, "{wrong}");
        }
    }
}
