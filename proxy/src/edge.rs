//! The request's way through the proxy, as pingora's phases. Each phase delegates; nothing is
//! decided here that could be decided in a file of its own.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use proxy_config::listener::ListenerTimeouts;

use crate::cache::answer::{self, Verdict};
use crate::cache::policy::Policy;
use crate::cache::serve::CACHE_STATUS;
use crate::connection::whole_seconds;
use crate::drain::UnderWay;
use crate::fill::origin::Origin;
use crate::generation::{Generation, State};
use crate::headers::{self, Downstream};
use crate::hop;
use crate::lane::Permit;
use crate::rate_limit::key::Asking;
use crate::rate_limit::{self, Passage, Quota};
use crate::respond::{self, Failure, failure_kind};
use crate::route::Route;
use crate::rules::{self, Ruled, edit_request, edit_response};
use crate::runtimes::Place;
use crate::split::Destination;
use crate::upstream::retry::Failed;
use crate::upstream::server::InUse;
use crate::upstream::{Attempts, Upstream};
use crate::video::ahead;
use crate::{client_address, content, cors, finish, prompt, request};

/// Interim responses one request may bring; a server that goes on sending them never answers.
const INTERIM_MAX: u32 = 64;

/// The proxy behind one listener.
pub struct Edge {
    pub listener: String,
    pub timeouts: ListenerTimeouts,
    pub state: Arc<State>,
}

/// One request, from its head to the end of its response. Whatever way it ends, dropping it gives
/// back the place in its lane.
pub struct Exchange {
    pub begun: Instant,
    pub generation: Arc<Generation>,
    pub request_id: String,
    /// Who asks, as far as trusted proxies say.
    pub client: Option<IpAddr>,
    /// Who connects.
    pub peer: Option<IpAddr>,
    pub tls: Option<String>,
    pub route: Option<Arc<Route>>,
    pub permit: Option<Permit>,
    pub limits: Passage,
    /// What the route's rules made of the request.
    pub ruled: Ruled,
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
    pub upstream_first_byte: Option<Duration>,
    pub first_byte: Option<Duration>,
    pub failure: Option<Failure>,
    /// Interim (1xx) responses so far.
    pub interim: u32,
    /// The status this proxy answered by itself.
    pub answered: Option<StatusCode>,
    /// How the cache dealt with it, on a route that has one.
    pub cache: Option<Verdict>,
    /// `Cache-Status` of a request that passes through beside the cache.
    pub cache_status: Option<String>,
    _under_way: UnderWay,
}

impl Exchange {
    /// Where its body is moved.
    pub fn place(&self) -> Place {
        self.route.as_ref().map_or(Place::Latency, |route| route.lane.place())
    }
}

impl Edge {
    /// Everything that can refuse a request before an upstream is asked.
    fn admit(&self, session: &mut Session, exchange: &mut Exchange) -> Result<(), Failure> {
        request::admit(session)?;
        let target = rules::target(&self.listener, session.req_header());
        let route = exchange.generation.routes.choose(&target)?;
        exchange.route = Some(Arc::clone(&route));
        let head = session.req_header();
        let asking = Asking { client: exchange.client, route: &route.name, head };
        let Destination { upstream, cache_policy } = route.split.choose(&asking);
        (exchange.upstream, exchange.cache_policy) = (upstream, cache_policy);
        // First, so that refusals carry the route's headers too.
        exchange.ruled = rules::render(session.req_header(), exchange, &self.listener, &route);
        let head = session.req_header();
        let is_preflight = route.cors.as_ref().is_some_and(|cors| {
            cors::apply(cors, &head.method, &head.headers, &mut exchange.ruled)
        });
        route.gate.check(exchange.client, &head.headers)?;
        if let Some(signed) = route.signed.as_ref().filter(|_| !is_preflight) {
            let query = head.uri.query().unwrap_or_default();
            signed.check(head.uri.path(), query, &head.headers)?;
        }
        exchange.permit = Some(route.lane.admit().map_err(|_| Failure::LaneFull)?);
        hop::admitted(route.lane.place());
        Ok(())
    }

    /// Answers here: what the route says by itself, or from the cache; `false` when the request is to
    /// pass through.
    async fn serve(&self, session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
        match content::answer(session, exchange).await {
            Ok(true) => Ok(true),
            Ok(false) => self.through_cache(session, exchange).await,
            Err(failure) => self.fail(session, failure, exchange).await,
        }
    }

    async fn through_cache(&self, session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
        let Some(policy) = exchange.cache_policy.clone() else { return Ok(false) };
        let Some(upstream) = exchange.upstream.clone() else { return Ok(false) };
        let connector = Arc::clone(&self.state.connector);
        let name = exchange.route.as_ref().map_or("", |route| route.name.as_str());
        let head = session.req_header();
        let asking = Asking { client: exchange.client, route: name, head };
        let wish = upstream.wish(&asking);
        let (runtimes, place) = (self.state.runtimes.clone(), exchange.place());
        let reach = ahead::reach(&self.listener, exchange, &policy);
        let origin = Origin { connector, upstream, wish, runtimes, place, reach };
        match answer::answer(session, exchange, &policy, origin).await {
            Ok(answered) => Ok(answered),
            Err(failure) => self.fail(session, failure, exchange).await,
        }
    }

    /// Answers a failure met before the upstream was asked, or breaks the connection off.
    async fn fail(
        &self,
        session: &mut Session,
        failure: Failure,
        exchange: &mut Exchange,
    ) -> Result<bool> {
        if session.response_written().is_none() && failure != Failure::ClientGone {
            self.answer(session, failure, exchange).await;
            return Ok(true);
        }
        // An error is what breaks the connection off; `fail_to_proxy` finds the failure here.
        exchange.failure = Some(failure);
        Err(Error::new(ErrorType::InternalError))
    }

    async fn answer(&self, session: &mut Session, failure: Failure, exchange: &mut Exchange) {
        exchange.answered = respond::send(session, &failure, exchange).await;
        if exchange.answered.is_some() {
            exchange.first_byte.get_or_insert(exchange.begun.elapsed());
        }
        exchange.failure = Some(failure);
    }
}

fn count_failure(exchange: &Exchange, error: &Error, stale: bool) {
    if let (Some(upstream), ErrorSource::Upstream) = (&exchange.upstream, error.esource()) {
        upstream.failed(&exchange.attempts, failure_kind(error.etype()), stale);
    }
}

/// Whether the request is tried again. What a client has seen a part of is not.
fn again(session: &Session, exchange: &mut Exchange, failed: Failed) -> bool {
    let Some(upstream) = &exchange.upstream else { return false };
    let head = session.req_header();
    let harmless = head.method.is_idempotent() || upstream.declares_repeatable(&head.headers);
    let repeatable = harmless && !session.as_ref().retry_buffer_truncated();
    session.response_written().is_none()
        && upstream.again(&mut exchange.attempts, failed, repeatable)
}

#[async_trait]
impl ProxyHttp for Edge {
    type CTX = Exchange;

    fn new_ctx(&self) -> Exchange {
        Exchange {
            begun: Instant::now(),
            generation: self.state.current(),
            request_id: String::new(),
            client: None,
            peer: None,
            tls: None,
            route: None,
            permit: None,
            limits: Passage::default(),
            ruled: Ruled::default(),
            body_bytes: 0,
            upstream: None,
            cache_policy: None,
            attempts: Attempts::default(),
            in_use: None,
            attempt_begun: None,
            connected: None,
            connect_time: None,
            reused: None,
            upstream_first_byte: None,
            first_byte: None,
            failure: None,
            interim: 0,
            answered: None,
            cache: None,
            cache_status: None,
            _under_way: self.state.drain.request(),
        }
    }

    /// Without modules: pingora would add its compression, switched off, to every request.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
        exchange.request_id = request::request_id(&session.req_header().headers);
        exchange.peer = session
            .client_addr()
            .and_then(|address| address.as_inet())
            .map(std::net::SocketAddr::ip);
        let listener = exchange.generation.config.listeners.get(&self.listener);
        let headers = &session.req_header().headers;
        exchange.client = match (exchange.peer, listener) {
            (Some(peer), Some(listener)) => Some(client_address::client(peer, headers, listener)),
            (peer, _) => peer,
        };
        let tls = session.digest().and_then(|digest| digest.ssl_digest.as_ref());
        exchange.tls = tls.map(|tls| tls.version.replace('_', "."));
        if session.is_http2() {
            // A client that gives no window; on HTTP/1 `prompt` sees to it.
            session.set_write_timeout(Some(self.timeouts.write.as_std()));
        }
        if session.get_keepalive() == Some(0) {
            // Pingora forgets the limit with each request that may be followed by another.
            session.set_keepalive(Some(whole_seconds(self.timeouts.idle)));
        }
        let mut admitted = self.admit(session, exchange);
        if admitted.is_ok() {
            admitted = rate_limit::admit(session.req_header(), exchange).await;
        }
        match admitted.and_then(|()| rules::rewrite(session, exchange)) {
            Ok(()) => {
                let is_answered = self.serve(session, exchange).await?;
                if !is_answered {
                    // Before an upstream is connected to, so that its socket is the lane's too.
                    hop::to(exchange.place()).await;
                }
                Ok(is_answered)
            }
            Err(failure) => {
                self.answer(session, failure, exchange).await;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
    ) -> Result<Box<HttpPeer>> {
        exchange.attempt_begun = Some(Instant::now());
        exchange.in_use = None;
        // What was sent to one server is sent again to the next, and counted again.
        exchange.body_bytes = 0;
        let upstream =
            exchange.upstream.as_ref().ok_or_else(|| Error::new(ErrorType::InternalError))?;
        let route = exchange.route.as_ref().map_or("", |route| route.name.as_str());
        let head = session.req_header();
        exchange.attempts.wish = upstream.wish(&Asking { client: exchange.client, route, head });
        let turn = upstream.next(&mut exchange.attempts);
        let turn = turn.ok_or_else(|| Error::new(ErrorType::Custom(respond::NO_SERVER)))?;
        exchange.in_use = Some(turn.in_use);
        Ok(Box::new(turn.peer))
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        exchange: &mut Exchange,
        mut error: Box<Error>,
    ) -> Box<Error> {
        count_failure(exchange, &error, false);
        error.set_retry(again(session, exchange, Failed::Connect));
        error
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        #[cfg(unix)] _fd: std::os::unix::io::RawFd,
        _digest: Option<&Digest>,
        exchange: &mut Exchange,
    ) -> Result<()> {
        exchange.connect_time = exchange.attempt_begun.map(|begun| begun.elapsed());
        exchange.connected = Some(Instant::now());
        exchange.reused = Some(reused);
        if let Some(upstream) = &exchange.upstream {
            upstream.connected(reused);
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        head: &mut RequestHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        let upstream =
            exchange.upstream.as_ref().ok_or_else(|| Error::new(ErrorType::InternalError))?;
        let server = upstream.server_name(&exchange.attempts).unwrap_or_default();
        let downstream = Downstream {
            client: exchange.peer,
            tls: exchange.tls.is_some(),
            request_id: &exchange.request_id,
        };
        headers::to_upstream(head, &downstream, server)?;
        edit_request(head, &exchange.ruled.to_upstream)
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        exchange: &mut Exchange,
    ) -> Result<()> {
        exchange.body_bytes += body.as_ref().map_or(0, |body| body.len() as u64);
        let Some(route) = &exchange.route else { return Ok(()) };
        route.gate.check_body(exchange.body_bytes).map_err(|failure| {
            exchange.failure = Some(failure);
            Error::new_down(ErrorType::InternalError)
        })
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        headers::from_upstream(head)?;
        exchange.interim += u32::from(head.status.is_informational());
        if exchange.interim > INTERIM_MAX {
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, "too many interim responses")
                .into_up());
        }
        if !head.status.is_informational() {
            let took = exchange.connected.map_or(Duration::ZERO, |at| at.elapsed());
            exchange.upstream_first_byte = Some(took);
            if let Some(upstream) = exchange.upstream.clone() {
                let status = head.status.as_u16();
                upstream.answered(&exchange.attempts, status, took);
                if (502..=504).contains(&status) && again(session, exchange, Failed::Gateway) {
                    return Err(Error::new(ErrorType::Custom(respond::GATEWAY_ERROR)).into_up());
                }
                let tls = exchange.tls.is_some();
                if let Some(cookie) = upstream.sticky_cookie(&exchange.attempts, tls) {
                    head.append_header(http::header::SET_COOKIE, cookie)?;
                }
            }
            exchange.first_byte = Some(exchange.begun.elapsed());
            if let Some(policy) = &exchange.cache_policy {
                answer::invalidate(policy, session.req_header(), exchange.tls.is_some(), head);
            }
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        respond::fit_protocol(session, head);
        if let Some(status) = &exchange.cache_status {
            head.append_header(CACHE_STATUS, status.as_str())?;
        }
        for (name, value) in exchange.limits.quota.iter().flat_map(Quota::fields) {
            head.append_header(name, value)?;
        }
        edit_response(head, &exchange.ruled.to_client)
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        exchange: &mut Exchange,
        reused: bool,
    ) -> Box<Error> {
        let mut error = error.more_context(format!("server {peer}"));
        if matches!(error.etype(), ErrorType::Custom(respond::GATEWAY_ERROR)) {
            // Decided when the answer came.
            error.set_retry(true);
            return error;
        }
        error.retry.decide_reuse(reused);
        let stale = error.retry() || (reused && matches!(error.etype(), ErrorType::WriteError));
        count_failure(exchange, &error, stale);
        let kind = failure_kind(error.etype());
        let failed = if stale { Failed::Stale } else { Failed::of(kind) };
        let is_upstreams = *error.esource() == ErrorSource::Upstream;
        error.set_retry(is_upstreams && again(session, exchange, failed));
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        exchange: &mut Exchange,
    ) -> FailToProxy {
        let failure = exchange.failure.take();
        let failure = failure.or_else(|| prompt::malformed(error.root_cause()));
        let failure = failure.unwrap_or_else(|| Failure::of(error));
        let notable = !failure.is_the_clients();
        if notable && self.state.moderation.may_tell() {
            let request_id = &exchange.request_id;
            tracing::warn!(%request_id, %error, failure = failure.name(), "request failed");
        }
        self.answer(session, failure, exchange).await;
        let error_code = exchange.answered.map_or(0, |status| status.as_u16());
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, exchange: &mut Exchange) {
        exchange.permit = None;
        exchange.in_use = None;
        exchange.limits.leave();
        finish::record(self, session, error.is_some(), exchange);
    }

    /// `fail_to_proxy` has said it, with the request's id.
    fn suppress_error_log(&self, _: &Session, _: &Exchange, _: &Error) -> bool {
        true
    }
}
