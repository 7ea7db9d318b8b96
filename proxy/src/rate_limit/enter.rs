//! A request held against the limits of its route.

use std::time::Duration;

use pingora::http::RequestHeader;
use pingora::proxy::Session;

use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::rate_limit::gcra::Verdict;
use crate::rate_limit::key::{Asking, Key};
use crate::rate_limit::quota::Quota;
use crate::rate_limit::table::Held;
use crate::rate_limit::{Limit, NS_PER_S, Passage};
use crate::rules;

/// When a request that found too many others in flight may come back.
const RETRY_NS: u64 = NS_PER_S;

/// What one limit said.
enum Said {
    Passes { wait_ns: u64 },
    Over { retry_ns: u64 },
    Unavailable,
}

/// Holds the request against every limit of its route, and keeps it waiting where a limit says so.
///
/// Errors: `RateLimited`; `LimitUnavailable` where a limit that cannot be asked refuses; `ClientGone`.
pub async fn admit(
    session: &mut Session,
    exchange: &mut Exchange,
    listener: &str,
) -> Result<(), Failure> {
    let Some(keys) = keys(session.req_header(), exchange, listener) else { return Ok(()) };
    let wait = async |time| {
        // A body that is still to come would be read here; then the client is not watched.
        let is_whole = session.is_body_done();
        tokio::select! {
            biased;
            () = tokio::time::sleep(time) => Ok(()),
            _ = session.downstream_session.read_body_or_idle(true), if is_whole => {
                Err(Failure::ClientGone)
            }
        }
    };
    hold_against_all(keys, exchange, wait).await
}

/// What the request counts as with each limit of its route; `None` when there is no limit.
pub fn keys(head: &RequestHeader, exchange: &Exchange, listener: &str) -> Option<Vec<Option<Key>>> {
    let route = exchange.route.as_ref()?;
    if route.rate_limits.is_empty() || exchange.ruled.by_steps {
        return None;
    }
    let proved = &exchange.proved;
    let asking = Asking { client: exchange.client, route: &route.name, head, proved };
    let target = rules::target(listener, head);
    let asked = rules::asked_for(head, exchange).into_owned();
    let texts = route.rate_limits.iter().any(|limit| limit.text.is_some());
    let walk = &exchange.ruled.walk;
    let facts = texts.then(|| rules::facts(head, exchange, target, &asked, walk));
    Some(route.rate_limits.iter().map(|limit| limit.key(&asking, facts.as_ref())).collect())
}

/// Holds these keys against the limits they belong to; `wait` keeps the request for as long as they say.
///
/// Errors: as of [`admit`], and what `wait` says.
pub async fn hold_against_all(
    keys: Vec<Option<Key>>,
    exchange: &mut Exchange,
    wait: impl AsyncFnOnce(Duration) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Some(route) = exchange.route.clone() else { return Ok(()) };
    let passage = &mut exchange.limits;
    let mut quota = Quota::default();
    let mut waits: Vec<(&Limit, Key, u64)> = Vec::new();
    for (limit, key) in route.rate_limits.iter().zip(keys) {
        let Some(key) = key else { continue };
        let said = hold_against(limit, &key, passage, &mut quota).await;
        if let Said::Passes { wait_ns } = said {
            waits.push((limit, key, wait_ns));
            continue;
        }
        if limit.config.dry_run {
            limit.count("over_dry_run");
            continue;
        }
        waits.iter().for_each(|(limit, key, _)| limit.give_back(key));
        return Err(refused(limit, &said, quota));
    }
    let held = hold(&waits, &quota)?;
    for (limit, _, wait_ns) in &waits {
        limit.count(if *wait_ns > 0 { "delayed" } else { "passed" });
    }
    let longest_ns = waits.iter().map(|(_, _, wait_ns)| *wait_ns).max().unwrap_or(0);
    if longest_ns > 0 {
        wait(Duration::from_nanos(longest_ns)).await?;
    }
    drop(held);
    passage.allowances = waits.iter().filter_map(|(limit, key, _)| limit.allowance(key)).collect();
    passage.quota = Some(quota).filter(|quota| !quota.is_empty());
    Ok(())
}

/// Asks one limit, and takes the place in flight that it has to give.
async fn hold_against(limit: &Limit, key: &Key, passage: &mut Passage, quota: &mut Quota) -> Said {
    if let Some(max) = limit.config.concurrency_max {
        match limit.counts.enter(*key, max) {
            Some(place) => passage.places.push(place),
            None => {
                passage.over.get_or_insert_with(|| limit.name.clone());
                return Said::Over { retry_ns: RETRY_NS };
            }
        }
    }
    let Some(pace) = &limit.pace else { return Said::Passes { wait_ns: 0 } };
    let verdict = limit.ask(key, pace).await;
    let (said, is_over) = match verdict {
        Some(Verdict::Passes { wait_ns, debt_ns }) => {
            limit.tell(quota, pace.left(debt_ns), debt_ns);
            // In a dry run nobody is kept waiting, but it is known who would be.
            let over = if limit.config.dry_run && wait_ns > 0 {
                Said::Over { retry_ns: wait_ns }
            } else {
                Said::Passes { wait_ns }
            };
            (over, wait_ns > 0)
        }
        Some(Verdict::Over { retry_ns }) => (Said::Over { retry_ns }, true),
        None => (Said::Unavailable, true),
    };
    if is_over {
        let wait_ns = match (&said, verdict) {
            (Said::Over { retry_ns }, Some(Verdict::Over { .. })) => pace.delay_max_ns + retry_ns,
            (Said::Over { retry_ns: wait_ns } | Said::Passes { wait_ns }, _) => *wait_ns,
            (Said::Unavailable, _) => 0,
        };
        passage.excess = pace.excess(wait_ns);
        passage.over.get_or_insert_with(|| limit.name.clone());
    }
    said
}

fn refused(limit: &Limit, said: &Said, mut quota: Quota) -> Failure {
    limit.count("refused");
    let Said::Over { retry_ns } = said else { return Failure::LimitUnavailable };
    limit.tell(&mut quota, 0, *retry_ns);
    let retry_after_s = retry_ns.div_ceil(NS_PER_S).max(1);
    Failure::RateLimited { retry_after_s, quota, status: limit.config.status }
}

/// Places among those who wait, for each limit that makes the request wait.
fn hold(waits: &[(&Limit, Key, u64)], quota: &Quota) -> Result<Vec<Held>, Failure> {
    let mut held = Vec::new();
    for (limit, _, wait_ns) in waits.iter().filter(|(_, _, wait_ns)| *wait_ns > 0) {
        match limit.counts.hold(limit.config.delayed_max) {
            Some(place) => held.push(place),
            None => {
                waits.iter().for_each(|(limit, key, _)| limit.give_back(key));
                return Err(refused(limit, &Said::Over { retry_ns: *wait_ns }, quota.clone()));
            }
        }
    }
    Ok(held)
}
