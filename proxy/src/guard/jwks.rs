//! Keys that tokens are signed with, as sets of JSON (RFC 7517), and what they verify (RFC 7518, RFC 8037). Pure.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;

/// Keys of one set that are looked at.
const KEYS_MAX: usize = 64;
/// Shortest secret: that of the hash (RFC 7518 section 3.2).
const SECRET_BYTES_MIN: usize = 32;
/// Shortest modulus of RSA: 2048 bits (RFC 7518 section 3.3).
const MODULUS_BYTES_MIN: usize = 256;

/// One key.
#[derive(Debug)]
pub struct Key {
    pub id: Option<String>,
    /// The only algorithm it may be used with, where it says so.
    algorithm: Option<String>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
    Secret(Vec<u8>),
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

/// A key as it is written; members that are not known are passed over (RFC 7517 section 4).
#[derive(Deserialize)]
struct Written {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
}

/// The keys of a set that can verify signatures; those of other kinds are passed over. Secrets (`oct`) are taken only
/// where `secrets` are kept as such: a set that anybody can fetch holds none. A set may have none left: then whatever was signed
/// with those it had is signed by nobody.
pub fn parse(text: &[u8], secrets: bool) -> Result<Vec<Key>, String> {
    let set: Set =
        serde_json::from_slice(text).map_err(|error| format!("no set of keys: {error}"))?;
    let written = set.keys.into_iter().take(KEYS_MAX);
    let read = written.filter_map(|key| serde_json::from_value::<Written>(key).ok());
    Ok(read.filter_map(|key| usable(key, secrets)).collect())
}

fn usable(key: Written, secrets: bool) -> Option<Key> {
    if key.usage.is_some_and(|usage| usage != "sig") {
        return None;
    }
    let decoded = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
    let point = |bytes: usize| {
        let (x, y) = (decoded(&key.x)?, decoded(&key.y)?);
        (x.len() == bytes && y.len() == bytes).then(|| [&[4][..], &x, &y].concat())
    };
    let material = match (key.kty.as_str(), key.crv.as_deref()) {
        ("RSA", _) => {
            let modulus = decoded(&key.n).filter(|modulus| modulus.len() >= MODULUS_BYTES_MIN)?;
            Material::Rsa { modulus, exponent: decoded(&key.e)? }
        }
        ("EC", Some("P-256")) => Material::P256(point(32)?),
        ("EC", Some("P-384")) => Material::P384(point(48)?),
        ("OKP", Some("Ed25519")) => Material::Ed25519(decoded(&key.x).filter(|x| x.len() == 32)?),
        ("oct", _) if secrets => {
            Material::Secret(decoded(&key.k).filter(|k| k.len() >= SECRET_BYTES_MIN)?)
        }
        _ => return None,
    };
    Some(Key { id: key.kid, algorithm: key.alg, material })
}

impl Key {
    /// Whether this key has signed these bytes by this algorithm. The kind of the key decides which algorithms there
    /// are: what a token says is never enough (RFC 8725 section 3.1).
    pub fn has_signed(&self, algorithm: &str, bytes: &[u8], signature: &[u8]) -> bool {
        if self.algorithm.as_deref().is_some_and(|only| only != algorithm) {
            return false;
        }
        let public = |with: &'static dyn signature::VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(with, key).verify(bytes, signature).is_ok()
        };
        match (&self.material, algorithm) {
            (Material::Rsa { modulus, exponent }, algorithm) => {
                let parameters = match algorithm {
                    "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                    "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
                    "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
                    "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
                    "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
                    "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => return false,
                };
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(parameters, bytes, signature).is_ok()
            }
            (Material::P256(key), "ES256") => public(&signature::ECDSA_P256_SHA256_FIXED, key),
            (Material::P384(key), "ES384") => public(&signature::ECDSA_P384_SHA384_FIXED, key),
            (Material::Ed25519(key), "EdDSA" | "Ed25519") => public(&signature::ED25519, key),
            (Material::Secret(secret), algorithm) => {
                let with = match algorithm {
                    "HS256" => hmac::HMAC_SHA256,
                    "HS384" => hmac::HMAC_SHA384,
                    "HS512" => hmac::HMAC_SHA512,
                    _ => return false,
                };
                hmac::verify(&hmac::Key::new(with, secret), bytes, signature).is_ok()
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037 appendix A, RFC 7515 appendix A.1 and A.3.
    const ED25519: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    const SECRET: &str = r#"{"keys":[{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}]}"#;
    const P256: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

    fn verifies(set: &str, algorithm: &str, message: &str, signature: &str) -> bool {
        let keys = parse(set.as_bytes(), true).unwrap();
        keys[0].has_signed(
            algorithm,
            message.as_bytes(),
            &URL_SAFE_NO_PAD.decode(signature).unwrap(),
        )
    }

    #[test]
    fn signatures_of_the_standards_are_verified_and_by_no_other_algorithm() {
        let ed = (
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        );
        let hs = (
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        );
        let es = (
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        );
        for (set, algorithm, (message, signature)) in
            [(ED25519, "EdDSA", ed), (SECRET, "HS256", hs), (P256, "ES256", es)]
        {
            assert!(verifies(set, algorithm, message, signature), "{algorithm}");
            assert!(!verifies(set, algorithm, &message[1..], signature), "{algorithm}");
            for other in ["none", "HS256", "HS384", "RS256", "ES256", "ES384", "EdDSA", ""] {
                let expected = other == algorithm;
                assert_eq!(
                    verifies(set, other, message, signature),
                    expected,
                    "{algorithm} as {other}"
                );
            }
        }
    }

    #[test]
    fn keys_that_are_not_for_this_are_passed_over() {
        let fetched = parse(SECRET.as_bytes(), false).unwrap();
        assert!(fetched.is_empty(), "a secret that anybody can fetch");
        for set in [
            "",
            "[]",
            r#"{"keys":[]}"#,
            r#"{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}"#,
            r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#,
            r#"{"keys":[{"kty":"oct","k":"AyM1"}]}"#,
            &ED25519.replace("\"crv\"", "\"use\":\"enc\",\"crv\""),
        ] {
            assert!(parse(set.as_bytes(), true).map_or(true, |keys| keys.is_empty()), "{set}");
        }
        let bound = ED25519.replace("\"crv\"", "\"alg\":\"ES256\",\"crv\"");
        assert!(!verifies(&bound, "EdDSA", "", ""));
        let mixed = ED25519.replace("{\"keys\":[", "{\"keys\":[{\"kty\":\"new\"},7,");
        assert_eq!(parse(mixed.as_bytes(), true).unwrap().len(), 1);
    }
}
