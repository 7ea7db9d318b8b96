//! How an attempt at an upstream failed, and what that means for trying again.

use pingora::{Error, ErrorType, RetryType};

use crate::failure::Failure;
use crate::upstream::delimited;
use crate::upstream::retry::Failed;

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
