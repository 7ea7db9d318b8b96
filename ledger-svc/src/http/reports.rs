//! `/v1/trial-balance`.

use axum::Json;
use axum::extract::State;

use super::App;
use super::extract::{Paging, Params};
use super::problem::Problem;
use crate::report::TrialBalance;

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
