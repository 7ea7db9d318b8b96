//! How an authority sees that a name is this proxy's: it asks for a token over HTTP (RFC 8555 section 8.3), or shakes
//! hands by a protocol of its own (RFC 8737). Only what an order waits for is answered; a keeper has one order at a time, so there
//! are as many as accounts.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Method;
use parking_lot::Mutex;
use pingora::http::RequestHeader;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;

/// The protocol an authority shakes hands by (RFC 8737 section 6.2).
pub const PROTOCOL: &[u8] = b"acme-tls/1";
/// Where tokens are asked for.
const PATH: &str = "/.well-known/acme-challenge/";
/// Longest token; those in use have 43 bytes.
const TOKEN_BYTES_MAX: usize = 512;

/// Shared with those who prove something for as long as they do.
#[derive(Clone, Default)]
pub struct Challenges(Arc<InFlight>);

#[derive(Default)]
struct InFlight {
    /// Looked at for each request, so that nothing is locked while nothing is proved.
    count: AtomicUsize,
    answers: Mutex<HashMap<String, Bytes>>,
    handshakes: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

/// What is answered until this is dropped.
pub struct Proving {
    of: Arc<InFlight>,
    token: String,
    host: String,
}

impl Drop for Proving {
    fn drop(&mut self) {
        self.of.answers.lock().remove(&self.token);
        self.of.handshakes.lock().remove(&self.host);
        self.of.count.fetch_sub(1, Ordering::Release);
    }
}

impl Challenges {
    fn begin(&self, token: &str, host: &str) -> Proving {
        self.0.count.fetch_add(1, Ordering::Release);
        Proving { of: Arc::clone(&self.0), token: token.to_owned(), host: host.to_owned() }
    }

    /// Answers who asks for this token. It comes from the authority.
    pub fn answer(&self, token: &str, answer: &str) -> Result<Proving, String> {
        let is_base64url = token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        if token.is_empty() || token.len() > TOKEN_BYTES_MAX || !is_base64url {
            return Err("its token is malformed".to_owned());
        }
        let answer = Bytes::copy_from_slice(answer.as_bytes());
        self.0.answers.lock().insert(token.to_owned(), answer);
        Ok(self.begin(token, ""))
    }

    /// Shows this digest to who shakes hands as an authority does.
    pub fn show(&self, host: &str, digest: &[u8]) -> Result<Proving, String> {
        let fault = |error: rcgen::Error| error.to_string();
        let mut params = CertificateParams::new(vec![host.to_owned()]).map_err(fault)?;
        if digest.len() != 32 {
            return Err("its digest is malformed".to_owned());
        }
        params.custom_extensions.push(CustomExtension::new_acme_identifier(digest));
        let key = KeyPair::generate().map_err(fault)?;
        let certificate = params.self_signed(&key).map_err(fault)?;
        let provider = rustls::crypto::ring::default_provider();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let key = provider.key_provider.load_private_key(key).map_err(|error| error.to_string())?;
        let shown = Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key));
        self.0.handshakes.lock().insert(host.to_owned(), shown);
        Ok(self.begin("", host))
    }

    /// What this request for a token is answered, while an order waits for it.
    pub fn asked(&self, head: &RequestHeader) -> Option<Bytes> {
        if self.0.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let token = head.uri.path().strip_prefix(PATH)?;
        let reads = head.method == Method::GET || head.method == Method::HEAD;
        self.0.answers.lock().get(token).filter(|_| reads).cloned()
    }

    /// What an authority is shown that shakes hands.
    pub fn shown(&self, hello: &ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = hello.server_name()?.to_ascii_lowercase();
        self.0.handshakes.lock().get(&host).cloned()
    }
}

/// Whether an authority shakes hands: clients offer other protocols, too.
pub fn is_authority(hello: &ClientHello<'_>) -> bool {
    let mut offered = hello.alpn().into_iter().flatten();
    offered.next() == Some(PROTOCOL) && offered.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(challenges: &Challenges, method: &str, path: &str) -> Option<Bytes> {
        challenges.asked(&RequestHeader::build(method, path.as_bytes(), None).unwrap())
    }

    #[test]
    fn tokens_are_answered_while_they_are_in_flight() {
        let challenges = Challenges::default();
        let path = "/.well-known/acme-challenge/a_Token-1";
        assert_eq!(asked(&challenges, "GET", path), None);
        let proving = challenges.answer("a_Token-1", "a_Token-1.thumb").unwrap();
        assert_eq!(asked(&challenges, "GET", path).as_deref(), Some(&b"a_Token-1.thumb"[..]));
        assert!(asked(&challenges, "HEAD", path).is_some());
        for (method, path) in [
            ("POST", path),
            ("GET", "/.well-known/acme-challenge/"),
            ("GET", "/.well-known/acme-challenge/a_Token-1/"),
            ("GET", "/.well-known/acme-challenge/other"),
            ("GET", "/a_Token-1"),
        ] {
            assert_eq!(asked(&challenges, method, path), None, "{method} {path}");
        }
        drop(proving);
        assert_eq!(asked(&challenges, "GET", path), None);
        for malformed in ["", "a/../b", "a b", "a%2fb", &"a".repeat(513)] {
            assert!(challenges.answer(malformed, "x").is_err(), "{malformed}");
        }
        assert_eq!(challenges.0.count.load(Ordering::Relaxed), 0);
    }
}
