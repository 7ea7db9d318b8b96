//! `/v1/closes`: closing periods.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use jiff::Timestamp;
use jiff::civil::Date;

use super::app::App;
use super::extract::{JsonBytes, PageOf, Paging, Params, Segment};
use super::problem::{Kind, Problem};
use crate::act::{Act, Acted, Actor};
use crate::close::{CloseBody, Closing, NewClose, is_over};
use crate::json;
use crate::naming::validate_text;
use crate::report::{Close, CloseBalance, Page};
use crate::transfer::DESCRIPTION_CHARS_MAX;

/// Close a period
///
/// Through a day that is over (UTC). From then on a transfer whose effective date lies in it is refused, and
/// every account's totals up to its end are kept: the next period begins with them. A period cannot be opened
/// again. Closing through the same day again answers 200.
#[utoipa::path(
    post, path = "/v1/closes", operation_id = "createClose", tag = "reports",
    request_body = CloseBody,
    responses(
        (status = 201, description = "Closed", body = Close,
            headers(("Location" = String, description = "The close's address"))),
        (status = 200, description = "It was closed through that day before", body = Close),
    )
)]
pub async fn create(
    State(app): State<App>,
    actor: Actor,
    body: JsonBytes,
) -> Result<Response, Problem> {
    let body: CloseBody = json::read(&body.0)?;
    validate_text("description", &body.description, DESCRIPTION_CHARS_MAX)
        .map_err(|error| Problem::from(error).at("description".into()))?;
    let through = body.through;
    if !is_over(through, Timestamp::now()) {
        return Err(not_over(through));
    }
    let (totals, last_entry) = app.reader.totals_through(through).await?;
    let act = Act::Close(NewClose { body, totals, last_entry });
    let closing = match app.writer.act(act, actor).await? {
        Acted::Closing(closing) => closing,
        other => return Err(Problem::unexpected(&other)),
    };
    match closing {
        Closing::Closed(close) => {
            // What fails is logged and tried again; the period is closed all the same.
            if let Some(signer) = &app.signer {
                let _ = signer.sign().await;
            }
            let location = [(header::LOCATION, format!("/v1/closes/{}", close.id))];
            Ok((StatusCode::CREATED, location, Json(close)).into_response())
        }
        Closing::Existing(close) => Ok(Json(close).into_response()),
        Closing::Behind(last) => Err(Problem::new(
            Kind::PeriodClosed,
            format!("it is closed through {} already; close a later day", last.through),
        )),
        Closing::NotOver => Err(not_over(through)),
    }
}

fn not_over(through: Date) -> Problem {
    let detail = format!("{through} is not over yet (UTC); close through yesterday or before");
    Problem::new(Kind::PeriodNotOver, detail).at("through".into())
}

/// List the closes
#[utoipa::path(
    get, path = "/v1/closes", operation_id = "listCloses", tag = "reports",
    params(Paging),
    responses((status = 200, description = "A page of closes in their order", body = Page<Close>))
)]
pub async fn list(
    State(app): State<App>,
    Params(paging): Params<Paging>,
) -> Result<PageOf<Close>, Problem> {
    Ok(Json(app.reader.closes(paging.after_number()?, paging.limit()?).await?))
}

/// Get a close
#[utoipa::path(
    get, path = "/v1/closes/{id}", operation_id = "getClose", tag = "reports",
    params(("id" = String, Path, description = "The close's number")),
    responses((status = 200, description = "The close", body = Close))
)]
pub async fn get(State(app): State<App>, Segment(id): Segment) -> Result<Json<Close>, Problem> {
    found(&app, &id).await.map(Json)
}

/// List what a close carries forward
///
/// Every account with an entry up to the close: its totals and balance of all of them. Income and expense
/// accounts are among them; moving their balances into equity is a transfer like any other.
#[utoipa::path(
    get, path = "/v1/closes/{id}/balances", operation_id = "listCloseBalances", tag = "reports",
    params(("id" = String, Path, description = "The close's number"), Paging),
    responses((status = 200, description = "A page of accounts by code", body = Page<CloseBalance>))
)]
pub async fn balances(
    State(app): State<App>,
    Segment(id): Segment,
    Params(paging): Params<Paging>,
) -> Result<PageOf<CloseBalance>, Problem> {
    let close = found(&app, &id).await?;
    Ok(Json(app.reader.close_balances(close.id, paging.after_code(), paging.limit()?).await?))
}

async fn found(app: &App, id: &str) -> Result<Close, Problem> {
    let missing = || Problem::new(Kind::CloseNotFound, "there is no close of this number");
    let id: i64 = id.parse().map_err(|_| missing())?;
    app.reader.close_numbered(id).await?.ok_or_else(missing)
}
