//! `/v1/transfers`: posting and looking up.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::app::App;
use super::extract::{JsonBytes, PageOf, Paging, Params, Segment};
use super::problem::{Kind, Problem};
use crate::batch::{Answer, Verdict};
use crate::metadata::{Filter, MetadataError};
use crate::report::{Page, TransferSummary};
use crate::transfer::{
    self, IdempotencyKey, KeyError, PostBody, ReverseBody, Transfer, TransferBody, TransferError,
    TransferRequest, VoidBody,
};

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Post a transfer
///
/// Answered after it is durable. The same key with the same body (white space and the order of
/// object keys aside) gets the first answer again, byte for byte, and posts nothing; with another
/// body it gets 409. A transfer that is rejected changes nothing and does not use up its key.
#[utoipa::path(
    post, path = "/v1/transfers", operation_id = "createTransfer", tag = "transfers",
    params(("Idempotency-Key" = String, Header, min_length = 1, max_length = 255,
        description = "Unique per transfer, the same when retrying; visible ASCII characters")),
    request_body = TransferBody,
    responses((status = 201, description = "Posted, now or under this key before", body = Transfer,
        headers(
            ("Location" = String, description = "The transfer's address"),
            ("Idempotency-Replayed" = String, description = "`true` when it was posted before"),
        )))
)]
pub async fn create(
    State(app): State<App>,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response, Problem> {
    let key = idempotency_key(&headers)?;
    let request = transfer::parse(key, &body.0, app.limits.entries_max)?;
    let entries = request.action.entry_count();
    book(&app, request, entries).await
}

/// Post a pending transfer
///
/// Whole, or the `entries` given; the rest is released. A new transfer of kind `post` moves the
/// amounts, and the pending one can be posted no second time.
#[utoipa::path(
    post, path = "/v1/transfers/{id}/post", operation_id = "postTransfer", tag = "transfers",
    params(
        ("id" = String, Path, description = "The pending transfer's UUID"),
        ("Idempotency-Key" = String, Header, min_length = 1, max_length = 255,
            description = "Unique per request, the same when retrying; visible ASCII characters"),
    ),
    request_body = PostBody,
    responses((status = 201, description = "Posted, now or under this key before", body = Transfer,
        headers(
            ("Location" = String, description = "The new transfer's address"),
            ("Idempotency-Replayed" = String, description = "`true` when it was posted before"),
        )))
)]
pub async fn post(
    State(app): State<App>,
    Segment(id): Segment,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response, Problem> {
    let entries_max = app.limits.entries_max;
    let read = |key, of| transfer::parse_post(key, of, &body.0, entries_max);
    follow(&app, &id, &headers, read).await
}

/// Void a pending transfer
///
/// Releases all that it holds. A new transfer of kind `void` says so.
#[utoipa::path(
    post, path = "/v1/transfers/{id}/void", operation_id = "voidTransfer", tag = "transfers",
    params(
        ("id" = String, Path, description = "The pending transfer's UUID"),
        ("Idempotency-Key" = String, Header, min_length = 1, max_length = 255,
            description = "Unique per request, the same when retrying; visible ASCII characters"),
    ),
    request_body = VoidBody,
    responses((status = 201, description = "Voided, now or under this key before", body = Transfer,
        headers(
            ("Location" = String, description = "The new transfer's address"),
            ("Idempotency-Replayed" = String, description = "`true` when it was voided before"),
        )))
)]
pub async fn void(
    State(app): State<App>,
    Segment(id): Segment,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response, Problem> {
    follow(&app, &id, &headers, |key, of| transfer::parse_void(key, of, &body.0)).await
}

/// Reverse a posted transfer
///
/// A new transfer of kind `reverse` moves every amount back. A transfer is reversed once.
#[utoipa::path(
    post, path = "/v1/transfers/{id}/reverse", operation_id = "reverseTransfer", tag = "transfers",
    params(
        ("id" = String, Path, description = "The posted transfer's UUID"),
        ("Idempotency-Key" = String, Header, min_length = 1, max_length = 255,
            description = "Unique per request, the same when retrying; visible ASCII characters"),
    ),
    request_body = ReverseBody,
    responses((status = 201, description = "Reversed, now or under this key before", body = Transfer,
        headers(
            ("Location" = String, description = "The new transfer's address"),
            ("Idempotency-Replayed" = String, description = "`true` when it was reversed before"),
        )))
)]
pub async fn reverse(
    State(app): State<App>,
    Segment(id): Segment,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response, Problem> {
    follow(&app, &id, &headers, |key, of| transfer::parse_reverse(key, of, &body.0)).await
}

/// Books what follows the transfer that a path names. It may come to as many entries as that one has, and its own.
async fn follow(
    app: &App,
    id: &str,
    headers: &HeaderMap,
    read: impl FnOnce(IdempotencyKey, Uuid) -> Result<TransferRequest, TransferError>,
) -> Result<Response, Problem> {
    let key = idempotency_key(headers)?;
    let of = number(id)?;
    let held = app.reader.entries_of(of).await?.ok_or_else(missing)?;
    let request = read(key, of)?;
    let entries =
        usize::try_from(held).unwrap_or(usize::MAX).saturating_add(request.action.entry_count());
    book(app, request, entries).await
}

fn number(id: &str) -> Result<Uuid, Problem> {
    id.parse().map_err(|_| missing())
}

fn missing() -> Problem {
    Problem::new(Kind::TransferNotFound, "there is no transfer with this id")
}

async fn book(app: &App, request: TransferRequest, entries: usize) -> Result<Response, Problem> {
    match app.writer.transfer(request, entries).await? {
        Verdict::Posted(answer) => Ok(answered(&answer)),
        Verdict::Replayed(answer) => {
            let mut response = answered(&answer);
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            Ok(response)
        }
        refused => Err(verdict_problem(refused)
            .unwrap_or_else(|| Problem::new(Kind::Internal, "a verdict without a reason"))),
    }
}

/// Why a request is not booked; nothing when it is, or when another of its group is to blame.
pub fn verdict_problem(verdict: Verdict) -> Option<Problem> {
    match verdict {
        Verdict::Posted(_) | Verdict::Replayed(_) | Verdict::Withheld => None,
        Verdict::KeyReused => Some(Problem::new(
            Kind::IdempotencyKeyReused,
            "this Idempotency-Key belongs to a posted transfer with another body; use a new key for a new transfer",
        )),
        Verdict::Rejected(rejection) => Some(rejection.into()),
    }
}

/// Which transfers, and which page of them.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TransferParams {
    /// `NAME:VALUE`: only transfers with this value of this name in their metadata.
    #[param(example = "order:4711")]
    metadata: Option<String>,
    /// Most transfers to answer with.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before; the first page when left out.
    cursor: Option<String>,
}

/// List the transfers
///
/// In booking order, without their entries.
#[utoipa::path(
    get, path = "/v1/transfers", operation_id = "listTransfers", tag = "transfers",
    params(TransferParams),
    responses((status = 200, description = "A page of transfers", body = Page<TransferSummary>))
)]
pub async fn list(
    State(app): State<App>,
    Params(params): Params<TransferParams>,
) -> Result<PageOf<TransferSummary>, Problem> {
    let paging = Paging::new(params.limit, params.cursor);
    let (after, limit) = (paging.after_number()?, paging.limit()?);
    let Some(filter) = params.metadata else {
        return Ok(Json(app.reader.transfers(after, limit).await?));
    };
    let wrong = |error: MetadataError| Problem::new(Kind::InvalidParameter, error.to_string());
    let filter = Filter::parse(&filter).map_err(wrong)?;
    Ok(Json(app.reader.transfers_with(&filter, after, limit).await?))
}

/// Get a transfer
#[utoipa::path(
    get, path = "/v1/transfers/{id}", operation_id = "getTransfer", tag = "transfers",
    params(("id" = String, Path, description = "The transfer's UUID")),
    responses((status = 200, description = "The transfer with its entries", body = Transfer))
)]
pub async fn get(State(app): State<App>, Segment(id): Segment) -> Result<Json<Transfer>, Problem> {
    app.reader.transfer(number(&id)?).await?.map(Json).ok_or_else(missing)
}

fn idempotency_key(headers: &HeaderMap) -> Result<IdempotencyKey, KeyError> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let value = values.next().ok_or(KeyError::Missing)?;
    if values.next().is_some() {
        return Err(KeyError::Several);
    }
    IdempotencyKey::parse(value.as_bytes())
}

/// The stored bytes as they are: a replay must not depend on how this version would write them.
fn answered(answer: &Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::CREATED);
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::LOCATION, format!("/v1/transfers/{}", answer.transfer_id)),
    ];
    (status, headers, answer.body().into_owned()).into_response()
}
