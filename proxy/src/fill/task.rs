//! The task of a fill: ask, judge, read, store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    AGE, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName,
};
use http::{HeaderMap, StatusCode};
use pingora::http::ResponseHeader;
use proxy_config::cache_policy::WithoutReaders;

use crate::cache::budget::Lease;
use crate::cache::clock::{lead_ms, now_ms};
use crate::cache::directives::Directives;
use crate::cache::freshness::ahead::assess_ahead;
use crate::cache::freshness::{Refusal, Times, is_explicit};
use crate::cache::object::{BLOCK_OVERHEAD, Body, Head, Stored};
use crate::cache::paged;
use crate::cache::policy::Policy;
use crate::cache::tags::Tags;
use crate::cache::vary::Selection;
use crate::cache::{LARGE_PASS_MS, PASS_MS};
use crate::failure::Failure;
use crate::fill::contact::Contact;
use crate::fill::flow::{Flow, Held};
use crate::fill::origin::{Origin, Question};
use crate::fill::passing::{self, NO_ROOM, TOO_LARGE, is_for_room};
use crate::fill::reply::Reply;
use crate::fill::resume::{self, Rest};
use crate::fill::slice::{Asked, Wants};
use crate::fill::{Answer, Fill};
use crate::hop;
use crate::prompt::quantum::QUANTUM_BYTES;
use crate::runtimes::Place;
use crate::video::ahead;
use crate::video::manifest::{self, Manifest};
use crate::video::role::Role;

/// What a body of known length is reserved beyond its bytes: a block for each 16 KiB and some.
const BYTES_PER_BLOCK: u64 = 16 * 1024;
/// How long those who waited for what passes have to begin with it.
const GATHERING_MAX: Duration = Duration::from_secs(1);
/// Fields of a 304 that do not replace those stored: they describe bytes that were not sent, or name
/// the bytes that are here.
const KEPT_ON_304: [HeaderName; 5] =
    [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE, ETAG, HeaderName::from_static("content-md5")];

/// What is reserved for a body of so many bytes before it is there.
pub fn room_for(body_bytes: u64) -> u64 {
    body_bytes + (body_bytes / BYTES_PER_BLOCK + 1) * BLOCK_OVERHEAD + paged::beside(body_bytes)
}

/// All that a fill's task needs.
pub struct Job {
    pub fill: Arc<Fill>,
    pub policy: Arc<Policy>,
    pub origin: Origin,
    pub question: Question,
    /// What is revalidated.
    pub stale: Option<Arc<Stored>>,
    pub wants: Wants,
}

/// Whatever way a task ends, nobody waits for it in vain.
pub(super) struct Ending<'a> {
    job: &'a Job,
    flow: Option<Arc<Flow>>,
    asked_ms: u64,
    /// The label of the metric.
    pub(super) result: &'static str,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let fill = &self.job.fill;
        self.job.policy.cache.complete(fill, None);
        if !fill.is_known() {
            fill.make_known(Answer::Failed(Failure::Internal), &Contact::default());
        }
        let received = self.flow.as_ref().map_or(0, |flow| flow.received());
        self.job.policy.cache.count_fill(self.result, received);
        if let Some(flow) = self.flow.as_ref().filter(|_| self.result != "whole") {
            flow.fail(Failure::UpstreamBroken);
        }
    }
}

/// Nobody was left, and the policy stops such fills.
pub(super) struct Stopped;

impl Job {
    /// Runs the fill to its end.
    pub fn start(self) {
        self.start_with(None);
    }

    /// The same for a slice whose bytes are on their way, after so many others.
    pub(super) fn start_with(self, begun: Option<(Box<Reply>, u64)>) {
        let runtimes = self.origin.runtimes.clone();
        let latency = runtimes.of(Place::Latency).clone();
        let run = async move { Box::pin(self.run(begun)).await };
        latency.spawn(async move { hop::drive(&runtimes, None, run).await });
    }

    /// Reads the rest of a body for one who was left behind by others.
    pub(super) fn start_rest(
        self,
        reply: Box<Reply>,
        (head, flow): (Arc<Head>, Arc<Flow>),
        skip: u64,
    ) {
        let runtimes = self.origin.runtimes.clone();
        let latency = runtimes.of(Place::Latency).clone();
        let run = async move {
            let asked_ms = now_ms();
            let mut ending = Ending { job: &self, flow: None, asked_ms, result: "stopped" };
            let receiving = self.receive(reply, (&head, &flow, None), skip, &mut ending);
            Box::pin(receiving).await;
        };
        latency.spawn(async move { hop::drive(&runtimes, None, run).await });
    }

    async fn run(&self, begun: Option<(Box<Reply>, u64)>) {
        let asked_ms = now_ms();
        let mut ending = Ending { job: self, flow: None, asked_ms, result: "stopped" };
        if let Wants::Slice(slice) = &self.wants {
            return self.run_slice(slice, begun, &mut ending).await;
        }
        let mut contact = Contact::default();
        let finishes = self.finishes(0, None);
        let asking = Box::pin(self.ask(&mut contact, asked_ms));
        let Ok(asked) = self.unless_left(asking, || finishes).await else { return };
        let reply = match asked {
            Ok(Asked::Whole(reply)) => reply,
            Ok(Asked::Laid(reply, laid)) => {
                ending.result = "whole";
                return self.lay_out(*laid, reply, &contact);
            }
            Ok(Asked::Refused(reason)) => {
                ending.result = "refused";
                return self.refuse(reason, &contact);
            }
            Err(failure) => {
                ending.result = "failed";
                self.note_refresh(true);
                return self.fail(failure, &contact);
            }
        };
        let status = reply.head.status;
        self.note_refresh(self.stands_in(status));
        match (status, &self.stale) {
            (StatusCode::NOT_MODIFIED, Some(stale)) => {
                ending.result = "revalidated";
                let answer = self.freshened(stale, &reply, asked_ms);
                self.fill.make_known(answer, &contact);
                return reply.release().await;
            }
            // Nobody asked for a part, or whether something changed.
            (StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT, _) => {
                ending.result = "failed";
                return self.fail(Failure::UpstreamBroken, &contact);
            }
            _ => {}
        }
        let (head, admitted) = self.judged(&reply, asked_ms);
        let head = Arc::new(head);
        let (flow, head_lease) = match admitted {
            Ok((head_lease, body_lease)) => {
                let pages = self.policy.cache.pages_for(head.length);
                let flow = Flow::paged(Held::Lease(body_lease), self.origin.window(), pages);
                let answer = Answer::Shared(Arc::clone(&head), Arc::clone(&flow));
                self.fill.make_known(answer, &contact);
                (flow, Some(head_lease))
            }
            Err(reason) => (self.let_pass(&head, reason, &contact), None),
        };
        self.receive(reply, (&head, &flow, head_lease), 0, &mut ending).await;
    }

    /// Reads the body behind `skip` other bytes, and stores what is to be stored.
    pub(super) async fn receive(
        &self,
        mut reply: Box<Reply>,
        (head, flow, head_lease): (&Arc<Head>, &Arc<Flow>, Option<Lease>),
        skip: u64,
        ending: &mut Ending<'_>,
    ) {
        ending.flow = Some(Arc::clone(flow));
        if head.length.is_none_or(|length| length > QUANTUM_BYTES as u64) {
            hop::to(self.origin.lane.place()).await;
        }
        match Box::pin(self.read_all(&mut reply, head, flow, skip)).await {
            Ok(Ok(last)) => {
                ending.result = "whole";
                self.store(head, flow, &last, head_lease, ending.asked_ms);
                flow.finish(last);
                reply.release().await;
            }
            Ok(Err(failure)) => {
                ending.result = "broken";
                // Out of the table first: who comes when readers have seen the break begins anew.
                self.policy.cache.complete(&self.fill, None);
                flow.fail(failure);
            }
            Err(Stopped) => {}
        }
    }

    /// Whether the origin failed to say what has become of what is stored.
    fn note_refresh(&self, failed: bool) {
        if let Some(stale) = &self.stale {
            self.policy.cache.note_refresh(&self.fill, stale, failed, now_ms());
        }
    }

    pub(super) fn fail(&self, failure: Failure, contact: &Contact) {
        self.fill.make_known(Answer::Failed(failure), contact);
    }

    /// Whether it goes on when nobody waits for it. A slice is little to be had, and was paid for in part.
    pub(super) fn finishes(&self, received: u64, length: Option<u64>) -> bool {
        let is_slice = matches!(self.wants, Wants::Slice(_));
        let whole_slice = is_slice && self.policy.without_readers != WithoutReaders::Stop;
        self.fill.background || whole_slice || self.policy.finishes(received, length)
    }

    /// Does the work, unless everybody leaves and the policy would not finish it.
    pub(super) async fn unless_left<T>(
        &self,
        work: impl Future<Output = T>,
        finishes: impl Fn() -> bool,
    ) -> Result<T, Stopped> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = self.fill.left(), if !finishes() => {
                    if self.policy.cache.retire_if_left(&self.fill) {
                        return Err(Stopped);
                    }
                }
            }
        }
    }

    /// The head, and why it is not stored, if so.
    pub(super) fn assessed(&self, reply: &Reply, asked_ms: u64) -> (Head, Option<&'static str>) {
        let headers = &*reply.heard();
        let length =
            headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let length = if reply.head.status == StatusCode::NO_CONTENT { Some(0) } else { length };
        let with_authorization = self.question.head.headers.contains_key(AUTHORIZATION);
        let times = (asked_ms, now_ms());
        let rules = self.policy.rules_for(&self.fill.key.uri, &reply.head, None);
        let (lead, status) = (lead_ms(), reply.head.status);
        let assessed = assess_ahead(lead, status, headers, with_authorization, &rules, times);
        let heeded = rules.heeded(headers, times.1.saturating_sub(lead));
        let selection = Selection::of(&heeded, &self.fill.request);
        let tags = self.tags(headers);
        let mut head = Head {
            response: reply.head.clone(),
            selection: selection.clone().unwrap_or_default(),
            times: None,
            length,
            tags: Tags::default(),
            layout: None,
        };
        let times = match assessed {
            Err(refusal) => return (head, Some(refusal.name())),
            Ok(_) if selection.is_none() => return (head, Some(Refusal::VaryAll.name())),
            Ok(_) if tags.is_none() => return (head, Some("tags")),
            // The end of its connection is its end (RFC 9112 section 8), though it may be a server's
            // that died: the origin has to have said that it is to be kept.
            Ok(_) if reply.unframed && !is_explicit(&heeded) => return (head, Some("unframed")),
            Ok(times) => times,
        };
        head.tags = tags.unwrap_or_default();
        head.times = Some(times);
        (head, None)
    }

    /// The head, and room for the answer or why it is not stored.
    fn judged(&self, reply: &Reply, asked_ms: u64) -> (Head, Result<(Lease, Lease), &'static str>) {
        let (mut head, refusal) = self.assessed(reply, asked_ms);
        let refusal =
            refusal.or_else(|| self.stands_in(head.response.status).then_some("stale_kept"));
        let body_bytes = head.length.unwrap_or(0);
        let cost = head.cost(&self.fill.key);
        let room = match refusal {
            Some(reason) => Err(reason),
            None if body_bytes > self.policy.body_bytes_max() => Err(TOO_LARGE),
            None => self.policy.cache.reserve(cost, room_for(body_bytes)).map_err(|_| NO_ROOM),
        };
        // What lacks but room is good for as long as it would be stored.
        head.times =
            head.times.filter(|_| room.as_ref().map_or_else(|why| is_for_room(why), |_| true));
        (head, room)
    }

    /// Whether what is stored answers in place of a failure, and is kept for that (RFC 5861 section 4).
    fn stands_in(&self, status: StatusCode) -> bool {
        let honor = self.policy.freshness.honor_request;
        let nobody = Directives::default();
        let stale = self.stale.as_ref().filter(|_| status.is_server_error());
        stale.is_some_and(|stale| stale.times().serves_on_error(&nobody, honor, now_ms()))
    }

    fn tags(&self, headers: &HeaderMap) -> Option<Tags> {
        Tags::of(headers, &self.policy.tag_headers, &self.fill.key.uri)
    }

    /// Makes an answer known that is not stored.
    fn let_pass(&self, head: &Arc<Head>, reason: &'static str, contact: &Contact) -> Arc<Flow> {
        let cache = &self.policy.cache;
        cache.count_refusal(reason);
        // That there is no room says nothing of the answer, nor of the next moment.
        if head.response.status.as_u16() < 500 && reason != NO_ROOM {
            cache.mark_uncacheable(&self.fill, now_ms(), PASS_MS);
            if let Some(stale) = &self.stale {
                cache.forget(stale);
            }
        }
        if self.policy.collapse && passing::is_shared(head, reason) {
            let flow = Flow::gathering(self.origin.window());
            let answer = Answer::Passing(Arc::clone(head), Arc::clone(&flow), reason);
            self.fill.make_known(answer, contact);
            return flow;
        }
        let flow = Flow::new(Held::Nothing, self.origin.window());
        let answer = Answer::Private(Arc::clone(head), Arc::clone(&flow), reason);
        // Known and out of the table in this order: who still waits must find the answer.
        self.fill.make_known(answer, contact);
        cache.complete(&self.fill, None);
        flow
    }

    /// Sends everyone to the origin by himself, for what he wants of it, for a while.
    fn refuse(&self, reason: &'static str, contact: &Contact) {
        let cache = &self.policy.cache;
        cache.count_refusal(reason);
        cache.mark_uncacheable(&self.fill, now_ms(), LARGE_PASS_MS);
        if let Some(stale) = &self.stale {
            cache.forget(stale);
        }
        self.fill.make_known(Answer::Refused(reason), contact);
        cache.complete(&self.fill, None);
    }

    /// Reads the body into the flow, over as many connections as the budget allows. Where it is known which bytes are
    /// the last of one that is kept, they are given back.
    async fn read_all(
        &self,
        reply: &mut Reply,
        head: &Head,
        flow: &Arc<Flow>,
        mut skip: u64,
    ) -> Result<Result<Bytes, Failure>, Stopped> {
        let (mut resumes_left, mut last) = (self.policy.resumes_max, Bytes::new());
        let mut is_open = flow.is_open();
        loop {
            if is_open && flow.is_full() {
                is_open = false;
                self.gather(flow).await;
            }
            let kept = || flow.is_kept();
            let finishes = || kept() && self.finishes(flow.received(), head.length);
            self.unless_left(flow.room(), finishes).await?;
            match self.unless_left(reply.read(), finishes).await? {
                Ok(Some(mut bytes)) => {
                    let skipped = bytes.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
                    skip -= skipped as u64;
                    let _ = bytes.split_to(skipped);
                    let there = flow.received() + (last.len() + bytes.len()) as u64;
                    if head.length.is_some_and(|length| there > length) {
                        return Ok(Err(Failure::UpstreamBroken));
                    }
                    if bytes.is_empty() {
                        continue;
                    }
                    self.admit(flow, bytes.len() as u64);
                    let bytes = flow.place(bytes);
                    match reply.is_done() && flow.is_kept() {
                        true => last = bytes,
                        false => flow.push(bytes),
                    }
                }
                Ok(None) => {
                    let there = flow.received() + last.len() as u64;
                    let is_short = skip > 0 || head.length.is_some_and(|length| length != there);
                    return Ok(if is_short { Err(Failure::UpstreamBroken) } else { Ok(last) });
                }
                Err(failure) => {
                    last = Bytes::new();
                    let resuming = Box::pin(self.resume(head, flow.received(), &mut resumes_left));
                    let Some((next, rest)) = self.unless_left(resuming, finishes).await? else {
                        return Ok(Err(failure));
                    };
                    *reply = *next;
                    skip = if let Rest::AfterSkipping(bytes) = rest { bytes } else { 0 };
                }
            }
        }
    }

    /// Those who waited for it take their places; nobody comes to it after them.
    async fn gather(&self, flow: &Flow) {
        // Out of the table first, so that they become no more.
        self.policy.cache.complete(&self.fill, None);
        let gathered = flow.gathered(self.fill.waiting());
        // Who is not there by then asks by himself.
        let _ = tokio::time::timeout(GATHERING_MAX, gathered).await;
        flow.close();
    }

    /// Room for more of a body; when there is none, or it has grown too large to be stored, it goes
    /// on through a window.
    fn admit(&self, flow: &Arc<Flow>, more: u64) {
        if !flow.is_kept() {
            return;
        }
        let (cost, leased) = flow.costs();
        let needed = (cost + more + BLOCK_OVERHEAD).saturating_sub(leased);
        let is_slice = matches!(self.wants, Wants::Slice(_));
        let too_large = !is_slice && flow.received() + more > self.policy.body_bytes_max();
        if !too_large && (needed == 0 || self.policy.cache.grow(flow, needed).is_ok()) {
            return;
        }
        self.policy.cache.count_refusal(if too_large { TOO_LARGE } else { NO_ROOM });
        if too_large {
            self.policy.cache.mark_uncacheable(&self.fill, now_ms(), PASS_MS);
        }
        self.policy.cache.complete(&self.fill, None);
        flow.let_through();
    }

    /// Asks for what is missing, as often as the budget allows.
    async fn resume(
        &self,
        head: &Head,
        received: u64,
        left: &mut u32,
    ) -> Option<(Box<Reply>, Rest)> {
        while *left > 0 {
            *left -= 1;
            let asked = match &self.wants {
                Wants::Slice(slice) => self.resume_slice(slice, received).await,
                _ => self.resume_whole(head, received).await?,
            };
            let Some((reply, rest)) = asked else {
                self.policy.cache.count_resume("failed");
                continue;
            };
            if rest == Rest::Unusable {
                self.policy.cache.count_resume("changed");
                return None;
            }
            self.policy.cache.count_resume("resumed");
            return Some((reply, rest));
        }
        None
    }

    /// `None` when nothing could prove the rest to be the rest; within it, `None` when nobody answers.
    async fn resume_whole(&self, head: &Head, received: u64) -> Option<Option<(Box<Reply>, Rest)>> {
        let headers = &head.response.headers;
        let fields = resume::fields(headers, received)?;
        let mut contact = Contact::default();
        let asked = self.origin.ask(&self.question, &fields, &mut contact, &|_| {}).await;
        Some(asked.ok().map(|reply| {
            let (status, fields) = (reply.head.status, &reply.head.headers);
            let rest = resume::judge(headers, received, head.length, status, fields);
            (reply, rest)
        }))
    }

    /// Stores what is to be stored, ahead of readers that have all of it.
    fn store(
        &self,
        head: &Arc<Head>,
        flow: &Arc<Flow>,
        last: &Bytes,
        head_lease: Option<Lease>,
        asked_ms: u64,
    ) {
        let body = flow.whole(last);
        let (Some(body), Some(times), Some(head_lease)) = (body, head.times, head_lease) else {
            return;
        };
        let manifest = self.manifest(&head.response, &body);
        let reading = manifest.as_ref();
        let rules = self.policy.rules_for(&self.fill.key.uri, &head.response, reading);
        // A manifest says itself how long it is fresh; that is known now.
        let times = reading.map_or(times, |_| {
            let headers = &head.response.headers;
            let when = (asked_ms, times.arrived_ms());
            let with_authorization = self.question.head.headers.contains_key(AUTHORIZATION);
            let status = head.response.status;
            let lead = lead_ms();
            let assessed = assess_ahead(lead, status, headers, with_authorization, &rules, when);
            assessed.unwrap_or(times)
        });
        let key = self.fill.key.clone();
        let stored = Stored::new(key, Arc::clone(head), times, body, head_lease);
        self.policy.cache.complete(&self.fill, Some(Arc::new(stored)));
        if let Some(manifest) = &manifest {
            ahead::after_manifest(self, manifest, now_ms());
        }
    }

    /// What a manifest says, on a route that understands video.
    fn manifest(&self, head: &ResponseHeader, body: &Body) -> Option<Manifest> {
        self.policy.video.as_ref()?;
        let path = self.fill.key.uri.split('?').next().unwrap_or_default();
        let Role::Manifest(format) = Role::of(path, &head.headers) else { return None };
        let compressed = head.headers.contains_key(CONTENT_ENCODING);
        let read = manifest::read(format, &body.blocks, compressed);
        let series = &self.policy.cache.video.series;
        series.manifest(read.as_ref().map_or("unreadable", Manifest::kind));
        read.inspect_err(|fault| {
            tracing::debug!(uri = %self.fill.key.uri, %fault, "a manifest that cannot be read");
        })
        .ok()
    }

    /// What is stored with the head that a 304 brings up to date (RFC 9111 sections 3.2, 4.3.4). A
    /// single answer was asked about, so a 304 that names no version is about that one.
    fn freshened(&self, stale: &Arc<Stored>, reply: &Reply, asked_ms: u64) -> Answer {
        let cache = &self.policy.cache;
        let old = &stale.head.response;
        let response = merged(old, &reply.head);
        let with_authorization = self.question.head.headers.contains_key(AUTHORIZATION);
        let manifest = self.manifest(&response, &stale.body);
        let rules = self.policy.rules_for(&self.fill.key.uri, &response, manifest.as_ref());
        let headers = &*reply.heard_in(&response.headers);
        let now_ms = now_ms();
        let (lead, when) = (lead_ms(), (asked_ms, now_ms));
        let times = assess_ahead(lead, old.status, headers, with_authorization, &rules, when);
        let selection =
            Selection::of(&rules.heeded(headers, now_ms.saturating_sub(lead)), &self.fill.request);
        let tags = self.tags(headers);
        let storable = times.is_ok() && selection.is_some() && tags.is_some();
        let head = Head {
            tags: tags.unwrap_or_default(),
            selection: selection.unwrap_or_default(),
            times: times.ok(),
            length: stale.head.length,
            layout: stale.head.layout,
            response,
        };
        let head_lease = match cache.reserve(head.cost(&self.fill.key), 0) {
            Ok((lease, _)) if storable => Some(lease),
            _ => None,
        };
        let kept = head_lease.is_some();
        let Ok((spare, _)) = cache.reserve(0, 0) else { return Answer::Fresh(Arc::clone(stale)) };
        let times = head.times.unwrap_or_else(|| Times::spent(now_ms));
        let (key, body) = (self.fill.key.clone(), Arc::clone(&stale.body));
        let head_lease = head_lease.unwrap_or(spare);
        let fresh = Arc::new(Stored::new(key, Arc::new(head), times, body, head_lease));
        if kept {
            cache.complete(&self.fill, Some(Arc::clone(&fresh)));
            if let Some(manifest) = &manifest {
                ahead::after_manifest(self, manifest, now_ms);
            }
        } else {
            cache.forget(stale);
        }
        Answer::Fresh(fresh)
    }
}

fn merged(old: &ResponseHeader, new: &ResponseHeader) -> ResponseHeader {
    let mut merged = old.clone();
    merged.remove_header(&AGE);
    for name in new.headers.keys().filter(|name| !KEPT_ON_304.contains(name)) {
        merged.remove_header(name);
        for value in new.headers.get_all(name) {
            // The name and value stood in a head already.
            let _ = merged.append_header(name.clone(), value.clone());
        }
    }
    merged
}
