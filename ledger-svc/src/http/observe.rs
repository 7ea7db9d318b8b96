//! What surrounds every request: limits, metrics, and the promise that every error is a problem.

use std::any::Any;
use std::time::Instant;

use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, Version, header};
use prometheus::IntGauge;

use super::app::App;
use super::problem::{CONTENT_TYPE, KINDS, Kind, Problem};
use super::unread::Rest;
use super::{auth, etag, precondition};
use crate::metrics::{Metrics, seconds};

/// Label of requests that no route matches; their paths are anybody's invention.
const UNMATCHED: &str = "unmatched";

/// The layer around every route of the main listener.
pub async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let _in_flight = InFlight::count(&app.metrics);
    let method = method_label(request.method());
    let route = match request.extensions().get::<MatchedPath>() {
        Some(matched) => matched.as_str().to_owned(),
        None => UNMATCHED.to_owned(),
    };
    let (request, rest) = Rest::watch(request);
    let mut answered = match head_in_order(&request, &app) {
        Err(problem) => problem.into_response(),
        Ok(()) => {
            match tokio::time::timeout(app.limits.request_timeout, judged(&app, request, next))
                .await
            {
                Ok(response) => as_problem(response),
                Err(_) => Problem::new(
                    Kind::TimedOut,
                    format!("no answer within {} ms", app.limits.request_timeout.as_millis()),
                )
                .into_response(),
            }
        }
    };
    let status = answered.status();
    let refused = status.is_client_error() || status.is_server_error();
    if refused && rest.is_some_and(|rest| !rest.was_read()) {
        // What is left of the body stands before the next request (RFC 9112, 9.6).
        answered.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if status.is_server_error() {
        tracing::warn!(route, method, status = status.as_u16(), "answered with a server error");
    }
    if let Some(kind) = answered.extensions().get::<Kind>() {
        app.metrics.problems.with_label_values(&[kind.row().name]).inc();
    }
    app.metrics.http_requests.with_label_values(&[route.as_str(), method, status.as_str()]).inc();
    app.metrics
        .http_seconds
        .with_label_values(&[route.as_str(), method])
        .observe(seconds(began.elapsed()));
    answered
}

/// Who may not ask is answered before anything is done; what is answered is tagged. One layer and not one each: a layer
/// copies the service behind it for every request.
async fn judged(app: &App, mut request: Request, next: Next) -> Response {
    if let Err(problem) = auth::check(app, &mut request) {
        return problem.into_response();
    }
    DefaultBodyLimit::max(app.limits.body_bytes_max).apply(&mut request);
    let table = &app.gate.table;
    let ignored = precondition::none_ignored(table, &request)
        .and_then(|()| precondition::no_query_ignored(table, &request))
        .and_then(|()| precondition::no_coding_ignored(&request));
    if let Err(problem) = ignored {
        return problem.into_response();
    }
    etag::tag(request, next).await
}

/// Counts a request until it is answered, or given up by its client.
pub struct InFlight(IntGauge);

impl InFlight {
    pub fn count(metrics: &Metrics) -> Self {
        metrics.http_in_flight.inc();
        Self(metrics.http_in_flight.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn head_in_order(request: &Request, app: &App) -> Result<(), Problem> {
    headers_in_limits(request.headers(), app)?;
    let malformed = |detail| Err(Problem::new(Kind::MalformedRequest, detail));
    let count = |name| request.headers().get_all(name).iter().count();
    // One whom somebody in between asks for may be told of another (RFC 9112, 3.2).
    match count(header::HOST) {
        1 => {}
        0 if request.version() < Version::HTTP_11 => {}
        0 => return malformed("there is no Host field, which HTTP/1.1 asks for"),
        _ => return malformed("there is more than one Host field"),
    }
    // Who reads the first and who reads the last would read another body (RFC 9110, 5.3 and 8.3).
    if count(header::CONTENT_TYPE) > 1 {
        return malformed("there is more than one Content-Type field");
    }
    Ok(())
}

fn headers_in_limits(headers: &HeaderMap, app: &App) -> Result<(), Problem> {
    let max = app.limits.header_bytes_max;
    let bytes: usize =
        headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if bytes > max {
        let detail = format!("the header fields are {bytes} bytes long, more than {max}");
        return Err(Problem::new(Kind::HeadersTooLarge, detail));
    }
    Ok(())
}

/// Errors of the framework and of the documentation pages, which know nothing of problems.
pub fn as_problem(response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || response.headers().get(header::CONTENT_TYPE).is_some_and(|t| t == CONTENT_TYPE)
    {
        return response;
    }
    let kind = match KINDS.iter().find(|row| row.status == status.as_u16()) {
        Some(row) => row.kind,
        None if status.is_client_error() => Kind::MalformedRequest,
        None => Kind::Internal,
    };
    let mut problem =
        Problem::new(kind, status.canonical_reason().unwrap_or("error")).into_response();
    if let Some(allow) = response.headers().get(header::ALLOW) {
        problem.headers_mut().insert(header::ALLOW, allow.clone());
    }
    problem
}

/// No route has the path.
pub async fn not_found() -> Problem {
    Problem::new(Kind::NotFound, "no route has this path; /docs lists those there are")
}

/// The route has other methods; the framework adds `Allow`.
pub async fn method_not_allowed(method: Method) -> Problem {
    Problem::new(Kind::MethodNotAllowed, format!("{} is not allowed here", method_label(&method)))
}

/// Methods are the client's to invent, labels are not.
fn method_label(method: &Method) -> &'static str {
    const KNOWN: [(&Method, &str); 7] = [
        (&Method::GET, "GET"),
        (&Method::POST, "POST"),
        (&Method::HEAD, "HEAD"),
        (&Method::PUT, "PUT"),
        (&Method::PATCH, "PATCH"),
        (&Method::DELETE, "DELETE"),
        (&Method::OPTIONS, "OPTIONS"),
    ];
    KNOWN.iter().find(|(known, _)| *known == method).map_or("OTHER", |(_, label)| label)
}

/// A panic in a handler is answered too.
pub fn panicked(_: Box<dyn Any + Send>) -> Response {
    Problem::new(Kind::Internal, "the request could not be handled").into_response()
}
