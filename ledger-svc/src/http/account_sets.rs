//! `/v1/account-sets`: accounts looked at together; and `/v1/account-tree`, which needs no set.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::app::App;
use super::extract::{JsonBytes, PageOf, Paging, Params, Segment};
use super::problem::{Kind, Problem};
use crate::account::Created;
use crate::account_set::{
    AccountSet, MEMBERS_AT_ONCE, Member, MembersBody, NewMembers, SetBody, SetError, SetTotals,
};
use crate::act::{Act, Acted, Actor};
use crate::json;
use crate::naming::validate_code;
use crate::report::{CurrencyTotals, Page};

/// Make an account set
///
/// Without members yet. Making one that exists with the same name answers 200.
#[utoipa::path(
    post, path = "/v1/account-sets", operation_id = "createAccountSet", tag = "chart",
    request_body = SetBody,
    responses(
        (status = 201, description = "Made", body = AccountSet,
            headers(("Location" = String, description = "The set's address"))),
        (status = 200, description = "It was there already, exactly so", body = AccountSet),
    )
)]
pub async fn create(
    State(app): State<App>,
    actor: Actor,
    body: JsonBytes,
) -> Result<Response, Problem> {
    let body: SetBody = json::read(&body.0)?;
    body.validate()?;
    match app.writer.act(Act::CreateSet(body), actor).await? {
        Acted::Set(Created::New(row)) => {
            let location = [(header::LOCATION, format!("/v1/account-sets/{}", row.code))];
            Ok((StatusCode::CREATED, location, Json(row.listed())).into_response())
        }
        Acted::Set(Created::Existing(row)) => Ok(Json(row.listed()).into_response()),
        Acted::Set(Created::Conflict(row)) => {
            Err(Problem::new(Kind::AlreadyExists, format!("{} exists as {:?}", row.code, row.name)))
        }
        Acted::NoMembers(error) => Err(refused(&error)),
        other => Err(Problem::unexpected(&other)),
    }
}

fn refused(error: &SetError) -> Problem {
    match error {
        SetError::Cycle => Problem::new(Kind::InvalidBody, error.to_string()).at("sets".into()),
        SetError::TooMany => Problem::new(Kind::InvalidBody, error.to_string()),
    }
}

fn missing(code: &str) -> Problem {
    let code: String = code.chars().take(128).collect();
    Problem::new(Kind::SetNotFound, format!("there is no account set {code:?}"))
}

/// List the account sets
#[utoipa::path(
    get, path = "/v1/account-sets", operation_id = "listAccountSets", tag = "chart",
    params(Paging),
    responses((status = 200, description = "A page of sets by code", body = Page<AccountSet>))
)]
pub async fn list(
    State(app): State<App>,
    Params(paging): Params<Paging>,
) -> Result<PageOf<AccountSet>, Problem> {
    Ok(Json(app.reader.sets(paging.after_code(), paging.limit()?).await?))
}

/// Get an account set's totals
///
/// The sums of all accounts within it, and within the sets it has, each account once; of one moment, without holding anything up.
#[utoipa::path(
    get, path = "/v1/account-sets/{code}", operation_id = "getAccountSet", tag = "reports",
    params(("code" = String, Path, description = "The set's code")),
    responses((status = 200, description = "The set and its totals by currency", body = SetTotals))
)]
pub async fn get(
    State(app): State<App>,
    Segment(code): Segment,
) -> Result<Json<SetTotals>, Problem> {
    let set = app.reader.set(&code).await?.ok_or_else(|| missing(&code))?;
    let currencies = app.reader.set_totals(set.id).await?;
    Ok(Json(SetTotals { set, currencies }))
}

/// How many members came to it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Added {
    /// Those that were not there before.
    pub added: usize,
}

/// Add members to an account set
///
/// Those that are there already stay. Nothing is ever taken out: a set without one of them is another set.
#[utoipa::path(
    post, path = "/v1/account-sets/{code}/members", operation_id = "addMembers", tag = "chart",
    params(("code" = String, Path, description = "The set's code")),
    request_body = MembersBody,
    responses((status = 200, description = "Added", body = Added))
)]
pub async fn add(
    State(app): State<App>,
    Segment(code): Segment,
    actor: Actor,
    body: JsonBytes,
) -> Result<Json<Added>, Problem> {
    let body: MembersBody = json::read(&body.0)?;
    if body.accounts.len() + body.sets.len() > MEMBERS_AT_ONCE {
        let detail = format!("at most {MEMBERS_AT_ONCE} members are added at once");
        return Err(Problem::new(Kind::InvalidBody, detail));
    }
    let set = app.reader.set(&code).await?.ok_or_else(|| missing(&code))?;
    let mut new = NewMembers { set_id: set.id, accounts: Vec::new(), sets: Vec::new() };
    for code in &body.accounts {
        let unknown =
            || Problem::new(Kind::UnknownAccount, format!("there is no account {code:?}"));
        let account = app.reader.standing(code).await?.ok_or_else(unknown)?;
        new.accounts.push(account.account_id);
    }
    for code in &body.sets {
        let unknown = || {
            Problem::new(Kind::InvalidBody, format!("there is no account set {code:?}"))
                .at("sets".into())
        };
        new.sets.push(app.reader.set(code).await?.ok_or_else(unknown)?.id);
    }
    match app.writer.act(Act::AddMembers(new), actor).await? {
        Acted::Members(added) => Ok(Json(Added { added })),
        Acted::NoMembers(error) => Err(refused(&error)),
        other => Err(Problem::unexpected(&other)),
    }
}

/// List an account set's members
#[utoipa::path(
    get, path = "/v1/account-sets/{code}/members", operation_id = "listMembers", tag = "chart",
    params(("code" = String, Path, description = "The set's code"), Paging),
    responses((status = 200, description = "A page of members in the order they were added", body = Page<Member>))
)]
pub async fn members(
    State(app): State<App>,
    Segment(code): Segment,
    Params(paging): Params<Paging>,
) -> Result<PageOf<Member>, Problem> {
    let set = app.reader.set(&code).await?.ok_or_else(|| missing(&code))?;
    let (after, limit) = (paging.after_number()?, paging.limit()?);
    Ok(Json(app.reader.members(set.id, after, limit).await?))
}

/// Which part of the chart.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TreeParams {
    /// A code: the account of this code, if there is one, and all whose codes begin with it and a colon.
    #[param(example = "assets:cash")]
    under: String,
}

/// A part of the chart with its totals.
#[derive(Debug, Serialize, ToSchema)]
pub struct TreeTotals {
    #[schema(example = "assets:cash")]
    pub under: String,
    pub currencies: Vec<CurrencyTotals>,
}

/// Get the totals of a part of the chart
#[utoipa::path(
    get, path = "/v1/account-tree", operation_id = "getAccountTree", tag = "reports",
    params(TreeParams),
    responses((status = 200, description = "Totals by currency; none where there is no account", body = TreeTotals))
)]
pub async fn tree(
    State(app): State<App>,
    Params(params): Params<TreeParams>,
) -> Result<Json<TreeTotals>, Problem> {
    let wrong =
        |error: crate::naming::NameError| Problem::new(Kind::InvalidParameter, error.to_string());
    validate_code(&params.under).map_err(wrong)?;
    let currencies = app.reader.tree_totals(&params.under).await?;
    Ok(Json(TreeTotals { under: params.under, currencies }))
}
