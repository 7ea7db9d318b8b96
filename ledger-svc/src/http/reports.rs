//! Reports over all accounts, now and as of any time.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::app::App;
use super::extract::{PageOf, Paging, Params, Segment};
use super::period::{as_of, period};
use super::problem::Problem;
use crate::report::{AsOfTrialBalance, BalanceAsOf, JournalEntry, Page, TrialBalance};

/// Get the trial balance
///
/// The totals are over all accounts of a currency, whatever page of accounts is asked for, and
/// everything is read at one moment.
#[utoipa::path(
    get, path = "/v1/trial-balance", operation_id = "getTrialBalance", tag = "reports",
    params(Paging),
    responses((status = 200, description = "Totals by currency and a page of accounts", body = TrialBalance))
)]
pub async fn trial_balance(
    State(app): State<App>,
    Params(paging): Params<Paging>,
) -> Result<Json<TrialBalance>, Problem> {
    Ok(Json(app.reader.trial_balance(paging.after_code(), paging.limit()?).await?))
}

/// As of when; exactly one.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AsOfParams {
    /// Entries booked before this time: RFC 3339 (`+` written as `%2B`), or a date, which begins at
    /// midnight UTC.
    #[param(example = "2026-02-01T00:00:00Z")]
    booked_before: Option<String>,
    /// Entries that count for this day or one before.
    #[param(example = "2026-01-31")]
    effective_through: Option<String>,
    /// Most accounts to answer with.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before; the first page when left out.
    cursor: Option<String>,
}

/// The same for one account.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AccountAsOfParams {
    /// Entries booked before this time: RFC 3339 (`+` written as `%2B`), or a date, which begins at
    /// midnight UTC.
    #[param(example = "2026-02-01T00:00:00Z")]
    booked_before: Option<String>,
    /// Entries that count for this day or one before.
    #[param(example = "2026-01-31")]
    effective_through: Option<String>,
}

/// Get the trial balance as of a time
///
/// By time of booking or by effective date. A time of booking that is past, and a day that is closed, answer
/// the same for ever.
#[utoipa::path(
    get, path = "/v1/trial-balance/as-of", operation_id = "getTrialBalanceAsOf", tag = "reports",
    params(AsOfParams),
    responses((status = 200, description = "Totals by currency and a page of accounts", body = AsOfTrialBalance))
)]
pub async fn trial_balance_as_of(
    State(app): State<App>,
    Params(params): Params<AsOfParams>,
) -> Result<Json<AsOfTrialBalance>, Problem> {
    let at = as_of(params.booked_before, params.effective_through.as_deref())?;
    let paging = Paging::new(params.limit, params.cursor);
    Ok(Json(app.reader.trial_balance_as_of(at, paging.after_code(), paging.limit()?).await?))
}

/// Get an account's balance as of a time
///
/// By time of booking or by effective date.
#[utoipa::path(
    get, path = "/v1/accounts/{code}/balance/as-of", operation_id = "getBalanceAsOf", tag = "reports",
    params(("code" = String, Path, description = "The account's code"), AccountAsOfParams),
    responses((status = 200, description = "Its totals and its balance then", body = BalanceAsOf))
)]
pub async fn balance_as_of(
    State(app): State<App>,
    Segment(code): Segment,
    Params(params): Params<AccountAsOfParams>,
) -> Result<Json<BalanceAsOf>, Problem> {
    let at = as_of(params.booked_before, params.effective_through.as_deref())?;
    app.reader.balance_as_of(&code, at).await?.map(Json).ok_or_else(|| Problem::no_account(&code))
}

/// Which entries of all accounts, and which page of them.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JournalParams {
    /// Booked at or after this time: RFC 3339 (`+` written as `%2B`), or a date, which begins at
    /// midnight UTC. From the first entry when left out.
    #[param(example = "2026-01-01")]
    from: Option<String>,
    /// Booked before this time. To the last entry when left out.
    #[param(example = "2026-02-01")]
    to: Option<String>,
    /// Most entries to answer with.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before; the first page when left out.
    cursor: Option<String>,
}

/// List the general ledger
///
/// The entries of all accounts in booking order, each with its account's balance after it.
#[utoipa::path(
    get, path = "/v1/entries", operation_id = "listJournal", tag = "reports",
    params(JournalParams),
    responses((status = 200, description = "A page of entries", body = Page<JournalEntry>))
)]
pub async fn journal(
    State(app): State<App>,
    Params(params): Params<JournalParams>,
) -> Result<PageOf<JournalEntry>, Problem> {
    let period = period(params.from, params.to)?;
    let paging = Paging::new(params.limit, params.cursor);
    Ok(Json(app.reader.journal(period, paging.after_number()?, paging.limit()?).await?))
}
