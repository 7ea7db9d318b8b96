//! What is booked, told to others. The books are the outbox: transfers are numbered without gaps and written in the SQL
//! transaction that moves the money, so whoever remembers the last number he was told misses nothing and is told nothing
//! that was not committed. Here is who is told, `event` says how a transfer is told, `sign` how it is signed; `delivering`
//! carries it to webhooks, `http::events` streams it.

pub mod event;
pub mod sign;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use crate::naming::{NameError, validate_text};
use crate::when::{write_instant, write_instant_or_null};

/// Longest address in bytes.
const URL_BYTES_MAX: usize = 1000;
const DESCRIPTION_CHARS_MAX: usize = 200;

/// How webhooks are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Endpoints that may be registered.
    pub endpoints_max: usize,
    /// Events in one delivery.
    pub batch_max: usize,
    /// For an endpoint to answer.
    pub timeout: Duration,
    /// After the first failure; doubled after each further one, up to an hour.
    pub retry_first: Duration,
    /// Failures in a row after which an endpoint is suspended.
    pub attempts_max: u32,
    /// Event streams open at once.
    pub streams_max: usize,
}

impl Limits {
    /// What the command line says when nobody says otherwise.
    pub const USUAL: Self = Self {
        endpoints_max: 20,
        batch_max: 100,
        timeout: Duration::from_secs(10),
        retry_first: Duration::from_secs(1),
        attempts_max: 24,
        streams_max: 100,
    };
}

/// What an administrator posts to `/v1/webhooks`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointBody {
    /// Where events are posted: `https://…`, or `http://…` on this machine.
    #[schema(example = "https://shop.example.com/ledger-events", max_length = 1000)]
    pub url: String,
    /// One line for people; up to 200 characters.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub description: String,
    /// Events after the one of this number, which there must be; those booked from now on when left out.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub after: Option<i64>,
}

/// Why a body is no endpoint.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EndpointError {
    #[error(
        "url is not an address to post to; write https://HOST/PATH, without user, password or fragment"
    )]
    Url,
    #[error("url is longer than {URL_BYTES_MAX} bytes")]
    UrlTooLong,
    #[error(
        "url is http, which anybody on the way could read and change; use https, or http on loopback"
    )]
    Plain,
    #[error("after is {0}; events are numbered from 1")]
    After(i64),
    #[error(transparent)]
    Text(#[from] NameError),
}

impl EndpointError {
    /// The field that is wrong.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Url | Self::UrlTooLong | Self::Plain => "url",
            Self::After(_) => "after",
            Self::Text(_) => "description",
        }
    }
}

impl EndpointBody {
    pub fn validate(&self) -> Result<(), EndpointError> {
        validate_text("description", &self.description, DESCRIPTION_CHARS_MAX)?;
        if let Some(after @ ..0) = self.after {
            return Err(EndpointError::After(after));
        }
        if self.url.len() > URL_BYTES_MAX {
            return Err(EndpointError::UrlTooLong);
        }
        let uri: http::Uri = self.url.parse().map_err(|_| EndpointError::Url)?;
        let authority = uri.authority().ok_or(EndpointError::Url)?;
        if authority.as_str().contains('@') || self.url.contains('#') || authority.host().is_empty()
        {
            return Err(EndpointError::Url);
        }
        // A port that is none is not judged when an address is read.
        let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
        let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
        if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
            return Err(EndpointError::Url);
        }
        let host = authority.host().trim_matches(['[', ']']);
        let loopback = host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        match uri.scheme_str() {
            Some("https") => Ok(()),
            Some("http") if loopback => Ok(()),
            Some("http") => Err(EndpointError::Plain),
            _ => Err(EndpointError::Url),
        }
    }
}

/// An endpoint to be booked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEndpoint {
    pub body: EndpointBody,
    pub secret: sign::Secret,
}

/// An endpoint as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointRow {
    pub id: i64,
    pub url: String,
    pub description: String,
    pub secret: sign::Secret,
    /// It is told what comes after this number.
    pub after_seq: i64,
    pub created_at_us: i64,
}

/// A removal as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemovalRow {
    pub endpoint_id: i64,
    pub removed_at_us: i64,
}

/// How far an endpoint has been told, as stored. No part of the books.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub endpoint_id: i64,
    pub delivered_seq: i64,
    /// Failures since the last success.
    pub failures: i64,
    pub next_attempt_at_us: Option<i64>,
    pub suspended_at_us: Option<i64>,
    /// Why the last attempt failed; empty after a success.
    pub error: String,
}

/// A webhook endpoint as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Endpoint {
    /// Counts endpoints from 1.
    pub id: i64,
    #[schema(example = "https://shop.example.com/ledger-events")]
    pub url: String,
    pub description: String,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "write_instant")]
    pub created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "write_instant_or_null")]
    pub removed_at: Option<Timestamp>,
    /// The last event it has taken, to the second.
    pub delivered: i64,
    /// Failures since it last took one.
    pub failures: i64,
    /// When it is tried again; null while all goes well.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "write_instant_or_null")]
    pub next_attempt_at: Option<Timestamp>,
    /// Since when it is not tried any more: it failed too often, or said 410. `POST …/resume` goes on where it stopped.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "write_instant_or_null")]
    pub suspended_at: Option<Timestamp>,
    /// Why the last attempt failed; null after a success.
    pub error: Option<String>,
}

/// A new endpoint, the only time its secret is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CreatedEndpoint {
    /// Deliveries are signed with it. It cannot be shown again.
    #[schema(example = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")]
    pub secret: String,
    #[serde(flatten)]
    pub listed: Endpoint,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(url: &str) -> Result<(), EndpointError> {
        EndpointBody { url: url.into(), description: String::new(), after: None }.validate()
    }

    #[test]
    fn endpoints_are_reached_over_tls_or_not_over_a_network() {
        for good in [
            "https://a.example/x?y=1",
            "https://10.0.0.1:8443/",
            "http://127.0.0.1:9/x",
            "http://[::1]:9/",
            "http://localhost/",
        ] {
            assert_eq!(checked(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "a.example",
            "/x",
            "ftp://a.example/",
            "https://u:p@a.example/",
            "https://a.example/#x",
            "https:///x",
            "https://a.example:0/",
            "https://a.example:99999/",
            "https://a.example:/",
            "http://[::1]:x/",
        ] {
            assert_eq!(checked(bad), Err(EndpointError::Url), "{bad}");
        }
        assert_eq!(checked("http://a.example/"), Err(EndpointError::Plain));
        assert_eq!(checked("http://127.0.0.1.a.example/"), Err(EndpointError::Plain));
        assert_eq!(
            checked(&format!("https://a.example/{}", "x".repeat(1000))),
            Err(EndpointError::UrlTooLong)
        );
    }

    #[test]
    fn mistakes_name_their_field() {
        let body = EndpointBody {
            url: "https://a.example/".into(),
            description: "a\nb".into(),
            after: None,
        };
        assert_eq!(body.validate().unwrap_err().field(), "description");
        let body = EndpointBody { description: String::new(), after: Some(-1), ..body };
        assert_eq!(body.validate().unwrap_err().field(), "after");
    }
}
