//! The one place where failures become responses. Bodies are problem+json (RFC 9457) and say
//! nothing about what stands behind the proxy.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderName, RETRY_AFTER, TRANSFER_ENCODING,
};
use http::{HeaderValue, StatusCode, Version};
use pingora::Error;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use serde::Serialize;

use crate::error_page;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::rules::edits::edit_response;

/// After how many seconds a client that was shed may come back.
const RETRY_AFTER_S: u32 = 1;

/// The body, as RFC 9457 section 3.1 has it.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    request_id: &'a str,
}

/// Answers the client, unless it is gone or has already been sent a response head: then the
/// connection is left to break, because a broken transfer must not look like a whole one.
/// Returns the status sent.
pub async fn send(
    session: &mut Session,
    failure: &Failure,
    exchange: &Exchange,
) -> Option<StatusCode> {
    let status = failure.status()?;
    let begun = session.response_written().is_some_and(|head| !head.status.is_informational());
    if begun {
        return None;
    }
    distrust(session, failure);
    end_if_unasked(session);
    let (head, body) = rendered(failure, exchange)?;
    let has_body = session.req_header().method != http::Method::HEAD;
    let written = async {
        session.write_response_header(Box::new(head), !has_body).await?;
        // Without a body too: in HTTP/2 it is this that ends the stream.
        session.write_response_body(has_body.then_some(body), true).await?;
        Ok::<(), Box<Error>>(())
    };
    match written.await {
        Ok(()) => Some(status),
        Err(error) => {
            tracing::debug!(%error, "the client left before its error response was written");
            None
        }
    }
}

/// The response to a failure; none where the connection is to be left alone.
pub fn rendered(failure: &Failure, exchange: &Exchange) -> Option<(ResponseHeader, Bytes)> {
    let status = failure.status()?;
    let as_page = error_page::is_wanted(exchange);
    let is_bare = *failure == Failure::SwitchedUnasked;
    let body = match as_page {
        _ if is_bare => Bytes::new(),
        true => error_page::page(status),
        false => body(failure, status, &exchange.request_id),
    };
    let mut head = head(failure, status, &exchange.request_id, body.len()).ok()?;
    if as_page {
        error_page::dress(&mut head).ok()?;
    }
    if is_bare {
        head.remove_header(&CONTENT_TYPE);
    }
    edit_response(&mut head, &exchange.ruled.to_client).ok()?;
    Some((head, body))
}

/// Ends a connection whose next request cannot be trusted to start where we think it does.
pub fn distrust(session: &mut Session, failure: &Failure) {
    let never_taken = matches!(failure, Failure::MethodNotAllowed { allow } if allow.is_empty());
    if failure.is_the_clients()
        || never_taken
        || matches!(
            failure,
            Failure::Target(_) | Failure::NotImplemented(_) | Failure::SwitchedUnasked
        )
    {
        session.set_keepalive(None);
    }
}

/// The fields of the response to a failure that say something beyond its body, for a page that
/// stands in for it.
pub fn fields_of(failure: &Failure, request_id: &str) -> Vec<(HeaderName, HeaderValue)> {
    let head = failure.status().and_then(|status| head(failure, status, request_id, 0).ok());
    let all = head.iter().flat_map(|head| head.headers.iter());
    all.filter(|(name, _)| !matches!(**name, CONTENT_TYPE | CONTENT_LENGTH))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Frames a response in a way the client's protocol has: HTTP/1.0 knows no chunks, so there the
/// body ends with the connection.
pub fn fit_protocol(session: &mut Session, head: &mut ResponseHeader) {
    if !head.status.is_informational() {
        end_if_unasked(session);
    }
    if session.req_header().version == Version::HTTP_10
        && head.remove_header(&TRANSFER_ENCODING).is_some()
    {
        session.set_keepalive(None);
    }
}

/// A client that waits to be asked for its body, and gets another answer, may send the body or not: where its
/// next request would begin nobody can tell (RFC 9110 section 10.1.1).
fn end_if_unasked(session: &mut Session) {
    let waits = session.req_header().headers.contains_key(EXPECT);
    if waits && !session.is_body_done() {
        session.set_keepalive(None);
    }
}

fn body(failure: &Failure, status: StatusCode, request_id: &str) -> Bytes {
    let problem = Problem {
        r#type: "about:blank",
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail: &failure.to_string(),
        request_id,
    };
    Bytes::from(serde_json::to_vec(&problem).expect("a struct of strings is always JSON"))
}

fn head(
    failure: &Failure,
    status: StatusCode,
    request_id: &str,
    length: usize,
) -> pingora::Result<ResponseHeader> {
    let mut head = ResponseHeader::build(status, Some(6))?;
    head.insert_header(CONTENT_TYPE, "application/problem+json")?;
    head.set_content_length(length)?;
    head.insert_header(CACHE_CONTROL, "no-store")?;
    head.insert_header(crate::headers::X_REQUEST_ID, request_id)?;
    if let Failure::Redirected(_, location) = failure {
        head.insert_header("Location", location.clone())?;
    }
    if let Failure::MethodNotAllowed { allow } = failure {
        head.insert_header("Allow", allow.as_str())?;
    }
    if let Failure::Unauthorized { challenges } = failure {
        for challenge in challenges {
            head.append_header("WWW-Authenticate", challenge.clone())?;
        }
    }
    if let Failure::RateLimited { retry_after_s, quota, .. } = failure {
        head.insert_header("Retry-After", *retry_after_s)?;
        for (name, value) in quota.fields() {
            head.insert_header(name, value)?;
        }
    }
    if status == StatusCode::SERVICE_UNAVAILABLE && !head.headers.contains_key(RETRY_AFTER) {
        head.insert_header("Retry-After", RETRY_AFTER_S)?;
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_problem_json_and_503_says_when_to_come_back() {
        let status = Failure::LaneFull.status().unwrap();
        let body = body(&Failure::LaneFull, status, "id-1");
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["status"], 503);
        assert_eq!(problem["request_id"], "id-1");
        let head = head(&Failure::LaneFull, status, "id-1", body.len()).unwrap();
        assert_eq!(head.headers[RETRY_AFTER], "1");
        assert_eq!(head.headers[CONTENT_TYPE], "application/problem+json");
    }
}
