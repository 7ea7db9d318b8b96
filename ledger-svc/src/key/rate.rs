//! How often a key may ask: GCRA, the generic cell rate algorithm (ITU-T I.371). One number per key says when the
//! next request would be due if all came evenly; a request that comes earlier than the burst allows is refused.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Most requests a second that can be told apart from no limit.
pub const PER_SECOND_MAX: u32 = 1_000_000;
/// Most requests at once.
pub const BURST_MAX: u32 = 1_000_000;

/// Requests a second in the long run, and how many may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// 1 to 1000000. A batch is one request, however many transfers it has.
    #[serde(deserialize_with = "read_count")]
    #[schema(example = 100, minimum = 1, maximum = 1_000_000)]
    pub per_second: u32,
    /// 1 to 1000000.
    #[serde(deserialize_with = "read_count")]
    #[schema(example = 200, minimum = 1, maximum = 1_000_000)]
    pub burst: u32,
}

const _: () = assert!(PER_SECOND_MAX == 1_000_000 && BURST_MAX == PER_SECOND_MAX);

fn read_count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let count = i64::deserialize(deserializer)?;
    match u32::try_from(count) {
        Ok(count @ 1..=PER_SECOND_MAX) => Ok(count),
        _ => Err(de::Error::custom(format!(
            "{count} is out of range; it goes from 1 to {PER_SECOND_MAX}"
        ))),
    }
}

impl Rate {
    /// Nanoseconds between requests that come evenly.
    fn interval(self) -> u64 {
        1_000_000_000 / u64::from(self.per_second)
    }

    /// Judges a request at `now`, when `due` says when the next one would be: what it is from then on, or how long to
    /// wait. Nanoseconds on any clock that does not go back. Pure.
    pub fn judge(self, due: u64, now: u64) -> Result<u64, Duration> {
        let interval = self.interval();
        let next = due.max(now).saturating_add(interval);
        let tolerated = now.saturating_add(interval.saturating_mul(self.burst.into()));
        if next > tolerated { Err(Duration::from_nanos(next - tolerated)) } else { Ok(next) }
    }

    /// The same for many threads at once; `due` is the number they share.
    pub fn admit(self, due: &AtomicU64, now: u64) -> Result<(), Duration> {
        let mut known = due.load(Ordering::Relaxed);
        loop {
            let next = self.judge(known, now)?;
            match due.compare_exchange_weak(known, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(found) => known = found,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_then_evenly() {
        let rate = Rate { per_second: 10, burst: 3 };
        let due = AtomicU64::new(0);
        let now = 100 * SECOND;
        for _ in 0..3 {
            assert_eq!(rate.admit(&due, now), Ok(()));
        }
        assert_eq!(rate.admit(&due, now), Err(Duration::from_millis(100)));
        assert_eq!(rate.admit(&due, now + SECOND / 10), Ok(()));
        assert_eq!(rate.admit(&due, now + SECOND / 10), Err(Duration::from_millis(100)));
        // Whoever waits long enough has the whole burst again, and no more.
        let later = now + 100 * SECOND;
        assert_eq!((0..10).filter(|_| rate.admit(&due, later).is_ok()).count(), 3);
    }

    #[test]
    fn counts_are_read_within_their_range() {
        let read =
            |text: &str| serde_json::from_str::<Rate>(text).map_err(|error| error.to_string());
        assert_eq!(
            read(r#"{"per_second":1,"burst":1000000}"#),
            Ok(Rate { per_second: 1, burst: 1_000_000 })
        );
        for bad in [
            r#"{"per_second":0,"burst":1}"#,
            r#"{"per_second":1,"burst":-1}"#,
            r#"{"per_second":1000001,"burst":1}"#,
        ] {
            assert!(read(bad).unwrap_err().contains("1 to 1000000"), "{bad}");
        }
        assert!(read(r#"{"per_second":1}"#).is_err());
    }

    proptest! {
        /// Over any stretch of time no more is admitted than the burst and what the rate gives, and who is told to
        /// wait is admitted after exactly that long.
        #[test]
        fn never_more_than_burst_and_rate(
            per_second in 1_u32..2000, burst in 1_u32..50,
            gaps in proptest::collection::vec(0_u64..50_000_000, 1..300),
        ) {
            let rate = Rate { per_second, burst };
            let (mut due, mut now, mut admitted) = (0, SECOND, Vec::new());
            for gap in gaps {
                now += gap;
                match rate.judge(due, now) {
                    Ok(next) => {
                        due = next;
                        admitted.push(now);
                    }
                    Err(wait) => {
                        let wait = u64::try_from(wait.as_nanos()).unwrap();
                        prop_assert!(wait > 0 && rate.judge(due, now + wait - 1).is_err());
                        prop_assert!(rate.judge(due, now + wait).is_ok());
                    }
                }
            }
            for (first, at) in admitted.iter().enumerate() {
                for (count, until) in (1_u64..).zip(&admitted[first..]) {
                    let earned = (until - at) / rate.interval();
                    prop_assert!(count <= u64::from(burst) + earned, "{count} within {}", until - at);
                }
            }
        }
    }
}
