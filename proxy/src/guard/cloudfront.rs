//! CloudFront's signed URLs and cookies, so that what signs for CloudFront can sign for Forebay too. A policy in JSON
//! says which URL may be asked for until when, perhaps from when and from where; a canned one is made of the URL and
//! `Expires`. Signed with RSA and SHA-1 (Amazon CloudFront Developer Guide, "Serve private content").

use std::net::IpAddr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use proxy_config::address::IpNetwork;
use proxy_config::facts::cookie;
use proxy_config::route_access::SignedUrl;
use ring::signature::{RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};

use crate::failure::Failure;
use crate::guard::fault::GuardFault;

/// Parameters that belong to the signature, not to the URL that is signed.
const PARAMETERS: [&str; 4] = ["Expires", "Signature", "Policy", "Key-Pair-Id"];
/// Longest policy looked at, decoded.
const POLICY_BYTES_MAX: usize = 4096;

/// The keys of a route.
pub struct CloudFront {
    /// Public keys in the form of PKCS #1.
    keys: Vec<Vec<u8>>,
}

/// What a request claims, and the proof.
struct Claim {
    /// A policy, or the time at which a canned one ends.
    policy: Result<Vec<u8>, String>,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Policy {
    #[serde(rename = "Statement")]
    statements: Vec<Statement>,
}

#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "Resource", default)]
    resource: Option<String>,
    #[serde(rename = "Condition")]
    condition: Condition,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    #[serde(rename = "DateLessThan")]
    before: Epoch,
    #[serde(rename = "DateGreaterThan")]
    after: Option<Epoch>,
    #[serde(rename = "IpAddress")]
    from: Option<Source>,
}

#[derive(Deserialize)]
struct Epoch {
    #[serde(rename = "AWS:EpochTime")]
    seconds: u64,
}

#[derive(Deserialize)]
struct Source {
    #[serde(rename = "AWS:SourceIp")]
    network: String,
}

impl CloudFront {
    /// Reads the public keys.
    pub fn new(config: &SignedUrl) -> Result<CloudFront, GuardFault> {
        let keys = config.key_files.iter().map(|file| {
            public_key(file).map_err(|why| GuardFault::File { file: file.clone(), why })
        });
        Ok(CloudFront { keys: keys.collect::<Result<_, _>>()? })
    }

    /// `target`: path and query. Errors: `Forbidden`, the same whatever is wrong.
    pub fn check(
        &self,
        host: &str,
        target: &str,
        headers: &HeaderMap,
        client: Option<IpAddr>,
    ) -> Result<(), Failure> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |d| d.as_secs());
        let bare = without_signature(target);
        // What stands in front may have taken TLS off, so a URL is what it is with either.
        let urls = ["https", "http"].map(|scheme| format!("{scheme}://{host}{bare}"));
        let claims = [in_url(target), in_cookies(headers)];
        match claims.iter().flatten().any(|claim| self.holds(claim, &urls, client, now_s)) {
            true => Ok(()),
            false => Err(Failure::Forbidden("the signature is missing, wrong or out of date")),
        }
    }

    fn holds(&self, claim: &Claim, urls: &[String], client: Option<IpAddr>, now_s: u64) -> bool {
        match &claim.policy {
            Ok(policy) => {
                policy.len() <= POLICY_BYTES_MAX
                    && self.has_signed(policy, &claim.signature)
                    && serde_json::from_slice::<Policy>(policy)
                        .is_ok_and(|policy| allows(&policy, urls, client, now_s))
            }
            Err(expires) => {
                let plain = expires.bytes().all(|byte| byte.is_ascii_digit());
                plain
                    && expires.parse::<u64>().is_ok_and(|expires_s| now_s < expires_s)
                    && urls.iter().any(|url| {
                        self.has_signed(canned(url, expires).as_bytes(), &claim.signature)
                    })
            }
        }
    }

    fn has_signed(&self, policy: &[u8], signature: &[u8]) -> bool {
        let verifies = |key: &Vec<u8>| {
            let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, key);
            key.verify(policy, signature).is_ok()
        };
        self.keys.iter().any(verifies)
    }
}

fn public_key(file: &Path) -> Result<Vec<u8>, String> {
    let info = SubjectPublicKeyInfoDer::from_pem_file(file)
        .map_err(|error| format!("it is no public key in PEM: {error}"))?;
    let (_, info) = SubjectPublicKeyInfo::from_der(&info)
        .map_err(|error| format!("it is no public key: {error}"))?;
    match info.parsed() {
        Ok(x509_parser::public_key::PublicKey::RSA(_)) => Ok(info.subject_public_key.data.to_vec()),
        _ => Err("it is not a key of RSA".to_owned()),
    }
}

/// The canned policy, to the byte.
fn canned(url: &str, expires: &str) -> String {
    format!(
        "{{\"Statement\":[{{\"Resource\":\"{url}\",\"Condition\":{{\"DateLessThan\":{{\"AWS:EpochTime\":{expires}}}}}}}]}}"
    )
}

fn without_signature(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let own =
        |pair: &&str| !PARAMETERS.contains(&pair.split_once('=').map_or(*pair, |(name, _)| name));
    let left: Vec<&str> = query.split('&').filter(own).collect();
    if left.is_empty() { path.to_owned() } else { format!("{path}?{}", left.join("&")) }
}

fn in_url(target: &str) -> Option<Claim> {
    let query = target.split_once('?')?.1;
    let parameter = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find_map(|(is, value)| (is == name).then_some(value))
    };
    claim(parameter("Policy"), parameter("Expires"), parameter("Signature"))
}

fn in_cookies(headers: &HeaderMap) -> Option<Claim> {
    let value = |name: &str| cookie(headers, &format!("CloudFront-{name}"));
    claim(value("Policy"), value("Expires"), value("Signature"))
}

fn claim(policy: Option<&str>, expires: Option<&str>, signature: Option<&str>) -> Option<Claim> {
    let policy = match policy {
        Some(policy) => Ok(decoded(policy)?),
        None => Err(expires?.to_owned()),
    };
    Some(Claim { policy, signature: decoded(signature?)? })
}

/// Base64 with what a URL cannot hold replaced: `+` by `-`, `=` by `_`, `/` by `~`.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let text: String = text
        .chars()
        .map(|c| match c {
            '-' => '+',
            '_' => '=',
            '~' => '/',
            other => other,
        })
        .collect();
    STANDARD.decode(text).ok()
}

/// One statement, as CloudFront has it; without a resource any URL.
fn allows(policy: &Policy, urls: &[String], client: Option<IpAddr>, now_s: u64) -> bool {
    let [Statement { resource, condition }] = policy.statements.as_slice() else { return false };
    let in_time = now_s < condition.before.seconds
        && condition.after.as_ref().is_none_or(|after| now_s > after.seconds);
    let from_there = condition.from.as_ref().is_none_or(|source| {
        let network = source.network.parse::<IpNetwork>();
        client.zip(network.ok()).is_some_and(|(client, network)| network.contains(client))
    });
    let for_this = resource
        .as_ref()
        .is_none_or(|resource| urls.iter().any(|url| fits(resource.as_bytes(), url.as_bytes())));
    in_time && from_there && for_this
}

/// `*` stands for any characters, `?` for one. Takes steps as many as both lengths multiplied, at most.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut in_text) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while in_text < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_text));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[in_text] => {
                at += 1;
                in_text += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                in_text = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(policy: &str, url: &str, client: &str, now_s: u64) -> bool {
        let policy: Policy = serde_json::from_str(policy).unwrap();
        allows(&policy, &[url.to_owned()], client.parse().ok(), now_s)
    }

    #[test]
    fn policies_say_what_from_where_and_when() {
        let policy = r#"{"Statement":[{"Resource":"https://a.example/live/*.m4s","Condition":{"DateLessThan":{"AWS:EpochTime":200},"DateGreaterThan":{"AWS:EpochTime":100},"IpAddress":{"AWS:SourceIp":"192.0.2.0/24"}}}]}"#;
        let (url, client) = ("https://a.example/live/x/1.m4s", "192.0.2.7");
        assert!(may(policy, url, client, 150));
        assert!(!may(policy, url, client, 200) && !may(policy, url, client, 100));
        assert!(!may(policy, url, "198.51.100.1", 150) && !may(policy, url, "nobody", 150));
        assert!(!may(policy, "https://a.example/vod/1.m4s", client, 150));
        assert!(!may(r#"{"Statement":[]}"#, url, client, 0));
        let any = r#"{"Statement":[{"Condition":{"DateLessThan":{"AWS:EpochTime":200}}}]}"#;
        assert!(may(any, url, "nobody", 150));
        let unknown =
            r#"{"Statement":[{"Condition":{"DateLessThan":{"AWS:EpochTime":200},"Moon":{}}}]}"#;
        assert!(serde_json::from_str::<Policy>(unknown).is_err());
    }

    #[test]
    fn wildcards() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*/live/*.ts", "http://a/live/b/live/c.ts", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(fits(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn the_url_that_is_signed_is_without_its_signature() {
        for (target, bare) in [
            ("/a", "/a"),
            ("/a?Expires=1&Signature=x&Key-Pair-Id=k", "/a"),
            ("/a?b=c&Policy=p&d&Signature=x&Key-Pair-Id=k", "/a?b=c&d"),
        ] {
            assert_eq!(without_signature(target), bare);
        }
    }
}
