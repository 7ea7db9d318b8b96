//! How the servers of an `upstream` block share requests, and what happens when one fails.

use proxy_config::rate_limit::RequestKey;
use proxy_config::units::{Duration, Percent};
use proxy_config::upstream::{Balance, Upstream};
use proxy_config::upstream_health::{ATTEMPTS_MAX, HealthChecks, PassiveChecks, Retries, RetryOn};

use crate::translate::scope::Scope;
use crate::translate::value::time;
use crate::translate::variable::variables;
use crate::tree::Directive;
use crate::verdict::{Verdict, Verdicts};

/// `max_fails` and `fail_timeout` of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fails {
    pub max: u32,
    pub timeout: Duration,
}

impl Default for Fails {
    fn default() -> Fails {
        Fails { max: 1, timeout: Duration::secs(10) }
    }
}

/// `least_conn`, `ip_hash`, `hash`, `random`.
pub fn balance(line: &Directive, upstream: &mut Upstream) -> Result<Verdict, String> {
    let consistent = "which server a key falls to is decided by another hash";
    let by_capitals = "which server a key falls to is decided by another hash, and a parameter or cookie with other capitals in its name is another one";
    match line.name.as_str() {
        "least_conn" => {
            upstream.balance = Balance::LeastConnections;
            Ok(Verdict::exact())
        }
        "ip_hash" => {
            upstream.balance = Balance::ClientAddress;
            Ok(Verdict::exact())
        }
        "hash" => {
            upstream.balance = Balance::ConsistentHash;
            upstream.hash_key = keys(line.argument(0).unwrap_or_default())?;
            let named = upstream
                .hash_key
                .iter()
                .any(|key| matches!(key, RequestKey::Query(_) | RequestKey::Cookie(_)));
            Ok(Verdict::approximate(if named { by_capitals } else { consistent }))
        }
        _ => {
            upstream.balance = Balance::P2cEwma;
            Ok(Verdict::approximate(
                "the better of two servers drawn at random is taken, by latency",
            ))
        }
    }
}

/// The parts of a request that a text is made of.
pub fn keys(text: &str) -> Result<Vec<RequestKey>, String> {
    let mut keys = Vec::new();
    for name in variables(text) {
        let after = |start: &str| name.strip_prefix(start).filter(|rest| !rest.is_empty());
        let key = match name {
            "remote_addr" | "binary_remote_addr" => RequestKey::Client,
            "host" | "http_host" | "server_name" => RequestKey::Host,
            "uri" | "document_uri" | "request_uri" => RequestKey::Path,
            _ => match (after("http_"), after("cookie_"), after("arg_")) {
                (Some(header), ..) => RequestKey::Header(header.replace('_', "-")),
                (_, Some(cookie), _) => RequestKey::Cookie(cookie.to_owned()),
                (_, _, Some(parameter)) => RequestKey::Query(parameter.to_owned()),
                _ => return Err(format!("${name} is no part of a request that Forebay hashes")),
            },
        };
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    if keys.is_empty() { Err("it names no part of a request".to_owned()) } else { Ok(keys) }
}

/// What nginx does without being told: a server that fails once is left alone for ten seconds, and
/// the request goes to the next.
pub fn failures(
    upstream: &mut Upstream,
    fails: &[Fails],
    (scope, family): (&Scope<'_>, &str),
    verdicts: &mut Verdicts,
) {
    let servers = upstream.servers.iter().fold(0, |sum: u32, s| sum.saturating_add(s.attempts_max));
    let mut retries = next_upstream(scope, family, servers > 1, verdicts);
    if servers < 2 {
        return;
    }
    let several = upstream.servers.len() > 1;
    let fails = fails.iter().filter(|fails| several && fails.max > 0 && !fails.timeout.is_zero());
    if let Some(fails) = fails.max_by_key(|fails| fails.max) {
        // 403 and 404 are tried elsewhere, and count for nothing.
        let statuses = retries.statuses.iter().copied().filter(|status| *status >= 429).collect();
        upstream.health_checks = Some(HealthChecks {
            passive: Some(PassiveChecks {
                failures_max: fails.max,
                statuses,
                out_for: fails.timeout,
                out_max: Percent::whole(100),
            }),
            active: None,
        });
    }
    retries.attempts_max = attempts(scope, family, &retries, servers);
    upstream.retries = Some(retries);
}

/// How many attempts a request has at so many servers.
pub fn attempts(scope: &Scope<'_>, family: &str, retries: &Retries, servers: u32) -> u32 {
    let tries =
        scope.one(&format!("{family}_next_upstream_tries")).and_then(|line| line.argument(0));
    let attempts = match tries.and_then(|tries| tries.parse().ok()).unwrap_or(0) {
        0 => servers,
        tries => servers.min(tries),
    };
    let nothing = retries.on.is_empty() && retries.statuses.is_empty();
    if nothing { 1 } else { attempts.min(ATTEMPTS_MAX) }
}

/// What of a request is tried again, and for how long; how often is decided by the servers there are.
pub fn next_upstream(
    scope: &Scope<'_>,
    family: &str,
    several: bool,
    verdicts: &mut Verdicts,
) -> Retries {
    let mut retries = Retries {
        budget: Percent::whole(100),
        on: vec![RetryOn::ConnectFailure, RetryOn::Reset, RetryOn::Timeout],
        ..Retries::default()
    };
    for name in ["next_upstream_tries", "next_upstream_timeout"] {
        scope
            .one(&format!("{family}_{name}"))
            .into_iter()
            .for_each(|line| verdicts.add(line, Verdict::exact()));
    }
    let within =
        scope.one(&format!("{family}_next_upstream_timeout")).and_then(|line| line.argument(0));
    retries.within = within.and_then(time).filter(|within| !within.is_zero());
    let Some(line) = scope.one(&format!("{family}_next_upstream")) else { return retries };
    let mut differences = Vec::new();
    retries.on.clear();
    for word in line.texts() {
        match word {
            "off" => {
                verdicts.add(line, Verdict::exact());
                return Retries { on: Vec::new(), statuses: Vec::new(), ..retries };
            }
            "error" => retries.on.extend([RetryOn::ConnectFailure, RetryOn::Reset]),
            "timeout" => retries.on.push(RetryOn::Timeout),
            "non_idempotent" => retries.any_method = true,
            "invalid_header" => {}
            other => match other.strip_prefix("http_").and_then(|status| status.parse().ok()) {
                Some(status) => retries.statuses.push(status),
                None => differences.push(format!("{other} is not tried again")),
            },
        }
    }
    if !several {
        differences.clear();
    }
    verdicts.add(line, Verdict::with_differences(&differences));
    retries
}
