//! Copies of requests for another upstream, whose answers nobody gets. The client's own request never
//! waits for a copy: a copy is made while the body passes by, asked at the lowest priority there is,
//! and left out when too many are under way, its body is too large or its lane has no memory for it.

pub mod compare;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Method;
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use prometheus::{IntCounter, IntGauge};
use proxy_config::lane::LaneName;
use proxy_config::route_action::Mirror as Config;
use proxy_config::units::Percent;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::detour;
use crate::edge::Edge;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::fastcgi::caller::Caller;
use crate::fill::contact::Contact;
use crate::fill::origin::{Origin, Question};
use crate::lane::memory::Reserved;
use crate::metrics::Metrics;
use crate::mirror::compare::{Asked, Comparison, Ours, Passing, Report, Seen, Theirs};
use crate::path::normalize_target;
use crate::rate_limit::key::Asking;
use crate::relay;
use crate::runtimes::Place;
use crate::upstream::Upstream;
use crate::upstream::patience::Patience;
use crate::upstream::server::Servers;

/// How long a copy may be under way, answer included; then its place is given to another.
const COPY_MAX: Duration = Duration::from_secs(60);

/// Where copies of a route's requests go.
pub struct Mirror {
    /// Answers of the first may be compared.
    upstreams: Vec<Arc<Upstream>>,
    /// Whether each is sent bodies.
    bodies: Vec<bool>,
    share: Percent,
    body_max: usize,
    places: Arc<Semaphore>,
    counts: Counts,
    /// Where answers are compared.
    report: Option<Arc<Report>>,
}

/// What a request has to do with a copy of it.
#[derive(Default)]
pub struct Mirroring {
    copying: Vec<Copying>,
    ours: Option<Ours>,
}

#[derive(Clone)]
struct Counts {
    under_way: IntGauge,
    answered: IntCounter,
    failed: IntCounter,
    left_out: IntCounter,
    too_large: IntCounter,
    no_memory: IntCounter,
}

/// A copy that is being made. Dropped unfinished, it is none.
pub struct Copying {
    origin: Origin,
    question: Question,
    body: BytesMut,
    body_max: usize,
    /// What the body takes of the memory of the lane that copies are asked in.
    room: Option<Reserved>,
    place: OwnedSemaphorePermit,
    counts: Counts,
    comparison: Option<Theirs>,
}

impl Mirror {
    pub fn new(
        config: &Config,
        upstreams: Vec<Arc<Upstream>>,
        route: &str,
        servers: &Servers,
        metrics: &Metrics,
    ) -> Mirror {
        let count = |result| metrics.mirror_requests.with_label_values(&[route, result]);
        let counts = Counts {
            under_way: metrics.mirror_in_flight.with_label_values(&[route]),
            answered: count("answered"),
            failed: count("failed"),
            left_out: count("left_out"),
            too_large: count("body_too_large"),
            no_memory: count("no_memory"),
        };
        let places = usize::try_from(config.in_flight_max).unwrap_or(usize::MAX);
        Mirror {
            upstreams,
            bodies: config.bodies().collect(),
            share: config.share,
            body_max: usize::try_from(config.body_max.as_bytes()).unwrap_or(usize::MAX),
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            counts,
            report: config.compare.then(|| servers.report(route, metrics)),
        }
    }

    pub fn report(&self) -> Option<&Arc<Report>> {
        self.report.as_ref()
    }

    /// Whether a request is one of the share.
    fn takes_one(&self) -> bool {
        self.share.takes(fastrand::u16(..Percent::WHOLE))
    }

    /// A place for a copy, if there is one.
    fn place(&self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.inspect_err(|_| self.counts.left_out.inc()).ok()
    }
}

/// Begins copies of the request, and sends them if there is no body to come.
pub fn begin(edge: &Edge, session: &mut Session, exchange: &mut Exchange) {
    let Some(route) = exchange.route.clone() else { return };
    let Some(mirror) = route.mirror.as_ref().filter(|_| exchange.trail.is_fresh()) else { return };
    if !mirror.takes_one() {
        return;
    }
    let bodiless = detour::is_bodiless(session, exchange) || session.is_body_empty();
    for (index, upstream) in mirror.upstreams.iter().enumerate() {
        let Some(mut copying) = copy(edge, session, exchange, (mirror, upstream), index) else {
            continue;
        };
        if let Some(report) = mirror.report.as_ref().filter(|_| index == 0) {
            let asked = asked(session.req_header(), exchange);
            let comparison = Comparison::new(Arc::clone(report), asked);
            exchange.mirroring.ours = Some(Ours::new(Arc::clone(&comparison)));
            copying.comparison = Some(Theirs::new(comparison));
        }
        match bodiless || !mirror.bodies.get(index).is_some_and(|body| *body) {
            true => copying.send(),
            false => exchange.mirroring.copying.push(copying),
        }
    }
}

fn asked(head: &RequestHeader, exchange: &Exchange) -> Asked {
    Asked {
        time: jiff::Timestamp::now().to_string(),
        request_id: exchange.request_id.clone(),
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
    }
}

/// A copy for one upstream, where there is a place for it.
fn copy(
    edge: &Edge,
    session: &mut Session,
    exchange: &Exchange,
    (mirror, upstream): (&Mirror, &Arc<Upstream>),
    index: usize,
) -> Option<Copying> {
    let place = mirror.place()?;
    let caller = Caller::for_upstream(session, exchange, &edge.listener, upstream);
    let head = session.req_header();
    let (proved, route) = (&exchange.proved, exchange.route.as_ref()?);
    let asking = Asking { client: exchange.client, route: &route.name, head, proved };
    let mut question = Question { caller: caller.clone(), ..relay::question(head, exchange) };
    let texts = &exchange.ruled.texts;
    if let Some(edits) = texts.mirror_edits.get(index).cloned().flatten() {
        question.edits = edits;
    }
    if let Some(path) = texts.mirrors.get(index).cloned().flatten() {
        let form = normalize_target(path.as_bytes()).ok();
        if form
            .and_then(|form| Arc::make_mut(&mut question.head).set_raw_path(&form).ok())
            .is_none()
        {
            // The template came to no path: a copy for any other would mislead whoever compares.
            mirror.counts.failed.inc();
            return None;
        }
    }
    Some(Copying {
        origin: Origin {
            connector: Arc::clone(&edge.state.connector),
            wish: upstream.wish(&asking),
            patience: Patience::of(upstream.timeouts(), None),
            upstream: Arc::clone(upstream),
            runtimes: edge.state.runtimes.clone(),
            lane: edge.state.standing.lanes.named(LaneName::Bulk.as_str(), &edge.state.metrics),
            buffering: edge.state.standing.buffers.named(None, &edge.state.metrics),
            reach: None,
            caller,
        },
        question,
        body: BytesMut::new(),
        body_max: mirror.body_max,
        room: None,
        place,
        counts: mirror.counts.clone(),
        comparison: None,
    })
}

/// A part of the request's body passes by.
pub fn body(mirroring: &mut Mirroring, part: Option<&Bytes>, is_last: bool) {
    let part = part.map_or(&[][..], |part| part);
    mirroring.copying.retain_mut(|copy| {
        let fits = copy.body.len() + part.len() <= copy.body_max;
        let has_room = fits && copy.make_room(part.len());
        match (fits, has_room) {
            (true, true) => copy.body.extend_from_slice(part),
            (true, false) => copy.counts.no_memory.inc(),
            (false, _) => copy.counts.too_large.inc(),
        }
        has_room
    });
    if is_last {
        mirroring.copying.drain(..).for_each(Copying::send);
    }
}

/// The body is sent again from its beginning.
pub fn restart(mirroring: &mut Mirroring) {
    mirroring.copying.iter_mut().for_each(|copy| copy.body.clear());
}

/// A part of the answer passes by, as the upstream sent it.
pub fn answer(mirroring: &mut Mirroring, part: &Bytes) {
    if let Some(ours) = &mut mirroring.ours {
        ours.part(part);
    }
}

/// The answer has ended: `whole` when the client has all of it.
pub fn answered(exchange: &mut Exchange, whole: bool) {
    if let Some(ours) = exchange.mirroring.ours.take() {
        // What a detour led to is not the answer to what was copied.
        let is_its_own = whole && exchange.trail.is_fresh();
        ours.end(exchange.upstream_status.filter(|_| is_its_own));
    }
}

impl Copying {
    /// Room for so many bytes more, twice of what there was where that is more; false where the lane has no memory left.
    fn make_room(&mut self, more: usize) -> bool {
        let (needed, there) = (self.body.len() + more, self.body.capacity());
        if needed <= there {
            return true;
        }
        let wanted = needed.max(2 * there);
        let bytes = (wanted - there) as u64;
        let has_room = match &mut self.room {
            Some(room) => room.grow(bytes),
            none => {
                *none = self.origin.lane.hold(bytes);
                none.is_some()
            }
        };
        if has_room {
            self.body.reserve(wanted - self.body.len());
        }
        has_room
    }

    fn send(self) {
        let Copying { origin, mut question, body, room, place, counts, comparison, .. } = self;
        if !body.is_empty() || !matches!(question.head.method, Method::GET | Method::HEAD) {
            question.body = Some(body.freeze());
        }
        let runtime = origin.runtimes.of(Place::Bulk).clone();
        runtime.spawn(async move {
            let (_room, _under_way) = (room, UnderWay::new(counts.under_way.clone(), place));
            let seen = timeout(COPY_MAX, converse(&origin, &question)).await.ok();
            let seen = seen.and_then(Result::ok);
            match seen {
                Some(_) => counts.answered.inc(),
                None => counts.failed.inc(),
            }
            if let Some(comparison) = comparison {
                comparison.end(seen);
            }
        });
    }
}

async fn converse(origin: &Origin, question: &Question) -> Result<Seen, Failure> {
    let mut reply = Box::pin(origin.ask(question, &[], &mut Contact::default(), &|_| {})).await?;
    let mut passing = Passing::default();
    // What answers HEAD, 204 and 304 with has no body, whatever its fields say.
    let has_body =
        question.head.method != Method::HEAD && !matches!(reply.head.status.as_u16(), 204 | 304);
    while has_body && let Some(part) = reply.read().await? {
        passing.part(&part);
    }
    let status = reply.head.status.as_u16();
    reply.release().await;
    Ok(passing.end(status))
}

/// Counts a copy for as long as it holds its place.
struct UnderWay(IntGauge, #[expect(dead_code, reason = "held")] OwnedSemaphorePermit);

impl UnderWay {
    fn new(gauge: IntGauge, place: OwnedSemaphorePermit) -> UnderWay {
        gauge.inc();
        UnderWay(gauge, place)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}
