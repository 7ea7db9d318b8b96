//! The admin listener: `/healthz` (the process answers), `/readyz` (send requests here) and
//! `/metrics` (Prometheus text). Nothing of it is reachable on other listeners.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Response, StatusCode};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;

use crate::generation::State;

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

pub struct Admin {
    pub state: Arc<State>,
    /// Set when a graceful stop begins.
    pub draining: Arc<AtomicBool>,
}

impl Admin {
    fn page(&self, path: &str) -> (StatusCode, &'static str, Vec<u8>) {
        match path {
            "/healthz" => (StatusCode::OK, TEXT, b"ok\n".to_vec()),
            "/readyz" if self.draining.load(Ordering::Acquire) => {
                (StatusCode::SERVICE_UNAVAILABLE, TEXT, b"draining\n".to_vec())
            }
            "/readyz" => (StatusCode::OK, TEXT, b"ready\n".to_vec()),
            "/metrics" => {
                // What readers gave back since the last change is not told by anybody else.
                self.state.caches.all().iter().for_each(|cache| cache.refresh_metrics());
                (StatusCode::OK, METRICS, self.state.metrics.render())
            }
            _ => (
                StatusCode::NOT_FOUND,
                TEXT,
                b"there are /healthz, /readyz and /metrics\n".to_vec(),
            ),
        }
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let head = session.req_header();
        let (status, content_type, body) = match head.method {
            Method::GET | Method::HEAD => self.page(head.uri.path()),
            _ => (StatusCode::METHOD_NOT_ALLOWED, TEXT, b"GET or HEAD\n".to_vec()),
        };
        let mut response = Response::builder()
            .status(status)
            .header(CONTENT_TYPE, content_type)
            .header(CONTENT_LENGTH, body.len())
            .header(CACHE_CONTROL, "no-store");
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response = response.header(ALLOW, "GET, HEAD");
        }
        let body = if head.method == Method::HEAD { Vec::new() } else { body };
        response.body(body).expect("every header above is valid")
    }
}
