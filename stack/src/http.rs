//! The few requests `forebay` itself makes, to what it started on this machine.

use std::time::Duration;

/// A status and a body.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body as text; cut off at 1 MiB.
    pub body: String,
}

const BODY_BYTES_MAX: u64 = 1 << 20;

/// GETs `url`. Blocks for at most `timeout`.
pub fn get(url: &str, timeout: Duration) -> Result<Answer, ureq::Error> {
    answer(agent(timeout).get(url).call()?)
}

/// POSTs `body` as JSON to `url`. Blocks for at most `timeout`.
pub fn post(url: &str, body: &serde_json::Value, timeout: Duration) -> Result<Answer, ureq::Error> {
    answer(agent(timeout).post(url).send_json(body)?)
}

fn agent(timeout: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        // A proxy set for the outside world has no business with loopback.
        .proxy(None)
        .max_idle_connections(0)
        .build()
        .into()
}

fn answer(response: ureq::http::Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    let status = response.status().as_u16();
    let body = response.into_body().into_with_config().limit(BODY_BYTES_MAX).read_to_string()?;
    Ok(Answer { status, body })
}
