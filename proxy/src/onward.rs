//! The way of a request from route to answer, as often as detours lead it to another route: what the
//! route answers by itself, the cache, an upstream asked here; or on to pingora's proxying.

use std::sync::Arc;

use http::header::EXPECT;
use http::{StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;

use crate::cache::answer;
use crate::detour;
use crate::detour::trail::{Detour, Next};
use crate::edge::Edge;
use crate::error_logs::request_failed;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::fastcgi::caller::Caller;
use crate::fastcgi::pass;
use crate::fill::origin::Origin;
use crate::rate_limit::key::Asking;
use crate::upstream::naming;
use crate::video::ahead;
use crate::{
    assemble, auth_request, bodies, buffer, content, gather, handed_out, kept_body, lane, mirror,
    rate_limit, relay, rules, trace, tunnel,
};

impl Edge {
    /// Takes a request as far as it goes without pingora's proxying, beginning with a detour where one
    /// is due. `true`: it is answered.
    pub async fn go_on(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        mut detour: Option<Detour>,
    ) -> Result<bool, Failure> {
        loop {
            let entered = match detour.take() {
                Some(detour) => {
                    // What was asked has answered: who still held its places could wait for himself.
                    (exchange.at_origin, exchange.in_use) = (None, None);
                    let again = match detour.takes_request(exchange) {
                        true => Some(kept_body::again(&self.state, session, exchange).await),
                        false => None,
                    };
                    detour::enter(session, exchange, detour, again)
                }
                None => Ok(None),
            };
            let next = match entered {
                Ok(None) => Box::pin(self.step(session, exchange)).await,
                Ok(Some(named)) => {
                    let sent = Box::pin(handed_out::answer(session, exchange, named)).await;
                    sent.map(|()| Next::Sent)
                }
                Err(failure) => Err(failure),
            };
            match next {
                Ok(Next::Sent) => {
                    detour::arrived(session, exchange);
                    return Ok(true);
                }
                Ok(Next::PassOn) => return Ok(false),
                Ok(Next::Elsewhere(on)) => detour = Some(on),
                Err(failure) => {
                    request_failed(&self.state, exchange, &failure, &failure);
                    detour = Some(detour::page_for(session, exchange, failure)?);
                }
            }
        }
    }

    async fn step(&self, session: &mut Session, exchange: &mut Exchange) -> Result<Next, Failure> {
        self.admit(session, exchange)?;
        trace::enter::enter(session.req_header_mut(), &self.state, exchange);
        tunnel::consider(session, exchange);
        bodies::offer(session, exchange);
        kept_body::mind(session, exchange);
        gather::small_body(&self.state, session, exchange).await?;
        lane::enter::lane(session, exchange).await?;
        let proved = self.prove(session.req_header(), exchange).await;
        if !exchange.trail.limited {
            // Attempts to prove something are counted whether they succeed or not.
            rate_limit::enter::admit(session, exchange, &self.listener).await?;
            if self.state.drain.has_begun() {
                // While it was held a stop began: the client is told, and opens another connection.
                session.set_keepalive(None);
            }
            exchange.trail.limited =
                exchange.route.as_ref().is_some_and(|route| !route.rate_limits.is_empty());
        }
        proved?;
        auth_request::ask::ask(self, session, exchange).await?;
        kept_body::take_in(&self.state, session, exchange).await?;
        mirror::begin(self, session, exchange);
        if assemble::is_due(session, exchange) {
            return Box::pin(assemble::answer(self, session, exchange)).await;
        }
        rules::rewrite(session, exchange)?;
        match content::answer(session, exchange).await? {
            Next::PassOn => {}
            next => return Ok(next),
        }
        naming::direct(&self.state, session, exchange).await?;
        if let Some(origin) = self.origin(session, exchange)
            && let Some(next) = Box::pin(tunnel::pass(self, session, exchange, &origin)).await?
        {
            return Ok(next);
        }
        match self.through_cache(session, exchange).await? {
            Next::PassOn => {}
            next => return Ok(next),
        }
        self.go_ahead(session, exchange).await?;
        self.ask_upstream(session, exchange).await
    }

    /// Asks here, where anything is to be held, changed or kept, or leaves it to pingora.
    async fn ask_upstream(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
    ) -> Result<Next, Failure> {
        let gateway = exchange.upstream.as_ref().and_then(|upstream| upstream.gateway.clone());
        let origin = self.origin(session, exchange);
        let holds = buffer::pass::applies(session, exchange) || exchange.kept_body.is_there();
        let own_body = exchange.ruled.texts.body.is_some();
        let is_in_hand = is_in_hand(session, exchange);
        let asks_here = holds
            || own_body
            || exchange.rate.is_some()
            || exchange.trail.without_body
            || gateway.is_some()
            || detour::may_follow(exchange)
            || origin.as_ref().is_some_and(|origin| origin.patience.is_exacting)
            || (is_in_hand && is_kept_here(session, exchange));
        if !asks_here {
            lane::enter::origins(session, exchange).await?;
            return Ok(Next::PassOn);
        }
        let origin = origin.ok_or(Failure::Internal)?;
        match gateway {
            _ if is_in_hand => relay::pass(session, exchange, &origin).await,
            Some(_) if holds && buffer::pass::suits_scripts(session, exchange) => {
                Box::pin(buffer::pass::pass(session, exchange, &origin)).await
            }
            Some(gateway) => Box::pin(pass::pass(session, exchange, &origin, &gateway)).await,
            None if holds => Box::pin(buffer::pass::pass(session, exchange, &origin)).await,
            None => {
                lane::enter::origins(session, exchange).await?;
                Ok(Next::PassOn)
            }
        }
    }

    /// Tells a client to send its body, where it waits for that and the listener says so.
    async fn go_ahead(&self, session: &mut Session, exchange: &Exchange) -> Result<(), Failure> {
        let listener = exchange.generation.config.listeners.get(&self.listener);
        if !listener.is_some_and(|listener| listener.answers_continue) {
            return Ok(());
        }
        let head = session.req_header_mut();
        let Some(expected) = head.remove_header(&EXPECT) else { return Ok(()) };
        let waits = expected.as_bytes().eq_ignore_ascii_case(b"100-continue");
        if !waits || head.version == Version::HTTP_10 || exchange.upstream.is_none() {
            return Ok(());
        }
        let go_on =
            ResponseHeader::build(StatusCode::CONTINUE, None).map_err(|_| Failure::Internal)?;
        let written = session.write_response_header(Box::new(go_on), false).await;
        written.map_err(|_| Failure::ClientGone)
    }

    async fn through_cache(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
    ) -> Result<Next, Failure> {
        let Some(policy) = exchange.cache_policy.clone() else { return Ok(Next::PassOn) };
        let Some(mut origin) = self.origin(session, exchange) else { return Ok(Next::PassOn) };
        origin.reach = ahead::reach(&self.listener, exchange, &policy);
        answer::answer(session, exchange, &policy, &origin).await
    }

    /// The upstream of the request, to be asked by the proxy itself.
    fn origin(&self, session: &Session, exchange: &Exchange) -> Option<Origin> {
        let upstream = exchange.upstream.as_ref()?;
        let caller = Caller::for_upstream(session, exchange, &self.listener, upstream);
        let origin = self.origin_without_scripts(session.req_header(), exchange)?;
        Some(Origin { caller, ..origin })
    }

    /// The same for an upstream that speaks HTTP.
    pub fn origin_without_scripts(
        &self,
        head: &RequestHeader,
        exchange: &Exchange,
    ) -> Option<Origin> {
        let upstream = exchange.upstream.clone()?;
        let route = exchange.route.as_ref()?;
        let proved = &exchange.proved;
        let asking = Asking { client: exchange.client, route: &route.name, head, proved };
        Some(Origin {
            connector: Arc::clone(&self.state.connector),
            wish: upstream.wish(&asking),
            patience: exchange.patience(&upstream),
            upstream,
            runtimes: self.state.runtimes.clone(),
            lane: Arc::clone(&route.lane),
            buffering: Arc::clone(&route.buffering),
            reach: None,
            caller: None,
        })
    }
}

/// Whether the connection to the server is one that this proxy can keep by itself: pingora's pool loses some of those that it is
/// given back when their clients have long asked again.
fn is_kept_here(session: &Session, exchange: &Exchange) -> bool {
    let is_plain = exchange.upstream.as_ref().is_some_and(|upstream| upstream.is_plain());
    is_plain && !buffer::pass::goes_both_ways(session)
}

/// Whether nothing of the request's body is to be read from the client any more.
fn is_in_hand(session: &mut Session, exchange: &Exchange) -> bool {
    exchange.ruled.texts.body.is_some()
        || exchange.kept_body.bytes().is_some()
        || detour::is_bodiless(session, exchange)
        || session.is_body_empty()
}
