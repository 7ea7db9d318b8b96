//! What is known of one request, and what it holds, from its head to the end of its response.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;
use pingora::http::RequestHeader;
use proxy_config::load::{Knows, Load};
use proxy_config::proved::Proved;
use proxy_config::route::ForwardedHeaders;

use crate::buffer::tempo::{Pacing, Tempo};
use crate::cache::policy::Policy;
use crate::cache::verdict::Verdict;
use crate::connection::Caller;
use crate::detour::trail::Trail;
use crate::drain::UnderWay;
use crate::failure::Failure;
use crate::fill::contact::Contact;
use crate::fill::origin::Question;
use crate::gather::Gathered;
use crate::generation::Generation;
use crate::kept_body::KeptBody;
use crate::lane::Seat;
use crate::mirror::Mirroring;
use crate::pace::OwnRate;
use crate::rate_limit::Passage;
use crate::route::Route;
use crate::rules::ruled::Ruled;
use crate::runtimes::Place;
use crate::state::State;
use crate::telemetry::Recorder;
use crate::telemetry::attempt::Attempt;
use crate::trace::Trace;
use crate::tunnel::Tunnelling;
use crate::upstream::Upstream;
use crate::upstream::attempts::Attempts;
use crate::upstream::patience::Patience;
use crate::upstream::server::InUse;

/// One request, from its head to the end of its response. Whatever way it ends, dropping it gives
/// back the place in its lane.
pub struct Exchange {
    pub begun: Instant,
    /// The same by the wall clock.
    pub date: SystemTime,
    pub generation: Arc<Generation>,
    pub request_id: String,
    /// Who asks, as far as trusted proxies say.
    pub client: Option<IpAddr>,
    /// Who connects.
    pub peer: Option<SocketAddr>,
    /// Where the connection was accepted.
    pub local: Option<SocketAddr>,
    pub tls: Option<String>,
    /// The connection it came on.
    pub caller: Caller,
    /// What the client has proved.
    pub proved: Proved,
    /// The route's guard has a say: neither a preflight nor its address alone is enough.
    pub must_prove: bool,
    /// The connection to the client is closed after this.
    pub last: bool,
    pub route: Option<Arc<Route>>,
    /// The pace of its response, on a route with a buffer policy, and of its request's body.
    pub tempo: Option<(Arc<Tempo>, Tempo)>,
    /// The rate of its response, on a route that has one of its own.
    pub rate: Option<Arc<OwnRate>>,
    /// What has come of its body before it had a place in its lane.
    pub gathered: Gathered,
    /// Its body as it was taken in, on a route that keeps it.
    pub kept_body: KeptBody,
    pub permit: Option<Seat>,
    /// Its place among its lane's requests to origins, when it passes through.
    pub at_origin: Option<Seat>,
    pub limits: Passage,
    /// What the route's rules made of the request.
    pub ruled: Ruled,
    /// How far it has come from what the client asked for.
    pub trail: Trail,
    /// A copy for another upstream, while its body passes by.
    pub mirroring: Mirroring,
    /// Bytes of the request's body that were sent upstream.
    pub body_bytes: u64,
    /// Who answers, unless the route does so by itself.
    pub upstream: Option<Arc<Upstream>>,
    pub cache_policy: Option<Arc<Policy>>,
    pub attempts: Attempts,
    /// The place at the server of the current attempt.
    pub in_use: Option<InUse>,
    pub attempt_begun: Option<Instant>,
    pub connected: Option<Instant>,
    pub connect_time: Option<Duration>,
    pub reused: Option<bool>,
    /// The connection to the upstream carries no request after this one.
    pub last_on_connection: bool,
    pub upstream_first_byte: Option<Duration>,
    /// The status the upstream answered with.
    pub upstream_status: Option<u16>,
    pub first_byte: Option<Duration>,
    pub failure: Option<Failure>,
    /// Interim (1xx) responses so far.
    pub interim: usize,
    /// The status this proxy answered by itself.
    pub answered: Option<StatusCode>,
    /// How the cache dealt with it, on a route that has one.
    pub cache: Option<Verdict>,
    /// `Cache-Status` of a request that passes through beside the cache.
    pub cache_status: Option<String>,
    pub tunnel: Tunnelling,
    pub trace: Option<Trace>,
    /// Of a request whose spans are recorded.
    pub recorder: Option<Box<Recorder>>,
    /// The span of the current attempt, when pingora asks.
    pub attempt: Option<Box<Attempt>>,
    pub under_way: UnderWay,
}

impl Exchange {
    pub fn new(state: &State, caller: Caller) -> Exchange {
        Exchange {
            begun: Instant::now(),
            date: SystemTime::now(),
            generation: state.current(),
            request_id: String::new(),
            client: None,
            peer: None,
            local: None,
            tls: None,
            proved: Proved { certificate: caller.certificate.clone(), ..Proved::default() },
            must_prove: false,
            last: caller.last,
            caller,
            route: None,
            tempo: None,
            rate: None,
            gathered: Gathered::default(),
            kept_body: KeptBody::default(),
            permit: None,
            at_origin: None,
            limits: Passage::default(),
            ruled: Ruled::default(),
            trail: Trail::default(),
            mirroring: Mirroring::default(),
            body_bytes: 0,
            upstream: None,
            cache_policy: None,
            attempts: Attempts::default(),
            in_use: None,
            attempt_begun: None,
            connected: None,
            connect_time: None,
            reused: None,
            last_on_connection: false,
            upstream_first_byte: None,
            upstream_status: None,
            first_byte: None,
            failure: None,
            interim: 0,
            answered: None,
            cache: None,
            cache_status: None,
            tunnel: Tunnelling::default(),
            trace: None,
            recorder: None,
            attempt: None,
            under_way: state.drain.request(),
        }
    }

    /// Where its body is moved.
    pub fn place(&self) -> Place {
        self.route.as_ref().map_or(Place::Latency, |route| route.lane.place())
    }

    /// What is known of an upstream this proxy asked by itself.
    pub fn met(&mut self, contact: Contact) {
        self.attempts = contact.attempts;
        self.ruled.to_client.edits.tried = self.attempts.tried.clone();
        self.reused = contact.reused;
        self.connect_time = contact.connect_time;
        self.upstream_first_byte = contact.first_byte;
        self.upstream_status = contact.status.or(self.upstream_status);
    }

    /// What its questions record their spans with, on the route it is on now.
    pub fn recorder(&self) -> Option<Box<Recorder>> {
        let mut recorder = self.recorder.clone()?;
        recorder.route = self.route.as_ref().map(|route| route.index);
        Some(recorder)
    }

    /// What its response is sent by.
    pub fn pacing(&self) -> Option<Pacing> {
        let lane = Arc::clone(&self.route.as_ref()?.lane);
        let own = self.tempo.as_ref().map(|(response, _)| Arc::clone(response));
        let is_part = self.trail.is_inside;
        let (rate, allowances) = (self.rate.clone(), self.limits.allowances.clone());
        Some(Pacing { lane, own, rate, allowances, is_part })
    }

    /// How long its upstream may take.
    pub fn patience(&self, upstream: &Upstream) -> Patience {
        let timeouts = self.route.as_ref().and_then(|route| route.timeouts.as_ref());
        let total = timeouts.and_then(|timeouts| timeouts.total);
        let deadline = total.map(|total| self.begun + total.as_std());
        Patience::of(upstream.timeouts(), timeouts).until(deadline)
    }

    /// What an upstream is asked by this proxy itself on behalf of it, with this head.
    pub fn question(&self, head: Arc<RequestHeader>) -> Question {
        Question {
            head,
            body: None,
            feed: None,
            caller: None,
            client: self.peer.map(|peer| peer.ip()),
            tls: self.tls.is_some(),
            request_id: self.request_id.clone(),
            forwarded: self.forwarded(),
            edits: self.ruled.to_upstream.clone(),
            recorder: self.recorder(),
            claims: None,
            as_lines: false,
        }
    }

    pub fn forwarded(&self) -> ForwardedHeaders {
        self.route.as_ref().map_or_else(ForwardedHeaders::default, |route| route.forwarded)
    }
}

impl Knows for Exchange {
    fn load(&self) -> Load {
        self.generation.totals.load(&self.under_way)
    }
}
