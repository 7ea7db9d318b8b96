//! Signed URLs and cookies: whoever has a key says until when a path, or all below it, may be asked
//! for. `signature` is HMAC-SHA-256 over `SCOPE LF EXPIRES` in lower-case hex; `EXPIRES` is in
//! seconds since 1970. In a URL they are the parameters `scope`, `expires` and `signature`, and without
//! `scope` it is the path itself; in a cookie `SCOPE:EXPIRES:SIGNATURE`.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use proxy_config::facts::cookie;
use proxy_config::matching::normalize_path;
use sha2::Sha256;
use thiserror::Error;

use crate::failure::Failure;

/// Shortest key: 128 bits.
const KEY_BYTES_MIN: usize = 16;

/// A file of keys that cannot be used.
#[derive(Debug, Error)]
#[error("the key file {} cannot be used: {why}", path.display())]
pub struct KeyFault {
    path: PathBuf,
    why: String,
}

/// What a route demands.
pub struct Signed {
    keys: Vec<Hmac<Sha256>>,
    cookie: Option<String>,
}

/// What is claimed, and the proof.
struct Claim<'a> {
    scope: &'a str,
    expires: &'a str,
    signature: &'a str,
}

impl Signed {
    /// Reads the key files; a line break at the end is not part of a key.
    pub fn new(config: &proxy_config::route_access::SignedUrl) -> Result<Signed, KeyFault> {
        let keys = config.key_files.iter().map(|path| {
            let fault = |why: String| KeyFault { path: path.clone(), why };
            let bytes = std::fs::read(path).map_err(|error| fault(error.to_string()))?;
            let key = bytes.trim_ascii_end();
            if key.len() < KEY_BYTES_MIN {
                return Err(fault(format!("a key has at least {KEY_BYTES_MIN} bytes")));
            }
            Hmac::new_from_slice(key).map_err(|error| fault(error.to_string()))
        });
        Ok(Signed { keys: keys.collect::<Result<_, _>>()?, cookie: config.cookie.clone() })
    }

    /// Errors: `Forbidden`, the same whatever is wrong.
    pub fn check(&self, path: &str, query: &str, headers: &HeaderMap) -> Result<(), Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |d| d.as_secs());
        let cookie = self.cookie.as_ref().and_then(|name| cookie(headers, name));
        let claims = [in_url(path, query), cookie.and_then(in_cookie)];
        match claims.iter().flatten().any(|claim| self.holds(claim, path, now)) {
            true => Ok(()),
            false => Err(Failure::Forbidden("the signature is missing, wrong or out of date")),
        }
    }

    fn holds(&self, claim: &Claim<'_>, path: &str, now: u64) -> bool {
        let is_number = claim.expires.bytes().all(|byte| byte.is_ascii_digit());
        let expires = claim.expires.parse::<u64>().ok().filter(|_| is_number);
        expires.is_some_and(|expires| now < expires)
            && covers(claim.scope, path)
            && self.has_signed(claim)
    }

    fn has_signed(&self, claim: &Claim<'_>) -> bool {
        let Some(signature) = from_hex(claim.signature) else { return false };
        self.keys.iter().any(|key| {
            let mut mac = key.clone();
            mac.update(claim.scope.as_bytes());
            mac.update(b"\n");
            mac.update(claim.expires.as_bytes());
            // Compares in constant time.
            mac.verify_slice(&signature).is_ok()
        })
    }
}

/// A scope that ends in `/` covers all below it, another only itself.
fn covers(scope: &str, path: &str) -> bool {
    let (normal, path) = (normalize_path(scope), normalize_path(path));
    if scope.ends_with('/') { path.starts_with(&normal) } else { path == normal }
}

fn in_url<'a>(path: &'a str, query: &'a str) -> Option<Claim<'a>> {
    let parameter = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find_map(|(is, value)| (is == name).then_some(value))
    };
    Some(Claim {
        scope: parameter("scope").unwrap_or(path),
        expires: parameter("expires")?,
        signature: parameter("signature")?,
    })
}

fn in_cookie(value: &str) -> Option<Claim<'_>> {
    let (rest, signature) = value.rsplit_once(':')?;
    let (scope, expires) = rest.rsplit_once(':')?;
    Some(Claim { scope, expires, signature })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? * 16 + digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn signed() -> (Signed, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("old"), "an older key of 16+ bytes\n").unwrap();
        std::fs::write(dir.path().join("new"), format!("{KEY}\n")).unwrap();
        let config = proxy_config::route_access::SignedUrl {
            format: proxy_config::route_access::SignatureFormat::Hmac,
            key_files: vec![dir.path().join("old"), dir.path().join("new")],
            cookie: Some("pass".to_owned()),
        };
        (Signed::new(&config).unwrap(), dir)
    }

    /// `printf '/live/a/\n4102444800' | openssl dgst -sha256 -hmac KEY`
    const SIGNATURE: &str = "69b8725f21308e1b9b0ee290cae1ef08ed848ca2aea1975071caf92c3aae7d79";
    const EXPIRES: &str = "4102444800";

    #[test]
    fn a_cookie_covers_what_is_below_its_scope_until_it_expires() {
        let (signed, _dir) = signed();
        let passes = |path: &str, cookie: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::COOKIE, format!("a=b; pass={cookie}").parse().unwrap());
            signed.check(path, "", &headers).is_ok()
        };
        let good = format!("/live/a/:{EXPIRES}:{SIGNATURE}");
        assert!(passes("/live/a/1.m4s", &good) && passes("/live/%61/x/2.m4s", &good));
        for outside in ["/live/a", "/live/ab/1.m4s", "/live/b/1.m4s", "/", "/live/a/../b/1.m4s"] {
            assert!(!passes(outside, &good), "{outside}");
        }
        for tampered in [
            format!("/live/:{EXPIRES}:{SIGNATURE}"),
            format!("/live/a/:9{EXPIRES}:{SIGNATURE}"),
            format!("/live/a/:+{EXPIRES}:{SIGNATURE}"),
            format!("/live/a/:{EXPIRES}:{}", SIGNATURE.replace(['1', '2', '3'], "0")),
            format!("/live/a/:{EXPIRES}:"),
            format!("/live/a/:{EXPIRES}"),
            String::new(),
        ] {
            assert!(!passes("/live/a/1.m4s", &tampered), "{tampered}");
        }
        let query = format!("x=y&scope=/live/a/&expires={EXPIRES}&signature={SIGNATURE}");
        assert!(signed.check("/live/a/1.m4s", &query, &HeaderMap::new()).is_ok());
        assert!(signed.check("/live/a/1.m4s", &query[4..], &HeaderMap::new()).is_ok());
        assert!(signed.check("/live/b/1.m4s", &query, &HeaderMap::new()).is_err());
        assert!(signed.check("/live/a/1.m4s", "", &HeaderMap::new()).is_err());
        let claim = in_cookie(&good).unwrap();
        assert!(signed.holds(&claim, "/live/a/1.m4s", 4_102_444_799));
        assert!(!signed.holds(&claim, "/live/a/1.m4s", 4_102_444_800), "expired");
    }

    #[test]
    fn a_key_that_is_short_or_absent_is_refused_by_name() {
        let (_, dir) = signed();
        std::fs::write(dir.path().join("short"), "abc").unwrap();
        for name in ["short", "absent"] {
            let config = proxy_config::route_access::SignedUrl {
                format: proxy_config::route_access::SignatureFormat::Hmac,
                key_files: vec![dir.path().join(name)],
                cookie: None,
            };
            let fault = Signed::new(&config).err().unwrap().to_string();
            assert!(fault.contains(name), "{fault}");
        }
    }
}
