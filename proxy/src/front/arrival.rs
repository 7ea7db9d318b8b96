//! A request at the door, as far as nobody has been asked about it.

use std::sync::Arc;

use http::header::UPGRADE;
use pingora::http::RequestHeader;

use crate::edge::Edge;
use crate::exchange::Exchange;
use crate::front::Guest;
use crate::route::Route;
use crate::rules::target;
use crate::way::{Way, direct};
use crate::{request, trace, way};

/// A request that came to a plain route and may go on.
pub struct Arrival {
    /// Large, and handed on twice.
    pub exchange: Box<Exchange>,
    pub route: Arc<Route>,
}

/// Finds the route and applies its rules. `None`: it is for somebody else to answer or to refuse, and nothing
/// has been counted, taken or changed but the form of `head`. `raw` is the head as it came.
pub fn arrive(edge: &Edge, guest: &Guest, head: &mut RequestHeader, raw: &[u8]) -> Option<Arrival> {
    let generation = edge.state.current();
    let listener = generation.config.listeners.get(&edge.listener);
    request::settle(head, Some(raw), listener).ok()?;
    if head.headers.contains_key(UPGRADE) || edge.state.tls.issued.challenges.asked(head).is_some()
    {
        return None;
    }
    let asked = target(&edge.listener, head);
    let index = generation.routes.router.find_from(0, &asked)?;
    if !generation.routes.at(index).plain {
        return None;
    }
    let mut exchange = Box::new(Exchange::new(&edge.state, guest.caller.clone()));
    exchange.request_id = request::request_id(&head.headers, exchange.date);
    edge.meet(head, &guest.ends, &mut exchange);
    let Way { route, walk, .. } = direct(&generation.routes, &asked, Some(index), &exchange)?;
    if generation.routes.is_disguised(&asked, &route) {
        return None;
    }
    way::destine(head, &mut exchange, &route);
    exchange.route = Some(Arc::clone(&route));
    if !route.rules.is_empty() || route.cors.is_some() {
        edge.rule(head, &mut exchange, &route, walk);
    }
    route.gate.check(exchange.client, &head.headers).ok()?;
    trace::enter::enter(head, &edge.state, &mut exchange);
    Some(Arrival { exchange, route })
}
