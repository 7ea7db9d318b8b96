//! When an endpoint that failed is tried again. Pure.

use std::time::Duration;

use crate::outbox::Limits;

/// Longest wait between two attempts.
pub const WAIT_MAX: Duration = Duration::from_secs(3600);

/// What follows an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    After(Duration),
    /// No more attempts until somebody asks for them.
    Suspend,
}

/// After the `failures`th failure in a row, from 1. `gone`: the endpoint says that it wants no more (410).
pub fn next(failures: u32, gone: bool, limits: &Limits) -> Next {
    if gone || failures >= limits.attempts_max {
        return Next::Suspend;
    }
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    Next::After(limits.retry_first.saturating_mul(doubled).min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_an_hour_and_end() {
        let limits = Limits { attempts_max: 20, ..Limits::USUAL };
        let waits: Vec<u64> = (1..20)
            .map(|failures| match next(failures, false, &limits) {
                Next::After(wait) => wait.as_secs(),
                Next::Suspend => panic!("suspended after {failures}"),
            })
            .collect();
        assert_eq!(waits[..13], [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600]);
        assert!(waits[13..].iter().all(|wait| *wait == 3600));
        assert_eq!(next(20, false, &limits), Next::Suspend);
        assert_eq!(next(1, true, &limits), Next::Suspend);
        let long = Limits { attempts_max: u32::MAX, ..limits };
        assert_eq!(next(1000, false, &long), Next::After(WAIT_MAX));
    }

    #[test]
    fn the_usual_limits_give_an_endpoint_half_a_day() {
        let all = (1..Limits::USUAL.attempts_max).map(|failures| {
            match next(failures, false, &Limits::USUAL) {
                Next::After(wait) => wait,
                Next::Suspend => Duration::ZERO,
            }
        });
        let hours = all.sum::<Duration>().as_secs() / 3600;
        assert_eq!(hours, 12);
    }
}
