//! The request's way through the proxy, as pingora's phases. Each phase delegates; nothing is
//! decided here that could be decided in a file of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::Version;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use proxy_config::listener::ListenerTimeouts;
use proxy_config::program::Walk;
use proxy_config::route::ForwardedHeaders;

use crate::bodies::{self, Changers};
use crate::cache::answer;
use crate::cache::serve::CACHE_STATUS;
use crate::compress::{self, Compressors};
use crate::connection::{Ends, caller, whole_seconds};
use crate::detour;
use crate::error_logs::request_failed;
use crate::exchange::Exchange;
use crate::failure::{self, Failure};
use crate::finish;
use crate::frames;
use crate::framing;
use crate::headers::{self, Downstream};
use crate::lane::Full;
use crate::mirror;
use crate::pace::OwnRate;
use crate::parts::{self, Cutters};
use crate::path::TargetFault;
use crate::rate_limit::key::Asking;
use crate::rate_limit::quota::Quota;
use crate::respond;
use crate::route::Route;
use crate::rules;
use crate::rules::edits::{edit_request, edit_response};
use crate::state::State;
use crate::telemetry::attempt::{self, Attempt};
use crate::trace::TRACEPARENT;
use crate::upstream::Upstream;
use crate::upstream::bounds::INTERIM_MAX;
use crate::upstream::connector::Carries;
use crate::upstream::fault::{failure_kind, in_body, is_unprocessed, label};
use crate::upstream::retry::Failed;
use crate::way::{self, Way};
use crate::{client_address, cors, dating, inside, local, request};

/// The proxy behind one listener.
pub struct Edge {
    pub listener: String,
    pub timeouts: ListenerTimeouts,
    pub state: Arc<State>,
}

impl Edge {
    /// The same once more.
    pub fn another(&self) -> Edge {
        let Edge { listener, timeouts, state } = self;
        Edge { listener: listener.clone(), timeouts: timeouts.clone(), state: Arc::clone(state) }
    }

    /// Everything that can refuse a request before an upstream is asked: when it comes, and again on
    /// each detour.
    pub fn admit(&self, session: &mut Session, exchange: &mut Exchange) -> Result<(), Failure> {
        if exchange.trail.is_fresh() {
            if let Some(failure) = exchange.caller.unfit.take() {
                return Err(Failure::clone(&failure));
            }
            request::admit(session, exchange.generation.config.listeners.get(&self.listener))?;
        }
        let Way { route, walk, reply } = way::find(&self.listener, session, exchange)?;
        let led = walk.led_by_name || walk.rewritten;
        if route.internal && exchange.trail.is_fresh() && !led {
            return Err(Failure::NoRoute);
        }
        exchange.route = Some(Arc::clone(&route));
        exchange.tempo = route.tempo();
        exchange.rate = route.response_rate.as_ref().map(|rate| Arc::new(OwnRate::new(rate)));
        let is_inside = exchange.trail.is_inside;
        if let Some(rule) = route.client.as_ref().filter(|_| !is_inside) {
            let peer = exchange.peer.map(|peer| peer.ip());
            let (headers, introduced) = (&session.req_header().headers, exchange.caller.introduced);
            exchange.client = client_address::by_rule(peer, headers, introduced, rule);
        }
        let target = rules::target(&self.listener, session.req_header());
        if exchange.generation.routes.is_disguised(&target, &route) {
            return Err(Failure::Target(TargetFault::Disguised));
        }
        if !is_inside {
            compress::offer(session, route.compression.as_ref());
            let ranges_max = route.files.as_ref().and_then(|files| files.ranges_max);
            parts::offer(session, &route, ranges_max);
        }
        way::destine(session.req_header(), exchange, &route);
        // First, so that refusals carry the route's headers too.
        let head = session.req_header();
        exchange.must_prove = false;
        if let Some(reply) = reply {
            // What the steps answer comes before who may ask.
            exchange.ruled = rules::render(head, exchange, &self.listener, &route, walk);
            (exchange.ruled.reply, exchange.ruled.by_steps) = (Some(reply), true);
            return Ok(());
        }
        let is_preflight = self.rule(head, exchange, &route, walk);
        if exchange.trail.is_raw {
            // Asked for by who has passed here.
            return Ok(());
        }
        route.gate.check(exchange.client, &head.headers)?;
        exchange.must_prove = !is_preflight && !route.gate.suffices(exchange.client);
        Ok(())
    }

    /// Notes who asks.
    pub fn meet(&self, head: &RequestHeader, ends: &Ends, exchange: &mut Exchange) {
        (exchange.peer, exchange.local) = (ends.peer, ends.local);
        exchange.tls.clone_from(&ends.tls);
        let listener = exchange.generation.config.listeners.get(&self.listener);
        let peer = exchange.peer.map(|peer| peer.ip());
        exchange.client = match listener {
            Some(listener) => {
                let introduced = exchange.caller.introduced;
                client_address::client(peer, &head.headers, introduced, listener)
            }
            None => peer,
        };
    }

    /// Renders the route's rules for what is known of the request; says whether it is a preflight.
    pub fn rule(
        &self,
        head: &RequestHeader,
        exchange: &mut Exchange,
        route: &Route,
        walk: Walk,
    ) -> bool {
        exchange.ruled = rules::render(head, exchange, &self.listener, route, walk);
        let cors = route.cors.as_ref();
        cors.is_some_and(|cors| cors::apply(cors, &head.method, &head.headers, &mut exchange.ruled))
    }

    /// Lets the route's guard decide. It comes after the lane, which bounds how many are being checked.
    pub async fn prove(
        &self,
        head: &RequestHeader,
        exchange: &mut Exchange,
    ) -> Result<(), Failure> {
        let Some(route) = exchange.route.clone() else { return Ok(()) };
        let Some(guard) = route.guard.as_ref().filter(|_| exchange.must_prove) else {
            return Ok(());
        };
        let client = exchange.client;
        let users = exchange.ruled.texts.users.clone();
        let means = (&self.state.runtimes, &self.state.connector);
        guard.check(head, client, users.as_ref(), means, &mut exchange.proved).await?;
        if route.split.is_by_claim() {
            way::destine(head, exchange, &route);
        }
        // Now there is more that rules may tell.
        let walk = std::mem::take(&mut exchange.ruled.walk);
        self.rule(head, exchange, &route, walk);
        Ok(())
    }

    /// Answers an authority that asks whose a name is.
    async fn prove_name(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        answer: Bytes,
    ) -> Result<(), Failure> {
        request::admit(session, exchange.generation.config.listeners.get(&self.listener))?;
        let head = ResponseHeader::build(200, Some(2)).and_then(|mut head| {
            head.insert_header(http::header::CONTENT_TYPE, "application/octet-stream")?;
            Ok(head)
        });
        local::send(session, exchange, head.map_err(|_| Failure::Internal)?, answer).await
    }

    /// Answers a failure met before the upstream was asked, or breaks the connection off.
    async fn fail(
        &self,
        session: &mut Session,
        failure: Failure,
        exchange: &mut Exchange,
    ) -> Result<bool> {
        let begun = session.response_written().is_some_and(|head| !head.status.is_informational());
        if !begun && failure.status().is_some() {
            self.answer(session, failure, exchange).await;
            return Ok(true);
        }
        // An error is what breaks the connection off; `fail_to_proxy` finds the failure here.
        exchange.failure = Some(failure);
        Err(Error::new(ErrorType::InternalError))
    }

    /// What ended pingora's proxying; tells the operator, who knows already of what ended the request before.
    fn failure_of(&self, error: &Error, exchange: &mut Exchange) -> Failure {
        if let Some(failure) = exchange.failure.take() {
            return failure;
        }
        let malformed = framing::malformed(error.root_cause());
        let failure = malformed.unwrap_or_else(|| Failure::of(error));
        request_failed(&self.state, exchange, &failure, error);
        failure
    }

    async fn answer(&self, session: &mut Session, failure: Failure, exchange: &mut Exchange) {
        exchange.answered = respond::send(session, &failure, exchange).await;
        if exchange.answered.is_some() {
            exchange.first_byte.get_or_insert(exchange.begun.elapsed());
        }
        exchange.failure = Some(failure);
    }
}

/// Begins the span of the next attempt, where the request is traced; the one before it ends.
fn begin_attempt(head: &RequestHeader, exchange: &mut Exchange, upstream: &Upstream) {
    exchange.attempt = None;
    let Some(recorder) = exchange.recorder() else { return };
    let asked = attempt::Asked {
        upstream: &upstream.name,
        server: upstream.host(&exchange.attempts),
        tls: upstream.transport().is_tls(),
        resent: exchange.attempts.retries(),
    };
    let attempt = Attempt::new(&recorder, head.method.as_str(), head.raw_path(), &asked);
    exchange.attempt = Some(Box::new(attempt));
}

fn count_failure(exchange: &mut Exchange, error: &Error, kind: &'static str, stale: bool) {
    if let (Some(upstream), ErrorSource::Upstream) = (&exchange.upstream, error.esource()) {
        exchange.attempt.iter_mut().for_each(|attempt| attempt.failed(kind));
        upstream.failed(&mut exchange.attempts, kind, stale);
    }
}

/// Whether the request is tried again. What a client has seen a part of is not.
fn again(session: &Session, exchange: &mut Exchange, failed: Failed) -> bool {
    let Some(upstream) = &exchange.upstream else { return false };
    let head = session.req_header();
    // Who has not looked at it has done no harm.
    let harmless = failed == Failed::Unprocessed
        || head.method.is_idempotent()
        || upstream.declares_repeatable(&head.headers);
    let repeatable = harmless && !session.as_ref().retry_buffer_truncated();
    session.response_written().is_none()
        && upstream.again(&mut exchange.attempts, failed, repeatable)
}

#[async_trait]
impl ProxyHttp for Edge {
    type CTX = Exchange;

    fn new_ctx(&self) -> Exchange {
        Exchange::new(&self.state, caller())
    }

    fn init_downstream_modules(&self, modules: &mut HttpModules) {
        modules.add_module(Box::new(Changers));
        modules.add_module(Box::new(Compressors(self.state.encoding.clone())));
        modules.add_module(Box::new(Cutters));
    }

    /// Pages include others ([`crate::inside`]).
    fn allow_spawning_subrequest(&self, _: &Session, _: &Exchange) -> bool {
        true
    }

    async fn request_filter(&self, session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
        if let Some(origin) = inside::origin(session) {
            let detour = origin.adopt(session, exchange);
            return match self.go_on(session, exchange, Some(detour)).await {
                Ok(is_answered) => Ok(is_answered),
                Err(failure) => self.fail(session, failure, exchange).await,
            };
        }
        exchange.request_id = request::request_id(&session.req_header().headers, exchange.date);
        let none = (None, None);
        let (socket, tls) = session
            .digest()
            .map_or(none, |digest| (digest.socket_digest.as_deref(), digest.ssl_digest.as_deref()));
        let ends = Ends::of(socket, tls);
        self.meet(session.req_header(), &ends, exchange);
        if session.get_keepalive() == Some(0) {
            // Pingora forgets the limit with each request that may be followed by another.
            session.set_keepalive(Some(whole_seconds(self.timeouts.idle)));
        }
        if exchange.last {
            session.set_keepalive(None);
        }
        let challenges = &self.state.tls.issued.challenges;
        let asked = challenges.asked(session.req_header());
        if let Some(answer) = asked.filter(|_| exchange.caller.unfit.is_none()) {
            // Whatever the routes say of it.
            return match self.prove_name(session, exchange, answer).await {
                Ok(()) => Ok(true),
                Err(failure) => self.fail(session, failure, exchange).await,
            };
        }
        match self.go_on(session, exchange, None).await {
            Ok(is_answered) => Ok(is_answered),
            Err(failure) => self.fail(session, failure, exchange).await,
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
        mirror::restart(&mut exchange.mirroring);
        let upstream =
            exchange.upstream.clone().ok_or_else(|| Error::new(ErrorType::InternalError))?;
        let route = exchange.route.as_ref().map_or("", |route| route.name.as_str());
        let head = session.req_header();
        let (client, proved) = (exchange.client, &exchange.proved);
        exchange.attempts.wish = upstream.wish(&Asking { client, route, head, proved });
        exchange.attempts.wish.client = client_address::ends(session, exchange.client);
        let lane = exchange.route.as_ref().map(|route| Arc::clone(&route.lane));
        let lane = lane.ok_or_else(|| Error::new(ErrorType::InternalError))?;
        let turn = upstream.turn(&mut exchange.attempts, &lane).await;
        let turn = turn.map_err(|why| Error::new(ErrorType::Custom(why.name())))?;
        begin_attempt(session.req_header(), exchange, &upstream);
        exchange.in_use = Some(turn.in_use);
        Ok(exchange.patience(&upstream).fitted(turn.aim))
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        exchange: &mut Exchange,
        mut error: Box<Error>,
    ) -> Box<Error> {
        count_failure(exchange, &error, failure_kind(&error), false);
        error.set_retry(again(session, exchange, Failed::Connect));
        error
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        #[cfg(unix)] connection: std::os::unix::io::RawFd,
        digest: Option<&Digest>,
        exchange: &mut Exchange,
    ) -> Result<()> {
        exchange.connect_time = exchange.attempt_begun.map(|begun| begun.elapsed());
        exchange.connected = Some(Instant::now());
        exchange.reused = Some(reused);
        exchange.attempt.iter_mut().for_each(|attempt| attempt.reused = Some(reused));
        if let Some(upstream) = &exchange.upstream {
            exchange.last_on_connection =
                upstream.connected(reused, Some(Carries::Known(connection)));
            let tls = digest.and_then(|digest| digest.ssl_digest.as_deref());
            if !upstream.accepts(tls) {
                let why = "the server's TLS is older than the upstream allows";
                return Err(Error::explain(ErrorType::TLSHandshakeFailure, why).into_up());
            }
            if let (Some(in_use), Some(route)) = (&mut exchange.in_use, &exchange.route) {
                let shared = upstream.share(in_use, connection, &route.lane);
                shared.map_err(|Full| Error::new(ErrorType::Custom(failure::LANE_FULL)))?;
            }
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        head: &mut RequestHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        let upstream =
            exchange.upstream.as_ref().ok_or_else(|| Error::new(ErrorType::InternalError))?;
        let server = upstream.host(&exchange.attempts);
        let http2 = head.version == Version::HTTP_2;
        // Pingora has taken the field off already.
        let takes = headers::takes_trailers(&session.req_header().headers);
        let trailers = http2 && frames::is_http2(session) && takes;
        let downstream = Downstream {
            client: exchange.peer.map(|peer| peer.ip()),
            tls: exchange.tls.is_some(),
            request_id: &exchange.request_id,
            forwarded: exchange.forwarded(),
        };
        headers::to_upstream(head, &downstream, server)?;
        if bodies::asks_whole(session.req_header(), exchange) {
            bodies::ask_whole(head);
        }
        let version = if http2 { Version::HTTP_2 } else { Version::HTTP_11 };
        exchange.attempt.iter_mut().for_each(|attempt| attempt.version = Some(version));
        let parent = exchange.attempt.as_ref().and_then(|attempt| attempt.traceparent());
        if let Some(parent) = parent.filter(|_| exchange.forwarded() != ForwardedHeaders::PassOn) {
            head.insert_header(TRACEPARENT, parent)?;
        }
        if trailers {
            head.insert_header(http::header::TE, "trailers")?;
        }
        if exchange.last_on_connection && !http2 {
            head.insert_header(http::header::CONNECTION, "close")?;
        }
        let ask = exchange.route.as_ref().and_then(|route| route.ask.as_ref());
        let method = ask.and_then(|ask| ask.method.as_ref()).and_then(|method| method.parse().ok());
        if let Some(method) = method {
            head.set_method(method);
        }
        edit_request(head, &exchange.ruled.to_upstream)
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        exchange: &mut Exchange,
    ) -> Result<()> {
        mirror::body(&mut exchange.mirroring, body.as_ref(), end_of_stream);
        exchange.body_bytes += body.as_ref().map_or(0, |body| body.len() as u64);
        let Some(route) = &exchange.route else { return Ok(()) };
        route.gate.check_body(exchange.body_bytes).map_err(|failure| {
            exchange.failure = Some(failure);
            Error::new_down(ErrorType::InternalError)
        })?;
        if let (Some((_, request)), Some(body)) = (&exchange.tempo, body) {
            request.wait(body.len()).await;
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        headers::from_upstream(head)?;
        exchange.interim += usize::from(head.status.is_informational());
        if exchange.interim > INTERIM_MAX {
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, "too many interim responses")
                .into_up());
        }
        if !head.status.is_informational() {
            let took = exchange.connected.map_or(Duration::ZERO, |at| at.elapsed());
            exchange.upstream_first_byte = Some(took);
            exchange.upstream_status = Some(head.status.as_u16());
            exchange.attempt.iter_mut().for_each(|attempt| attempt.answered(head.status.as_u16()));
            if let Some(upstream) = exchange.upstream.clone() {
                let status = head.status.as_u16();
                upstream.answered(&mut exchange.attempts, status, took);
                exchange.ruled.to_client.edits.tried = exchange.attempts.tried.clone();
                let failed = upstream.failed_by(status);
                if failed.is_some_and(|failed| again(session, exchange, failed)) {
                    return Err(Error::new(ErrorType::Custom(failure::GATEWAY_ERROR)).into_up());
                }
                if let Some(detour) = detour::after(exchange, head) {
                    exchange.trail.pending = Some(detour);
                    return Err(Error::new(ErrorType::Custom(failure::DETOUR)).into_up());
                }
                if upstream.x_accel {
                    detour::settle(head);
                }
                let tls = exchange.tls.is_some();
                if let Some(cookie) = upstream.sticky_cookie(&exchange.attempts, tls) {
                    head.append_header(http::header::SET_COOKIE, cookie)?;
                }
            }
            exchange.first_byte = Some(exchange.begun.elapsed());
            if let Some(policy) = &exchange.cache_policy {
                answer::invalidate(policy, session.req_header(), exchange, head);
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
        if self.state.drain.has_begun() {
            session.set_keepalive(None);
        }
        if let Some(status) = &exchange.cache_status {
            head.append_header(CACHE_STATUS, status.as_str())?;
        }
        for (name, value) in exchange.limits.quota.iter().flat_map(Quota::fields) {
            head.append_header(name, value)?;
        }
        edit_response(head, &exchange.ruled.to_client)?;
        dating::keep_date(session, head);
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        exchange: &mut Exchange,
    ) -> Result<Option<Duration>> {
        let bytes = body.as_ref().map_or(0, Bytes::len);
        body.iter().for_each(|part| mirror::answer(&mut exchange.mirroring, part));
        Ok(exchange.pacing().and_then(|pacing| pacing.reserve(bytes)))
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
        if matches!(error.etype(), ErrorType::Custom(failure::GATEWAY_ERROR)) {
            // Decided when the answer came.
            error.set_retry(true);
            return error;
        }
        if exchange.trail.pending.is_some() {
            error.set_retry(false);
            return error;
        }
        let unprocessed = is_unprocessed(&error);
        error.retry.decide_reuse(reused);
        let stale = error.retry() || (reused && matches!(error.etype(), ErrorType::WriteError));
        let kind = failure_kind(&error);
        let begun = session.response_written().is_some_and(|head| !head.status.is_informational());
        count_failure(exchange, &error, if begun { in_body(kind) } else { kind }, stale);
        let failed = match (unprocessed, stale) {
            (true, _) => Failed::Unprocessed,
            (false, true) => Failed::Stale,
            (false, false) => Failed::of(label(kind)),
        };
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
        exchange.trail.is_let_go = true;
        let detour = match exchange.trail.pending.take() {
            Some(detour) => Ok(detour),
            None => {
                let failure = self.failure_of(error, exchange);
                detour::page_for(session, exchange, failure)
            }
        };
        let gone_on = match detour {
            Ok(detour) => {
                // Pingora gives the connection up after an error, whatever is answered.
                session.set_keepalive(None);
                self.go_on(session, exchange, Some(detour)).await
            }
            Err(failure) => Err(failure),
        };
        match gone_on {
            Ok(true) => exchange.answered = session.response_written().map(|head| head.status),
            Ok(false) => self.answer(session, Failure::Internal, exchange).await,
            Err(failure) => self.answer(session, failure, exchange).await,
        }
        let error_code = exchange.answered.map_or(0, |status| status.as_u16());
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, exchange: &mut Exchange) {
        (exchange.permit, exchange.at_origin) = (None, None);
        (exchange.in_use, exchange.attempt) = (None, None);
        exchange.limits.leave();
        finish::end(self, session, error.is_some(), exchange).await;
    }

    /// `fail_to_proxy` has said it, with the request's id.
    fn suppress_error_log(&self, _: &Session, _: &Exchange, _: &Error) -> bool {
        true
    }
}
