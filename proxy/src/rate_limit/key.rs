//! What of a request is counted together, as 16 bytes whatever clients send: a table's size depends
//! on the number of keys alone, and Redis holds no addresses or tokens.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::COOKIE;
use pingora::http::RequestHeader;
use proxy_config::proved::Proved;
use proxy_config::rate_limit::RequestKey;
use sha2::{Digest, Sha256};

/// The first half of a SHA-256.
pub type Key = [u8; 16];

/// The parts of a request that can be counted or hashed by.
pub struct Asking<'a> {
    pub client: Option<IpAddr>,
    pub route: &'a str,
    pub head: &'a RequestHeader,
    pub proved: &'a Proved,
}

impl Asking<'_> {
    /// The key made of these parts. A part that is missing has a value of its own, so that
    /// requests without it are counted together and not let through.
    pub fn key(&self, parts: &[RequestKey], text: Option<&str>) -> Key {
        let mut hash = Sha256::new();
        for part in parts {
            match self.part(part) {
                // The length keeps `a` `bc` and `ab` `c` apart.
                Some(value) => {
                    hash.update([1]);
                    hash.update(value.len().to_be_bytes());
                    hash.update(value);
                }
                None => hash.update([0]),
            }
        }
        if let Some(text) = text {
            hash.update([2]);
            hash.update(text);
        }
        let mut key = Key::default();
        key.copy_from_slice(&hash.finalize()[..16]);
        key
    }

    /// Whether the request has any of these parts.
    pub fn has_any(&self, parts: &[RequestKey]) -> bool {
        parts.iter().any(|part| self.part(part).is_some())
    }

    fn part(&self, part: &RequestKey) -> Option<Vec<u8>> {
        let headers = &self.head.headers;
        match part {
            RequestKey::Client => self.client.map(address),
            RequestKey::Route => Some(self.route.as_bytes().to_vec()),
            RequestKey::Host => {
                let host = headers.get(http::header::HOST)?.as_bytes();
                Some(host.to_ascii_lowercase())
            }
            RequestKey::Path => Some(self.head.uri.path().as_bytes().to_vec()),
            RequestKey::Header(name) => {
                let values: Vec<_> = headers
                    .get_all(name.as_str())
                    .iter()
                    .map(http::HeaderValue::as_bytes)
                    .collect();
                (!values.is_empty()).then(|| values.join(&b", "[..]))
            }
            RequestKey::Cookie(name) => cookie(headers, name).map(<[u8]>::to_vec),
            RequestKey::Query(name) => {
                let pairs = self.head.uri.query()?.split('&');
                let value =
                    pairs.filter_map(|pair| pair.split_once('=')).find(|(is, _)| is == name);
                value.map(|(_, value)| value.as_bytes().to_vec())
            }
            RequestKey::Claim(name) => {
                self.proved.claims.get(name).map(|value| value.as_bytes().to_vec())
            }
        }
    }
}

/// A client may have a whole IPv6 network of 64 bits, and as many addresses as it likes in it.
fn address(client: IpAddr) -> Vec<u8> {
    match client.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
    }
}

/// The value of a cookie (RFC 6265 section 5.4), the first of that name.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let fields = headers.get_all(COOKIE).into_iter();
    let mut pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    pairs.find_map(|pair| {
        let pair = pair.trim_ascii();
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(client: &str, target: &str, headers: &[(&str, &str)], parts: &[RequestKey]) -> Key {
        let mut head = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
        for (name, value) in headers {
            head.append_header((*name).to_owned(), *value).unwrap();
        }
        let mut proved = Proved::default();
        proved.claims.extend(headers.iter().filter_map(|(name, value)| {
            Some((name.strip_prefix("claim-")?.to_owned(), (*value).to_owned()))
        }));
        let client = client.parse().ok();
        Asking { client, route: "r", head: &head, proved: &proved }.key(parts, None)
    }

    #[test]
    fn each_part_tells_requests_apart_and_a_missing_one_is_one_key() {
        use RequestKey as K;
        let header = K::Header("X-Key".into());
        let (cookie, query) = (K::Cookie("session".into()), K::Query("user".into()));
        let of = |part: &RequestKey, client: &str, target: &str, header: &[(&str, &str)]| {
            key(client, target, header, std::slice::from_ref(part))
        };
        let one = of(&header, "192.0.2.1", "/", &[("x-key", "a")]);
        assert_eq!(one, of(&header, "192.0.2.9", "/other", &[("x-key", "a")]));
        assert_ne!(one, of(&header, "192.0.2.1", "/", &[("x-key", "b")]));
        let missing = of(&header, "192.0.2.1", "/", &[]);
        assert_eq!(missing, of(&header, "192.0.2.2", "/", &[]));
        assert_ne!(missing, of(&header, "192.0.2.2", "/", &[("x-key", "")]));
        let one = of(&cookie, "", "/", &[("cookie", "a=b; session=1;c=d")]);
        assert_eq!(one, of(&cookie, "", "/", &[("cookie", "session=1")]));
        assert_ne!(one, of(&cookie, "", "/", &[("cookie", "xsession=1; session=2")]));
        let claim = K::Claim("sub".into());
        let one = of(&claim, "", "/", &[("claim-sub", "ann")]);
        assert_eq!(one, of(&claim, "", "/x", &[("claim-sub", "ann"), ("sub", "bob")]));
        assert_ne!(one, of(&claim, "", "/", &[("sub", "ann")]), "a header proves nothing");
        assert_eq!(of(&query, "", "/?a=1&user=7", &[]), of(&query, "", "/x?user=7&b", &[]));
        assert_ne!(of(&query, "", "/?user=7", &[]), of(&query, "", "/?user=8", &[]));
        assert_ne!(of(&K::Path, "", "/a", &[]), of(&K::Path, "", "/b", &[]));
        assert_eq!(
            of(&K::Host, "", "/", &[("host", "A")]),
            of(&K::Host, "", "/", &[("host", "a")])
        );
        let (client, other) = ("192.0.2.1", "192.0.2.2");
        assert_ne!(of(&K::Client, client, "/", &[]), of(&K::Client, other, "/", &[]));
        assert_eq!(of(&K::Route, client, "/", &[]), of(&K::Route, other, "/b", &[]));
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let parts = [RequestKey::Header("a".into()), RequestKey::Header("b".into())];
        let one = key("", "/", &[("a", "x"), ("b", "yz")], &parts);
        assert_ne!(one, key("", "/", &[("a", "xy"), ("b", "z")], &parts));
        assert_ne!(one, key("", "/", &[("a", "x")], &parts));
    }

    #[test]
    fn a_client_is_one_key_in_all_of_its_ipv6_network() {
        let of = |client| key(client, "/", &[], &[RequestKey::Client]);
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::9"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
