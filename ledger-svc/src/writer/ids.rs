//! Ids of transfers: UUIDs of version 7 (RFC 9562, 5.7), each greater than the one before it, also within a millisecond
//! and when the clock is set back. Randomness is asked of the kernel for many at once: a call for each took as
//! long as deciding the transfer.

use jiff::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};
use uuid::{Builder, Uuid};

/// Random bytes asked for at once.
const POOL_BYTES: usize = 4096;
/// Bits behind the milliseconds, without those of version and variant.
const TAIL_BITS: u32 = 74;
/// Bits of `rand_b`, the second part of the tail.
const RAND_B_BITS: u32 = 62;

pub struct Ids {
    milliseconds: u64,
    tail: u128,
    pool: Vec<u8>,
}

impl Ids {
    pub fn new() -> Self {
        Self { milliseconds: 0, tail: 0, pool: Vec::new() }
    }

    pub fn next(&mut self) -> Uuid {
        let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
        self.next_at(now)
    }

    fn next_at(&mut self, now: u64) -> Uuid {
        if now > self.milliseconds {
            self.begin(now);
        } else {
            // A step nobody can guess (RFC 9562, 6.2, method 2).
            self.tail += 1 + u128::from(u32::from_be_bytes(self.random()));
            if self.tail >> TAIL_BITS != 0 {
                self.begin(self.milliseconds + 1);
            }
        }
        // The top four bits of `rand_a` and the top two of `rand_b` are written over with version and variant.
        let [.., a0, a1] = (self.tail >> RAND_B_BITS).to_be_bytes();
        let [.., b0, b1, b2, b3, b4, b5, b6, b7] = self.tail.to_be_bytes();
        let bytes = [a0, a1, b0, b1, b2, b3, b4, b5, b6, b7];
        Builder::from_unix_timestamp_millis(self.milliseconds, &bytes).into_uuid()
    }

    /// A new millisecond: its first tail leaves half of them for those that follow.
    fn begin(&mut self, milliseconds: u64) {
        self.milliseconds = milliseconds;
        self.tail = u128::from_be_bytes(self.random()) >> (u128::BITS - TAIL_BITS + 1);
    }

    fn random<const N: usize>(&mut self) -> [u8; N] {
        if self.pool.len() < N {
            self.pool.resize(POOL_BYTES, 0);
            SystemRandom::new().fill(&mut self.pool).expect("the kernel has random bytes");
        }
        let rest = self.pool.len() - N;
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.pool[rest..]);
        self.pool.truncate(rest);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_of_version_7_and_greater_than_the_one_before() {
        let mut ids = Ids::new();
        // Many in a millisecond, the next, and a clock that is set back.
        let clock = [vec![5; 3000], vec![6, 7, 3, 3, 7, 8]].concat();
        let made: Vec<Uuid> = clock.iter().map(|now| ids.next_at(*now)).collect();
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(
            made.iter()
                .all(|id| id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122)
        );
        let milliseconds =
            |id: &Uuid| u64::from_be_bytes(id.as_bytes()[..8].try_into().unwrap()) >> 16;
        assert_eq!((milliseconds(&made[0]), milliseconds(made.last().unwrap())), (5, 8));
    }

    #[test]
    fn a_millisecond_that_is_used_up_runs_into_the_next() {
        let mut ids = Ids::new();
        let before = ids.next_at(5);
        ids.tail = (1 << TAIL_BITS) - 1;
        let last = ids.next_at(5);
        assert!(last > before && ids.milliseconds == 6);
    }
}
