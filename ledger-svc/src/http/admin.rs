//! The admin listener: health, readiness and metrics. Not for clients, not in the OpenAPI document.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header;

use super::app::App;
use super::observe::{method_not_allowed, not_found};
use super::problem::{Kind, Problem};

/// How long a readiness probe waits for its commit.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

pub fn router(app: App) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(app)
}

/// The process runs and answers.
async fn healthz() -> &'static str {
    "ok\n"
}

/// A write has just been committed to the database.
async fn readyz(State(app): State<App>) -> Result<&'static str, Problem> {
    match tokio::time::timeout(PROBE_TIMEOUT, app.writer.probe()).await {
        Ok(done) => done?,
        Err(_) => {
            let detail = format!("no commit within {} ms", PROBE_TIMEOUT.as_millis());
            return Err(Problem::new(Kind::DatabaseUnavailable, detail));
        }
    }
    Ok("ready\n")
}

async fn metrics(State(app): State<App>) -> Response {
    app.writer.observe_depth();
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, app.metrics.text()).into_response()
}
