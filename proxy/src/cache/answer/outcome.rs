//! What requests get of a fill: the one that began it, and those that waited for it.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, RANGE, TRANSFER_ENCODING};
use http::{HeaderMap, Method};
use pingora::http::RequestHeader;

use crate::cache::conditional;
use crate::cache::directives::Directives;
use crate::cache::freshness::{Plan, plan};
use crate::cache::now_ms;
use crate::cache::object::{Head, Stored};
use crate::cache::policy::Policy;
use crate::cache::serve::Source;
use crate::cache::verdict::Verdict;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::fill::flow::Flow;
use crate::fill::origin::{Origin, Question};
use crate::fill::passing::Passing;
use crate::fill::{Answer, Interest, Known};

/// What was found for a request.
pub enum Found {
    Source(Source, Verdict, String, Option<Interest>),
    Pass(&'static str),
}

type Outcome = (Known, Interest, Option<Arc<Stored>>);

/// What the one who began a fill gets of it.
pub fn led(
    (request, origin): (&RequestHeader, &Origin),
    exchange: &mut Exchange,
    policy: &Arc<Policy>,
    (known, interest, stale): Outcome,
    said: &Directives,
) -> Result<Found, Failure> {
    exchange.met(known.contact);
    let why = match stale {
        _ if said.forced => "bypass",
        Some(_) => "stale",
        None => "uri-miss",
    };
    match known.answer {
        Answer::Shared(head, flow) => {
            let status = format!("forebay; fwd={why}; stored");
            Ok(Found::Source(Source::Flow(head, flow), Verdict::Miss, status, Some(interest)))
        }
        Answer::Fresh(stored) => Ok(revalidated(stored)),
        Answer::Large(stored, _) => {
            let status = format!("forebay; fwd={why}; stored");
            Ok(Found::Source(Source::Stored(stored), Verdict::Miss, status, Some(interest)))
        }
        Answer::Private(head, flow, reason) => {
            if head.response.status.as_u16() >= 500
                && let Some(found) = stand_in(stale, policy, said)
            {
                return Ok(found);
            }
            // The origin can answer a part by itself; the whole would be read for nothing.
            if request.headers.contains_key(RANGE) {
                return Ok(Found::Pass(reason));
            }
            let status = format!("forebay; fwd={why}; detail={reason}");
            Ok(Found::Source(Source::Flow(head, flow), Verdict::Miss, status, Some(interest)))
        }
        Answer::Passing(_, _, reason) if request.headers.contains_key(RANGE) => {
            Ok(Found::Pass(reason))
        }
        Answer::Passing(head, flow, reason) => {
            let source = passing((head, flow), &interest, (request, origin), exchange, policy);
            let status = format!("forebay; fwd={why}; detail={reason}");
            Ok(Found::Source(source, Verdict::Miss, status, Some(interest)))
        }
        Answer::Refused(reason) => Ok(Found::Pass(reason)),
        Answer::Failed(failure) => stand_in(stale, policy, said).ok_or(failure),
        // A load has no leader of this kind.
        Answer::Loaded => Err(Failure::Internal),
    }
}

/// What passes, and how its rest is asked for by this request.
fn passing(
    (head, flow): (Arc<Head>, Arc<Flow>),
    interest: &Interest,
    (request, origin): (&RequestHeader, &Origin),
    exchange: &Exchange,
    policy: &Arc<Policy>,
) -> Source {
    Source::Passing(Box::new(Passing {
        head,
        flow,
        key: interest.key().clone(),
        policy: Arc::clone(policy),
        origin: origin.clone(),
        question: question(request, exchange, origin),
    }))
}

/// What one who waited gets of what there is no room for: a place beside the one who asked, or what he asks for himself.
fn joined_passing(
    (request, edited, origin): (&RequestHeader, Option<&HeaderMap>, &Origin),
    exchange: &Exchange,
    policy: &Arc<Policy>,
    (head, flow, reason): (Arc<Head>, Arc<Flow>, &'static str),
    interest: Interest,
) -> Found {
    let headers = edited.unwrap_or(&request.headers);
    if !flow.is_open() || !head.selection.fits(headers) || headers.contains_key(RANGE) {
        return Found::Pass(reason);
    }
    let source = passing((head, flow), &interest, (request, origin), exchange, policy);
    let status = format!("forebay; fwd=uri-miss; collapsed; detail={reason}");
    Found::Source(source, Verdict::Collapsed, status, Some(interest))
}

/// What one who waited for somebody else's fill gets of it; `None`: to be decided anew.
pub fn joined(
    asked: (&RequestHeader, Option<&HeaderMap>, &Origin),
    exchange: &Exchange,
    policy: &Arc<Policy>,
    (known, interest, stale): Outcome,
    said: &Directives,
) -> Result<Option<Found>, Failure> {
    let headers = asked.1.unwrap_or(&asked.0.headers);
    match known.answer {
        Answer::Shared(head, flow) if head.selection.fits(headers) && flow.is_kept() => {
            let status = "forebay; fwd=uri-miss; collapsed".to_owned();
            let source = Source::Flow(head, flow);
            Ok(Some(Found::Source(source, Verdict::Collapsed, status, Some(interest))))
        }
        Answer::Fresh(stored) if stored.head.selection.fits(headers) => {
            Ok(Some(revalidated(stored)))
        }
        Answer::Large(stored, _) if is_for(&stored, headers, policy, said) => {
            let status = "forebay; fwd=uri-miss; collapsed".to_owned();
            let source = Source::Stored(stored);
            Ok(Some(Found::Source(source, Verdict::Collapsed, status, Some(interest))))
        }
        Answer::Shared(..) | Answer::Large(..) | Answer::Fresh(_) | Answer::Loaded => Ok(None),
        Answer::Passing(head, flow, reason) => {
            Ok(Some(joined_passing(asked, exchange, policy, (head, flow, reason), interest)))
        }
        Answer::Private(head, _, reason) => {
            let failed = head.response.status.as_u16() >= 500;
            let stood_in = stale.filter(|_| failed);
            Ok(Some(stand_in(stood_in, policy, said).unwrap_or(Found::Pass(reason))))
        }
        Answer::Refused(reason) => Ok(Some(Found::Pass(reason))),
        Answer::Failed(failure) => stand_in(stale, policy, said).map(Some).ok_or(failure),
    }
}

/// Whether what was laid out for another answers this request too.
fn is_for(stored: &Stored, headers: &HeaderMap, policy: &Policy, said: &Directives) -> bool {
    let times = stored.times();
    let honor = policy.freshness.honor_request;
    let usable = plan(Some(&times), said, honor, times.arrived_ms()) == Plan::Hit;
    usable && stored.head.selection.fits(headers)
}

fn revalidated(stored: Arc<Stored>) -> Found {
    let status = "forebay; fwd=stale; fwd-status=304".to_owned();
    Found::Source(Source::Stored(stored), Verdict::Revalidated, status, None)
}

/// What is stored, in place of an origin that failed (RFC 5861 section 4).
fn stand_in(stale: Option<Arc<Stored>>, policy: &Policy, said: &Directives) -> Option<Found> {
    let (stale, now_ms) = (stale?, now_ms());
    let honor = policy.freshness.honor_request;
    if !stale.times().serves_on_error(said, honor, now_ms) {
        return None;
    }
    Some(stood_in(stale, now_ms))
}

pub fn stood_in(stale: Arc<Stored>, now_ms: u64) -> Found {
    let ttl = stale.times().fresh_for_ms(now_ms).div_euclid(1000);
    let status = format!("forebay; hit; ttl={ttl}; detail=origin-failed");
    Found::Source(Source::Stored(stale), Verdict::StaleOnError, status, None)
}

/// The client's request as a fill asks it: a GET for the whole.
pub fn question(head: &RequestHeader, exchange: &Exchange, origin: &Origin) -> Question {
    let mut head = head.clone();
    if head.method == Method::HEAD {
        head.set_method(Method::GET);
    }
    for name in conditional::LEFT_OUT {
        head.remove_header(&name);
    }
    head.remove_header(&CONTENT_LENGTH);
    head.remove_header(&TRANSFER_ENCODING);
    let claims = exchange.cache_policy.as_ref().and_then(|p| p.key.claims(&exchange.proved));
    Question { caller: origin.caller.clone(), claims, ..exchange.question(Arc::new(head)) }
}
