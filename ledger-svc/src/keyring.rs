//! The keys in force, in memory: a request is judged without asking the database. This service is the only one that
//! books keys, so a key is in force, or out of it, before whoever changed it is answered. Beside that the ring is read
//! again every few seconds: whatever a lost answer left open is settled then.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::key::{ApiKeyRow, Role, Secret};
use crate::link::Hash;
use crate::metrics::Metrics;
use crate::store::{Reader, StoreError};
use crate::writer;

/// How often the ring is read again.
const READ_EVERY: Duration = Duration::from_secs(5);
/// How often the times of last use are written: at most so far they are behind.
const USES_EVERY: Duration = Duration::from_secs(60);

/// A key in force.
#[derive(Debug)]
pub struct Held {
    pub row: ApiKeyRow,
    /// When the next request would be due, in nanoseconds of the ring's clock.
    due: AtomicU64,
    /// Microseconds since 1970; 0 before the first use.
    used_at_us: AtomicI64,
    /// As written to the database.
    used_written_us: AtomicI64,
}

/// Why a key does not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is none, or revoked.
    Unknown,
    Expired,
    /// Asked too often; when it may ask again.
    TooOften(Duration),
}

/// The keys in force. Cheap to clone.
#[derive(Clone)]
pub struct Ring(Arc<Inner>);

struct Inner {
    keys: RwLock<Keys>,
    clock: Instant,
    metrics: Metrics,
}

#[derive(Default)]
struct Keys {
    by_hash: HashMap<Hash, Arc<Held>>,
    /// Grows with every change: what was read before one must not undo it.
    changes: u64,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ring({} keys)", self.len())
    }
}

impl Ring {
    pub async fn open(reader: &Reader, metrics: Metrics) -> Result<Self, StoreError> {
        let ring =
            Self(Arc::new(Inner { keys: RwLock::default(), clock: Instant::now(), metrics }));
        ring.read_again(reader).await?;
        Ok(ring)
    }

    /// Which key it is, and that it may ask now.
    pub fn admit(&self, secret: &Secret, now: Timestamp) -> Result<Arc<Held>, Refusal> {
        let held = {
            let keys = self.0.keys.read().unwrap_or_else(PoisonError::into_inner);
            keys.by_hash.get(&secret.hash()).map(Arc::clone).ok_or(Refusal::Unknown)?
        };
        if !held.is_in_force(now) {
            return Err(Refusal::Expired);
        }
        if let Some(rate) = held.row.rate {
            let now = u64::try_from(self.0.clock.elapsed().as_nanos()).unwrap_or(u64::MAX);
            rate.admit(&held.due, now).map_err(Refusal::TooOften)?;
        }
        held.used_at_us.fetch_max(now.as_microsecond(), Ordering::Relaxed);
        Ok(held)
    }

    /// A key is booked: it is in force.
    pub fn insert(&self, row: ApiKeyRow) {
        self.change(|keys| {
            keys.insert(row.hash, Arc::new(Held::new(row)));
        });
    }

    /// A key is revoked: it is in force no longer.
    pub fn remove(&self, id: i64) {
        self.change(|keys| keys.retain(|_, held| held.row.id != id));
    }

    /// Whether the key of this number is in force.
    pub fn holds(&self, id: i64, now: Timestamp) -> bool {
        let keys = self.0.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.by_hash.values().any(|held| held.row.id == id && held.is_in_force(now))
    }

    pub fn len(&self) -> usize {
        self.0.keys.read().unwrap_or_else(PoisonError::into_inner).by_hash.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether anybody could administer.
    pub fn has_admin(&self, now: Timestamp) -> bool {
        let keys = self.0.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.by_hash.values().any(|held| held.row.role == Role::Admin && held.is_in_force(now))
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<Hash, Arc<Held>>)) {
        let mut keys = self.0.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.changes += 1;
        change(&mut keys.by_hash);
        self.0.metrics.keys.set(i64::try_from(keys.by_hash.len()).unwrap_or(i64::MAX));
    }

    /// Takes over what the database says, unless something changed meanwhile.
    async fn read_again(&self, reader: &Reader) -> Result<(), StoreError> {
        let before = self.0.keys.read().unwrap_or_else(PoisonError::into_inner).changes;
        let rows = reader.keys_in_force().await?;
        let mut keys = self.0.keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.changes == before {
            let mut known = std::mem::take(&mut keys.by_hash);
            let held = rows.into_iter().map(|row| {
                let same = known.remove(&row.hash).filter(|held| held.row == row);
                (row.hash, same.unwrap_or_else(|| Arc::new(Held::new(row))))
            });
            keys.by_hash = held.collect();
        }
        self.0.metrics.keys.set(i64::try_from(keys.by_hash.len()).unwrap_or(i64::MAX));
        Ok(())
    }

    /// Keys used since it was last written, with when.
    fn unwritten(&self) -> Vec<(Arc<Held>, i64)> {
        let keys = self.0.keys.read().unwrap_or_else(PoisonError::into_inner);
        let used = keys.by_hash.values().filter_map(|held| {
            let at = held.used_at_us.load(Ordering::Relaxed);
            let newer = at > held.used_written_us.load(Ordering::Relaxed);
            newer.then(|| (Arc::clone(held), at))
        });
        used.collect()
    }

    async fn write_uses(&self, writer: &writer::Handle) {
        let used = self.unwritten();
        if used.is_empty() {
            return;
        }
        let rows = used.iter().map(|(held, at)| (held.row.id, *at)).collect();
        // What cannot be written now is written the next time.
        if writer.key_uses(rows).await.is_ok() {
            for (held, at) in used {
                held.used_written_us.store(at, Ordering::Relaxed);
            }
        }
    }
}

impl Held {
    fn is_in_force(&self, now: Timestamp) -> bool {
        self.row.expires_at_us.is_none_or(|at| at > now.as_microsecond())
    }

    fn new(row: ApiKeyRow) -> Self {
        Self {
            row,
            due: AtomicU64::new(0),
            used_at_us: AtomicI64::new(0),
            used_written_us: AtomicI64::new(0),
        }
    }
}

/// Keeps the ring as the database has it, and the database as the ring is used, until `stop`.
pub fn keep(
    ring: Ring,
    reader: Reader,
    writer: Arc<writer::Handle>,
    mut stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut written = Instant::now();
        loop {
            let stopped = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => true,
                () = tokio::time::sleep(READ_EVERY) => false,
            };
            if stopped || written.elapsed() >= USES_EVERY {
                ring.write_uses(&writer).await;
                written = Instant::now();
            }
            if stopped {
                return;
            }
            if let Err(error) = ring.read_again(&reader).await {
                tracing::warn!(%error, "the keys could not be read again; those known stay in force");
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::rate::Rate;

    fn ring() -> Ring {
        let (keys, clock, metrics) = (RwLock::default(), Instant::now(), Metrics::new());
        Ring(Arc::new(Inner { keys, clock, metrics }))
    }

    fn row(id: i64, secret: &Secret) -> ApiKeyRow {
        ApiKeyRow {
            id,
            name: "n".into(),
            prefix: secret.prefix().into(),
            hash: secret.hash(),
            role: Role::Reader,
            rate: None,
            created_at_us: 1,
            expires_at_us: None,
        }
    }

    #[test]
    fn a_key_lets_in_until_it_expires_or_is_revoked() {
        let (ring, secret) = (ring(), Secret::generate());
        let now = Timestamp::from_microsecond(1_000_000).unwrap();
        assert_eq!(ring.admit(&secret, now).unwrap_err(), Refusal::Unknown);
        ring.insert(ApiKeyRow { expires_at_us: Some(2_000_000), ..row(1, &secret) });
        let held = ring.admit(&secret, now).unwrap();
        assert_eq!((held.row.id, held.used_at_us.load(Ordering::Relaxed)), (1, 1_000_000));
        let end = Timestamp::from_microsecond(2_000_000).unwrap();
        assert_eq!(ring.admit(&secret, end).unwrap_err(), Refusal::Expired);
        ring.remove(2);
        assert!(ring.admit(&secret, now).is_ok());
        ring.remove(1);
        assert_eq!(ring.admit(&secret, now).unwrap_err(), Refusal::Unknown);
    }

    #[test]
    fn a_key_asks_no_more_often_than_it_may() {
        let (ring, secret) = (ring(), Secret::generate());
        let rate = Some(Rate { per_second: 1, burst: 2 });
        ring.insert(ApiKeyRow { rate, ..row(1, &secret) });
        let ask = || ring.admit(&secret, Timestamp::from_microsecond(5).unwrap());
        assert!(ask().is_ok() && ask().is_ok());
        let Refusal::TooOften(wait) = ask().unwrap_err() else { panic!() };
        assert!(wait <= Duration::from_secs(1) && !wait.is_zero());
        assert_eq!(ring.unwritten().len(), 1);
    }

    #[test]
    fn somebody_has_to_be_able_to_administer() {
        let (ring, secret) = (ring(), Secret::generate());
        let now = Timestamp::from_microsecond(5).unwrap();
        ring.insert(row(1, &secret));
        assert!(!ring.has_admin(now) && !ring.is_empty());
        let admin =
            ApiKeyRow { role: Role::Admin, expires_at_us: Some(6), ..row(2, &Secret::generate()) };
        ring.insert(admin);
        assert!(ring.has_admin(now));
        assert!(!ring.has_admin(Timestamp::from_microsecond(6).unwrap()));
    }
}
