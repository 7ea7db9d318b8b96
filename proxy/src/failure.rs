//! Every way a request can fail, and what errors of pingora's mean for it. What a client is told of it is made in `respond`.

use http::{HeaderValue, StatusCode};
use pingora::{Error, ErrorSource, ErrorType};
use thiserror::Error as ThisError;

use crate::path::TargetFault;
use crate::rate_limit::quota::Quota;

/// Custom pingora error for an upstream none of whose servers may take a request.
pub const NO_SERVER: &str = "no_server";

/// Custom pingora error for a lane that has as many connections in use as it may.
pub const LANE_FULL: &str = "lane_full";

/// Custom pingora error for a 101 that nobody asked for.
pub const SWITCHED: &str = "switched";

/// Custom pingora error for an answer that is not passed on, since it leads elsewhere.
pub const DETOUR: &str = "detour";

/// Custom pingora error for an answer that is not passed on, since another server is tried.
pub const GATEWAY_ERROR: &str = "gateway_error";

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
}
