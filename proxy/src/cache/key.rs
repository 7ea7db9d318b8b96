//! What makes two requests the same: scheme, host, path and query, then what the policy adds.

use std::sync::Arc;

use http::header::COOKIE;
use http::{HeaderMap, HeaderName};
use proxy_config::cache_policy::{CacheKey, QueryKey};
use proxy_config::proved::Proved;

use crate::video::reload;

/// Names a stored answer. All answers to one URI share `uri`, so that they can be invalidated
/// together; `extras` tells them apart by what else the policy counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub uri: Arc<str>,
    pub extras: Arc<[u8]>,
}

impl Key {
    /// The same of a server that the request has named.
    pub fn at(self, server: &str) -> Key {
        let extras = [&self.extras, &b"\0server="[..], server.as_bytes()].concat().into();
        Key { extras, ..self }
    }

    /// The same for those who have proved this much.
    pub fn proved(self, claims: Option<&Arc<[u8]>>) -> Key {
        match claims {
            Some(claims) => Key { extras: [&self.extras[..], &claims[..]].concat().into(), ..self },
            None => self,
        }
    }

    /// The same of a script that another URI has led to.
    pub fn of_script(self, asked: Arc<str>) -> Key {
        let extras = [&self.extras, &b"\0script="[..], self.uri.as_bytes()].concat().into();
        Key { uri: asked, extras }
    }

    pub fn cost(&self) -> u64 {
        (self.uri.len() + self.extras.len()) as u64
    }
}

/// The key rules of a policy, made ready.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What all keys of the route have before what requests differ in: routes of one URI may tell requests
    /// apart by headers, or rewrite several URIs to one.
    route: Arc<[u8]>,
    /// In place of scheme and host.
    origin: Option<Arc<str>>,
    query: QueryKey,
    query_order: bool,
    headers: Vec<HeaderName>,
    cookies: Vec<String>,
    claims: Vec<String>,
    /// Whether LL-HLS delivery directives count whatever `query` says, in one order.
    directives: bool,
}

impl Rules {
    /// Names that are none of a header match nothing; validation reports them.
    pub fn new(config: &CacheKey, route: &str) -> Rules {
        let names = config.headers.iter();
        let mut of_route = Vec::new();
        if config.origin.is_none() {
            add(&mut of_route, "route", route.as_bytes());
        }
        Rules {
            route: of_route.into(),
            origin: config.origin.as_deref().map(Arc::from),
            query: config.query.clone(),
            query_order: config.query_order,
            headers: names
                .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
                .collect(),
            cookies: config.cookies.clone(),
            claims: config.claims.clone(),
            directives: false,
        }
    }

    pub fn with_directives(self, directives: bool) -> Rules {
        Rules { directives, ..self }
    }

    /// The fields that count.
    pub fn headers(&self) -> &[HeaderName] {
        &self.headers
    }

    /// What counts of a client's verified token; none where nothing does.
    pub fn claims(&self, proved: &Proved) -> Option<Arc<[u8]>> {
        let mut claims = Vec::new();
        for name in &self.claims {
            if let Some(value) = proved.claims.get(name) {
                // No header or cookie has such a name.
                add(&mut claims, &format!("\0claim={name}"), value.as_bytes());
            }
        }
        (!claims.is_empty()).then(|| claims.into())
    }

    /// `target` is path and query in their one form.
    pub fn key(&self, scheme: &str, host: &str, target: &str, headers: &HeaderMap) -> Key {
        Key { uri: self.uri(scheme, host, target), extras: self.extras(headers) }
    }

    pub fn uri(&self, scheme: &str, host: &str, target: &str) -> Arc<str> {
        self.uri_by(scheme, host, target, put_authority)
    }

    /// The same with the host as it is written but for its case: a text that is the key may have any.
    pub fn uri_as_written(&self, scheme: &str, host: &str, target: &str) -> Arc<str> {
        self.uri_by(scheme, host, target, |_, host, uri| uri.push_str(host))
    }

    fn uri_by(
        &self,
        scheme: &str,
        host: &str,
        target: &str,
        put_host: impl FnOnce(&str, &str, &mut String),
    ) -> Arc<str> {
        let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
        let mut uri = String::with_capacity(scheme.len() + 3 + host.len() + target.len());
        if let Some(origin) = &self.origin {
            uri.push_str(origin);
        } else {
            uri.push_str(scheme);
            uri.push_str("://");
            put_host(scheme, host, &mut uri);
            uri[scheme.len() + 3..].make_ascii_lowercase();
        }
        uri.push_str(path);
        if let Some(query) = query.and_then(|query| self.query(query)) {
            uri.push('?');
            uri.push_str(&query);
        }
        uri.into()
    }

    fn query(&self, query: &str) -> Option<String> {
        let counts = |parameter: &str| {
            let name = parameter.split('=').next().unwrap_or(parameter);
            let listed = |names: &[String]| names.iter().any(|listed| listed == name);
            match &self.query {
                _ if name == "CMCD" => false,
                QueryKey::All => true,
                QueryKey::None => false,
                QueryKey::Only(names) => listed(names),
                QueryKey::Except(names) => !listed(names),
            }
        };
        let is_directive = |part: &&str| self.directives && reload::is_directive(part);
        let (mut directives, others): (Vec<&str>, Vec<&str>) =
            query.split('&').partition(is_directive);
        let mut kept: Vec<&str> = others.into_iter().filter(|part| counts(part)).collect();
        directives.sort_unstable();
        kept.append(&mut directives);
        if !self.query_order {
            kept.sort_unstable();
        }
        (!kept.is_empty()).then(|| kept.join("&"))
    }

    fn extras(&self, headers: &HeaderMap) -> Arc<[u8]> {
        if self.headers.is_empty() && self.cookies.is_empty() {
            return Arc::clone(&self.route);
        }
        let mut extras = self.route.to_vec();
        for name in &self.headers {
            for value in headers.get_all(name) {
                add(&mut extras, name.as_str(), value.as_bytes());
            }
        }
        for name in &self.cookies {
            let fields = headers.get_all(COOKIE).iter();
            let pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
            for pair in pairs.map(<[u8]>::trim_ascii) {
                if let Some(value) =
                    pair.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="))
                {
                    add(&mut extras, name, value);
                }
            }
        }
        extras.into()
    }
}

/// A host in the one form that all its spellings have but for their case: without the dot at its end, and without the port
/// that the scheme has anyway (RFC 9110 section 4.2.3).
pub fn put_authority(scheme: &str, host: &str, into: &mut String) {
    // `[::1]` has colons of its own.
    let after_address = host.rfind(']').map_or(0, |end| end + 1);
    let (name, port) = match host[after_address..].rfind(':') {
        Some(colon) => {
            let (name, port) = host.split_at(after_address + colon);
            (name, &port[1..])
        }
        None => (host, ""),
    };
    into.push_str(name.strip_suffix('.').filter(|name| !name.is_empty()).unwrap_or(name));
    let usual = if scheme == "https" { 443 } else { 80 };
    match port.parse::<u16>() {
        Ok(port) if port == usual => {}
        Ok(port) => {
            into.push(':');
            into.push_str(itoa::Buffer::new().format(port));
        }
        Err(_) if port.is_empty() => {}
        Err(_) => {
            into.push(':');
            into.push_str(port);
        }
    }
}

/// Lengths keep one value from running into the next.
fn add(extras: &mut Vec<u8>, name: &str, value: &[u8]) {
    extras.extend_from_slice(format!("{name}:{}:", value.len()).as_bytes());
    extras.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn uri(query: QueryKey, query_order: bool, target: &str) -> String {
        let rules = Rules::new(&CacheKey { query, query_order, ..CacheKey::default() }, "all");
        rules.uri("http", "A.example", target).to_string()
    }

    #[test]
    fn queries_count_as_the_policy_says_and_cmcd_never() {
        let names = || vec!["a".to_owned()];
        let cases = [
            (QueryKey::All, true, "/x?b=1&a=2&CMCD=br%3D1", "/x?b=1&a=2"),
            (QueryKey::All, false, "/x?b=1&a=2", "/x?a=2&b=1"),
            (QueryKey::None, true, "/x?b=1", "/x"),
            (QueryKey::Only(names()), true, "/x?b=1&a=2&ab=3", "/x?a=2"),
            (QueryKey::Except(names()), true, "/x?b=1&a=2&ab=3", "/x?b=1&ab=3"),
            (QueryKey::All, true, "/x?CMCD=x", "/x"),
        ];
        for (query, order, target, expected) in cases {
            let got = uri(query, order, target);
            assert_eq!(got, format!("http://a.example{expected}"), "{target}");
        }
    }

    #[test]
    fn a_host_has_one_form() {
        for (scheme, host, form) in [
            ("http", "A.example", "a.example"),
            ("http", "a.example.", "a.example"),
            ("http", "a.example:80", "a.example"),
            ("http", "a.example.:080", "a.example"),
            ("http", "a.example:", "a.example"),
            ("http", "a.example:443", "a.example:443"),
            ("https", "a.example:443", "a.example"),
            ("https", "a.example:80", "a.example:80"),
            ("http", "a.example:8080", "a.example:8080"),
            ("http", "[2001:DB8::1]", "[2001:db8::1]"),
            ("http", "[::1]:80", "[::1]"),
            ("http", "[::1]:81", "[::1]:81"),
            ("http", ".", "."),
            ("http", "a:b", "a:b"),
        ] {
            let key = Rules::new(&CacheKey::default(), "all").uri(scheme, host, "/x");
            assert_eq!(&*key, format!("{scheme}://{form}/x"), "{host}");
        }
    }

    #[test]
    fn an_origin_stands_for_scheme_host_and_route() {
        let origin = Some("http://backend".to_owned());
        let config = CacheKey { origin, ..CacheKey::default() };
        let of = |route: &str, host: &str| {
            Rules::new(&config, route).key("https", host, "/x?b=1", &HeaderMap::new())
        };
        assert_eq!(of("all", "a.example"), of("other", "b.example"));
        assert_eq!(&*of("all", "a.example").uri, "http://backend/x?b=1");
    }

    #[test]
    fn delivery_directives_count_in_one_order_whatever_the_policy_says() {
        let config = CacheKey { query: QueryKey::None, ..CacheKey::default() };
        let rules = Rules::new(&config, "all").with_directives(true);
        let uri = |query: &str| rules.uri("http", "a", &format!("/x.m3u8?{query}")).to_string();
        assert_eq!(uri("_HLS_part=1&t=2&_HLS_msn=7"), uri("_HLS_msn=7&_HLS_part=1"));
        assert_ne!(uri("_HLS_msn=7"), uri("_HLS_msn=8"));
        assert_eq!(uri("t=2"), "http://a/x.m3u8");
    }

    #[test]
    fn claims_tell_those_apart_who_have_proved_them() {
        let claims = vec!["tier".to_owned(), "region".to_owned()];
        let rules = Rules::new(&CacheKey { claims, ..CacheKey::default() }, "all");
        let key = |claims: &[(&str, &str)]| {
            let claims = claims.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            let proved = Proved { claims: claims.collect(), ..Proved::default() };
            rules.key("http", "a", "/", &HeaderMap::new()).proved(rules.claims(&proved).as_ref())
        };
        assert_eq!(key(&[("tier", "gold"), ("sub", "1")]), key(&[("tier", "gold"), ("sub", "2")]));
        assert_ne!(key(&[("tier", "gold")]), key(&[("tier", "free")]));
        assert_ne!(key(&[("tier", "gold")]), key(&[("region", "gold")]));
        assert_ne!(key(&[("tier", "")]), key(&[]));
        assert_eq!(key(&[]).uri, key(&[("tier", "gold")]).uri, "purged together");
    }

    #[test]
    fn headers_and_cookies_tell_requests_apart() {
        let rules = CacheKey {
            headers: vec!["X-Device".to_owned()],
            cookies: vec!["tier".to_owned()],
            ..CacheKey::default()
        };
        let rules = Rules::new(&rules, "all");
        let extras = |device: &'static str, cookie: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-device", HeaderValue::from_static(device));
            headers.insert(COOKIE, HeaderValue::from_static(cookie));
            rules.key("http", "a", "/", &headers).extras
        };
        assert_eq!(extras("tv", "a=1; tier=gold"), extras("tv", "tier=gold; b=2"));
        assert_ne!(extras("tv", "tier=gold"), extras("tv", "tier=free"));
        assert_ne!(extras("tv", "tier=gold"), extras("phone", "tier=gold"));
        assert_ne!(extras("", "tier=x"), extras("x", "tier="));
    }
}
