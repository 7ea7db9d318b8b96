//! How long answers are fresh by the cache's clock, where that is ahead of the system's ([`crate::cache::clock`]).

use http::{HeaderMap, StatusCode};

use crate::cache::freshness::{Refusal, Rules, Times, assess};

/// The same as [`assess`] where the clock that times are told by is ahead of the one that dates are read by.
pub fn assess_ahead(
    lead_ms: u64,
    status: StatusCode,
    headers: &HeaderMap,
    with_authorization: bool,
    rules: &Rules,
    (asked_ms, arrived_ms): (u64, u64),
) -> Result<Times, Refusal> {
    let times = (asked_ms.saturating_sub(lead_ms), arrived_ms.saturating_sub(lead_ms));
    let assessed = assess(status, headers, with_authorization, rules, times);
    assessed.map(|times| times.later_by(lead_ms))
}

impl Times {
    /// The same by a clock that is ahead by this much.
    fn later_by(self, lead_ms: u64) -> Times {
        Times {
            arrived_ms: self.arrived_ms + lead_ms,
            fresh_until_ms: self.fresh_until_ms + lead_ms,
            revalidate_until_ms: self.revalidate_until_ms + lead_ms,
            error_until_ms: self.error_until_ms + lead_ms,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::{CACHE_CONTROL, DATE};

    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const NOW: u64 = 784_111_777_000;

    #[test]
    fn dates_are_read_by_the_clock_they_were_written_by() {
        let lead_ms = 3_600_000;
        let headers = HeaderMap::from_iter([
            (CACHE_CONTROL, HeaderValue::from_static("max-age=10")),
            (DATE, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:33 GMT")),
        ]);
        let (rules, status) = (Rules::default(), StatusCode::OK);
        let at = |lead_ms: u64| {
            let when = (NOW + lead_ms, NOW + lead_ms);
            assess_ahead(lead_ms, status, &headers, false, &rules, when).unwrap()
        };
        assert_eq!(at(0).fresh_for_ms(NOW), 6_999);
        assert_eq!(at(lead_ms).fresh_for_ms(NOW + lead_ms), 6_999);
        assert_eq!(at(lead_ms).age_ms(NOW + lead_ms), at(0).age_ms(NOW));
    }
}
