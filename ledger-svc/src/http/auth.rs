//! Who asks, and whether they may: asked before every route. What it finds out, handlers are given as `Actor`.

use axum::extract::{FromRequestParts, MatchedPath, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, header};
use jiff::Timestamp;

use super::access::PAGES;
use super::app::App;
use super::gate::{Auth, Gate};
use super::problem::{Kind, Problem};
use crate::act::Actor;
use crate::key::Secret;
use crate::keyring::Refusal;

/// How clients are told to prove who they are (RFC 6750, RFC 7617).
const BEARER: &str = "Bearer realm=\"forebay-ledger\"";

const BASIC: &str = "Basic realm=\"forebay-ledger: an API key as the password\", charset=\"UTF-8\"";

/// Puts who asks beside the request, or says why they may not.
pub fn check(app: &App, request: &mut Request) -> Result<(), Problem> {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    match judge(&app.gate, request.method(), path, request.headers()) {
        Ok(actor) => {
            request.extensions_mut().insert(actor);
            Ok(())
        }
        Err(problem) => {
            app.metrics.refusals.with_label_values(&[problem.kind.row().name]).inc();
            Err(problem)
        }
    }
}

fn judge(
    gate: &Gate,
    method: &Method,
    path: Option<&str>,
    headers: &HeaderMap,
) -> Result<Actor, Problem> {
    // Where there is no route there is nothing to guard.
    let Some(needed) = path.and_then(|path| gate.table.needed(method, path)) else {
        return Ok(Actor::Anybody);
    };
    if gate.auth == Auth::Open {
        return Ok(Actor::Anybody);
    }
    let page = path.is_some_and(|path| PAGES.contains(&path));
    let refused = |detail: &str, error: &str| {
        // Of a page a browser is asked for a password, which is the key.
        let challenge = if page { BASIC.to_owned() } else { format!("{BEARER}{error}") };
        Problem::new(Kind::Unauthenticated, detail).with(header::WWW_AUTHENTICATE, &challenge)
    };
    let Some(presented) = credentials(method, headers) else {
        return Err(refused("send an API key as `Authorization: Bearer …`", ""));
    };
    let invalid = ", error=\"invalid_token\"";
    let held = match presented.map(|secret| gate.ring.admit(&secret, Timestamp::now())) {
        Some(Ok(held)) => held,
        None | Some(Err(Refusal::Unknown)) => {
            return Err(refused("it is no API key, or one that was revoked", invalid));
        }
        Some(Err(Refusal::Expired)) => return Err(refused("the API key has expired", invalid)),
        Some(Err(Refusal::TooOften(wait))) => {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let detail = "the API key asks more often than it may";
            let problem = Problem::new(Kind::TooManyRequests, detail);
            return Err(problem.with(header::RETRY_AFTER, &seconds.max(1).to_string()));
        }
    };
    if !needed.is_given_to(held.row.role) {
        let roles = needed.roles();
        let detail = format!(
            "this needs a key with one of the roles {roles}; this one is a {}",
            held.row.role.as_str()
        );
        let challenge = format!(
            "{BEARER}, error=\"insufficient_scope\", scope=\"{}\"",
            roles.replace(", ", " ")
        );
        return Err(
            Problem::new(Kind::Forbidden, detail).with(header::WWW_AUTHENTICATE, &challenge)
        );
    }
    Ok(Actor::Key(held.row.id))
}

/// The key a request presents: nothing when it presents none, `Some(None)` when what it presents is none. Browsers, which
/// have no field for a token, send it as a password; as they send it to any page's request, it is good for reading only.
fn credentials(method: &Method, headers: &HeaderMap) -> Option<Option<Secret>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return Some(None);
    }
    Some(presented(method, value))
}

fn presented(method: &Method, value: &HeaderValue) -> Option<Secret> {
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Secret::parse(rest).ok();
    }
    let reads = [Method::GET, Method::HEAD].contains(method);
    if !scheme.eq_ignore_ascii_case("basic") || !reads {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    Secret::parse(decoded.split_once(':')?.1).ok()
}

impl FromRequestParts<App> for Actor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        let actor = parts.extensions.get::<Self>().cloned();
        actor.ok_or_else(|| Problem::new(Kind::Internal, "nobody was asked who it is"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_token_or_a_browsers_password() {
        let secret = Secret::generate();
        let ask = |method: Method, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            credentials(&method, &headers)
        };
        let found = Some(Some(secret.clone()));
        let bearer = format!("bearer {}", secret.reveal());
        let basic = format!("Basic {}", STANDARD.encode(format!("me:{}", secret.reveal())));
        assert_eq!(ask(Method::POST, &bearer), found);
        assert_eq!(ask(Method::GET, &basic), found);
        assert_eq!(
            ask(Method::POST, &basic),
            Some(None),
            "another page could make a browser send it"
        );
        for bad in ["Bearer", "Bearer x", "Basic !", "Digest a", secret.reveal()] {
            assert_eq!(ask(Method::GET, bad), Some(None), "{bad}");
        }
        assert_eq!(credentials(&Method::GET, &HeaderMap::new()), None);
        let mut twice = HeaderMap::new();
        twice.append(header::AUTHORIZATION, bearer.parse().unwrap());
        twice.append(header::AUTHORIZATION, bearer.parse().unwrap());
        assert_eq!(credentials(&Method::GET, &twice), Some(None));
    }
}
