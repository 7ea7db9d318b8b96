//! The collector: where it is, one batch sent to it (OTLP over HTTP, `POST`), and what its answer means.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use pingora::http::RequestHeader;
use proxy_config::telemetry::{Endpoint, Telemetry};

use crate::fetch::Ask;
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
        let head = match self.head(body.len()) {
            Ok(head) => head,
            Err(error) => return Outcome::Refused(error.to_string()),
        };
        let ask = Ask {
            host: self.host.clone(),
            port: self.port,
            tls: self.tls,
            head,
            body: Bytes::from(body),
            patience: PATIENCE,
            answer_max: ANSWER_BYTES_MAX,
        };
        match ask.once(connector).await {
            Ok(answer) => {
                let now = jiff::Timestamp::now().as_second();
                let after = answer.headers.get(RETRY_AFTER);
                let after = after.and_then(|value| retry_after(value.as_bytes(), now));
                outcome(answer.status, after, answer.body)
            }
            Err(why) => Outcome::Later { why, after: None },
        }
    }

    fn head(&self, length: usize) -> pingora::Result<RequestHeader> {
        let mut head = RequestHeader::build("POST", self.target.as_bytes(), None)?;
        head.insert_header(HOST, self.authority.as_str())?;
        head.insert_header(CONTENT_TYPE, "application/json")?;
        head.insert_header(CONTENT_LENGTH, length)?;
        let agent = concat!("OTel-OTLP-Exporter-Forebay/", env!("CARGO_PKG_VERSION"));
        head.insert_header(USER_AGENT, agent)?;
        Ok(head)
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
