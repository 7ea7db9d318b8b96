//! What handlers take from a request. Unlike the framework's own extractors, these answer every
//! mistake with a problem.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use http::request::Parts;
use http::{HeaderMap, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::app::App;
use super::problem::{Kind, Problem};
use crate::report::Page;

/// Items of a page when the request does not say.
const LIMIT_DEFAULT: usize = 100;
/// Most items of a page.
pub const LIMIT_MAX: usize = 1000;

/// The whole body of a request that says it is JSON; bounded in bytes and in time.
pub struct JsonBytes(pub Bytes);

impl FromRequest<App> for JsonBytes {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                Kind::UnsupportedMediaType,
                "the body must be sent with Content-Type: application/json",
            ));
        }
        whole(request, app).await.map(Self)
    }
}

/// No body, or an empty object: the operation has nothing to be told.
pub struct NoBody;

impl FromRequest<App> for NoBody {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let bytes = whole(request, app).await?;
        let text = bytes.trim_ascii();
        let inner = text.strip_prefix(b"{").and_then(|text| text.strip_suffix(b"}"));
        if text.is_empty() || inner.is_some_and(|inner| inner.trim_ascii().is_empty()) {
            return Ok(Self);
        }
        let detail = "this takes no body; what is written there would not be heeded";
        Err(Problem::new(Kind::InvalidBody, detail))
    }
}

async fn whole(request: Request, app: &App) -> Result<Bytes, Problem> {
    let limits = app.limits;
    let too_large = || {
        Problem::new(
            Kind::BodyTooLarge,
            format!("the body is larger than {} bytes", limits.body_bytes_max),
        )
    };
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limits.body_bytes_max) {
        return Err(too_large());
    }
    let read = Bytes::from_request(request, app);
    match tokio::time::timeout(limits.body_timeout, read).await {
        Err(_) => Err(slow(limits.body_timeout)),
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(rejection)) if rejection.status() == 413 => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(
            Kind::MalformedRequest,
            "the body ended early or is not framed as its headers say",
        )),
    }
}

fn slow(limit: Duration) -> Problem {
    Problem::new(
        Kind::RequestTimeout,
        format!("the body did not arrive within {} ms", limit.as_millis()),
    )
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Query parameters; unknown ones are refused by the types used.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<App> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        // Nothing is called so, and no database takes it.
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            let detail = "the query contains a control character (U+0000)";
            return Err(Problem::new(Kind::InvalidParameter, detail));
        }
        match Query::<T>::from_request_parts(parts, app).await {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => Err(Problem::new(Kind::InvalidParameter, rejection.body_text())),
        }
    }
}

/// The one variable segment of a path.
pub struct Segment(pub String);

impl FromRequestParts<App> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, app).await {
            Ok(Path(segment)) if segment.contains('\0') => Err(Problem::new(
                Kind::MalformedRequest,
                "the path contains a control character (U+0000)",
            )),
            Ok(Path(segment)) => Ok(Self(segment)),
            Err(rejection) => Err(Problem::new(Kind::MalformedRequest, rejection.body_text())),
        }
    }
}

/// Which page of a listing.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// Most items to answer with.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before; the first page when left out.
    cursor: Option<String>,
}

impl Paging {
    pub fn new(limit: Option<usize>, cursor: Option<String>) -> Self {
        Self { limit, cursor }
    }

    pub fn limit(&self) -> Result<usize, Problem> {
        match self.limit {
            None => Ok(LIMIT_DEFAULT),
            Some(limit @ 1..=LIMIT_MAX) => Ok(limit),
            Some(limit) => Err(Problem::new(
                Kind::InvalidParameter,
                format!("limit is {limit}; it goes from 1 to {LIMIT_MAX}"),
            )),
        }
    }

    /// The code after which the page begins.
    pub fn after_code(&self) -> &str {
        self.cursor.as_deref().unwrap_or_default()
    }

    /// The number after which the page begins.
    pub fn after_number(&self) -> Result<i64, Problem> {
        match self.cursor.as_deref() {
            None => Ok(0),
            Some(cursor) => match cursor.parse() {
                Ok(number @ 0..) => Ok(number),
                _ => Err(Problem::new(
                    Kind::InvalidParameter,
                    "cursor is not one this listing gave; leave it out to begin at the start",
                )),
            },
        }
    }
}

/// A page as JSON.
pub type PageOf<T> = axum::Json<Page<T>>;
