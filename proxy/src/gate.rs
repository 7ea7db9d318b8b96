//! Who and what may pass onto a route: by address, by the page that refers to it, by size.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, REFERER};
use proxy_config::host::HostName;
use proxy_config::route_access::{Access, AccessRule, Satisfy};

use crate::failure::Failure;

/// The gate of a route.
#[derive(Debug, Default)]
pub struct Gate {
    access: Option<Access>,
    /// An address that may ask need not prove anything; any other may still do so.
    either: bool,
    referers: Vec<String>,
    body_bytes_max: Option<u64>,
}

impl Gate {
    pub fn new(route: &proxy_config::Route) -> Gate {
        let referers = route.access.iter().flat_map(|access| &access.referers);
        let names = referers.filter_map(|name| name.parse::<HostName>().ok());
        Gate {
            either: route.access.as_ref().is_some_and(|access| access.satisfy == Satisfy::Any),
            access: route.access.clone(),
            referers: names.map(|name| name.canonical()).collect(),
            body_bytes_max: route.request_body_max.map(proxy_config::units::ByteSize::as_bytes),
        }
    }

    /// Errors: `Forbidden`, `BodyTooLarge`.
    pub fn check(&self, client: Option<IpAddr>, headers: &HeaderMap) -> Result<(), Failure> {
        if let Some(access) = &self.access {
            if !self.either && !admits(access, client) {
                return Err(Failure::Forbidden("this address may not ask for this"));
            }
            if !self.referers.is_empty() && !refers(&self.referers, headers) {
                return Err(Failure::Forbidden("this page may not refer to this"));
            }
        }
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        self.check_body(length.and_then(|length| length.parse().ok()).unwrap_or(0))
    }

    /// Whether the address alone is enough.
    pub fn suffices(&self, client: Option<IpAddr>) -> bool {
        self.either && self.access.as_ref().is_some_and(|access| admits(access, client))
    }

    /// Whether a body of which so many bytes have come may go on.
    pub fn check_body(&self, bytes: u64) -> Result<(), Failure> {
        match self.body_bytes_max {
            Some(max) if bytes > max => Err(Failure::BodyTooLarge),
            _ => Ok(()),
        }
    }
}

/// Rules, then deny, then allow. A client whose address is not known passes no list.
fn admits(access: &Access, client: Option<IpAddr>) -> bool {
    let Some(client) = client else {
        return access.rules.is_empty() && access.allow.is_empty() && access.deny.is_empty();
    };
    for rule in &access.rules {
        match rule {
            AccessRule::Allow(network) if network.contains(client) => return true,
            AccessRule::Deny(network) if network.contains(client) => return false,
            AccessRule::Allow(_) | AccessRule::Deny(_) => {}
        }
    }
    let denied = access.deny.iter().any(|network| network.contains(client));
    let allowed = || access.allow.iter().any(|network| network.contains(client));
    !denied && (access.allow.is_empty() || allowed())
}

/// A request without `Referer` passes: the person may have typed the address, and a page may keep
/// its own to itself.
fn refers(referers: &[String], headers: &HeaderMap) -> bool {
    let Some(referer) = headers.get(REFERER) else { return true };
    let uri = referer.to_str().ok().and_then(|referer| referer.parse::<http::Uri>().ok());
    let host = uri.as_ref().and_then(http::Uri::host).unwrap_or_default().to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    referers.iter().any(|name| match name.strip_prefix('*') {
        Some(below) => host.len() > below.len() && host.ends_with(below),
        None => match name.strip_suffix('*') {
            Some(start) => host.len() > start.len() && host.starts_with(start),
            None => name == host,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(route: &str) -> Gate {
        let text = format!(
            "version: 1\nlisteners: {{ a: {{ address: '127.0.0.1:8080' }} }}\nroutes: [ {{ name: r, respond: {{ status: 200 }}, {route} }} ]"
        );
        let config = proxy_config::Config::load(proxy_config::Source::new("test.yaml", text));
        Gate::new(&config.unwrap_or_else(|problems| panic!("{problems}")).routes[0])
    }

    #[test]
    fn deny_goes_before_allow_and_allow_refuses_everyone_else() {
        let both = gate("access: { allow: [10.0.0.0/8, '2001:db8::/32'], deny: [10.0.0.9] }");
        let deny = gate("access: { deny: [192.0.2.0/24] }");
        for (client, by_both, by_deny) in [
            ("10.0.0.1", true, true),
            ("::ffff:10.0.0.1", true, true),
            ("::ffff:10.0.0.9", false, true),
            ("10.0.0.9", false, true),
            ("192.0.2.1", false, false),
            ("2001:db8::1", true, true),
            ("2001:db9::1", false, true),
        ] {
            let client = client.parse().ok();
            assert_eq!(both.check(client, &HeaderMap::new()).is_ok(), by_both, "{client:?}");
            assert_eq!(deny.check(client, &HeaderMap::new()).is_ok(), by_deny, "{client:?}");
        }
        assert!(both.check(None, &HeaderMap::new()).is_err());
    }

    #[test]
    fn pages_that_refer_are_known_by_their_host() {
        let gate = gate("access: { referers: [a.example, '*.b.example'] }");
        for (referer, expected) in [
            ("https://a.example/x", true),
            ("https://A.example.:8443/", true),
            ("https://www.b.example/", true),
            ("https://b.example/", false),
            ("https://a.example.evil.example/", false),
            ("https://evil.example/?a.example", false),
            ("a.example@evil.example", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(REFERER, referer.parse().unwrap());
            assert_eq!(gate.check(None, &headers).is_ok(), expected, "{referer}");
        }
        assert!(gate.check(None, &HeaderMap::new()).is_ok());
    }
}
