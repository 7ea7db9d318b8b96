//! `proxy_pass`: where a location's requests go, and what their target becomes.

use proxy_config::pattern::Template;
use proxy_config::route::PathMatch;
use proxy_config::route_action::{AskedAs, Rewrite};

use crate::translate::as_sent;
use crate::translate::scope::Scope;
use crate::translate::variable::{Names, Place, variables};
use crate::tree::Directive;
use crate::verdict::{Verdict, Verdicts};

/// Variables that begin with the `/` of a path.
const PATHS: [&str; 3] = ["uri", "document_uri", "request_uri"];

pub const PROXY: &str = "proxy";
pub const FASTCGI: &str = "fastcgi";
pub const GRPC: &str = "grpc";

/// What can be passed on: `host:port` or the name of an upstream block, and the path in its place.
#[derive(Clone, Copy, Debug)]
pub struct Target<'t> {
    /// What directives about it begin with: `proxy` or `fastcgi`.
    pub family: &'static str,
    pub authority: &'t str,
    /// Port that is meant when none is written.
    pub tls: bool,
    pub uri: Option<&'t str>,
    /// Whether variables say a part of it: then the URI is all that is asked for, whatever the client asked.
    pub by_variables: bool,
}

/// Reads a `proxy_pass`; the error says why it cannot be translated.
pub fn target(pass: &Directive) -> Result<Target<'_>, String> {
    let url = pass.argument(0).unwrap_or_default();
    let (tls, rest) = match url.split_once("://") {
        Some(("http", rest)) => (false, rest),
        Some(("https", rest)) => (true, rest),
        _ if url.starts_with('$') => {
            return Err("a whole URL in a variable is not translated; name the upstream".to_owned());
        }
        _ => return Err(format!("nginx refuses it: invalid URL prefix in {url:?}")),
    };
    if let Some(path) = rest.strip_prefix("unix:") {
        let end = path.find(':').map_or(rest.len(), |at| at + "unix:".len());
        let uri = rest.get(end + 1..);
        let authority = &rest[..end];
        return Ok(Target { family: PROXY, authority, tls, uri, by_variables: rest.contains('$') });
    }
    let (authority, uri) = match rest.find(['/', '?']) {
        Some(at) => (&rest[..at], Some(&rest[at..])),
        None => match rest.find('$').filter(|at| *at > 0) {
            Some(at) if variables(&rest[at..]).first().is_some_and(|name| PATHS.contains(name)) => {
                (&rest[..at], Some(&rest[at..]))
            }
            _ => (rest, None),
        },
    };
    if authority.is_empty() {
        return Err(format!("nginx refuses it: no host in {url:?}"));
    }
    Ok(Target { family: PROXY, authority, tls, uri, by_variables: rest.contains('$') })
}

impl Target<'_> {
    /// The variable that names the upstream.
    pub fn variable(&self) -> Option<&str> {
        let name = self.authority.strip_prefix('$')?;
        let name = name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name);
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        (is_name && !name.is_empty()).then_some(name)
    }

    /// `$proxy_host` and `$proxy_port`.
    pub fn names(&self) -> (String, String) {
        if self.authority.starts_with("unix:") {
            return ("localhost".to_owned(), String::new());
        }
        let usual = if self.tls { "443" } else { "80" };
        let with_port = self.authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
        match with_port {
            Some((host, port)) if port == usual => (host.to_owned(), port.to_owned()),
            Some((_, port)) => (self.authority.to_owned(), port.to_owned()),
            None => (self.authority.to_owned(), usual.to_owned()),
        }
    }

    /// What follows host and port, when it is the same for each request.
    pub fn plain_uri(&self) -> Option<&str> {
        Some(self.uri.unwrap_or_default()).filter(|uri| !uri.contains('$'))
    }

    /// What becomes of the target of requests that came by `path`.
    pub fn rewrite(
        &self,
        path: Option<&PathMatch>,
        place: &Place,
        names: &mut Names<'_>,
        verdicts: &mut Verdicts,
    ) -> Result<Option<Rewrite>, String> {
        let Some(uri) = self.uri else { return Ok(None) };
        let uri = if uri.starts_with('?') { format!("/{uri}") } else { uri.to_owned() };
        if self.by_variables {
            let uri = if place.puts_slash { as_sent::behind_slash(&uri) } else { uri };
            let text = names.text(&uri, place, verdicts)?;
            return Ok(Some(Rewrite::To(Template(format!("{}?", text.0)))));
        }
        match path {
            Some(PathMatch::Prefix(path)) if *path == uri => Ok(None),
            Some(PathMatch::Prefix(_)) if !uri.contains(['?', '%', '#', '\\']) => {
                Ok(Some(Rewrite::PrefixTo(uri)))
            }
            Some(PathMatch::Exact(path)) if *path == uri => Ok(None),
            Some(PathMatch::Exact(_)) => Ok(Some(Rewrite::To(Template(uri)))),
            Some(PathMatch::Prefix(path)) => {
                Err(format!("replacing {path} by {uri}, which has a query, is not translated"))
            }
            // nginx refuses one in an expression's location, and where it does not say.
            Some(PathMatch::Regex(_)) | None => {
                Err("nginx refuses it: a URI in a location by regular expression".to_owned())
            }
        }
    }
}

/// How the upstream is asked otherwise than the client asked.
pub fn ask(
    scope: &Scope<'_>,
    place: &Place,
    names: &mut Names<'_>,
    verdicts: &mut Verdicts,
) -> Result<Option<AskedAs>, String> {
    let mut ask = AskedAs::default();
    if let Some(line) = scope.one("proxy_method") {
        let method = line.argument(0).unwrap_or_default();
        if method.contains('$') {
            return Err("a method in a variable is not translated".to_owned());
        }
        ask.method = Some(method.to_owned());
        verdicts.add(line, Verdict::exact());
    }
    if let Some(line) = scope.one("proxy_pass_request_body") {
        verdicts.add(line, Verdict::exact());
        if line.has("off") {
            ask.body = Some(Template::default());
        }
    }
    if let Some(line) = scope.one("proxy_set_body") {
        ask.body = Some(names.text(line.argument(0).unwrap_or_default(), place, verdicts)?);
        verdicts.add(line, Verdict::exact());
    }
    Ok(Some(ask).filter(|ask| *ask != AskedAs::default()))
}

/// `proxy_force_ranges`
pub fn forces_ranges(scope: &Scope<'_>, verdicts: &mut Verdicts) -> bool {
    let Some(line) = scope.one("proxy_force_ranges") else { return false };
    verdicts.add(line, Verdict::exact());
    line.has("on")
}

/// What the location's other proxy directives come to; adds to the differences of `proxy_pass`
/// what nginx would do without being told.
pub fn settings(scope: &Scope<'_>, differences: &mut Vec<String>, verdicts: &mut Verdicts) {
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
}
