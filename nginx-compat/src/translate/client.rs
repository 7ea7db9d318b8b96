//! `set_real_ip_from`, `real_ip_header`, `real_ip_recursive`: who the client is behind proxies. What servers say is the
//! listener's, where it can be; what a location says is its route's.

use proxy_config::address::IpNetwork;
use proxy_config::listener::Listener;
use proxy_config::route_access::ClientRule;

use crate::translate::scope::Scope;
use crate::verdict::{Verdict, Verdicts};

const FAMILY: [&str; 3] = ["set_real_ip_from", "real_ip_header", "real_ip_recursive"];

/// What the directives in effect come to.
fn rule(scope: &Scope<'_>, verdicts: &mut Verdicts) -> Result<Option<ClientRule>, String> {
    let lines = scope.effective("set_real_ip_from");
    for line in lines.iter().copied().chain(FAMILY[1..].iter().filter_map(|name| scope.one(name))) {
        verdicts.add(line, Verdict::exact());
    }
    if lines.is_empty() {
        return Ok(None);
    }
    let header = scope.one("real_ip_header").and_then(|line| line.argument(0));
    let mut rule = ClientRule {
        header: Some(header.unwrap_or("X-Real-IP"))
            .filter(|name| *name != "proxy_protocol")
            .map(str::to_ascii_lowercase),
        recursive: scope.one("real_ip_recursive").is_some_and(|line| line.has("on")),
        ..ClientRule::default()
    };
    for line in lines {
        match line.argument(0).unwrap_or_default() {
            "unix:" => rule.trust_unix = true,
            // The only name that has the same address everywhere.
            "localhost" => {
                let own = ["127.0.0.1", "::1"].into_iter();
                rule.trusted_proxies.extend(own.filter_map(|own| own.parse::<IpNetwork>().ok()));
            }
            text => match text.parse::<IpNetwork>() {
                Ok(network) => rule.trusted_proxies.push(network),
                Err(_) => {
                    return Err(format!("{text:?} is no network; name the proxy by its address"));
                }
            },
        }
    }
    Ok(Some(rule))
}

/// What a location says of its clients itself. The error says why it must stay closed.
pub fn of_location(
    scope: &Scope<'_>,
    verdicts: &mut Verdicts,
) -> Result<Option<ClientRule>, String> {
    match FAMILY.iter().any(|name| !scope.own(name).is_empty()) {
        true => rule(scope, verdicts),
        false => Ok(None),
    }
}

/// What a server says of the clients of its listener, whose connections may be `introduced` by the PROXY protocol.
pub fn client(
    scope: &Scope<'_>,
    listener: &mut Listener,
    introduced: bool,
    verdicts: &mut Verdicts,
) {
    let lines = scope.effective("set_real_ip_from");
    let rule = match rule(scope, verdicts) {
        Ok(Some(rule)) => rule,
        Ok(None) => return,
        Err(why) => {
            lines.iter().for_each(|line| verdicts.add(line, Verdict::unsupported(why.clone())));
            return;
        }
    };
    // Who is to be named by a header that no connection opens with is named by nobody.
    if rule.header.is_none() && !introduced {
        return;
    }
    let lists = rule.header.as_deref() == Some("x-forwarded-for");
    if let Some(line) = scope.one("real_ip_header").filter(|_| lists && !rule.recursive) {
        let why = "the list is followed through all trusted proxies, as with real_ip_recursive on";
        verdicts.add(line, Verdict::approximate(why));
    }
    let known = &listener.trusted_proxies;
    if !known.is_empty() && *known != rule.trusted_proxies {
        let why =
            "another server of this address trusts other proxies, which holds for all of them";
        lines.iter().for_each(|line| verdicts.add(line, Verdict::approximate(why)));
    }
    for network in rule.trusted_proxies {
        if !listener.trusted_proxies.contains(&network) {
            listener.trusted_proxies.push(network);
        }
    }
    listener.client_address_header = rule.header;
}
