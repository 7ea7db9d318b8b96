//! When a certificate is renewed, and when what failed is tried again. Times are seconds since 1970; nothing here looks at
//! a clock or draws a number.

use serde::{Deserialize, Serialize};

use crate::tls::shown::Validity;

/// The authority was not reached: nobody counts that against us.
const UNREACHABLE_S: (u32, u32) = (5, 15 * 60);
/// The authority said no. Let's Encrypt allows five failures an hour for a name; this makes four.
const REFUSED_S: (u32, u32) = (5 * 60, 6 * 3600);

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    Unreachable,
    Refused,
}

impl Failed {
    pub fn name(self) -> &'static str {
        match self {
            Failed::Unreachable => "unreachable",
            Failed::Refused => "refused",
        }
    }
}

/// What went wrong with a name, until it goes right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Attempts that failed one after the other.
    pub failures: u32,
    /// When the next may be made.
    pub not_before: i64,
    pub why: String,
}

/// How long after so many failures, one at least, the next attempt is made. `spread`, of 0 to 1, keeps many proxies from asking
/// at once: it adds up to a quarter.
pub fn backoff(failed: Failed, failures: u32, spread: f64) -> i64 {
    let (first, longest) = match failed {
        Failed::Unreachable => UNREACHABLE_S,
        Failed::Refused => REFUSED_S,
    };
    let doublings = failures.saturating_sub(1).min(16);
    let seconds = i64::from(first) << doublings;
    let seconds = seconds.min(i64::from(longest));
    seconds + part(seconds, 0.25 * spread)
}

/// When a certificate is renewed: while a third of its lifetime is left, and a little earlier by `spread`; or within the
/// window that its authority suggests (RFC 9773 section 4.2), but not so late that there is no time for a second attempt.
pub fn renewal(validity: Validity, window: Option<(i64, i64)>, spread: f64) -> i64 {
    let lifetime = validity.until.saturating_sub(validity.from).max(0);
    match window {
        Some((start, end)) => {
            let length = end.saturating_sub(start).max(0);
            let within = start.saturating_add(part(length, spread));
            within.min(validity.until - lifetime / 6)
        }
        None => validity.until - lifetime / 3 - part(lifetime, 0.02 * spread),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "seconds, of which fractions do not count")]
fn part(of: i64, share: f64) -> i64 {
    // Beyond 2^53 seconds a few of them are lost.
    (of as f64 * share.clamp(0.0, 1.0)) as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 86_400;

    #[test]
    fn a_third_of_the_lifetime_is_left() {
        let validity = Validity { from: 0, until: 90 * DAY };
        assert_eq!(renewal(validity, None, 0.0), 60 * DAY);
        assert!((58 * DAY..60 * DAY).contains(&renewal(validity, None, 0.99)));
        let short = Validity { from: 100, until: 115 };
        assert_eq!(renewal(short, None, 0.5), 110);
    }

    #[test]
    fn an_authority_suggests_when() {
        let validity = Validity { from: 0, until: 90 * DAY };
        for (window, spread, at) in [
            ((50 * DAY, 52 * DAY), 0.0, 50 * DAY),
            ((50 * DAY, 52 * DAY), 0.5, 51 * DAY),
            ((-5, -1), 0.5, -3),
            ((80 * DAY, 89 * DAY), 0.5, 75 * DAY),
            ((80 * DAY, 10 * DAY), 0.5, 75 * DAY),
        ] {
            assert_eq!(renewal(validity, Some(window), spread), at, "{window:?}");
        }
    }

    #[test]
    fn no_name_fails_more_than_four_times_an_hour() {
        let (mut now, mut at) = (0, Vec::new());
        for failures in 1..=20 {
            at.push(now);
            now += backoff(Failed::Refused, failures, 0.0);
        }
        for begin in &at {
            let within = at.iter().filter(|other| (*begin..*begin + 3600).contains(*other));
            assert!(within.count() <= 4, "{at:?}");
        }
        assert_eq!(backoff(Failed::Refused, 20, 0.0), 6 * 3600);
        assert_eq!(backoff(Failed::Unreachable, 1, 0.0), 5);
        assert_eq!(backoff(Failed::Unreachable, u32::MAX, 1.0), 15 * 60 * 5 / 4);
    }

    proptest! {
        #[test]
        fn nothing_a_certificate_or_an_authority_says_overflows(
            from in i64::MIN / 4..i64::MAX / 4, until in i64::MIN / 4..i64::MAX / 4,
            start in any::<i64>(), end in any::<i64>(), spread in 0.0..1.0f64, failures in any::<u32>(),
        ) {
            let validity = Validity { from, until };
            prop_assert!(renewal(validity, None, spread) <= until);
            prop_assert!(renewal(validity, Some((start, end)), spread) <= until);
            let wait = backoff(Failed::Refused, failures, spread);
            prop_assert!((5 * 60..=6 * 3600 * 5 / 4).contains(&wait));
        }
    }
}
