//! `proxy_pass`: where a location's requests go.

use crate::translate::location::{Kind, Location};
use crate::translate::request_header;
use crate::translate::scope::Scope;
use crate::tree::Directive;
use crate::verdict::{Verdict, Verdicts};

/// What can be passed on: `host:port` or the name of an upstream block, and how it differs.
#[derive(Debug)]
pub struct Target<'t> {
    pub authority: &'t str,
    pub differences: Vec<String>,
}

/// Reads the `proxy_pass` of a location; the error says why it cannot be translated.
pub fn target<'t>(pass: &'t Directive, location: &Location<'_>) -> Result<Target<'t>, String> {
    let url = pass.argument(0).unwrap_or_default();
    if url.contains('$') {
        return Err("variables in proxy_pass are not known yet; name the upstream".to_owned());
    }
    let rest = match url.split_once("://") {
        Some(("http", rest)) => rest,
        Some(("https", _)) => {
            return Err("upstreams are reached in cleartext only, as yet".to_owned());
        }
        _ => return Err(format!("nginx refuses it: invalid URL prefix in {url:?}")),
    };
    if rest.starts_with("unix:") {
        return Err("unix sockets are not supported yet; use 127.0.0.1 and a port".to_owned());
    }
    let (authority, uri) = match rest.find(['/', '?']) {
        Some(at) => (&rest[..at], Some(&rest[at..])),
        None => (rest, None),
    };
    if authority.is_empty() {
        return Err(format!("nginx refuses it: no host in {url:?}"));
    }
    match (uri, &location.kind) {
        (None, _) => {}
        (Some(uri), Kind::Exact(path) | Kind::Prefix { path, .. }) if uri == path => {}
        (Some(uri), _) => {
            let path = location.path().unwrap_or_default();
            return Err(format!(
                "replacing {path} by {uri} needs a rewrite, which is not there yet; let the \
                 upstream answer under {path}"
            ));
        }
    }
    Ok(Target { authority, differences: Vec::new() })
}

/// What the location's other proxy directives come to; adds to the differences of `proxy_pass`
/// what nginx would do without being told.
pub fn settings(scope: &Scope<'_>, differences: &mut Vec<String>, verdicts: &mut Verdicts) {
    let headers = request_header::in_effect(scope);
    for header in headers {
        verdicts.add(header, request_header::verdict(header));
    }
    if !request_header::sets_host(headers) {
        differences
            .push("nginx sends the upstream's name as Host, Forebay the client's".to_owned());
    }
    match scope.one("proxy_http_version") {
        Some(version) if version.has("1.1") => verdicts.add(version, Verdict::exact()),
        other => {
            let text = "nginx speaks HTTP/1.0 to the upstream, Forebay HTTP/1.1 with keep-alive";
            match other {
                Some(version) => verdicts.add(version, Verdict::approximate(text)),
                None => differences.push(text.to_owned()),
            }
        }
    }
    if let Some(buffering) = scope.one("proxy_buffering") {
        let verdict = match buffering.has("off") {
            true => Verdict::exact(),
            false => Verdict::approximate("Forebay streams; a slow client slows the upstream down"),
        };
        verdicts.add(buffering, verdict);
    }
    if let Some(buffering) = scope.one("proxy_request_buffering") {
        let verdict = match buffering.has("off") {
            true => Verdict::exact(),
            false => Verdict::approximate("Forebay streams; a slow client holds the upstream"),
        };
        verdicts.add(buffering, verdict);
    }
}
