//! `/v1/accounts`: the chart, balances and entries.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Deserialize;
use utoipa::IntoParams;

use super::app::App;
use super::extract::{JsonBytes, PageOf, Paging, Params, Segment};
use super::precondition::{Precondition, changed};
use super::problem::{Kind, Problem};
use crate::account::{Account, AccountBody, Created, LimitsBody};
use crate::act::{Act, Acted, Actor};
use crate::json;
use crate::metadata::{Filter, MetadataError};
use crate::money::signed_minor;
use crate::posting::{Limits, Standing};
use crate::report::{AccountBalance, AccountEntry, Page};
use crate::writer::Known;

/// Open an account
///
/// Opening one that exists with the same properties answers 200.
#[utoipa::path(
    post, path = "/v1/accounts", operation_id = "createAccount", tag = "chart",
    request_body = AccountBody,
    responses(
        (status = 201, description = "Opened", body = Account,
            headers(("Location" = String, description = "The account's address"))),
        (status = 200, description = "It was there already, exactly so", body = Account),
    )
)]
pub async fn create(State(app): State<App>, body: JsonBytes) -> Result<Response, Problem> {
    let body: AccountBody = json::read(&body.0)?;
    body.validate()?;
    body.metadata.validate()?;
    let currency = body.currency.clone();
    match app.writer.account(body).await? {
        Created::New(account) => {
            let location = [(header::LOCATION, format!("/v1/accounts/{}", account.code))];
            Ok((StatusCode::CREATED, location, Json(account)).into_response())
        }
        Created::Existing(account) => Ok(Json(account).into_response()),
        Created::Conflict(existing) => Err(Problem::new(
            Kind::AlreadyExists,
            format!(
                "{} exists as {:?} in {} with a normal balance of {} and {} names of metadata",
                existing.code,
                existing.name,
                existing.currency,
                existing.normal_balance,
                existing.metadata.0.len()
            ),
        )),
        Created::UnknownCurrency => Err(Problem::new(
            Kind::UnknownCurrency,
            format!("there is no currency {currency:?}; add it with POST /v1/currencies"),
        )),
    }
}

/// Which accounts, and which page of them.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AccountParams {
    /// `NAME:VALUE`: only accounts with this value of this name in their metadata, in the order they were opened.
    #[param(example = "customer:4711")]
    metadata: Option<String>,
    /// Most accounts to answer with.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before; the first page when left out.
    cursor: Option<String>,
}

/// List the accounts
#[utoipa::path(
    get, path = "/v1/accounts", operation_id = "listAccounts", tag = "chart",
    params(AccountParams),
    responses((status = 200, description = "A page of accounts by code", body = Page<Account>))
)]
pub async fn list(
    State(app): State<App>,
    Params(params): Params<AccountParams>,
) -> Result<PageOf<Account>, Problem> {
    let paging = Paging::new(params.limit, params.cursor);
    let Some(filter) = params.metadata else {
        return Ok(Json(app.reader.accounts(paging.after_code(), paging.limit()?).await?));
    };
    let wrong = |error: MetadataError| Problem::new(Kind::InvalidParameter, error.to_string());
    let filter = Filter::parse(&filter).map_err(wrong)?;
    Ok(Json(app.reader.accounts_with(&filter, paging.after_number()?, paging.limit()?).await?))
}

/// Get an account
#[utoipa::path(
    get, path = "/v1/accounts/{code}", operation_id = "getAccount", tag = "chart",
    params(("code" = String, Path, description = "The account's code")),
    responses((status = 200, description = "The account", body = Account))
)]
pub async fn get(State(app): State<App>, Segment(code): Segment) -> Result<Json<Account>, Problem> {
    app.reader.account(&code).await?.map(Json).ok_or_else(|| Problem::no_account(&code))
}

/// Get an account's balance
#[utoipa::path(
    get, path = "/v1/accounts/{code}/balance", operation_id = "getBalance", tag = "reports",
    params(("code" = String, Path, description = "The account's code")),
    responses((status = 200, description = "Its totals and its balance by its normal side", body = AccountBalance))
)]
pub async fn balance(
    State(app): State<App>,
    Segment(code): Segment,
) -> Result<Json<AccountBalance>, Problem> {
    let standing = match app.writer.balances.read(&code) {
        Known::Balance(standing) => standing,
        Known::Nothing(since) => {
            let standing = app.standing(&code).await?;
            app.writer.balances.keep(since, &code, &standing);
            standing
        }
    };
    Ok(Json(AccountBalance::of(code, &standing)))
}

/// Get an account's limits
#[utoipa::path(
    get, path = "/v1/accounts/{code}/limits", operation_id = "getLimits", tag = "chart",
    params(("code" = String, Path, description = "The account's code")),
    responses((status = 200, description = "The limits in force", body = LimitsBody))
)]
pub async fn limits(
    State(app): State<App>,
    Segment(code): Segment,
) -> Result<Json<LimitsBody>, Problem> {
    let standing = app.standing(&code).await?;
    Ok(Json(in_force(code, &standing)))
}

fn in_force(code: String, standing: &Standing) -> LimitsBody {
    let AccountBalance { balance_min, balance_max, .. } = AccountBalance::of(code, standing);
    LimitsBody { balance_min, balance_max }
}

/// Set an account's limits
///
/// They replace the ones before and hold for every transfer from now on. An account that is outside
/// them already may still move towards them. `If-Match` says which limits they replace.
#[utoipa::path(
    put, path = "/v1/accounts/{code}/limits", operation_id = "setLimits", tag = "chart",
    params(("code" = String, Path, description = "The account's code")),
    request_body = LimitsBody,
    responses((status = 200, description = "The account's balance with the limits in force", body = AccountBalance))
)]
pub async fn set_limits(
    State(app): State<App>,
    Segment(code): Segment,
    actor: Actor,
    precondition: Precondition,
    body: JsonBytes,
) -> Result<Json<AccountBalance>, Problem> {
    let body: LimitsBody = json::read(&body.0)?;
    let account = app.standing(&code).await?;
    let limit = |text: &Option<String>, field: &str| {
        let minor = text.as_deref().map(|text| signed_minor(text, &account.currency)).transpose();
        minor.map_err(|error| {
            Problem::new(Kind::InvalidAmount, error.to_string()).at(field.to_owned())
        })
    };
    let limits = Limits {
        min_minor: limit(&body.balance_min, "balance_min")?,
        max_minor: limit(&body.balance_max, "balance_max")?,
    };
    if let (Some(min), Some(max)) = (limits.min_minor, limits.max_minor)
        && min > max
    {
        let detail = "balance_min is above balance_max; no balance could satisfy both";
        return Err(Problem::new(Kind::InvalidBody, detail).at("balance_min".into()));
    }
    // Last, as RFC 9110, 13.2.1 has it: what would be refused anyway is refused for its own reason.
    let precondition = precondition.required("GET /v1/accounts/{code}/limits")?;
    let seen = precondition.seen(in_force(code.clone(), &account))?.map(|_| account.limits);
    let account_id = account.account_id;
    let act = Act::SetLimits { account: code.clone(), account_id, seen, limits };
    match app.writer.act(act, actor).await? {
        Acted::LimitsSet => {}
        Acted::Changed => return Err(changed()),
        other => return Err(Problem::unexpected(&other)),
    }
    app.reader.balance(&code).await?.map(Json).ok_or_else(|| Problem::no_account(&code))
}

/// List an account's entries
///
/// In booking order, each with the balance after it.
#[utoipa::path(
    get, path = "/v1/accounts/{code}/entries", operation_id = "listEntries", tag = "reports",
    params(("code" = String, Path, description = "The account's code"), Paging),
    responses((status = 200, description = "A page of entries", body = Page<AccountEntry>))
)]
pub async fn entries(
    State(app): State<App>,
    Segment(code): Segment,
    Params(paging): Params<Paging>,
) -> Result<PageOf<AccountEntry>, Problem> {
    let page = app.reader.entries(&code, paging.after_number()?, paging.limit()?).await?;
    page.map(Json).ok_or_else(|| Problem::no_account(&code))
}
