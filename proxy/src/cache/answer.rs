//! A request on a route with a cache policy: from the question to the last byte.

mod invalidate;
mod outcome;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Version};
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use proxy_config::header_edits::Rendered;
use tokio::time::timeout_at;

pub use crate::cache::answer::invalidate::invalidate;
use crate::cache::answer::outcome::{Found, joined, led, question, stood_in};
use crate::cache::directives::Directives;
use crate::cache::key::Key;
use crate::cache::object::Stored;
use crate::cache::policy::Policy;
use crate::cache::serve::{Source, send};
use crate::cache::sliced::Sliced;
use crate::cache::slices::Probe;
use crate::cache::verdict::Verdict;
use crate::cache::{Asking, Step, conditional, now_ms};
use crate::detour::{self, trail};
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::fill::origin::{Origin, Question};
use crate::fill::slice::Wants;
use crate::fill::task::Job;
use crate::fill::{Fill, Known};
use crate::hop;
use crate::prompt::quantum::QUANTUM_BYTES;
use crate::rules::{self, edits};
use crate::video::ahead;
use crate::video::reload::without_directives;
use crate::video::role::{Format, Role};

/// How long a blocking reload waits for somebody else's; the upstream's timeouts end it sooner.
const RELOAD_WAIT_MAX: Duration = Duration::from_secs(60);

/// The names of all verdicts.
pub const VERDICTS: [&str; 9] = [
    "hit",
    "stale",
    "stale_on_error",
    "revalidated",
    "miss",
    "collapsed",
    "pass",
    "not_cached",
    "failed",
];

/// Answers the request from the cache or through a fill, unless it is to pass through or the answer
/// leads elsewhere.
pub async fn answer(
    session: &mut Session,
    exchange: &mut Exchange,
    policy: &Arc<Policy>,
    origin: &Origin,
) -> Result<trail::Next, Failure> {
    let next = Next::of(session.req_header(), exchange, policy, origin);
    // Of a request that was led to a page the body is left behind.
    let is_led = exchange.trail.without_body;
    let has_body = !session.is_body_empty() && !is_led;
    let head = session.req_header();
    let unfit = unfit(head, is_led).or_else(|| has_body.then_some("body"));
    let found = match unfit.or_else(|| keyless(head)) {
        Some(reason) => Ok(Found::Pass(reason)),
        None => find(session, exchange, policy, origin).await,
    };
    let found = found.inspect_err(|failure| {
        let verdict = match failure {
            Failure::NotCached => Verdict::NotCached,
            _ => Verdict::Failed,
        };
        count(policy, exchange, verdict);
    })?;
    match found {
        Found::Pass(reason) => {
            count(policy, exchange, Verdict::Pass);
            exchange.cache_status = Some(format!("forebay; fwd=bypass; detail={reason}"));
            Ok(trail::Next::PassOn)
        }
        Found::Source(source, mut verdict, mut status, mut interest) => {
            let source = match source {
                Source::Stored(stored) if stored.head.layout.is_some() => {
                    let question = question(session.req_header(), exchange, origin);
                    let begun = interest.take();
                    match Sliced::new(policy, origin, question, &stored, begun) {
                        Some(sliced) => Source::Sliced(Box::new(sliced)),
                        None => Source::Stored(stored),
                    }
                }
                other => other,
            };
            if let Source::Sliced(sliced) = &source
                && verdict == Verdict::Hit
                && !sliced.is_there(&session.req_header().headers)
            {
                // The object is known, these bytes of it are not (RFC 9211 section 2.2).
                verdict = Verdict::Miss;
                status = "forebay; fwd=partial; stored".to_owned();
            }
            count(policy, exchange, verdict);
            if let Some(next) = next {
                ahead::start(policy, &next.origin, &next.question, &next.targets);
            }
            if let Some(detour) = detour::after(exchange, &source.head().response) {
                return Ok(trail::Next::Elsewhere(detour));
            }
            let pacing = exchange.pacing().ok_or(Failure::Internal)?;
            if source.length().is_none_or(|length| length > QUANTUM_BYTES as u64) {
                hop::to(pacing.lane.place()).await;
            }
            let pacing = exchange.pacing().ok_or(Failure::Internal)?;
            let begun = exchange.begun;
            let edits = exchange.ruled.to_client.clone();
            let first_byte = &mut exchange.first_byte;
            let head_sent = || *first_byte = Some(begun.elapsed());
            let quota = exchange.limits.quota.as_ref();
            let added = (&edits, quota, &pacing);
            let sent = send(session, &source, &status, added, now_ms(), head_sent).await;
            sent.map(|()| trail::Next::Sent)
        }
    }
}

pub fn count(policy: &Policy, exchange: &mut Exchange, verdict: Verdict) {
    policy.cache.count_request(verdict.name());
    exchange.cache = Some(verdict);
}

/// A request that asks for what lies at hand.
pub struct Wanted<'a> {
    pub head: &'a RequestHeader,
    /// It has no body and no [`conditional::is_particular`] field.
    pub is_plain: bool,
    /// How the upstream would be asked differently.
    pub edits: &'a Rendered,
    pub tls: bool,
    /// The whole key, where the policy says so.
    pub text: Option<&'a str>,
}

/// What answers a request at once, and how many milliseconds it stays fresh: a hit in memory, which no other request need know of,
/// and no field that the upstream is asked with in another way.
pub fn at_hand(wanted: &Wanted<'_>, policy: &Policy, now_ms: u64) -> Option<(Arc<Stored>, i64)> {
    let Wanted { head, is_plain, edits, tls, text } = *wanted;
    if policy.video.is_some() || keyless(head).is_some() {
        return None;
    }
    let reads = head.method == Method::GET || head.method == Method::HEAD;
    let said = match is_plain && reads {
        true => Directives::default(),
        false if unfit(head, false).is_some() => return None,
        false => Directives::of_request(&head.headers),
    };
    let key = key(policy, head, &head.headers, tls, text);
    let stored = policy.cache.at_hand((&key, &head.headers, &said), policy, now_ms)?;
    if !edits.is_empty() {
        let selected = stored.head.selection.pairs().map(|(name, _)| name);
        if selected.chain(policy.key.headers()).any(|name| edits.changes(name)) {
            return None;
        }
    }
    let fresh_for_ms = stored.times().fresh_for_ms(now_ms);
    Some((stored, fresh_for_ms))
}

/// This cache's member of `Cache-Status` for a hit, without the seconds it is fresh for.
pub const HIT_STATUS: &str = "forebay; hit; ttl=";

/// The whole of it for what is fresh so long.
pub fn hit_status(left_ms: i64) -> String {
    format!("{HIT_STATUS}{}", left_seconds(left_ms))
}

pub fn left_seconds(left_ms: i64) -> i64 {
    left_ms.div_euclid(1000)
}

/// Why a request cannot be answered from a cache, whatever is in it.
fn unfit(head: &RequestHeader, is_bodiless: bool) -> Option<&'static str> {
    let has_length = head.headers.get(CONTENT_LENGTH).is_some_and(|value| value != "0");
    if head.method != Method::GET && head.method != Method::HEAD {
        return Some("method");
    }
    if conditional::is_for_origin(&head.headers) {
        return Some("precondition");
    }
    let has_body = has_length || head.headers.contains_key(TRANSFER_ENCODING);
    (has_body && !is_bodiless).then_some("body")
}

fn keyless(head: &RequestHeader) -> Option<&'static str> {
    let has_host = head.headers.get(HOST).is_some_and(|host| host.to_str().is_ok());
    (!has_host || std::str::from_utf8(head.raw_path()).is_err()).then_some("no_host")
}

/// `headers` are as the upstream is asked with them; `text` is the whole key, where the policy says so.
fn key(
    policy: &Policy,
    head: &RequestHeader,
    headers: &HeaderMap,
    tls: bool,
    text: Option<&str>,
) -> Key {
    if let Some(text) = text {
        return Key { uri: text.into(), extras: Arc::default() };
    }
    let scheme = if tls { "https" } else { "http" };
    let target = std::str::from_utf8(head.raw_path()).unwrap_or_default();
    policy.key.key(scheme, host(head), target, headers)
}

/// The key of a request, which is another for each server that requests name, unless the policy says all of it.
fn own_key(policy: &Policy, head: &RequestHeader, headers: &HeaderMap, exchange: &Exchange) -> Key {
    let texts = &exchange.ruled.texts;
    let key = key(policy, head, headers, exchange.tls.is_some(), texts.cache_key.as_deref());
    if texts.cache_key.is_some() {
        return key;
    }
    let key = match asked_of_script(head, exchange) {
        Some(asked) => key.of_script(policy.key.uri(scheme(exchange), host(head), &asked)),
        None => key,
    };
    let key = key.proved(policy.key.claims(&exchange.proved).as_ref());
    match &texts.server {
        Some(server) => key.at(server),
        None => key,
    }
}

/// What the client asked for, where that is not what the request has become and a script answers: it is told both, and one
/// script makes every page of a site.
fn asked_of_script(head: &RequestHeader, exchange: &Exchange) -> Option<String> {
    exchange.upstream.as_ref()?.gateway.as_ref()?;
    let asked = rules::asked_for(head, exchange);
    (asked.as_bytes() != head.raw_path()).then(|| asked.into_owned())
}

fn scheme(exchange: &Exchange) -> &'static str {
    if exchange.tls.is_some() { "https" } else { "http" }
}

fn host(head: &RequestHeader) -> &str {
    head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
}

/// Whether the request is a blocking reload of a live playlist.
fn held(policy: &Policy, head: &RequestHeader, key: &Key) -> Result<bool, Failure> {
    let Some(_) = policy.video.as_ref().filter(|video| video.blocking_reload) else {
        return Ok(false);
    };
    let is_playlist = Role::by_name(head.uri.path()) == Role::Manifest(Format::Hls);
    let Some(query) = head.uri.query().filter(|_| is_playlist) else { return Ok(false) };
    let stream = without_directives(&key.uri);
    let held = policy.cache.video.held(query, &stream, now_ms());
    held.map(|reload| reload.is_some()).map_err(Failure::BadRequest)
}

/// What is asked for ahead once the request itself is being answered.
struct Next {
    targets: Vec<String>,
    origin: Origin,
    question: Question,
}

impl Next {
    fn of(
        head: &RequestHeader,
        exchange: &Exchange,
        policy: &Policy,
        origin: &Origin,
    ) -> Option<Next> {
        policy.video.as_ref()?;
        let told = policy.cache.video.hear(head, now_ms());
        let tls = exchange.tls.is_some();
        let targets = ahead::after_request(policy, origin, head, tls, told.as_deref());
        (!targets.is_empty()).then(|| {
            let question = question(head, exchange, origin);
            Next { targets, origin: origin.clone(), question }
        })
    }
}

async fn find(
    session: &mut Session,
    exchange: &mut Exchange,
    policy: &Arc<Policy>,
    origin: &Origin,
) -> Result<Found, Failure> {
    let head = session.req_header();
    let mut said = Directives::of_request(&head.headers);
    said.forced = exchange.ruled.texts.cache_bypass;
    if policy.freshness.honor_request && said.no_store && !said.only_if_cached {
        return Ok(Found::Pass("no_store"));
    }
    // What tells answers apart is what the origin was asked with.
    let edited = edits::as_asked(head, &exchange.ruled.to_upstream);
    let key = own_key(policy, head, edited.as_ref().unwrap_or(&head.headers), exchange);
    // What is not to be stored begins no fill, as HEAD begins none unless the policy says so.
    let is_head =
        (head.method == Method::HEAD && !policy.for_head) || exchange.ruled.texts.cache_no_store;
    let held = held(policy, head, &key)?;
    // A reload is held by the origin: all wait for the one who asked, as long as the fill lasts.
    let wait_max = if held { RELOAD_WAIT_MAX } else { policy.collapse_wait_max };
    let deadline = Instant::now() + wait_max;
    let mut may_load = true;
    loop {
        let headers = edited.as_ref().unwrap_or(&session.req_header().headers);
        let may_wait = Instant::now() < deadline || policy.collapse_wait_max.is_zero();
        let asking = Asking { key: &key, headers, said: &said, is_head, may_wait, may_load };
        let now_ms = now_ms();
        match policy.cache.look(&asking, policy, now_ms) {
            Step::Unanswerable => return Err(Failure::NotCached),
            Step::Pass(reason) => return Ok(Found::Pass(said_of(reason, exchange))),
            Step::Serve { stored, refresh } => {
                if let Some(fill) = refresh {
                    let stale = Some(&stored);
                    begin(&fill, policy, origin, (session.req_header(), exchange), stale);
                }
                return Ok(from_store(stored, now_ms));
            }
            Step::StandIn(stored) => return Ok(stood_in(stored, now_ms)),
            Step::Load { load, interest } => {
                let fill = Arc::clone(&load.fill);
                load.start(Arc::clone(policy));
                wait(session, &fill).await?;
                drop(interest);
                may_load = false;
            }
            Step::Lead { fill, interest, stale } => {
                let asked = (session.req_header(), &*exchange);
                begin(&fill, policy, origin, asked, stale.as_ref());
                let known = wait(session, &fill).await?;
                let asked = (session.req_header(), origin);
                return led(asked, exchange, policy, (known, interest, stale), &said);
            }
            Step::Join { fill, interest, stale } => {
                let waited = timeout_at(deadline.into(), wait(session, &fill)).await;
                let Ok(known) = waited else { continue };
                let asked = (session.req_header(), edited.as_ref(), origin);
                let outcome = (known?, interest, stale);
                if let Some(found) = joined(asked, exchange, policy, outcome, &said)? {
                    return Ok(found);
                }
            }
        }
    }
}

/// Starts a fill for this request.
fn begin(
    fill: &Arc<Fill>,
    policy: &Arc<Policy>,
    origin: &Origin,
    (head, exchange): (&RequestHeader, &Exchange),
    stale: Option<&Arc<Stored>>,
) {
    let job = Job {
        fill: Arc::clone(fill),
        policy: Arc::clone(policy),
        origin: origin.clone(),
        question: question(head, exchange, origin),
        stale: stale.cloned(),
        wants: wants(head, policy, stale),
    };
    job.start();
}

/// Why a request passes: what is not to be stored begins no fill, as if it were a HEAD.
fn said_of(reason: &'static str, exchange: &Exchange) -> &'static str {
    match reason {
        "head" if exchange.ruled.texts.cache_no_store => "no_store",
        reason => reason,
    }
}

/// Waits for a fill's answer, or for the client to leave. Meanwhile it hears what the origin says
/// before its answer (1xx), unless it is too old to know of that.
pub async fn wait(session: &mut Session, fill: &Arc<Fill>) -> Result<Known, Failure> {
    let mut interim = fill.interim();
    let mut told = 0;
    let mut known = None;
    loop {
        let heads = interim.borrow_and_update().get(told..).unwrap_or_default().to_vec();
        told += heads.len();
        let knows = session.req_header().version != Version::HTTP_10;
        for head in heads.into_iter().filter(|_| knows) {
            let written = session.write_response_header(Box::new(head), false).await;
            written.map_err(|_| Failure::ClientGone)?;
        }
        if let Some(known) = known {
            return Ok(known);
        }
        tokio::select! {
            biased;
            answer = fill.known() => known = Some(answer),
            Ok(()) = interim.changed() => {}
            _ = session.downstream_session.read_body_or_idle(true) => {
                return Err(Failure::ClientGone);
            }
        }
    }
}

fn from_store(stored: Arc<Stored>, now_ms: u64) -> Found {
    let left_ms = stored.times().fresh_for_ms(now_ms);
    let verdict = if left_ms > 0 { Verdict::Hit } else { Verdict::Stale };
    Found::Source(Source::Stored(stored), verdict, hit_status(left_ms), None)
}

/// What a fill asks for: what may be large by a part, unless it is known to be small.
fn wants(request: &RequestHeader, policy: &Policy, stale: Option<&Arc<Stored>>) -> Wants {
    let is_small = stale.is_some_and(|stale| stale.head.layout.is_none());
    match &policy.slices {
        Some(rules) if !is_small => Wants::Probe(Probe::of(&request.headers, rules)),
        _ => Wants::Whole,
    }
}
