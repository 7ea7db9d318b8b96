//! Signatures of deliveries, as Standard Webhooks 1.0 has them: HMAC-SHA-256 over the delivery's id, its time and its
//! body, so that neither can be another's and an old delivery cannot be sent again later.

use std::fmt;

use ::ring::hmac;
use ::ring::rand::{SecureRandom, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const MARK: &str = "whsec_";
const BYTES: usize = 32;

/// What deliveries of one endpoint are signed with. The service has to keep it as it is: it signs with it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whsec_…")
    }
}

impl Secret {
    pub fn generate() -> Self {
        let mut bytes = vec![0; BYTES];
        SystemRandom::new().fill(&mut bytes).expect("the kernel has random numbers");
        Self(bytes)
    }

    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// For the one answer that shows it.
    pub fn reveal(&self) -> String {
        format!("{MARK}{}", STANDARD.encode(&self.0))
    }

    /// The header `webhook-signature` of a delivery; `at` in seconds since 1970.
    pub fn signature(&self, id: &str, at: i64, body: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let tag = hmac::sign(&key, format!("{id}.{at}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        // The example of the specification's reference libraries.
        let bytes = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let secret = Secret::from_bytes(&bytes);
        let signature = secret.signature(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            "{\"test\": 2432232314}",
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_shown_only_when_it_is_asked_for() {
        let secret = Secret::generate();
        assert_ne!(secret, Secret::generate());
        assert!(secret.reveal().starts_with("whsec_") && secret.reveal().len() == 50);
        assert_eq!(format!("{secret:?}"), "whsec_…");
        assert_ne!(secret.signature("a", 1, "x"), secret.signature("a", 2, "x"));
    }
}
