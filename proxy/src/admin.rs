//! The admin listener: `/healthz` (the process answers), `/readyz` (send requests here), `/metrics`
//! (Prometheus text) and, for those with a token, `/purge`, `/policies`, `/mirrors`,
//! `/certificates`, `/slowest` and `/openapi.json`, which describes all of it. Nothing of it is reachable on
//! other listeners.

pub mod certificates;
pub mod followed;
pub mod openapi;
pub mod policies;
pub mod purge;
pub mod tokens;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Response, StatusCode};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::admin::tokens::Refusal;
use crate::state::State;

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";
/// Longest body of a request.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// How long a body may take to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

pub struct Admin {
    pub state: Arc<State>,
    /// Set when a graceful stop begins.
    pub draining: Arc<AtomicBool>,
}

struct Page {
    status: StatusCode,
    content_type: &'static str,
    body: Vec<u8>,
    /// Methods that would have been answered.
    allow: Option<&'static str>,
}

impl Page {
    fn new(status: StatusCode, content_type: &'static str, body: impl Into<Vec<u8>>) -> Page {
        Page { status, content_type, body: body.into(), allow: None }
    }

    fn json(value: &Value) -> Page {
        Page::new(StatusCode::OK, JSON, format!("{value}\n"))
    }

    /// A problem (RFC 9457).
    fn problem(status: StatusCode, detail: &str) -> Page {
        let title = status.canonical_reason().unwrap_or_default();
        let problem = json!({ "title": title, "status": status.as_u16(), "detail": detail });
        Page::new(status, PROBLEM, format!("{problem}\n"))
    }

    fn not_allowed(allow: &'static str) -> Page {
        let text = format!("{}\n", allow.replace(", ", " or "));
        Page { allow: Some(allow), ..Page::new(StatusCode::METHOD_NOT_ALLOWED, TEXT, text) }
    }
}

/// Every path, and the methods it takes; [`openapi`] says what for.
pub const PATHS: [(&str, &str); 10] = [
    ("/certificates", "GET, HEAD, POST"),
    ("/healthz", "GET, HEAD"),
    ("/metrics", "GET, HEAD"),
    ("/mirrors", "GET, HEAD"),
    ("/openapi.json", "GET, HEAD"),
    ("/policies", "GET, HEAD, POST"),
    ("/policies/history", "GET, HEAD"),
    ("/purge", "POST"),
    ("/readyz", "GET, HEAD"),
    ("/slowest", "GET, HEAD"),
];

impl Admin {
    async fn page(&self, session: &mut ServerSession) -> Page {
        let head = session.req_header();
        let found = PATHS.iter().find(|(path, _)| *path == head.uri.path());
        let takes = found.map_or("GET, HEAD", |(_, takes)| takes);
        if !takes.split(", ").any(|method| method == head.method.as_str()) {
            return Page::not_allowed(takes);
        }
        let changes = head.method == Method::POST;
        match found.map_or("", |(path, _)| path) {
            "/purge" => self.purge(session).await,
            "/policies" if changes => self.change(session).await,
            "/policies" | "/policies/history" => self.policies(session).await,
            "/certificates" if changes => self.renew(session).await,
            "/certificates" => self.told(session, || certificates::shown(&self.state)),
            "/mirrors" => self.told(session, || self.mirrors()),
            "/openapi.json" => self.told(session, openapi::document),
            "/slowest" => self.told(session, || json!(self.state.slowest.shown())),
            "/healthz" => Page::new(StatusCode::OK, TEXT, "ok\n"),
            "/readyz" if self.draining.load(Ordering::Acquire) => {
                Page::new(StatusCode::SERVICE_UNAVAILABLE, TEXT, "draining\n")
            }
            "/readyz" => Page::new(StatusCode::OK, TEXT, "ready\n"),
            "/metrics" => {
                // What readers gave back since the last change is not told by anybody else.
                self.state.standing.caches.all().iter().for_each(|cache| cache.refresh_metrics());
                certificates::refresh_metrics(&self.state);
                self.state.access_log.refresh_metrics();
                self.state.error_log.refresh_metrics();
                Page::new(StatusCode::OK, METRICS, self.state.metrics.render())
            }
            _ => {
                let paths = PATHS.map(|(path, _)| path).join(", ");
                Page::new(StatusCode::NOT_FOUND, TEXT, format!("there are {paths}\n"))
            }
        }
    }

    async fn purge(&self, session: &mut ServerSession) -> Page {
        let (who, order) = match self.order::<purge::Order>(session).await {
            Ok(ordered) => ordered,
            Err(page) => return page,
        };
        let told = format!("{order:?}");
        match purge::purge(order, self.state.current(), &self.state.standing.caches).await {
            Ok(done) => {
                tracing::info!(by = who, order = told, purged = done.purged, "purged");
                Page::json(&json!(done))
            }
            Err(fault) => Page::problem(fault.status(), &fault.to_string()),
        }
    }
}

impl Admin {
    /// Who orders what; the page that refuses it otherwise.
    async fn order<T: DeserializeOwned>(
        &self,
        session: &mut ServerSession,
    ) -> Result<(String, T), Page> {
        let credentials = session.req_header().headers.get(AUTHORIZATION);
        let who = self.state.current().tokens.operator(credentials);
        let who = who.map_err(|refusal| self.refused(refusal))?;
        let body = match timeout(BODY_TIME_MAX, body(session)).await {
            Ok(body) => body?,
            Err(_) => {
                let detail = "the body did not arrive";
                return Err(Page::problem(StatusCode::REQUEST_TIMEOUT, detail));
            }
        };
        match serde_json::from_slice::<T>(&body) {
            Ok(order) => Ok((who, order)),
            Err(error) => Err(Page::problem(StatusCode::BAD_REQUEST, &error.to_string())),
        }
    }

    fn refused(&self, refusal: Refusal) -> Page {
        self.state.metrics.admin_refused.with_label_values(&[refusal.name()]).inc();
        Page::problem(refusal.status(), &refusal.to_string())
    }

    /// What is in force, or has been: it names servers, so a token is asked for, a viewer's will do.
    async fn policies(&self, session: &ServerSession) -> Page {
        let head = session.req_header();
        let credentials = head.headers.get(AUTHORIZATION);
        if let Err(refusal) = self.state.current().tokens.viewer(credentials) {
            return self.refused(refusal);
        }
        let (state, of_history) = (Arc::clone(&self.state), head.uri.path() == "/policies/history");
        // Whoever changes something holds the history while it blocks.
        let told = tokio::task::spawn_blocking(move || match of_history {
            true => policies::history(&state.history.lock()),
            false => policies::shown(&state),
        });
        match told.await {
            Ok(value) => Page::json(&value),
            Err(error) => Page::problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }

    /// What those with a token are told, a viewer's will do: it names files, and what people asked for.
    fn told(&self, session: &ServerSession, what: impl FnOnce() -> Value) -> Page {
        let credentials = session.req_header().headers.get(AUTHORIZATION);
        match self.state.current().tokens.viewer(credentials) {
            Ok(_) => Page::json(&what()),
            Err(refusal) => self.refused(refusal),
        }
    }

    /// What was found where answers are compared.
    fn mirrors(&self) -> Value {
        let current = self.state.current();
        let found =
            current.routes.reports().map(|(route, found)| (route.to_owned(), found.shown()));
        Value::Object(found.collect())
    }

    /// Has a certificate ordered now.
    async fn renew(&self, session: &mut ServerSession) -> Page {
        let (who, order) = match self.order::<certificates::Order>(session).await {
            Ok(ordered) => ordered,
            Err(page) => return page,
        };
        let host = order.renew.to_ascii_lowercase();
        if !self.state.tls.issued.renew(&host) {
            let detail = format!("no listener asks an authority for `{host}`");
            return Page::problem(StatusCode::NOT_FOUND, &detail);
        }
        tracing::info!(by = who, host, "a certificate is to be renewed");
        Page::json(&json!({ "renewing": host }))
    }

    async fn change(&self, session: &mut ServerSession) -> Page {
        let (who, order) = match self.order::<policies::Order>(session).await {
            Ok(ordered) => ordered,
            Err(page) => return page,
        };
        let state = Arc::clone(&self.state);
        let done = tokio::task::spawn_blocking(move || policies::obey(&state, order, &who)).await;
        match done {
            Ok(Ok(answer)) => Page::json(&answer),
            Ok(Err(fault)) => Page::problem(fault.status(), &fault.to_string()),
            Err(error) => Page::problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }
}

/// Reads the body of a request.
async fn body(session: &mut ServerSession) -> Result<Vec<u8>, Page> {
    let mut body = Vec::new();
    loop {
        match session.read_request_body().await {
            Ok(Some(bytes)) if body.len() + bytes.len() <= BODY_BYTES_MAX => body.extend(bytes),
            Ok(Some(_)) => {
                let detail = format!("the body is longer than {BODY_BYTES_MAX} bytes");
                return Err(Page::problem(StatusCode::PAYLOAD_TOO_LARGE, &detail));
            }
            Ok(None) => return Ok(body),
            Err(_) => {
                return Err(Page::problem(StatusCode::BAD_REQUEST, "the body cannot be read"));
            }
        }
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let page = self.page(session).await;
        let mut response = Response::builder()
            .status(page.status)
            .header(CONTENT_TYPE, page.content_type)
            .header(CONTENT_LENGTH, page.body.len())
            .header(CACHE_CONTROL, "no-store");
        if let Some(allow) = page.allow {
            response = response.header(ALLOW, allow);
        }
        let to_head = session.req_header().method == Method::HEAD;
        let body = if to_head { Vec::new() } else { page.body };
        response.body(body).expect("every header above is valid")
    }
}
