//! A request takes its place in a trace.

use pingora::http::RequestHeader;
use proxy_config::route::ForwardedHeaders;
use proxy_config::units::Percent;

use crate::exchange::Exchange;
use crate::state::State;
use crate::telemetry::Recorder;
use crate::telemetry::span::new_id;
use crate::trace::{SAMPLED, TRACEPARENT, TRACESTATE, begin, header, parse};

/// Takes part in the client's trace, or begins one where traces are recorded.
pub fn enter(head: &mut RequestHeader, state: &State, exchange: &mut Exchange) {
    let telemetry = exchange.generation.config.telemetry.as_ref();
    let is_told = head.headers.contains_key(TRACEPARENT);
    if exchange.trace.is_some() || !(is_told || telemetry.is_some()) {
        return;
    }
    let mut trace = parse(&head.headers, new_id());
    if let Some(telemetry) = telemetry {
        let is_inside = exchange.trail.is_inside;
        // A part of a request has no span of its own: what it asks is asked by the whole.
        if let Some(part) = trace.as_mut().filter(|_| is_inside)
            && let Some(whole) = part.parent.clone()
        {
            part.span = whole;
        }
        let drawn = || telemetry.sample.takes(fastrand::u16(..Percent::WHOLE));
        let trace = trace.get_or_insert_with(|| begin(!is_inside && drawn()));
        if trace.flags & SAMPLED != 0 {
            let place = (trace.id.as_str(), trace.span.as_str());
            let recorder = Recorder::new(&state.spans, place, trace.flags, &exchange.generation);
            exchange.recorder = Some(Box::new(recorder));
        }
    }
    exchange.trace = trace;
    if exchange.forwarded() == ForwardedHeaders::PassOn {
        return;
    }
    head.remove_header(&TRACEPARENT);
    let is_new = exchange.trace.as_ref().is_some_and(|trace| trace.parent.is_none());
    if exchange.trace.is_none() || is_new {
        head.remove_header(&TRACESTATE);
    }
    if let Some(trace) = &exchange.trace {
        // It is made of hex digits.
        drop(head.insert_header(TRACEPARENT, header(&trace.id, &trace.span, trace.flags)));
    }
}
