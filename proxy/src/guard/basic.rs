//! User and password (RFC 7617). Hashing is slow on purpose, so it is done on threads of low priority, a few at a
//! time, and what was right is remembered.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use lru::LruCache;
use proxy_config::proved::encoded;
use proxy_config::route_access::BasicAuth;
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::Sha256;
use tokio::sync::Semaphore;

use crate::guard::GuardFault;
use crate::guard::users::{self, Hash};
use crate::respond::Failure;
use crate::runtimes::{Handles, Place};

/// Pairs of user and password that are remembered as right, on one route.
const REMEMBERED_MAX: NonZeroUsize = NonZeroUsize::new(4096).expect("4096 is not 0");
/// Passwords hashed at once in the process; the others wait, bounded by their lane.
const HASHED_AT_ONCE: usize = 2;
/// Longest `Authorization` looked at.
const CREDENTIALS_BYTES_MAX: usize = 4096;

static HASHING: Semaphore = Semaphore::const_new(HASHED_AT_ONCE);

/// The users of a route.
pub struct Basic {
    users: HashMap<String, Hash>,
    /// Held against the password of a user that is not there, so that both take as long.
    decoy: Hash,
    challenge: String,
    /// Remembered under a key of this process: nothing to be read out of memory later.
    secret: Hmac<Sha256>,
    right: Mutex<LruCache<[u8; 32], ()>>,
}

impl Basic {
    /// Reads the file of users.
    pub fn new(config: &BasicAuth) -> Result<Basic, GuardFault> {
        let fault = |why: String| GuardFault::File { file: config.users_file.clone(), why };
        let text = std::fs::read_to_string(&config.users_file)
            .map_err(|error| fault(error.to_string()))?;
        let users = users::parse(&text).map_err(fault)?;
        let slowest = users.values().max_by_key(|hash| matches!(hash, Hash::Bcrypt(_)));
        let decoy = slowest.cloned().ok_or_else(|| fault("it has no user".to_owned()))?;
        let mut secret = [0; 32];
        let drawn = SystemRandom::new().fill(&mut secret).is_ok();
        let secret = Hmac::new_from_slice(&secret).ok().filter(|_| drawn);
        Ok(Basic {
            users,
            decoy,
            challenge: format!("Basic realm=\"{}\", charset=\"UTF-8\"", config.realm),
            secret: secret.ok_or_else(|| fault("the system has no randomness".to_owned()))?,
            right: Mutex::new(LruCache::new(REMEMBERED_MAX)),
        })
    }

    /// The user. Errors: `Unauthorized`, the same whatever is wrong.
    pub async fn check(
        &self,
        authorization: Option<&[u8]>,
        runtimes: &Handles,
    ) -> Result<String, Failure> {
        let refused = || Failure::unauthorized(&self.challenge);
        let (user, password) = authorization.and_then(credentials).ok_or_else(refused)?;
        let known = self.users.get(&user);
        let hash = known.unwrap_or(&self.decoy).clone();
        let remembered = self.fingerprint(&user, &password, &hash);
        if known.is_some() && self.lock().get(&remembered).is_some() {
            return Ok(encoded(&user));
        }
        let _place = HASHING.acquire().await.map_err(|_| Failure::Internal)?;
        let hashed = runtimes.of(Place::Bulk).spawn_blocking(move || hash.is_of(&password));
        let is_right = hashed.await.map_err(|_| Failure::Internal)?;
        if !is_right || known.is_none() {
            return Err(refused());
        }
        self.lock().put(remembered, ());
        Ok(encoded(&user))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<[u8; 32], ()>> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fingerprint(&self, user: &str, password: &[u8], hash: &Hash) -> [u8; 32] {
        let mut mac = self.secret.clone();
        for part in [user.as_bytes(), password, format!("{hash:?}").as_bytes()] {
            mac.update(&part.len().to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// `Basic base64(user:password)`.
fn credentials(authorization: &[u8]) -> Option<(String, Arc<[u8]>)> {
    if authorization.len() > CREDENTIALS_BYTES_MAX {
        return None;
    }
    let (scheme, rest) = authorization.split_at_checked(6)?;
    let encoded = scheme.eq_ignore_ascii_case(b"basic ").then(|| rest.trim_ascii())?;
    let decoded = STANDARD.decode(encoded).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let user = String::from_utf8(decoded[..colon].to_vec()).ok()?;
    Some((user, Arc::from(&decoded[colon + 1..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_as_they_are_written() {
        let of = |text: &str| {
            credentials(text.as_bytes()).map(|(user, password)| (user, password.to_vec()))
        };
        assert_eq!(of("Basic YTpi"), Some(("a".to_owned(), b"b".to_vec())));
        assert_eq!(of("bAsIc  YTpiOmM="), Some(("a".to_owned(), b"b:c".to_vec())));
        for wrong in ["", "Basic", "Basic ", "Basic YQ==", "Basic !!", "Bearer YTpi", "Basic /zo="]
        {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
