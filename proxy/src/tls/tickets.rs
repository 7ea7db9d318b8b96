//! Session tickets (RFC 8446 section 4.6.1): a client that comes back skips the expensive half of a
//! handshake. What a ticket holds is sealed under a key that all workers share and that is changed at half of
//! its lifetime. Machines that share a file derive the same keys from it, so a ticket of one is good for all.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use proxy_config::listener::SessionTickets;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::ProducesTickets;

use crate::tls::asking::learn;

/// Shortest secret of a key file: 256 bits.
const SECRET_BYTES_MIN: usize = 32;
/// The number of the key's period, before the nonce.
const PERIOD_BYTES: usize = 8;

/// How long keys live, in seconds, and the secret they are made of.
type Source = (u64, Option<Vec<u8>>);

/// The keys of the process. A reload keeps them, so that no client has to begin anew.
#[derive(Default)]
pub struct TicketKeys(Mutex<BTreeMap<Source, Arc<Ring>>>);

impl TicketKeys {
    /// Seals and opens the tickets of one listener. `binding` is made of all that a client had to prove
    /// there: a ticket that was given under other conditions is not opened.
    pub fn ticketer(
        &self,
        config: &SessionTickets,
        binding: [u8; 32],
    ) -> Result<Arc<dyn ProducesTickets>, String> {
        let secret = config.key_file.as_deref().map(secret).transpose()?;
        let lifetime_s = config.lifetime.as_std().as_secs().max(2);
        let mut rings = self.0.lock();
        // A secret that no listener has any more is not kept to be found in memory.
        rings.retain(|_, ring| Arc::strong_count(ring) > 1);
        let ring = Arc::clone(
            rings
                .entry((lifetime_s, secret.clone()))
                .or_insert_with(|| Arc::new(Ring::new(lifetime_s, secret.as_deref()))),
        );
        Ok(Arc::new(Ticketer { ring, binding }))
    }
}

fn secret(file: &Path) -> Result<Vec<u8>, String> {
    let fault = |why: String| format!("the key file {} cannot be used: {why}", file.display());
    let bytes = std::fs::read(file).map_err(|error| fault(error.to_string()))?;
    let secret = bytes.trim_ascii_end();
    match secret.len() < SECRET_BYTES_MIN {
        true => Err(fault(format!("a secret has at least {SECRET_BYTES_MIN} bytes"))),
        false => Ok(secret.to_vec()),
    }
}

/// Keys, one for each period of half a lifetime.
struct Ring {
    lifetime_s: u64,
    shared: Option<Prk>,
    random: SystemRandom,
    keys: Mutex<BTreeMap<u64, Arc<LessSafeKey>>>,
}

impl Ring {
    fn new(lifetime_s: u64, secret: Option<&[u8]>) -> Self {
        let extract = |secret: &[u8]| Salt::new(HKDF_SHA256, b"forebay tickets").extract(secret);
        Self {
            lifetime_s,
            shared: secret.map(extract),
            random: SystemRandom::new(),
            keys: Mutex::default(),
        }
    }

    fn period(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        now / (self.lifetime_s / 2)
    }

    /// The key of a period, if tickets of that period are good at `now`. Keys of this process alone exist
    /// only from when they are first used until they are too old: nothing can open older tickets.
    fn key(&self, period: u64, now: u64) -> Option<Arc<LessSafeKey>> {
        let mut keys = self.keys.lock();
        keys.retain(|of, _| *of + 1 >= now);
        // Another machine's clock may be ahead.
        let newest = if self.shared.is_some() { now + 1 } else { now };
        if period.saturating_add(1) < now || period > newest {
            return None;
        }
        if let Some(key) = keys.get(&period) {
            return Some(Arc::clone(key));
        }
        let key = Arc::new(LessSafeKey::new(self.make(period)?));
        keys.insert(period, Arc::clone(&key));
        Some(key)
    }

    fn make(&self, period: u64) -> Option<UnboundKey> {
        let Some(shared) = &self.shared else {
            let mut bytes = [0; 32];
            self.random.fill(&mut bytes).ok()?;
            return UnboundKey::new(&AES_256_GCM, &bytes).ok();
        };
        let info = period.to_be_bytes();
        shared.expand(&[&info[..]], &AES_256_GCM).ok().map(UnboundKey::from)
    }
}

struct Ticketer {
    ring: Arc<Ring>,
    binding: [u8; 32],
}

impl std::fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticketer").finish_non_exhaustive()
    }
}

impl Ticketer {
    fn seal(&self, plain: &[u8], period: u64) -> Option<Vec<u8>> {
        let key = self.ring.key(period, period)?;
        let mut nonce = [0; NONCE_LEN];
        self.ring.random.fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let bound = Aad::from([&self.binding[..], &period.to_be_bytes()].concat());
        let nonce_of = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce_of, bound, &mut sealed).ok()?;
        Some([&period.to_be_bytes()[..], &nonce, &sealed].concat())
    }

    fn open(&self, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        let (period, rest) = ticket.split_first_chunk::<PERIOD_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let key = self.ring.key(u64::from_be_bytes(*period), now)?;
        let bound = Aad::from([&self.binding[..], period].concat());
        let mut opened = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = key.open_in_place(nonce, bound, &mut opened).ok()?.len();
        opened.truncate(length);
        Some(opened)
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.ring.lifetime_s / 2).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, self.ring.period())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let opened = self.open(ticket, self.ring.period());
        if opened.is_some() {
            learn(|learned| learned.resumed = true);
        }
        opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticketer(secret: Option<&[u8]>, binding: u8) -> Ticketer {
        Ticketer { ring: Arc::new(Ring::new(100, secret)), binding: [binding; 32] }
    }

    #[test]
    fn a_ticket_is_good_for_a_lifetime_and_then_its_key_is_gone() {
        let own = ticketer(None, 1);
        let ticket = own.seal(b"session", 10).unwrap();
        for (now, good) in [(10, true), (11, true), (12, false), (10, false)] {
            let opened = own.open(&ticket, now);
            assert_eq!(opened.as_deref() == Some(b"session"), good, "{now}");
        }
        assert!(own.open(&own.seal(b"session", 20).unwrap(), 19).is_none(), "from the future");
    }

    #[test]
    fn machines_that_share_a_file_open_each_others_tickets() {
        let secret = Some(&[7; 32][..]);
        let (one, other) = (ticketer(secret, 1), ticketer(secret, 1));
        let ticket = one.seal(b"session", 10).unwrap();
        for (now, good) in [(9, true), (10, true), (11, true), (8, false), (12, false)] {
            assert_eq!(other.open(&ticket, now).is_some(), good, "{now}");
        }
        assert!(ticketer(Some(&[8; 32]), 1).open(&ticket, 10).is_none());
        assert!(ticketer(None, 1).open(&ticket, 10).is_none());
    }

    #[test]
    fn a_ticket_given_under_other_conditions_or_changed_is_not_opened() {
        let secret = Some(&[7; 32][..]);
        let (open, guarded) = (ticketer(secret, 1), ticketer(secret, 2));
        let ticket = open.seal(b"session", 10).unwrap();
        assert!(guarded.open(&ticket, 10).is_none());
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert!(open.open(&changed, 10).is_none(), "{at}");
            assert!(open.open(&ticket[..at], 10).is_none(), "{at}");
        }
    }

    #[test]
    fn keys_outlive_a_reload_and_short_secrets_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys");
        let (keys, config) = (TicketKeys::default(), SessionTickets::default());
        let before = keys.ticketer(&config, [1; 32]).unwrap();
        let ticket = before.encrypt(b"session").unwrap();
        let after = keys.ticketer(&config, [1; 32]).unwrap();
        assert_eq!(after.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        std::fs::write(&file, "short\n").unwrap();
        let shared = SessionTickets { key_file: Some(file.clone()), ..config };
        let fault = keys.ticketer(&shared, [1; 32]).unwrap_err();
        assert!(fault.contains("keys") && fault.contains("32 bytes"), "{fault}");
        std::fs::write(&file, "0123456789abcdef0123456789abcdef\n").unwrap();
        assert!(keys.ticketer(&shared, [1; 32]).unwrap().decrypt(&ticket).is_none());
    }

    #[test]
    fn a_secret_that_no_listener_has_any_more_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys");
        let keys = TicketKeys::default();
        let config = SessionTickets { key_file: Some(file.clone()), ..SessionTickets::default() };
        let mut used = None;
        for secret in ["a", "b", "c"] {
            std::fs::write(&file, secret.repeat(SECRET_BYTES_MIN)).unwrap();
            // Made before the one that it takes the place of is gone, as by a reload.
            used = Some(keys.ticketer(&config, [1; 32]).unwrap());
            let known: Vec<_> = keys.0.lock().keys().map(|(_, secret)| secret.clone()).collect();
            assert!(known.contains(&Some(secret.repeat(SECRET_BYTES_MIN).into_bytes())));
            assert!(known.len() <= 2, "{known:?}");
        }
        let _other = keys.ticketer(&SessionTickets::default(), [1; 32]).unwrap();
        assert_eq!(keys.0.lock().len(), 2);
        drop(used);
        drop(keys.ticketer(&config, [2; 32]).unwrap());
        assert_eq!(keys.0.lock().len(), 2);
    }
}
