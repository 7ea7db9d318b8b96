//! Whether a request is answered at the door: it is on a route where nobody else has a say, and what answers it
//! lies fresh in memory.

use std::sync::Arc;

use pingora::http::RequestHeader;

use crate::cache::answer::{Verdict, at_hand, count};
use crate::cache::now_ms;
use crate::cache::object::Stored;
use crate::cache::serve::{Response, Source, respond_to};
use crate::edge::Edge;
use crate::exchange::Exchange;
use crate::front::Guest;
use crate::lane::Lane;
use crate::prompt::QUANTUM_BYTES;
use crate::rate_limit::key::Asking;
use crate::rules::{edit_response, target};
use crate::split::Destination;
use crate::way::{Way, direct};
use crate::{detour, request};

/// Everything there is to send, and who is sent it.
pub struct Hit {
    pub exchange: Exchange,
    pub stored: Arc<Stored>,
    pub response: Response,
    pub lane: Arc<Lane>,
}

/// Takes the request as far as its answer. `None`: it is somebody else's, and nothing has been counted, taken
/// or changed but the form of `head`. `raw` is the head as it came.
pub fn find(edge: &Edge, guest: &Guest, head: &mut RequestHeader, raw: &[u8]) -> Option<Hit> {
    let generation = edge.state.current();
    let listener = generation.config.listeners.get(&edge.listener);
    request::settle(head, Some(raw), listener).ok()?;
    let (head, asked) = (&*head, target(&edge.listener, head));
    let index = generation.routes.router.find_from(0, &asked)?;
    if !generation.routes.at(index).at_once {
        return None;
    }
    let mut exchange = Exchange::new(&edge.state, guest.caller.clone());
    exchange.request_id = request::request_id(&head.headers);
    edge.meet(head, &guest.ends, &mut exchange);
    let Way { route, walk, .. } = direct(&generation.routes, &asked, Some(index), &exchange)?;
    if generation.routes.is_disguised(&asked, &route) {
        return None;
    }
    let proved = &exchange.proved;
    let asking = Asking { client: exchange.client, route: &route.name, head, proved };
    let Destination { upstream, cache_policy } = route.split.choose(&asking);
    (exchange.upstream, exchange.cache_policy) = (upstream, cache_policy);
    exchange.route = Some(Arc::clone(&route));
    edge.rule(head, &mut exchange, &route, walk);
    route.gate.check(exchange.client, &head.headers).ok()?;
    let policy = exchange.cache_policy.clone()?;
    let now_ms = now_ms();
    let (stored, status) = at_hand(head, &policy, exchange.tls.is_some(), now_ms)?;
    let is_large = stored.length() > QUANTUM_BYTES as u64;
    if is_large || detour::after(&exchange, &stored.head.response).is_some() {
        return None;
    }
    let mut response = respond_to(head, &Source::Stored(Arc::clone(&stored)), &status, now_ms)?;
    edit_response(&mut response.head, &exchange.ruled.to_client).ok()?;
    exchange.permit = Some(route.lane.admit_now()?);
    count(&policy, &mut exchange, Verdict::Hit);
    Some(Hit { exchange, stored, response, lane: Arc::clone(&route.lane) })
}
