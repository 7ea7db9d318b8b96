//! Answers made here: whole in memory, written at once.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use proxy_config::route_rules::RenderedReply;

use crate::error_page;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::headers::titled;
use crate::rate_limit::quota::Quota;
use crate::rules::edits::edit_response;

/// Sends what the route answers by itself.
pub async fn reply(
    session: &mut Session,
    exchange: &mut Exchange,
    reply: RenderedReply,
) -> Result<(), Failure> {
    let as_page =
        reply.body.is_empty() && error_page::fills(reply.status) && error_page::is_wanted(exchange);
    let body = match (as_page, StatusCode::from_u16(reply.status)) {
        (true, Ok(status)) => error_page::page(status),
        _ => Bytes::from(reply.body),
    };
    let head = || {
        let mut head = ResponseHeader::build(reply.status, Some(reply.headers.len() + 2))?;
        for (name, value) in reply.headers {
            head.insert_header(titled(&name), value)?;
        }
        if !body.is_empty() && !head.headers.contains_key(CONTENT_TYPE) {
            head.insert_header(CONTENT_TYPE, "text/plain; charset=utf-8")?;
        }
        if as_page {
            error_page::dress(&mut head)?;
        }
        Ok(head)
    };
    let head: pingora::Result<_> = head();
    let head = head.map_err(|_| Failure::Internal)?;
    send(session, exchange, head, body).await
}

/// Sends a response with this body; its length is set here.
pub async fn send(
    session: &mut Session,
    exchange: &mut Exchange,
    mut head: ResponseHeader,
    body: Bytes,
) -> Result<(), Failure> {
    let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if !bodiless {
        head.set_content_length(body.len()).map_err(|_| Failure::Internal)?;
    }
    for (name, value) in exchange.limits.quota.iter().flat_map(Quota::fields) {
        head.append_header(name, value).map_err(|_| Failure::Internal)?;
    }
    edit_response(&mut head, &exchange.ruled.to_client).map_err(|_| Failure::Internal)?;
    let has_body = !bodiless && !body.is_empty() && session.req_header().method != Method::HEAD;
    let written = session.write_response_header(Box::new(head), !has_body).await;
    written.map_err(|_| Failure::ClientGone)?;
    exchange.first_byte = Some(exchange.begun.elapsed());
    if has_body {
        let written = session.write_response_body(Some(body), true).await;
        written.map_err(|_| Failure::ClientGone)?;
    }
    Ok(())
}
