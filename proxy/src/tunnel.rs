//! Connections that change their protocol (`Upgrade`, RFC 9110 section 7.8), such as WebSockets.
//!
//! What a client offers and its route lets through is offered to the upstream in the proxy's own words.
//! Until the upstream agrees with a 101 it is a request like any other, and any other answer is an ordinary
//! one. From then on bytes are [`carry`]-ed both ways and nothing looks into them: no cache, no compression,
//! no rules. The request keeps its place in its lane, at its limits and at its server until the tunnel ends, but
//! it leaves pingora ([`departure`]).

pub mod carry;
pub mod departure;
pub mod switch;

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{
    CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SET_COOKIE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use sha1::{Digest, Sha1};

use crate::connection::{Caller, caller};
use crate::detour::trail::Next;
use crate::edge::Edge;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::fill::origin::Origin;
use crate::fill::reply::Reply;
use crate::tunnel::carry::Carried;
use crate::tunnel::departure::Departure;
use crate::{headers, hop, relay};

/// The protocol of WebSockets, and what it adds to a client's key (RFC 6455 section 1.3).
const WEBSOCKET: &str = "websocket";
const WEBSOCKET_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// How far a request has come towards a protocol of its own.
#[derive(Default)]
pub struct Tunnelling {
    /// What the client would go on in.
    offer: Option<HeaderValue>,
    /// What was carried, once the tunnel has ended.
    pub carried: Option<Carried>,
    /// The request is elsewhere, and told of there.
    pub has_departed: bool,
}

/// The offers of a request that may be made to a server, as one value; nothing where there are none.
///
/// Only a request of HTTP/1.1 whose `Connection` names the field makes one. Protocols in which requests
/// would go on unseen are never among them: servers may pass any offer over.
///
/// Errors: what is no list of protocols.
pub fn offers(headers: &HeaderMap, version: Version) -> Result<Option<HeaderValue>, Failure> {
    let malformed = Failure::BadRequest("Upgrade is not a list of protocols");
    let tokens = |name| {
        let values = headers.get_all(name).iter();
        values
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
    };
    let mut offered = Vec::new();
    for offer in tokens(UPGRADE) {
        let (name, form) = parts(offer).ok_or_else(|| malformed.clone())?;
        let hides_requests = ["h2c", "h2", "http", "tls"].contains(&name.as_str());
        if !hides_requests {
            offered.push(form);
        }
    }
    let is_named = tokens(CONNECTION).any(|token| token.eq_ignore_ascii_case(b"upgrade"));
    if version != Version::HTTP_11 || !is_named || offered.is_empty() {
        return Ok(None);
    }
    HeaderValue::from_str(&offered.join(", ")).map(Some).map_err(|_| malformed)
}

/// Name in lower case, and the whole, of `name` or `name/version`.
fn parts(offer: &[u8]) -> Option<(String, &str)> {
    let form = std::str::from_utf8(offer).ok()?;
    let (name, version) = form.split_once('/').map_or((form, None), |(name, v)| (name, Some(v)));
    let is_token = |text: &str| http::HeaderName::from_bytes(text.as_bytes()).is_ok();
    let fine = is_token(name) && version.is_none_or(is_token);
    fine.then(|| (name.to_ascii_lowercase(), form))
}

/// Takes the offer out of the head, once a route was found by it, so that what follows is a request like
/// any other; keeps of it what the route lets through.
pub fn consider(session: &mut Session, exchange: &mut Exchange) {
    let Some(offer) = session.req_header_mut().remove_header(&UPGRADE) else { return };
    let Some(route) = &exchange.route else { return };
    let text = offer.to_str().unwrap_or_default();
    let let_through = text.split(", ").filter(|offer| {
        let name = parts(offer.as_bytes()).map(|(name, _)| name).unwrap_or_default();
        route.upgrades.iter().any(|let_through| *let_through == name || let_through == "*")
    });
    let let_through: Vec<&str> = let_through.collect();
    let offer = HeaderValue::from_str(&let_through.join(", ")).ok();
    exchange.tunnel.offer = offer.filter(|_| !let_through.is_empty());
}

/// Puts the offer to the upstream, if there is one that it can be put to, and carries what comes of it.
pub async fn pass(
    edge: &Edge,
    session: &mut Session,
    exchange: &mut Exchange,
    origin: &Origin,
) -> Result<Option<Next>, Failure> {
    let Some(offer) = exchange.tunnel.offer.clone() else { return Ok(None) };
    let Some(upstream) = exchange.upstream.clone() else { return Ok(None) };
    // A body would have to be whole before the protocol changes: then nothing is offered.
    if exchange.trail.without_body || upstream.gateway.is_some() || !session.is_body_empty() {
        return Ok(None);
    }
    if upstream.transport().is_http2() && !upstream.transport().is_tls() {
        let why =
            "the server behind this proxy is spoken to in HTTP/2 alone, which upgrades nothing";
        return Err(Failure::NotImplemented(why));
    }
    hop::to(exchange.place()).await;
    let mut question = relay::question(session.req_header(), exchange);
    question.caller.clone_from(&origin.caller);
    let key = question.head.headers.get(SEC_WEBSOCKET_KEY).cloned();
    let fields = [(CONNECTION, HeaderValue::from_static("upgrade")), (UPGRADE, offer.clone())];
    let reply = relay::asked(session, exchange, origin, &question, &fields).await?;
    exchange.upstream_status = Some(reply.head.status.as_u16());
    if reply.head.status != StatusCode::SWITCHING_PROTOCOLS {
        let held = relay::room(exchange)?;
        return relay::answer(session, exchange, reply, held).await.map(Some);
    }
    let Some(head) = agreed(reply.head.clone(), &offer, key.as_ref()) else {
        tracing::warn!(
            request_id = exchange.request_id,
            upstream = upstream.name,
            "a server switched to a protocol in a way nobody asked for"
        );
        return Err(Failure::UpstreamBroken);
    };
    open(edge, session, exchange, origin, reply, head).await.map(|()| Some(Next::Sent))
}

/// The client's 101, if the server's agrees to what was offered; to WebSocket, by proof that it has read the
/// request (RFC 6455 section 4.1): a server that echoes a status somebody made it say has not.
fn agreed(
    mut head: ResponseHeader,
    offer: &HeaderValue,
    key: Option<&HeaderValue>,
) -> Option<ResponseHeader> {
    if head.version != Version::HTTP_11 {
        return None;
    }
    let chosen = head.headers.get(UPGRADE)?.to_str().ok()?.to_owned();
    let (name, _) = parts(chosen.as_bytes())?;
    let mut offered = offer.to_str().ok()?.split(", ");
    if !offered.any(|offer| parts(offer.as_bytes()).is_some_and(|(is, _)| is == name)) {
        return None;
    }
    if name == WEBSOCKET {
        let proof = Sha1::new().chain_update(key?.as_bytes()).chain_update(WEBSOCKET_GUID);
        let proof = BASE64_STANDARD.encode(proof.finalize());
        if head.headers.get(SEC_WEBSOCKET_ACCEPT)?.as_bytes() != proof.as_bytes() {
            return None;
        }
    }
    headers::take_off_hop_by_hop(&mut head).ok()?;
    // The client's is written in this proxy's words.
    head.set_reason_phrase(None).ok()?;
    head.remove_header(&CONTENT_LENGTH);
    head.remove_header(&TRANSFER_ENCODING);
    head.insert_header(CONNECTION, "upgrade").ok()?;
    head.insert_header(UPGRADE, chosen).ok()?;
    Some(head)
}

async fn open(
    edge: &Edge,
    session: &mut Session,
    exchange: &mut Exchange,
    origin: &Origin,
    reply: Box<Reply>,
    mut head: ResponseHeader,
) -> Result<(), Failure> {
    if let Some(cookie) = reply.sticky_cookie(exchange.tls.is_some()) {
        head.append_header(SET_COOKIE, cookie).map_err(|_| Failure::Internal)?;
    }
    let client = switch::client(session).await?;
    let (stream, said, held) = reply.into_stream().await.ok_or(Failure::UpstreamBroken)?;
    exchange.first_byte = Some(exchange.begun.elapsed());
    exchange.under_way = edge.state.drain.tunnel();
    let route = exchange.route.as_ref().map_or("", |route| route.name.as_str());
    let counts = edge.state.metrics.traffic.tunnel(route, origin.lane.name());
    let mut nothing = Exchange::new(&edge.state, Caller::default());
    nothing.tunnel.has_departed = true;
    caller().departing.leave(Box::new(Departure {
        edge: edge.another(),
        exchange: std::mem::replace(exchange, nothing),
        request: session.req_header().clone(),
        client,
        head: wire(&head),
        answer: head,
        server: (stream, said),
        held,
        idle: origin.patience.tunnel,
        lane: Arc::clone(&origin.lane),
        counts,
    }));
    Ok(())
}

/// The head as it is sent.
fn wire(head: &ResponseHeader) -> Bytes {
    let mut bytes = BytesMut::from(&b"HTTP/1.1 101 Switching Protocols\r\n"[..]);
    head.header_to_h1_wire(&mut bytes);
    bytes.put_slice(b"\r\n");
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(upgrade: &str, connection: &str) -> Result<Option<String>, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, upgrade.parse().unwrap());
        headers.insert(CONNECTION, connection.parse().unwrap());
        let offers = offers(&headers, Version::HTTP_11)?;
        Ok(offers.map(|value| value.to_str().unwrap().to_owned()))
    }

    #[test]
    fn what_hides_requests_is_never_offered() {
        for (upgrade, connection, expected) in [
            ("websocket", "Upgrade", Some("websocket")),
            ("WebSocket", "keep-alive, upgrade", Some("WebSocket")),
            ("h2c, websocket, TLS/1.0, irc/6.9", "upgrade", Some("websocket, irc/6.9")),
            ("h2c", "Upgrade, HTTP2-Settings", None),
            ("HTTP/2.0", "upgrade", None),
            ("websocket", "keep-alive", None),
        ] {
            assert_eq!(of(upgrade, connection), Ok(expected.map(str::to_owned)), "{upgrade}");
        }
        for malformed in ["", "web socket", "a/b/c", "websocket,,h2c", "/1"] {
            assert!(of(malformed, "upgrade").is_err(), "{malformed}");
        }
    }

    #[test]
    fn a_server_agrees_to_what_was_offered_and_proves_it() {
        // The example of RFC 6455 section 1.3.
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        let proof = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        let answer = |upgrade: &'static str, accept: &'static str| {
            let mut head = ResponseHeader::build(101, None).unwrap();
            head.set_version(Version::HTTP_11);
            head.insert_header(UPGRADE, upgrade).unwrap();
            head.insert_header(CONNECTION, "Upgrade, X-Hop").unwrap();
            head.insert_header("X-Hop", "1").unwrap();
            head.insert_header(SEC_WEBSOCKET_ACCEPT, accept).unwrap();
            head
        };
        let offer = HeaderValue::from_static("websocket, irc/6.9");
        let head = agreed(answer("WebSocket", proof), &offer, Some(&key)).unwrap();
        assert_eq!(
            (&head.headers[UPGRADE], &head.headers[CONNECTION]),
            (&HeaderValue::from_static("WebSocket"), &HeaderValue::from_static("upgrade"))
        );
        assert!(!head.headers.contains_key("x-hop"));
        assert!(agreed(answer("irc/7", "none"), &offer, None).is_some());
        for (upgrade, accept, key) in [
            ("websocket", "s3pPLMBiTxaQ9kYGzzhZRbK+xOp=", Some(&key)),
            ("websocket", proof, None),
            ("h2c", proof, Some(&key)),
        ] {
            assert!(agreed(answer(upgrade, accept), &offer, key).is_none(), "{upgrade} {accept}");
        }
    }
}
