//! The collector: where it is, one batch sent to it (OTLP over HTTP, `POST`), and what its answer means.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use proxy_config::telemetry::{Endpoint, Telemetry};

use crate::retry_after::retry_after;
use crate::upstream::connector::Connector;

/// How long one attempt may take.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Where spans are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    pub service: String,
    pub url: String,
    tls: bool,
    host: String,
    port: u16,
    authority: String,
    target: String,
}

/// What came of an attempt.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Taken; the body of the answer.
    Taken(Vec<u8>),
    /// It may be sent again, after this time where the collector says so.
    Later { why: String, after: Option<Duration> },
    /// It will never be taken.
    Refused(String),
}

impl Collector {
    /// `None` where the endpoint is none, which validation does not let through.
    pub fn new(telemetry: &Telemetry) -> Option<Collector> {
        let Endpoint { tls, host, port, authority, target } =
            Endpoint::parse(&telemetry.otlp_endpoint)?;
        let url = telemetry.otlp_endpoint.clone();
        let service = telemetry.service_name.clone();
        Some(Collector { service, url, tls, host, port, authority, target })
    }

    /// Sends a batch once.
    pub async fn post(&self, connector: &Connector, body: Vec<u8>) -> Outcome {
        match tokio::time::timeout(PATIENCE, self.post_in_time(connector, body)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(why)) => Outcome::Later { why, after: None },
            Err(_) => Outcome::Later { why: "it took too long".to_owned(), after: None },
        }
    }

    async fn post_in_time(&self, connector: &Connector, body: Vec<u8>) -> Result<Outcome, String> {
        let at = (self.host.as_str(), self.port);
        let found = tokio::net::lookup_host(at).await.map_err(|error| error.to_string())?;
        let addresses: Vec<SocketAddr> = found.collect();
        let address = addresses.first().ok_or("its name has no address")?;
        // A name is always there, so a certificate is always verified.
        let mut peer = HttpPeer::new(*address, self.tls, self.host.clone());
        peer.options.connection_timeout = Some(PATIENCE);
        peer.options.read_timeout = Some(PATIENCE);
        peer.options.write_timeout = Some(PATIENCE);
        let connected = connector.get_http_session(&peer).await;
        let mut session = connected.map_err(|error| error.to_string())?;
        let asked = self.ask(&mut session, body).await;
        session.shutdown().await;
        asked.map_err(|error| error.to_string())
    }

    async fn ask(&self, session: &mut HttpSession, body: Vec<u8>) -> pingora::Result<Outcome> {
        let mut head = RequestHeader::build("POST", self.target.as_bytes(), None)?;
        head.insert_header(HOST, self.authority.as_str())?;
        head.insert_header(CONTENT_TYPE, "application/json")?;
        head.insert_header(CONTENT_LENGTH, body.len())?;
        let agent = concat!("OTel-OTLP-Exporter-Forebay/", env!("CARGO_PKG_VERSION"));
        head.insert_header(USER_AGENT, agent)?;
        session.write_request_header(Box::new(head)).await?;
        session.write_request_body(Bytes::from(body), true).await?;
        session.finish_request_body().await?;
        session.read_response_header().await?;
        let (status, after) = session.response_header().map_or((0, None), |head| {
            let now = jiff::Timestamp::now().as_second();
            let after = head.headers.get(RETRY_AFTER);
            let after = after.and_then(|value| retry_after(value.as_bytes(), now));
            (head.status.as_u16(), after)
        });
        let mut answer = Vec::new();
        while let Some(part) = session.read_response_body().await? {
            answer.extend_from_slice(&part);
            if answer.len() > ANSWER_BYTES_MAX {
                break;
            }
        }
        Ok(outcome(status, after, answer))
    }
}

/// What an answer means (OTLP specification, "OTLP/HTTP Response").
fn outcome(status: u16, after: Option<Duration>, answer: Vec<u8>) -> Outcome {
    let why = format!("it answers {status}");
    match status {
        200..=299 => Outcome::Taken(answer),
        429 | 502..=504 => Outcome::Later { why, after },
        _ => Outcome::Refused(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_answers_are_worth_another_attempt() {
        let after = Some(Duration::from_secs(3));
        for status in [429, 502, 503, 504] {
            let Outcome::Later { after: told, .. } = outcome(status, after, Vec::new()) else {
                panic!("{status}")
            };
            assert_eq!(told, after);
        }
        for status in [0, 301, 400, 404, 413, 500, 501] {
            assert!(matches!(outcome(status, after, Vec::new()), Outcome::Refused(_)), "{status}");
        }
        assert_eq!(outcome(200, None, b"{}".to_vec()), Outcome::Taken(b"{}".to_vec()));
    }
}
