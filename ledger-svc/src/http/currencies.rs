//! `/v1/currencies`.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::app::App;
use super::extract::{JsonBytes, PageOf, Paging, Params};
use super::problem::{Kind, Problem};
use crate::account::{Created, CurrencyBody};
use crate::act::Actor;
use crate::json;
use crate::report::Page;

/// Add a currency
///
/// Its scale never changes. Adding one that exists with the same scale answers 200.
#[utoipa::path(
    post, path = "/v1/currencies", operation_id = "createCurrency", tag = "chart",
    request_body = CurrencyBody,
    responses(
        (status = 201, description = "Added", body = CurrencyBody),
        (status = 200, description = "It was there already, with this scale", body = CurrencyBody),
    )
)]
pub async fn create(
    State(app): State<App>,
    actor: Actor,
    body: JsonBytes,
) -> Result<Response, Problem> {
    let body: CurrencyBody = json::read(&body.0)?;
    body.validate()?;
    match app.writer.currency(body, actor).await? {
        Created::New(currency) => Ok((StatusCode::CREATED, Json(currency)).into_response()),
        Created::Existing(currency) => Ok(Json(currency).into_response()),
        Created::Conflict(existing) => Err(Problem::new(
            Kind::AlreadyExists,
            format!("{} exists with a scale of {}", existing.code, existing.scale),
        )),
        Created::UnknownCurrency => Err(Problem::new(Kind::Internal, "a currency has no currency")),
    }
}

/// List the currencies
#[utoipa::path(
    get, path = "/v1/currencies", operation_id = "listCurrencies", tag = "chart",
    params(Paging),
    responses((status = 200, description = "A page of currencies by code", body = Page<CurrencyBody>))
)]
pub async fn list(
    State(app): State<App>,
    Params(paging): Params<Paging>,
) -> Result<PageOf<CurrencyBody>, Problem> {
    Ok(Json(app.reader.currencies(paging.after_code(), paging.limit()?).await?))
}
