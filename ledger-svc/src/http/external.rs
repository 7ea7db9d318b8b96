//! `/v1/accounts/{code}/statements` and `/v1/statements/{id}/withdraw`: statements of somebody else, such as a bank.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::App;
use super::extract::{JsonBytes, PageOf, Paging, Params, Segment};
use super::problem::{Kind, Problem};
use super::reconciliation::{RemoveBody, desk, reason};
use crate::act::{Act, Acted, Actor};
use crate::json;
use crate::reconcile::table::Mapping;
use crate::reconcile::{ExternalStatement, ImportWarning, RepeatedLine, StatementFormat};
use crate::reconciling::ReconcileError;
use crate::report::Page;

/// A statement of somebody else.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatementBody {
    #[schema(inline)]
    pub format: StatementFormat,
    /// The statement itself.
    pub text: String,
    /// How a table is read; only with `csv`, and always there.
    #[serde(default, deserialize_with = "json::object_if_any")]
    pub mapping: Option<Mapping>,
    /// What people call it; the sender's own name of it when left out.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub name: Option<String>,
}

/// A statement that was imported, and what of it was there already.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImportedStatement {
    #[serde(flatten)]
    pub statement: ExternalStatement,
    /// Its lines that are lines of earlier statements. They are not open once more.
    pub repeated_lines: Vec<RepeatedLine>,
    /// Lines that may be there already, though nothing tells; none when the statement was imported before.
    pub warnings: Vec<ImportWarning>,
}

/// Import a statement
///
/// camt.053, or a table with a mapping. What a bank credits (`CRDT`) lowers the balance of an account that grows by credits,
/// such as a card's or a loan's, and raises that of others. Nothing of it is booked: its lines are open until they are matched. The same
/// again answers 200: the same text, or one of the same balances and lines.
///
/// Where a statement covers days of another one, lines that both have are known by their identity, with day and amount:
/// `AcctSvcrRef` or `TxId` in camt.053, `NtryRef` or the place in a statement of the same `Id`, the mapping's `identity` in a
/// table. They are in `repeated_lines`, and open once. What merely looks alike is a line of its own, and in `warnings`.
#[utoipa::path(
    post, path = "/v1/accounts/{code}/statements", operation_id = "importStatement", tag = "reconciliation",
    params(("code" = String, Path, description = "The account's code")),
    request_body = StatementBody,
    responses(
        (status = 201, description = "Imported", body = ImportedStatement),
        (status = 200, description = "It was imported before", body = ImportedStatement),
    )
)]
pub async fn import(
    State(app): State<App>,
    Segment(code): Segment,
    actor: Actor,
    body: JsonBytes,
) -> Result<Response, Problem> {
    let body: StatementBody = json::read(&body.0)?;
    let wrong = |what: &str| Problem::new(Kind::InvalidBody, what).at("mapping".into());
    match (body.format, &body.mapping) {
        (StatementFormat::Csv, Some(mapping)) => {
            mapping.validate().map_err(|error| wrong(&error.to_string()))?;
        }
        (StatementFormat::Csv, None) => {
            return Err(wrong("a table needs a mapping of its columns"));
        }
        (StatementFormat::Camt053, Some(_)) => return Err(wrong("a mapping is for csv")),
        (StatementFormat::Camt053, None) => {}
    }
    let account = app.standing(&code).await?;
    let desk = desk(&app, &actor, &code, &account);
    let (mapping, name) = (body.mapping.as_ref(), body.name.as_deref());
    let imported = desk.import(body.format, &body.text, mapping, name).await?;
    let id = account.account_id;
    let mut found = app.reader.external_statements(id, imported.id - 1, 1).await?.items;
    let statement = found.pop().ok_or_else(|| Problem::new(Kind::Internal, "it is gone"))?;
    let status = if imported.new { StatusCode::CREATED } else { StatusCode::OK };
    let (repeated_lines, warnings) = (imported.repeated, imported.warnings);
    let told = ImportedStatement { statement, repeated_lines, warnings };
    Ok((status, Json(told)).into_response())
}

/// List an account's statements of others
///
/// Those that were withdrawn, too.
#[utoipa::path(
    get, path = "/v1/accounts/{code}/statements", operation_id = "listStatements", tag = "reconciliation",
    params(("code" = String, Path, description = "The account's code"), Paging),
    responses((status = 200, description = "A page of statements", body = Page<ExternalStatement>))
)]
pub async fn statements(
    State(app): State<App>,
    Segment(code): Segment,
    Params(paging): Params<Paging>,
) -> Result<PageOf<ExternalStatement>, Problem> {
    let account = app.standing(&code).await?;
    let (after, limit) = (paging.after_number()?, paging.limit()?);
    Ok(Json(app.reader.external_statements(account.account_id, after, limit).await?))
}

/// Withdraw a statement
///
/// One that should not have been imported: its lines are open no more, and its text may be imported again. Refused while
/// one of its lines is matched, or is in a later statement too. What was booked as an adjustment stays; reverse its transfer.
#[utoipa::path(
    post, path = "/v1/statements/{id}/withdraw", operation_id = "withdrawStatement", tag = "reconciliation",
    params(("id" = String, Path, description = "The statement's number")),
    request_body = RemoveBody,
    responses((status = 200, description = "Withdrawn", body = WithdrawnStatement))
)]
pub async fn withdraw(
    State(app): State<App>,
    Segment(id): Segment,
    actor: Actor,
    body: JsonBytes,
) -> Result<Json<WithdrawnStatement>, Problem> {
    let body: RemoveBody = json::read(&body.0)?;
    reason(&body.reason)?;
    let missing =
        || Problem::new(Kind::StatementNotFound, "there is no statement with this number");
    let statement: i64 = id.parse().ok().filter(|id| *id > 0).ok_or_else(missing)?;
    let act = Act::WithdrawStatement { account_id: None, statement, reason: body.reason };
    match app.writer.act(act, actor).await? {
        Acted::Withdrawn => Ok(Json(WithdrawnStatement { id: statement })),
        Acted::NotWithdrawn(error) => Err(ReconcileError::Withdraw(error).into()),
        other => Err(Problem::unexpected(&other)),
    }
}

/// A statement that is withdrawn.
#[derive(Debug, Serialize, ToSchema)]
pub struct WithdrawnStatement {
    pub id: i64,
}
