//! When a request is tried again, as pure rules, and the budget that keeps retries from multiplying
//! the load on servers that are failing for lack of room.
//!
//! A server that could not be connected to has seen nothing, so any request may go to another one. Whatever may
//! have reached a server is repeated only when that does no harm (RFC 9110 section 9.2.2) and the upstream's `retries`
//! name the case. A pooled connection that the server had closed already is replaced by a fresh one to the same
//! server, once; so is one on which the server says that it has not looked at the request, whatever its method.

use proxy_config::upstream_health::{self, Retries, RetryOn};

/// Servers one request may fail to connect to without `retries`, the first included.
const CONNECTS_MAX: usize = 3;
/// Pooled connections one request may find closed.
pub const STALE_MAX: usize = 1;
/// Upper bound of attempts of one request, those included that found a pooled connection closed.
pub const ATTEMPTS_MAX: usize = upstream_health::ATTEMPTS_MAX as usize + STALE_MAX;
/// Retries saved up at most, and at hand from the start.
const SAVED_MAX: u64 = 10;
/// What one retry costs; a request pays in the hundredths of a percent that the budget says.
const RETRY_COST: u64 = 10_000;

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// No connection.
    Connect,
    /// A pooled connection that was closed already.
    Stale,
    /// The server says that it has not looked at it: its connection goes, or it has no room (RFC 9113 section 8.7).
    Unprocessed,
    /// It broke before the response's head.
    Reset,
    Timeout,
    /// Status 502, 503 or 504.
    Gateway,
    /// Another that the upstream names.
    Status,
    /// An answer that makes no sense.
    Nonsense,
}

impl Failed {
    /// From the `kind` label of a failure.
    pub fn of(kind: &str) -> Failed {
        match kind {
            "connect" | "connect_timeout" => Failed::Connect,
            "read_timeout" => Failed::Timeout,
            "read" | "write" | "write_timeout" => Failed::Reset,
            _ => Failed::Nonsense,
        }
    }

    /// Whether another connection to the same server is all it takes.
    pub fn is_the_connections(self) -> bool {
        matches!(self, Failed::Stale | Failed::Unprocessed)
    }

    /// The `reason` label of a retry.
    pub fn reason(self) -> &'static str {
        match self {
            Failed::Connect => "connect",
            Failed::Stale => "stale_connection",
            Failed::Unprocessed => "unprocessed",
            Failed::Reset => "reset",
            Failed::Timeout => "timeout",
            Failed::Gateway => "gateway_error",
            Failed::Status => "status",
            Failed::Nonsense => "nonsense",
        }
    }
}

/// Whether the rules allow another server after `tried` of them failed. `repeatable`: the request
/// does no harm twice, and all of it is still at hand.
pub fn allows(rules: Option<&Retries>, failed: Failed, repeatable: bool, tried: usize) -> bool {
    let Some(rules) = rules else {
        return failed == Failed::Connect && tried < CONNECTS_MAX;
    };
    let attempts_max = usize::try_from(rules.attempts_max).unwrap_or(usize::MAX);
    let case = match failed {
        // Whoever asks has seen that the upstream names it.
        Failed::Status => return repeatable && tried < attempts_max,
        Failed::Connect => RetryOn::ConnectFailure,
        Failed::Reset => RetryOn::Reset,
        Failed::Timeout => RetryOn::Timeout,
        Failed::Gateway => RetryOn::GatewayError,
        Failed::Stale | Failed::Unprocessed | Failed::Nonsense => return false,
    };
    rules.on.contains(&case) && (repeatable || failed == Failed::Connect) && tried < attempts_max
}

/// Retries that requests have paid for.
#[derive(Debug)]
pub struct Budget {
    saved: u64,
    per_request: u64,
}

impl Budget {
    /// `hundredths` of a percent of requests.
    pub fn new(hundredths: u16) -> Budget {
        let saved = if hundredths == 0 { 0 } else { SAVED_MAX * RETRY_COST };
        Budget { saved, per_request: u64::from(hundredths) }
    }

    /// One more request.
    pub fn pay_in(&mut self) {
        self.saved = (self.saved + self.per_request).min(SAVED_MAX * RETRY_COST);
    }

    /// Takes one retry, if there is one.
    pub fn take(&mut self) -> bool {
        let enough = self.saved >= RETRY_COST;
        if enough {
            self.saved -= RETRY_COST;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_rules_only_what_never_arrived_is_tried_elsewhere() {
        assert!(allows(None, Failed::Connect, false, 2) && !allows(None, Failed::Connect, true, 3));
        for failed in [Failed::Reset, Failed::Timeout, Failed::Gateway, Failed::Nonsense] {
            assert!(!allows(None, failed, true, 1), "{failed:?}");
        }
    }

    #[test]
    fn rules_name_the_cases_and_harm_is_never_done_twice() {
        use Failed as F;
        let rules = Retries {
            attempts_max: 2,
            on: vec![RetryOn::Reset, RetryOn::GatewayError],
            ..Retries::default()
        };
        let allowed = |failed, repeatable, tried| allows(Some(&rules), failed, repeatable, tried);
        assert!(allowed(F::Reset, true, 1) && allowed(F::Gateway, true, 1));
        assert!(!allowed(F::Reset, true, 2), "two attempts in all");
        assert!(!allowed(F::Reset, false, 1) && !allowed(F::Gateway, false, 1));
        assert!(!allowed(F::Timeout, true, 1) && !allowed(F::Connect, true, 1));
        let rules = Retries::default();
        assert!(allows(Some(&rules), F::Connect, false, 1), "nothing has arrived");
    }

    proptest! {
        /// However requests and failures mix, retries are at most their part and what was saved up.
        #[test]
        fn retries_stay_within_their_part(fails in proptest::collection::vec(any::<bool>(), 0..500), percent in 0u16..100) {
            let mut budget = Budget::new(percent * 100);
            let mut retries = 0;
            for failed in &fails {
                budget.pay_in();
                retries += u64::from(*failed && budget.take());
            }
            let part = fails.len() as u64 * u64::from(percent) / 100;
            prop_assert!(retries <= part + SAVED_MAX);
            prop_assert!(percent > 0 || retries == 0);
        }
    }
}
