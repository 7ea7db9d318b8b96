//! OCSP stapling (RFC 6066 section 8): what a certificate's authority says of it goes with it in the handshake, so that
//! clients need not ask. [`message`] makes questions and judges answers, purely; [`stapler`] asks in time.

pub mod message;
pub mod stapler;

/// When an answer is asked for again: half of its time is over, or a little later by `spread` of 0 to 1. Seconds since 1970.
pub fn refresh_at(answered: message::Answered, now: i64, spread: f64) -> i64 {
    let message::Answered { this_update, next_update } = answered;
    let length = next_update.saturating_sub(this_update).max(0);
    let tenth = u32::try_from(length / 10).unwrap_or(u32::MAX);
    let later = (f64::from(tenth) * spread.clamp(0.0, 1.0)).round();
    #[expect(clippy::cast_possible_truncation, reason = "seconds, of which fractions do not count")]
    let at = this_update + length / 2 + later as i64;
    // One that is half over when it comes is not asked for at once again.
    at.max(now + 60)
}

/// How long after so many failures, one at least, a responder is asked again, in seconds.
pub fn backoff(failures: u32) -> i64 {
    let doublings = failures.saturating_sub(1).min(6);
    (60_i64 << doublings).min(3600)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::ocsp::message::Answered;

    #[test]
    fn responders_are_asked_before_their_answers_are_over() {
        let week = Answered { this_update: 0, next_update: 7 * 86_400 };
        assert_eq!(refresh_at(week, 0, 0.0), 302_400);
        assert_eq!(refresh_at(week, 0, 1.0), 302_400 + 60_480);
        assert_eq!(refresh_at(week, 400_000, 0.0), 400_060);
        let odd = Answered { this_update: 100, next_update: 50 };
        assert_eq!(refresh_at(odd, 0, 0.5), 100);
        assert_eq!([1, 2, 7, 50].map(backoff), [60, 120, 3600, 3600]);
        assert_eq!(backoff(u32::MAX), 3600);
    }
}
