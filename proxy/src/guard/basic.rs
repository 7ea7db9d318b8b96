//! User and password (RFC 7617). Hashing is slow on purpose, so it is done on threads of low priority, a few at a
//! time, and what was right is remembered.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use lru::LruCache;
use parking_lot::{Mutex, MutexGuard};
use proxy_config::proved::encoded;
use proxy_config::route_access::BasicAuth;
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::Sha256;
use tokio::sync::Semaphore;

use crate::failure::Failure;
use crate::guard::fault::GuardFault;
use crate::guard::users::{self, Hash, Users};
use crate::runtimes::{Handles, Place};

/// Pairs of user and password that are remembered as right, on one route.
const REMEMBERED_MAX: NonZeroUsize = NonZeroUsize::new(4096).expect("4096 is not 0");
/// Passwords hashed at once in the process; the others wait, bounded by their lane.
const HASHED_AT_ONCE: usize = 2;
/// Longest `Authorization` looked at.
const CREDENTIALS_BYTES_MAX: usize = 4096;

static HASHING: Semaphore = Semaphore::const_new(HASHED_AT_ONCE);

/// Files of users that are looked at with each request and remembered, on one route.
const FILES_MAX: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not 0");
/// Largest such file.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Lines of such a file that are named when they cannot be understood.
const LINES_NAMED: usize = 20;

/// The users of a route.
pub struct Basic {
    users: From,
    realm: String,
    delay: Duration,
    /// Remembered under a key of this process: nothing to be read out of memory later.
    secret: Hmac<Sha256>,
    right: Mutex<LruCache<[u8; 32], ()>>,
}

/// Where users come from.
enum From {
    Document(Arc<Users>),
    /// A file that each request names; what was read of it is good while this does not change.
    Request(Mutex<LruCache<String, (Stamp, Arc<Users>)>>),
}

/// Changes whenever a file does.
type Stamp = (Option<SystemTime>, u64);

impl Basic {
    /// Reads the file of users, unless requests name it.
    pub fn new(config: &BasicAuth) -> Result<Basic, GuardFault> {
        let file = PathBuf::from(&config.users_file.0);
        let fault = |why: String| GuardFault::File { file: file.clone(), why };
        let users = match config.reread {
            true => From::Request(Mutex::new(LruCache::new(FILES_MAX))),
            false => {
                let text =
                    std::fs::read_to_string(&file).map_err(|error| fault(error.to_string()))?;
                From::Document(Arc::new(users::parse(&text).map_err(fault)?))
            }
        };
        let mut secret = [0; 32];
        let drawn = SystemRandom::new().fill(&mut secret).is_ok();
        let secret = Hmac::new_from_slice(&secret).ok().filter(|_| drawn);
        Ok(Basic {
            users,
            realm: config.realm.0.clone(),
            delay: config.delay.map_or(Duration::ZERO, proxy_config::units::Duration::as_std),
            secret: secret.ok_or_else(|| fault("the system has no randomness".to_owned()))?,
            right: Mutex::new(LruCache::new(REMEMBERED_MAX)),
        })
    }

    /// The user; nothing where the request's realm asks nobody. `told` is the file of users and the realm, where
    /// requests have a say in them.
    ///
    /// Errors: `Unauthorized`, the same whatever is wrong; `Forbidden` when there is no file of users.
    pub async fn check(
        &self,
        authorization: Option<&[u8]>,
        told: Option<&(String, String)>,
        runtimes: &Handles,
    ) -> Result<Option<String>, Failure> {
        let realm = told.map_or(self.realm.as_str(), |(_, realm)| realm);
        if realm == "off" && self.realm.contains('$') {
            return Ok(None);
        }
        let checked = self.proved(authorization, told, realm, runtimes).await;
        if checked.is_err() && !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        checked.map(Some)
    }

    async fn proved(
        &self,
        authorization: Option<&[u8]>,
        told: Option<&(String, String)>,
        realm: &str,
        runtimes: &Handles,
    ) -> Result<String, Failure> {
        let refused = || Failure::unauthorized(&challenge(realm, told.is_some()));
        let (user, password) = authorization.and_then(credentials).ok_or_else(refused)?;
        let users = self.users(told, runtimes).await?;
        let (hash, is_known) = users.held_against(&user);
        let hash = hash.clone();
        let remembered = self.fingerprint(&user, &password, &hash);
        if is_known && self.lock().get(&remembered).is_some() {
            return Ok(encoded(&user));
        }
        let _place = HASHING.acquire().await.map_err(|_| Failure::Internal)?;
        let hashed = runtimes.of(Place::Bulk).spawn_blocking(move || hash.is_of(&password));
        let is_right = hashed.await.map_err(|_| Failure::Internal)?;
        if !is_right || !is_known {
            return Err(refused());
        }
        self.lock().put(remembered, ());
        Ok(encoded(&user))
    }

    async fn users(
        &self,
        told: Option<&(String, String)>,
        runtimes: &Handles,
    ) -> Result<Arc<Users>, Failure> {
        let files = match &self.users {
            From::Document(users) => return Ok(Arc::clone(users)),
            From::Request(files) => files,
        };
        let file = told.map_or("", |(file, _)| file).to_owned();
        let locked = || files.lock();
        let known = locked().get(&file).cloned();
        let path = file.clone();
        let reading = move || read_anew(&path, known);
        let read = runtimes.of(Place::Bulk).spawn_blocking(reading).await;
        let (stamp, users) = read.map_err(|_| Failure::Internal)?.map_err(|error| {
            tracing::warn!(file, %error, "the file of users cannot be read");
            match error.kind() {
                std::io::ErrorKind::NotFound => Failure::Forbidden("nobody may ask for this"),
                _ => Failure::Internal,
            }
        })?;
        locked().put(file, (stamp, Arc::clone(&users)));
        Ok(users)
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<[u8; 32], ()>> {
        self.right.lock()
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

/// Users of a file, as they were known unless it has changed.
fn read_anew(
    file: &str,
    known: Option<(Stamp, Arc<Users>)>,
) -> std::io::Result<(Stamp, Arc<Users>)> {
    let about = std::fs::metadata(file)?;
    if !about.is_file() || about.len() > FILE_BYTES_MAX {
        return Err(std::io::Error::other("it is no file, or too large"));
    }
    let stamp = (about.modified().ok(), about.len());
    if let Some(known) = known.filter(|(before, _)| *before == stamp) {
        return Ok(known);
    }
    let (users, skipped) = users::understood(&std::fs::read_to_string(file)?);
    if !skipped.is_empty() {
        let (count, lines) = (skipped.len(), &skipped[..skipped.len().min(LINES_NAMED)]);
        tracing::warn!(
            file,
            count,
            ?lines,
            "lines of the file of users are no `user:hash` that is known: they let nobody in"
        );
    }
    Ok((stamp, Arc::new(users)))
}

/// The challenge of a realm. One that requests have a say in must not end its quotes.
fn challenge(realm: &str, varies: bool) -> String {
    match varies {
        true => format!("Basic realm=\"{}\"", realm.replace(['"', '\\'], "")),
        false => format!("Basic realm=\"{realm}\", charset=\"UTF-8\""),
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
