//! `/v1/accounts/{code}/reconciliation` and what belongs to it: the rules, matches, what is open on either side, and adjustments.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::app::App;
use super::extract::{JsonBytes, PageOf, Paging, Params, Segment};
use super::period::date;
use super::problem::{Kind, Problem};
use crate::act::{Act, Acted, Actor};
use crate::as_of::AsOf;
use crate::json;
use crate::money::{format_minor, signed_minor};
use crate::naming::validate_text;
use crate::posting::Standing;
use crate::reconcile::{
    ExternalLine, ExternalStatement, Match, MatchRow, NotSearched, Proposal, REASON_CHARS_MAX,
    Rule, Rules, UnmatchedEntry,
};
use crate::reconciling::{Adjustment, Desk, LeftOut, ReconcileError, Reconciled};
use crate::report::Page;
use crate::store::Reader;
use crate::when;

/// Days that a line and its entry may be apart at most.
const DAYS_MAX: i32 = 31;
/// Entries of a line at most, for the rules.
const GROUP_MAX: usize = 8;
const RULES_MAX: usize = 5;

pub fn desk<'a>(app: &'a App, actor: &'a Actor, code: &'a str, account: &'a Standing) -> Desk<'a> {
    let (reader, writer, metrics) = (&app.reader, &app.writer, &app.metrics);
    Desk { reader, writer, metrics, actor, code, account }
}

/// List lines without an entry
///
/// Lines of statements that no match has: half of the exceptions.
#[utoipa::path(
    get, path = "/v1/accounts/{code}/open-lines", operation_id = "listOpenLines", tag = "reconciliation",
    params(("code" = String, Path, description = "The account's code"), Paging),
    responses((status = 200, description = "A page of lines", body = Page<ExternalLine>))
)]
pub async fn open_lines(
    State(app): State<App>,
    Segment(code): Segment,
    Params(paging): Params<Paging>,
) -> Result<PageOf<ExternalLine>, Problem> {
    let account = app.standing(&code).await?;
    let (after, limit) = (paging.after_number()?, paging.limit()?);
    Ok(Json(app.reader.open_lines(&account, after, limit).await?))
}

/// Which entries, and which page of them.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UnmatchedParams {
    /// Booked on this day (UTC) or later; from the first entry when left out.
    #[param(example = "2026-01-01")]
    from: Option<String>,
    /// Most entries to answer with.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before; the first page when left out.
    cursor: Option<String>,
}

/// List entries without a line
///
/// Entries that no match has, in booking order: the other half of the exceptions.
#[utoipa::path(
    get, path = "/v1/accounts/{code}/unmatched-entries", operation_id = "listUnmatchedEntries", tag = "reconciliation",
    params(("code" = String, Path, description = "The account's code"), UnmatchedParams),
    responses((status = 200, description = "A page of entries", body = Page<UnmatchedEntry>))
)]
pub async fn unmatched(
    State(app): State<App>,
    Segment(code): Segment,
    Params(params): Params<UnmatchedParams>,
) -> Result<PageOf<UnmatchedEntry>, Problem> {
    let account = app.standing(&code).await?;
    let from = date("from", params.from.as_deref())?;
    let first = match from {
        Some(day) => app.reader.entries_before_day(&account, day).await?,
        None => 0,
    };
    let paging = Paging::new(params.limit, params.cursor);
    let after = paging.after_number()?.max(first);
    Ok(Json(app.reader.unmatched_entries(&account, after, paging.limit()?).await?))
}

/// How the books and the last statement stand to each other.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reconciliation {
    /// The one that goes furthest; null when there is none.
    pub statement: Option<ExternalStatement>,
    /// The account's balance through the statement's last day, by effective date.
    #[schema(example = "120.00")]
    pub balance: Option<String>,
    /// The books minus what the statement says; null when it does not say.
    #[schema(example = "0.00")]
    pub difference: Option<String>,
    /// What the rules would match, sure or not.
    pub suggestions: Vec<Proposal>,
    pub left_out: LeftOut,
    pub not_searched: NotSearched,
}

/// How far the rules go.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RulesParams {
    /// Days that a line and its entry may be apart.
    #[param(minimum = 0, maximum = 31, default = 3)]
    days: Option<i32>,
    /// Entries of one line, or lines of one entry, at most.
    #[param(minimum = 2, maximum = 8, default = 5)]
    group_max: Option<usize>,
}

fn rules(days: Option<i32>, group_max: Option<usize>, kind: Kind) -> Result<Rules, Problem> {
    let usual = Rules::default();
    let rules =
        Rules { days: days.unwrap_or(usual.days), group_max: group_max.unwrap_or(usual.group_max) };
    if !(0..=DAYS_MAX).contains(&rules.days) {
        return Err(Problem::new(kind, format!("days goes from 0 to {DAYS_MAX}")));
    }
    if !(2..=GROUP_MAX).contains(&rules.group_max) {
        return Err(Problem::new(kind, format!("group_max goes from 2 to {GROUP_MAX}")));
    }
    Ok(rules)
}

/// Get an account's reconciliation
#[utoipa::path(
    get, path = "/v1/accounts/{code}/reconciliation", operation_id = "getReconciliation", tag = "reconciliation",
    params(("code" = String, Path, description = "The account's code"), RulesParams),
    responses((status = 200, description = "Balances against each other, and what the rules suggest", body = Reconciliation))
)]
pub async fn get(
    State(app): State<App>,
    Segment(code): Segment,
    actor: Actor,
    Params(params): Params<RulesParams>,
) -> Result<Json<Reconciliation>, Problem> {
    let rules = rules(params.days, params.group_max, Kind::InvalidParameter)?;
    let account = app.standing(&code).await?;
    let desk = desk(&app, &actor, &code, &account);
    let looked = desk.proposals(rules).await?;
    let mut told = stand(&app.reader, &code, &account).await?;
    (told.suggestions, told.left_out) = (looked.proposals, looked.left_out);
    told.not_searched = looked.not_searched;
    Ok(Json(told))
}

/// The last statement against the books.
pub async fn stand(
    reader: &Reader,
    code: &str,
    account: &Standing,
) -> Result<Reconciliation, Problem> {
    let suggestions = Vec::new();
    let Some(statement) = reader.last_statement(account.account_id).await? else {
        return Ok(Reconciliation {
            statement: None,
            balance: None,
            difference: None,
            suggestions,
            left_out: LeftOut::default(),
            not_searched: NotSearched::default(),
        });
    };
    let at = AsOf::EffectiveThrough(statement.last_date);
    let balance = reader.balance_as_of(code, at).await?.map(|as_of| as_of.totals.balance);
    let minor = |text: &Option<String>| -> Option<i128> {
        signed_minor(text.as_deref()?, &account.currency).ok().map(i128::from)
    };
    let difference = minor(&balance).zip(minor(&statement.closing_balance));
    let difference =
        difference.map(|(books, said)| format_minor(books - said, account.currency.scale));
    Ok(Reconciliation {
        statement: Some(statement),
        balance,
        difference,
        suggestions,
        left_out: LeftOut::default(),
        not_searched: NotSearched::default(),
    })
}

/// Which rules book what they are sure of.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunBody {
    /// `reference`, `exact` and `window` when left out.
    #[serde(default)]
    #[schema(max_items = 5)]
    pub rules: Option<Vec<Rule>>,
    /// Days that a line and its entry may be apart; 3 when left out.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 31)]
    pub days: Option<i32>,
    /// Entries of one line, or lines of one entry, at most; 5 when left out.
    #[serde(default)]
    #[schema(minimum = 2, maximum = 8)]
    pub group_max: Option<usize>,
}

/// The rules that a run takes when nobody says which.
pub const USUAL_RULES: [Rule; 3] = [Rule::Reference, Rule::Exact, Rule::Window];

/// Run the rules
///
/// What a rule is sure of is matched: nothing else could be meant by it. All else is suggested.
#[utoipa::path(
    post, path = "/v1/accounts/{code}/reconciliation", operation_id = "runReconciliation", tag = "reconciliation",
    params(("code" = String, Path, description = "The account's code")),
    request_body = RunBody,
    responses((status = 200, description = "What is matched now, and what is suggested", body = Reconciled))
)]
pub async fn run(
    State(app): State<App>,
    Segment(code): Segment,
    actor: Actor,
    body: JsonBytes,
) -> Result<Json<Reconciled>, Problem> {
    let body: RunBody = json::read(&body.0)?;
    let rules = rules(body.days, body.group_max, Kind::InvalidBody)?;
    let account = app.standing(&code).await?;
    let desk = desk(&app, &actor, &code, &account);
    let taken = body.rules.unwrap_or_else(|| USUAL_RULES.to_vec());
    if taken.len() > RULES_MAX {
        let problem = Problem::new(Kind::InvalidBody, "there are only five rules");
        return Err(problem.at("rules".into()));
    }
    if taken.iter().any(|rule| !rule.finds()) {
        let message = "manual and adjustment are what a person says, and find nothing; the rules are reference, exact, window, many-to-one and one-to-many";
        return Err(Problem::new(Kind::InvalidBody, message).at("rules".into()));
    }
    Ok(Json(desk.run(rules, &taken).await?))
}

/// What a person says is the same.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MatchBody {
    /// Ids of lines.
    #[schema(min_items = 1, max_items = 1000)]
    pub lines: Vec<i64>,
    /// Ids of entries. Both sides come to the same sum.
    #[schema(min_items = 1, max_items = 1000)]
    pub entries: Vec<i64>,
    /// Why; up to 200 characters.
    #[schema(max_length = 200)]
    pub reason: String,
}

/// A reason as it is kept.
pub fn reason(text: &str) -> Result<(), Problem> {
    let at = |problem: Problem| problem.at("reason".into());
    validate_text("reason", text, REASON_CHARS_MAX).map_err(|error| at(error.into()))?;
    if text.trim() == text && !text.is_empty() {
        return Ok(());
    }
    Err(at(Problem::new(Kind::InvalidBody, "reason is empty, or begins or ends with a space")))
}

/// Match lines and entries
#[utoipa::path(
    post, path = "/v1/accounts/{code}/matches", operation_id = "createMatch", tag = "reconciliation",
    params(("code" = String, Path, description = "The account's code")),
    request_body = MatchBody,
    responses((status = 201, description = "Matched", body = Match))
)]
pub async fn create_match(
    State(app): State<App>,
    Segment(code): Segment,
    actor: Actor,
    body: JsonBytes,
) -> Result<(StatusCode, Json<Match>), Problem> {
    let body: MatchBody = json::read(&body.0)?;
    reason(&body.reason)?;
    let account = app.standing(&code).await?;
    let desk = desk(&app, &actor, &code, &account);
    let matched = desk.join(Rule::Manual, &body.reason, body.lines, body.entries).await?;
    Ok((StatusCode::CREATED, Json(matched)))
}

/// List an account's matches
///
/// Those that were not taken back.
#[utoipa::path(
    get, path = "/v1/accounts/{code}/matches", operation_id = "listMatches", tag = "reconciliation",
    params(("code" = String, Path, description = "The account's code"), Paging),
    responses((status = 200, description = "A page of matches", body = Page<Match>))
)]
pub async fn matches(
    State(app): State<App>,
    Segment(code): Segment,
    Params(paging): Params<Paging>,
) -> Result<PageOf<Match>, Problem> {
    let account = app.standing(&code).await?;
    let (after, limit) = (paging.after_number()?, paging.limit()?);
    let page = app.reader.matches(account.account_id, after, limit).await?;
    Ok(Json(page.map(MatchRow::told)))
}

/// Why something is taken back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveBody {
    /// Up to 200 characters.
    #[schema(max_length = 200)]
    pub reason: String,
}

/// Take a match back
///
/// Its lines are open again and its entries free. An adjustment that was booked stays; reverse its transfer.
#[utoipa::path(
    post, path = "/v1/matches/{id}/remove", operation_id = "removeMatch", tag = "reconciliation",
    params(("id" = String, Path, description = "The match's number")),
    request_body = RemoveBody,
    responses((status = 200, description = "Taken back", body = RemovedMatch))
)]
pub async fn remove_match(
    State(app): State<App>,
    Segment(id): Segment,
    actor: Actor,
    body: JsonBytes,
) -> Result<Json<RemovedMatch>, Problem> {
    let body: RemoveBody = json::read(&body.0)?;
    reason(&body.reason)?;
    let missing = || Problem::new(Kind::MatchNotFound, "there is no match with this number");
    let match_id: i64 = id.parse().ok().filter(|id| *id > 0).ok_or_else(missing)?;
    let act = Act::Unmatch { match_id, reason: body.reason };
    match app.writer.act(act, actor).await? {
        Acted::Unmatched => Ok(Json(RemovedMatch { id: match_id })),
        Acted::NoMatch(error) => Err(ReconcileError::Match(error).into()),
        other => Err(Problem::unexpected(&other)),
    }
}

/// A match that is none any more.
#[derive(Debug, Serialize, ToSchema)]
pub struct RemovedMatch {
    pub id: i64,
}

/// What a line without an entry is booked as.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdjustmentBody {
    /// The line's id.
    pub line: i64,
    /// The code of the account on the other side, such as one for bank fees.
    #[schema(example = "expenses:bank-fees:eur")]
    pub against: String,
    /// Why; up to 200 characters. It is the transfer's metadata `reconciliation.reason`.
    #[schema(max_length = 200)]
    pub reason: String,
    /// The day it counts for; the line's own when left out, which must not be closed.
    #[serde(default, deserialize_with = "read_day")]
    #[schema(value_type = Option<String>, format = Date)]
    pub effective_date: Option<Date>,
}

fn read_day<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Date>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let wrong = || serde::de::Error::custom(format!("it is no calendar date; {}", when::DAY));
    when::day(&text).map(Some).ok_or_else(wrong)
}

/// Book an adjustment
///
/// A transfer of the line's amount between the account and another one, booked and matched with the line in one: a line
/// that somebody else has matched meanwhile is refused (409), and nothing is booked. Asked again, it books nothing twice.
#[utoipa::path(
    post, path = "/v1/accounts/{code}/adjustments", operation_id = "createAdjustment", tag = "reconciliation",
    params(("code" = String, Path, description = "The account's code")),
    request_body = AdjustmentBody,
    responses((status = 201, description = "Booked and matched", body = Match))
)]
pub async fn adjust(
    State(app): State<App>,
    Segment(code): Segment,
    actor: Actor,
    body: JsonBytes,
) -> Result<(StatusCode, Json<Match>), Problem> {
    let body: AdjustmentBody = json::read(&body.0)?;
    reason(&body.reason)?;
    let account = app.standing(&code).await?;
    let desk = desk(&app, &actor, &code, &account);
    let AdjustmentBody { line, against, reason, effective_date } = body;
    let adjustment = Adjustment { line, against, reason, effective_date };
    Ok((StatusCode::CREATED, Json(desk.adjust(&adjustment).await?)))
}
