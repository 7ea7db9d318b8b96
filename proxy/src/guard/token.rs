//! Signed tokens (RFC 7519), as RFC 8725 would have them verified: the key says which algorithm, all times and names that
//! are asked for must be there, and what is not understood but critical is refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proxy_config::proved::encoded;
use proxy_config::route_access::JwtAuth;
use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::failure::Failure;
use crate::guard::fault::GuardFault;
use crate::guard::jwks::{self, Key};
use crate::guard::key_set::KeySet;
use crate::metrics::Metrics;
use crate::upstream::connector::Connector;
use crate::upstream::server::Servers;

/// Longest token looked at.
const TOKEN_BYTES_MAX: usize = 8192;
/// Claims of a token that become variables, and the longest of them.
const CLAIMS_MAX: usize = 64;
const CLAIM_BYTES_MAX: usize = 1024;

/// Why a token is not good.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TokenFault {
    #[error("it is malformed")]
    Malformed,
    #[error("it is signed with a key that is not known")]
    UnknownKey,
    #[error("its signature is wrong")]
    Signature,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYet,
    #[error("it was issued by another")]
    Issuer,
    #[error("it is for another audience")]
    Audience,
}

/// What tokens of a route must be.
struct Rules {
    issuer: String,
    audiences: Vec<String>,
    leeway_s: i64,
}

enum Source {
    File(Vec<Key>),
    Url(Arc<KeySet>),
}

/// The tokens of a route.
pub struct Tokens {
    rules: Rules,
    source: Source,
    cookie: Option<String>,
}

/// The head of a token. Members that are not known are passed over unless `crit` names them.
#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

impl Tokens {
    /// Reads the keys where they are in a file; a URL is asked when the first token comes.
    pub fn new(
        config: &JwtAuth,
        servers: &Servers,
        metrics: &Metrics,
    ) -> Result<Tokens, GuardFault> {
        let source = match (&config.jwks_file, &config.jwks_url) {
            (Some(file), _) => {
                let fault = |why: String| GuardFault::File { file: file.clone(), why };
                let text = std::fs::read(file).map_err(|error| fault(error.to_string()))?;
                let keys = jwks::parse(&text, true).map_err(&fault)?;
                if keys.is_empty() {
                    return Err(fault("it has no key that can verify signatures".to_owned()));
                }
                Source::File(keys)
            }
            (None, url) => {
                Source::Url(servers.key_set(url.as_deref().unwrap_or_default(), metrics))
            }
        };
        let leeway_s = i64::try_from(config.leeway.as_std().as_secs()).unwrap_or(i64::MAX);
        let (issuer, audiences) = (config.issuer.clone(), config.audiences.clone());
        let rules = Rules { issuer, audiences, leeway_s };
        Ok(Tokens { rules, source, cookie: config.cookie.clone() })
    }

    pub fn cookie(&self) -> Option<&str> {
        self.cookie.as_deref()
    }

    /// The claims of the token in `Authorization: Bearer`, or else in the cookie.
    ///
    /// Errors: `Unauthorized`; `KeysUnavailable` when there are no keys.
    pub async fn check(
        &self,
        authorization: Option<&[u8]>,
        cookie: Option<&[u8]>,
        connector: &Arc<Connector>,
    ) -> Result<BTreeMap<String, String>, Failure> {
        let Some(token) = authorization.and_then(bearer).or(cookie) else {
            return Err(Failure::unauthorized("Bearer"));
        };
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let now_s = i64::try_from(now_s).unwrap_or(i64::MAX);
        let claims = match &self.source {
            Source::File(keys) => claims(token, keys, &self.rules, now_s),
            Source::Url(set) => {
                let fetched = set.keys(connector).await.ok_or(Failure::KeysUnavailable)?;
                match claims(token, &fetched.keys, &self.rules, now_s) {
                    Err(TokenFault::UnknownKey) => {
                        let newer = set.newer_than(Some(&fetched), connector).await;
                        let newer = newer.ok_or(Failure::KeysUnavailable)?;
                        claims(token, &newer.keys, &self.rules, now_s)
                    }
                    known => known,
                }
            }
        };
        claims.map_err(|fault| {
            let why = format!("Bearer error=\"invalid_token\", error_description=\"{fault}\"");
            Failure::unauthorized(&why)
        })
    }
}

/// RFC 6750 section 2.1.
fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Verifies a token and returns those of its claims that are text, numbers or booleans.
fn claims(
    token: &[u8],
    keys: &[Key],
    rules: &Rules,
    now_s: i64,
) -> Result<BTreeMap<String, String>, TokenFault> {
    use TokenFault as F;
    let token = std::str::from_utf8(token).map_err(|_| F::Malformed)?;
    let (signed, signature) = token.rsplit_once('.').ok_or(F::Malformed)?;
    let (head, payload) = signed.split_once('.').ok_or(F::Malformed)?;
    if token.len() > TOKEN_BYTES_MAX {
        return Err(F::Malformed);
    }
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| F::Malformed);
    let head: Head = serde_json::from_slice(&decoded(head)?).map_err(|_| F::Malformed)?;
    if head.crit.is_some() {
        return Err(F::Malformed);
    }
    let signature = decoded(signature)?;
    let named = |key: &&Key| head.kid.is_none() || key.id.is_none() || key.id == head.kid;
    let mut candidates = keys.iter().filter(named).peekable();
    candidates.peek().ok_or(F::UnknownKey)?;
    if !candidates.any(|key| key.has_signed(&head.alg, signed.as_bytes(), &signature)) {
        return Err(F::Signature);
    }
    let payload = decoded(payload)?;
    let payload: Map<String, Value> = serde_json::from_slice(&payload).map_err(|_| F::Malformed)?;
    hold_against(&payload, rules, now_s)?;
    let scalars = payload.iter().filter_map(|(name, value)| Some((name, scalar(value)?)));
    let short = scalars.filter(|(_, value)| value.len() <= CLAIM_BYTES_MAX).take(CLAIMS_MAX);
    Ok(short.map(|(name, value)| (name.clone(), encoded(&value))).collect())
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is) => Some(is.to_string()),
        _ => None,
    }
}

/// RFC 7519 section 4.1. A token that never expires is not taken.
fn hold_against(payload: &Map<String, Value>, rules: &Rules, now_s: i64) -> Result<(), TokenFault> {
    let expires_s = time(payload.get("exp"))?.ok_or(TokenFault::Malformed)?;
    if now_s >= expires_s.saturating_add(rules.leeway_s) {
        return Err(TokenFault::Expired);
    }
    if time(payload.get("nbf"))?.is_some_and(|from_s| now_s.saturating_add(rules.leeway_s) < from_s)
    {
        return Err(TokenFault::NotYet);
    }
    if payload.get("iss").and_then(Value::as_str) != Some(rules.issuer.as_str()) {
        return Err(TokenFault::Issuer);
    }
    let is_ours = |audience: &Value| {
        audience
            .as_str()
            .is_some_and(|audience| rules.audiences.iter().any(|ours| ours == audience))
    };
    match payload.get("aud") {
        Some(Value::Array(audiences)) if audiences.iter().any(is_ours) => Ok(()),
        Some(audience) if is_ours(audience) => Ok(()),
        _ => Err(TokenFault::Audience),
    }
}

/// Seconds since 1970; fractions are cut off.
fn time(value: Option<&Value>) -> Result<Option<i64>, TokenFault> {
    let Some(value) = value else { return Ok(None) };
    if let Some(seconds) = value.as_i64() {
        return Ok(Some(seconds));
    }
    let whole = value.as_f64().map(f64::trunc).filter(|seconds| seconds.abs() < 9e15);
    // Below 2^53 every whole number is written without an exponent.
    let text = whole.map(|seconds| format!("{seconds:.0}"));
    text.and_then(|text| text.parse().ok()).map(Some).ok_or(TokenFault::Malformed)
}

#[cfg(test)]
mod tests {
    use ring::hmac;

    use super::*;

    const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

    fn rules() -> Rules {
        Rules { issuer: "me".into(), audiences: vec!["tv".into(), "radio".into()], leeway_s: 30 }
    }

    fn keys() -> Vec<Key> {
        let secret = URL_SAFE_NO_PAD.encode(SECRET);
        let set = format!(r#"{{"keys":[{{"kty":"oct","kid":"1","k":"{secret}"}}]}}"#);
        jwks::parse(set.as_bytes(), true).unwrap()
    }

    fn signed(head: &str, payload: &str) -> String {
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(payload));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    const HEAD: &str = r#"{"alg":"HS256","kid":"1","typ":"JWT"}"#;
    const GOOD: &str = r#"{"iss":"me","aud":["x","tv"],"exp":1000,"nbf":900,"sub":"ann<1>","level":7,"paid":true,"roles":["a"]}"#;

    fn outcome(
        head: &str,
        payload: &str,
        now_s: i64,
    ) -> Result<BTreeMap<String, String>, TokenFault> {
        claims(signed(head, payload).as_bytes(), &keys(), &rules(), now_s)
    }

    #[test]
    fn a_good_token_tells_its_claims() {
        let claims = outcome(HEAD, GOOD, 950).unwrap();
        assert_eq!(claims["sub"], "ann%3C1%3E");
        assert_eq!((claims["level"].as_str(), claims["paid"].as_str()), ("7", "true"));
        assert!(!claims.contains_key("roles"));
        for now_s in [870, 999, 1029] {
            assert!(outcome(HEAD, GOOD, now_s).is_ok(), "{now_s}");
        }
        assert!(outcome(HEAD, &GOOD.replace("1000", "1000.5")[..], 950).is_ok());
        assert!(outcome(r#"{"alg":"HS256"}"#, GOOD, 950).is_ok(), "without a name for its key");
    }

    #[test]
    fn each_thing_that_is_wrong_is_refused() {
        use TokenFault as F;
        for (head, payload, now_s, fault) in [
            (HEAD, GOOD, 1030, F::Expired),
            (HEAD, GOOD, 869, F::NotYet),
            (HEAD, &GOOD.replace("\"me\"", "\"you\"")[..], 950, F::Issuer),
            (HEAD, &GOOD.replace("\"iss\"", "\"x\"")[..], 950, F::Issuer),
            (HEAD, &GOOD.replace("\"tv\"", "\"film\"")[..], 950, F::Audience),
            (HEAD, &GOOD.replace("\"aud\"", "\"x\"")[..], 950, F::Audience),
            (HEAD, &GOOD.replace("\"exp\"", "\"x\"")[..], 950, F::Malformed),
            (HEAD, &GOOD.replace("1000", "\"soon\"")[..], 950, F::Malformed),
            (HEAD, &GOOD.replace("1000", "1e300")[..], 950, F::Malformed),
            (HEAD, "[]", 950, F::Malformed),
            (&HEAD.replace("\"1\"", "\"2\"")[..], GOOD, 950, F::UnknownKey),
            (&HEAD.replace("HS256", "none")[..], GOOD, 950, F::Signature),
            (&HEAD.replace("HS256", "RS256")[..], GOOD, 950, F::Signature),
            (&HEAD.replace("HS256", "HS384")[..], GOOD, 950, F::Signature),
            (&HEAD.replace("\"typ\"", "\"crit\":[\"b64\"],\"typ\"")[..], GOOD, 950, F::Malformed),
            ("{}", GOOD, 950, F::Malformed),
        ] {
            assert_eq!(outcome(head, payload, now_s), Err(fault), "{head} {payload} {now_s}");
        }
        let good = signed(HEAD, GOOD);
        let long = format!("{good}{}", "A".repeat(TOKEN_BYTES_MAX));
        for wrong in [
            "",
            ".",
            "..",
            "a.b.c",
            &good[1..],
            &good[..good.len() - 2],
            &format!("{good}="),
            &long,
        ] {
            assert!(claims(wrong.as_bytes(), &keys(), &rules(), 950).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tokens_are_carried_as_the_standard_says() {
        assert_eq!(bearer(b"Bearer a.b.c"), Some(&b"a.b.c"[..]));
        assert_eq!(bearer(b"bearer  a.b.c "), Some(&b"a.b.c"[..]));
        for wrong in ["", "Bearer", "Basic a.b.c", "Bearera.b.c"] {
            assert_eq!(bearer(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
