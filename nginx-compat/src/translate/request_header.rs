//! `proxy_set_header` against what Forebay sends by itself: Host as it came, the client's address
//! appended to X-Forwarded-For, X-Forwarded-Proto and -Host set, Upgrade taken off.

use crate::translate::scope::Scope;
use crate::tree::Directive;
use crate::verdict::{Exactness, Verdict};

/// Header (lower case), value, how exactly Forebay does the same without being told, difference.
const SAME: &[(&str, &str, Exactness, &str)] = &[
    ("host", "$http_host", Exactness::Exact, ""),
    (
        "host",
        "$host",
        Exactness::Approximate,
        "Forebay passes Host on as it came; nginx lower-cases it and takes the port off",
    ),
    (
        "host",
        "$host:$server_port",
        Exactness::Approximate,
        "Forebay passes Host on as it came, with a port only if the client sent one",
    ),
    ("x-forwarded-for", "$proxy_add_x_forwarded_for", Exactness::Exact, ""),
    (
        "x-forwarded-for",
        "$remote_addr",
        Exactness::Approximate,
        "Forebay appends the address to the client's own list; only its last entry can be trusted",
    ),
    ("x-forwarded-proto", "$scheme", Exactness::Exact, ""),
    ("x-forwarded-host", "$http_host", Exactness::Exact, ""),
    (
        "x-forwarded-host",
        "$host",
        Exactness::Approximate,
        "Forebay sends Host as it came; nginx lower-cases it and takes the port off",
    ),
    (
        "x-request-id",
        "$request_id",
        Exactness::Approximate,
        "Forebay sends a request id of its own form",
    ),
    ("connection", "", Exactness::Exact, ""),
    (
        "connection",
        "keep-alive",
        Exactness::Approximate,
        "connections are kept by HTTP/1.1's own rule, without the header",
    ),
    ("upgrade", "", Exactness::Exact, ""),
    ("te", "", Exactness::Exact, ""),
    ("proxy", "", Exactness::Approximate, "a Proxy header of the client is passed on"),
];

/// How exactly one `proxy_set_header` is kept.
pub fn verdict(directive: &Directive) -> Verdict {
    let name = directive.argument(0).unwrap_or_default().to_ascii_lowercase();
    let value = directive.argument(1).unwrap_or_default();
    if let Some((_, _, exactness, text)) = SAME.iter().find(|row| row.0 == name && row.1 == value) {
        return Verdict { exactness: *exactness, text: (*text).to_owned() };
    }
    Verdict::unsupported(match name.as_str() {
        "upgrade" => "WebSocket is not passed through yet".to_owned(),
        "connection" => "Forebay sends no Connection header of your own".to_owned(),
        "x-real-ip" => "Forebay does not set X-Real-IP, and a client's own is passed on; let the \
                        upstream read the last entry of X-Forwarded-For"
            .to_owned(),
        name => format!("Forebay does not set {name} yet; let the upstream do without it"),
    })
}

/// The `proxy_set_header` lines in effect. nginx takes those of one level only.
pub fn in_effect<'s, 'a>(scope: &'s Scope<'a>) -> &'s [&'a Directive] {
    scope.effective("proxy_set_header")
}

/// Whether one of them sets Host; without it nginx sends the upstream's name.
pub fn sets_host(headers: &[&Directive]) -> bool {
    let is_host = |name: &str| name.eq_ignore_ascii_case("host");
    headers.iter().any(|header| header.argument(0).is_some_and(is_host))
}
