//! The one place where failures become responses. Bodies are problem+json (RFC 9457) and say
//! nothing about what stands behind the proxy.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderName, RETRY_AFTER, TRANSFER_ENCODING,
};
use http::{HeaderValue, StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType, RetryType};
use serde::Serialize;
use thiserror::Error as ThisError;

use crate::error_page;
use crate::exchange::Exchange;
use crate::path::TargetFault;
use crate::rate_limit::Quota;
use crate::rules::edit_response;
use crate::upstream::retry::Failed;
use crate::upstream::{NoTurn, delimited};

/// After how many seconds a client that was shed may come back.
const RETRY_AFTER_S: u32 = 1;

/// Every way a request can end without the upstream's answer. The text is what the client reads.
#[derive(Clone, Debug, ThisError, PartialEq, Eq)]
pub enum Failure {
    #[error("{0}")]
    BadRequest(&'static str),
    #[error("{0}")]
    Target(TargetFault),
    #[error("{0}")]
    NotImplemented(&'static str),
    #[error("nothing is served at this host and path")]
    NoRoute,
    #[error("there is no file at this path")]
    NoFile,
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("the request does not prove who asks, as it must")]
    Unauthorized { challenges: Vec<HeaderValue> },
    #[error("whether this may be asked for cannot be told")]
    AuthFailed,
    /// What a route's `try` ends with.
    #[error("there is nothing at this path")]
    Tried(StatusCode),
    /// A redirect that a page may stand in for; where it leads.
    #[error("what was asked for is elsewhere")]
    Redirected(StatusCode, HeaderValue),
    /// Shown only where the page for it failed.
    #[error("the server behind this proxy answered with an error")]
    UpstreamStatus(StatusCode),
    #[error("the request was sent round in a circle")]
    Circle,
    #[error("a body of this size needs a Content-Length here")]
    LengthRequired,
    #[error("the body is larger than is taken here")]
    BodyTooLarge,
    #[error("this path does not take this method")]
    MethodNotAllowed { allow: String },
    #[error("the request took too long to arrive")]
    RequestTimeout,
    #[error("too many requests of this kind are in progress; try again shortly")]
    LaneFull,
    #[error("there is no room for bodies of requests now; try again shortly")]
    BodiesFull,
    #[error("too many requests; try again later")]
    RateLimited { retry_after_s: u64, quota: Quota, status: u16 },
    #[error("whether this request is within its limits cannot be told; try again shortly")]
    LimitUnavailable,
    #[error("the keys that tokens are verified with cannot be had; try again shortly")]
    KeysUnavailable,
    #[error("the head of the request is larger than this listener takes")]
    HeadTooLarge,
    #[error("the request's target is longer than this listener takes")]
    TargetTooLong,
    #[error("no server is available; try again shortly")]
    NoServer,
    #[error("the server behind this proxy could not be reached")]
    UpstreamUnreachable,
    #[error("the server behind this proxy did not answer in time")]
    UpstreamTimeout,
    #[error("the server behind this proxy gave no valid answer")]
    UpstreamBroken,
    /// A 101 that nobody asked for is what a request hidden in another comes to: nothing is said but the status.
    #[error("the server behind this proxy went on in another protocol, unasked")]
    SwitchedUnasked,
    #[error("it is not in the cache, and the request asks for nothing else")]
    NotCached,
    /// A redirect whose text came to nothing. Who wrote it is told by the operator's log.
    #[error("the proxy could not tell where this has gone")]
    LeadsNowhere,
    #[error("the client went away")]
    ClientGone,
    #[error("the connection was closed by a route")]
    Closed,
    #[error("the proxy could not handle the request")]
    Internal,
}

impl Failure {
    /// Refused for want of a proof that this challenge asks for (RFC 9110 section 11.6.1).
    pub fn unauthorized(challenge: &str) -> Failure {
        Failure::Unauthorized { challenges: HeaderValue::from_str(challenge).into_iter().collect() }
    }

    /// The name under which the access log has it.
    pub fn name(&self) -> &'static str {
        match self {
            Failure::BadRequest(_) => "bad_request",
            Failure::Target(_) => "bad_target",
            Failure::NotImplemented(_) => "not_implemented",
            Failure::NoRoute => "no_route",
            Failure::NoFile => "no_file",
            Failure::Forbidden(_) => "forbidden",
            Failure::Unauthorized { .. } => "unauthorized",
            Failure::AuthFailed => "auth_failed",
            Failure::Tried(_) => "try",
            Failure::Redirected(..) => "redirected",
            Failure::UpstreamStatus(_) => "upstream_status",
            Failure::Circle => "circle",
            Failure::LengthRequired => "length_required",
            Failure::BodyTooLarge => "body_too_large",
            Failure::KeysUnavailable => "keys_unavailable",
            Failure::HeadTooLarge => "head_too_large",
            Failure::TargetTooLong => "target_too_long",
            Failure::MethodNotAllowed { .. } => "method_not_allowed",
            Failure::RequestTimeout => "request_timeout",
            Failure::LaneFull => "lane_full",
            Failure::BodiesFull => "bodies_full",
            Failure::RateLimited { .. } => "rate_limited",
            Failure::LimitUnavailable => "rate_limit_unavailable",
            Failure::NoServer => "no_server",
            Failure::UpstreamUnreachable => "upstream_unreachable",
            Failure::UpstreamTimeout => "upstream_timeout",
            Failure::UpstreamBroken => "upstream_broken",
            Failure::SwitchedUnasked => "switched_unasked",
            Failure::NotCached => "not_cached",
            Failure::LeadsNowhere => "leads_nowhere",
            Failure::ClientGone => "client_gone",
            Failure::Closed => "closed",
            Failure::Internal => "internal",
        }
    }

    /// None when there is nobody to answer.
    pub fn status(&self) -> Option<StatusCode> {
        Some(match self {
            Failure::BadRequest(_) | Failure::Target(_) => StatusCode::BAD_REQUEST,
            Failure::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
            Failure::NoRoute | Failure::NoFile => StatusCode::NOT_FOUND,
            Failure::Forbidden(_) => StatusCode::FORBIDDEN,
            Failure::Unauthorized { .. } => StatusCode::UNAUTHORIZED,
            Failure::Tried(status)
            | Failure::Redirected(status, _)
            | Failure::UpstreamStatus(status) => *status,
            Failure::LengthRequired => StatusCode::LENGTH_REQUIRED,
            Failure::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Failure::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Failure::TargetTooLong => StatusCode::URI_TOO_LONG,
            Failure::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Failure::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Failure::RateLimited { status, .. } => {
                StatusCode::from_u16(*status).unwrap_or(StatusCode::TOO_MANY_REQUESTS)
            }
            Failure::LaneFull
            | Failure::BodiesFull
            | Failure::NoServer
            | Failure::LimitUnavailable
            | Failure::KeysUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Failure::UpstreamUnreachable | Failure::UpstreamBroken | Failure::SwitchedUnasked => {
                StatusCode::BAD_GATEWAY
            }
            Failure::UpstreamTimeout | Failure::NotCached => StatusCode::GATEWAY_TIMEOUT,
            Failure::ClientGone | Failure::Closed => return None,
            Failure::AuthFailed | Failure::Circle | Failure::LeadsNowhere | Failure::Internal => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        })
    }

    /// Whether nothing here is wrong, only what the client sent, or that it left.
    pub fn is_the_clients(&self) -> bool {
        use Failure as F;
        matches!(
            self,
            F::ClientGone
                | F::Closed
                | F::BadRequest(_)
                | F::BodyTooLarge
                | F::HeadTooLarge
                | F::TargetTooLong
                | F::LengthRequired
        )
    }

    /// Whether something is broken here or behind: neither what a client did, nor what the document says is refused or
    /// shed.
    pub fn is_the_operators(&self) -> bool {
        use Failure as F;
        matches!(
            self,
            F::AuthFailed
                | F::LimitUnavailable
                | F::KeysUnavailable
                | F::NoServer
                | F::UpstreamUnreachable
                | F::UpstreamTimeout
                | F::UpstreamBroken
                | F::SwitchedUnasked
                | F::LeadsNowhere
                | F::Internal
        )
    }

    /// What a pingora error means here. Its text stays in the operator's log.
    pub fn of(error: &Error) -> Failure {
        use ErrorType as T;
        match (error.esource(), error.etype()) {
            (_, T::Custom(name)) if *name == NO_SERVER => Failure::NoServer,
            (_, T::Custom(name)) if *name == LANE_FULL => Failure::LaneFull,
            (_, T::Custom(name)) if *name == SWITCHED => Failure::SwitchedUnasked,
            (
                ErrorSource::Upstream,
                T::ConnectTimedout | T::ReadTimedout | T::WriteTimedout | T::TLSHandshakeTimedout,
            ) => Failure::UpstreamTimeout,
            (
                ErrorSource::Upstream,
                T::ConnectRefused
                | T::ConnectNoRoute
                | T::ConnectError
                | T::ConnectProxyFailure
                | T::SocketError
                | T::BindError
                | T::TLSHandshakeFailure
                | T::InvalidCert,
            ) => Failure::UpstreamUnreachable,
            (ErrorSource::Upstream, _) => Failure::UpstreamBroken,
            (ErrorSource::Downstream, T::ReadTimedout) => Failure::RequestTimeout,
            (
                ErrorSource::Downstream,
                T::ReadError | T::WriteError | T::WriteTimedout | T::ConnectionClosed | T::H2Error,
            ) => Failure::ClientGone,
            (ErrorSource::Downstream, _) => Failure::BadRequest("the request is malformed"),
            (ErrorSource::Internal | ErrorSource::Unset, _) => Failure::Internal,
        }
    }
}

/// A request that cannot be written as it is.
pub fn unsendable() -> Box<Error> {
    Error::explain(ErrorType::InvalidHTTPHeader, "the target has bytes that end it").into_up()
}

/// What a body that cannot be encoded ends a response with.
pub fn encoding_failed(error: std::io::Error) -> Box<Error> {
    Error::because(ErrorType::InternalError, "a response could not be compressed", error).into_in()
}

/// Custom pingora error for an upstream none of whose servers may take a request.
pub const NO_SERVER: &str = "no_server";

/// Custom pingora error for a lane that has as many connections in use as it may.
pub const LANE_FULL: &str = "lane_full";

/// The custom pingora error for a server that there is no turn at.
pub fn no_turn(why: NoTurn) -> &'static str {
    match why {
        NoTurn::NoServer => NO_SERVER,
        NoTurn::LaneFull => LANE_FULL,
    }
}

/// Custom pingora error for a 101 that nobody asked for.
pub const SWITCHED: &str = "switched";

/// Custom pingora error for an answer that is not passed on, since it leads elsewhere.
pub const DETOUR: &str = "detour";

/// Custom pingora error for an answer that is not passed on, since another server is tried.
pub const GATEWAY_ERROR: &str = "gateway_error";

/// How an attempt failed, as error logs and spans tell it; [`label`] makes the label of the metric of it.
pub fn failure_kind(error: &Error) -> &'static str {
    use ErrorType as T;
    match error.etype() {
        T::ConnectTimedout | T::TLSHandshakeTimedout => "connect_timeout",
        T::ConnectRefused => "connect",
        T::ConnectNoRoute => "no_route",
        T::ConnectError | T::SocketError => "socket",
        T::InvalidCert => "certificate",
        T::TLSHandshakeFailure if is_of_certificate(error) => "certificate",
        T::TLSHandshakeFailure => "tls",
        T::ReadTimedout => "read_timeout",
        T::WriteTimedout => "write_timeout",
        T::ReadError | T::ConnectionClosed => "read",
        T::WriteError => "write",
        _ => "response",
    }
}

/// The `kind` label of an attempt that failed in this way. Whatever keeps a connection from being there is one.
pub fn label(kind: &str) -> &str {
    match kind {
        "no_route" | "socket" | "certificate" | "tls" => "connect",
        "body" => "read",
        "body_timeout" => "read_timeout",
        other => other,
    }
}

/// What broke off after the head of an answer had come.
pub fn in_body(kind: &'static str) -> &'static str {
    match kind {
        "read" => "body",
        "read_timeout" => "body_timeout",
        other => other,
    }
}

/// Pingora keeps of a handshake only what rustls says.
fn is_of_certificate(error: &Error) -> bool {
    error.to_string().contains("invalid peer certificate")
}

/// A failed attempt of a fill, which asks upstreams by itself.
pub struct UpstreamFault {
    pub failure: Failure,
    /// As of [`failure_kind`].
    pub kind: &'static str,
    /// A pooled connection that the server had closed already.
    pub stale: bool,
    /// The server has not looked at the request.
    pub unprocessed: bool,
}

/// Whether the server says that it has not looked at the request: a stream that it refused, or one behind the last that
/// it looked at before its connection goes (RFC 9113 section 8.7). To be asked before anything is decided about trying again.
pub fn is_unprocessed(error: &Error) -> bool {
    error.etype == ErrorType::H2Error && matches!(error.retry, RetryType::Decided(true))
}

impl UpstreamFault {
    pub fn of(mut error: Box<Error>, reused: bool) -> UpstreamFault {
        error.as_up();
        let unprocessed = is_unprocessed(&error);
        error.retry.decide_reuse(reused);
        let stale = error.retry() || (reused && matches!(error.etype(), ErrorType::WriteError));
        let kind = failure_kind(&error);
        tracing::debug!(%error, "an attempt at the upstream failed");
        UpstreamFault { failure: Failure::of(&error), kind, stale, unprocessed }
    }

    /// What it means for trying again.
    pub fn failed(&self) -> Failed {
        match self {
            UpstreamFault { unprocessed: true, .. } => Failed::Unprocessed,
            UpstreamFault { stale: true, .. } => Failed::Stale,
            UpstreamFault { kind, .. } => Failed::of(label(kind)),
        }
    }

    /// An answer of known length that is not whole. What could not be sent on a pooled connection may be sent again.
    pub fn of_delimited(fault: &delimited::Fault, reused: bool) -> UpstreamFault {
        use delimited::Fault as F;
        tracing::debug!(%fault, "an attempt at the upstream failed");
        let (failure, kind, stale) = match fault {
            F::SentLate => (Failure::UpstreamTimeout, "write_timeout", false),
            F::ReadLate => (Failure::UpstreamTimeout, "read_timeout", false),
            F::Send(_) => (Failure::UpstreamBroken, "write", reused),
            F::Read(_) | F::CutOff => (Failure::UpstreamBroken, "read", false),
            F::Field => (Failure::UpstreamBroken, "response", false),
        };
        UpstreamFault { failure, kind, stale, unprocessed: false }
    }

    /// A connection that is not as the upstream must have it.
    pub fn unreachable() -> UpstreamFault {
        let failure = Failure::UpstreamUnreachable;
        UpstreamFault { failure, kind: "tls", stale: false, unprocessed: false }
    }

    /// A 101 that nobody asked for.
    pub fn switched() -> UpstreamFault {
        UpstreamFault { failure: Failure::SwitchedUnasked, ..UpstreamFault::nonsense() }
    }

    /// An answer that is none.
    pub fn nonsense() -> UpstreamFault {
        let failure = Failure::UpstreamBroken;
        UpstreamFault { failure, kind: "response", stale: false, unprocessed: false }
    }
}

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
    fn pingora_errors_become_the_status_a_client_can_act_on() {
        use ErrorType as T;
        let cases = [
            (T::ConnectRefused, ErrorSource::Upstream, Some(502)),
            (T::ConnectTimedout, ErrorSource::Upstream, Some(504)),
            (T::ReadTimedout, ErrorSource::Upstream, Some(504)),
            (T::InvalidHTTPHeader, ErrorSource::Upstream, Some(502)),
            (T::ConnectionClosed, ErrorSource::Upstream, Some(502)),
            (T::ConnectionClosed, ErrorSource::Downstream, None),
            (T::ReadTimedout, ErrorSource::Downstream, Some(408)),
            (T::InvalidHTTPHeader, ErrorSource::Downstream, Some(400)),
            (T::InternalError, ErrorSource::Internal, Some(500)),
            (T::Custom(NO_SERVER), ErrorSource::Unset, Some(503)),
        ];
        for (etype, source, expected) in cases {
            let mut error = Error::new(etype.clone());
            error.esource = source.clone();
            let status = Failure::of(&error).status().map(|status| status.as_u16());
            assert_eq!(status, expected, "{etype:?} {source:?}");
        }
    }

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
