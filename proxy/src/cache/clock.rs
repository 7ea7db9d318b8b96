//! The cache's clock: the system's, as long as that goes forward, by steps too (after it was corrected, or the machine was
//! suspended). Where the system's is set back this one goes on from where it is, at the same pace, ahead of the other from
//! then on: it neither goes back, so that no age is wrong, nor stands still until it is caught up with. What others date is
//! read by the system's clock: [`lead_ms`] is between the two.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// By less, and for no longer, threads that look at the same time may pass each other.
const UNEVEN_MS: u64 = 1000;

static CLOCK: Clock = Clock::new();

/// Now, in milliseconds since 1970. Never goes back.
pub fn now_ms() -> u64 {
    CLOCK.now(system_ms)
}

/// How far it is ahead of the system's.
pub fn lead_ms() -> u64 {
    CLOCK.lead.load(Ordering::Relaxed)
}

fn system_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(0)
}

struct Clock {
    /// The latest time that was told.
    last: AtomicU64,
    lead: AtomicU64,
}

impl Clock {
    const fn new() -> Clock {
        Clock { last: AtomicU64::new(0), lead: AtomicU64::new(0) }
    }

    fn now(&self, system: impl Fn() -> u64) -> u64 {
        let now = system() + self.lead.load(Ordering::Relaxed);
        let last = self.last.load(Ordering::Relaxed);
        if now > last {
            return self.last.fetch_max(now, Ordering::Relaxed).max(now);
        }
        if last - now <= UNEVEN_MS { last } else { self.go_on(system) }
    }

    /// The system's clock was set back, unless another thread has seen to it, or this one was held up for long.
    #[cold]
    fn go_on(&self, system: impl Fn() -> u64) -> u64 {
        loop {
            let lead = self.lead.load(Ordering::Relaxed);
            let now = system() + lead;
            let last = self.last.load(Ordering::Relaxed);
            if last.saturating_sub(now) <= UNEVEN_MS {
                return self.last.fetch_max(now, Ordering::Relaxed).max(now);
            }
            let ahead = lead + (last - now);
            if self.lead.compare_exchange(lead, ahead, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            {
                return last;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;
    const HOUR: u64 = 3_600_000;

    #[test]
    fn it_follows_the_system_forward_by_steps_too() {
        let clock = Clock::new();
        for at in [NOW, NOW + 5, NOW + 8 * HOUR] {
            assert_eq!(clock.now(|| at), at);
        }
        assert_eq!(clock.lead.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn set_back_it_goes_on_at_once_and_knows_how_far_it_is_ahead() {
        let clock = Clock::new();
        assert_eq!(clock.now(|| NOW), NOW);
        // Once and again.
        for hours in 1..3 {
            let system = NOW - hours * HOUR;
            let at = clock.now(|| system);
            assert_eq!(clock.now(|| system + 7000), at + 7000, "it does not stand still");
            assert_eq!(clock.lead.load(Ordering::Relaxed), at - system);
        }
        // Set right again, it is followed as ever.
        let before = clock.now(|| NOW - 2 * HOUR + 7000);
        assert_eq!(clock.now(|| NOW), before + 2 * HOUR - 7000);
    }

    #[test]
    fn threads_that_pass_each_other_are_no_step_back() {
        let clock = Clock::new();
        assert_eq!([clock.now(|| NOW), clock.now(|| NOW - 3)], [NOW, NOW]);
        assert_eq!((clock.now(|| NOW + 1), clock.lead.load(Ordering::Relaxed)), (NOW + 1, 0));
        // Held up for long, it looks again before it believes it.
        let looks = std::cell::Cell::new(0);
        let late = || {
            looks.set(looks.get() + 1);
            if looks.get() == 1 { NOW - HOUR } else { NOW + 2 }
        };
        assert_eq!((clock.now(late), clock.lead.load(Ordering::Relaxed)), (NOW + 2, 0));
    }
}
