//! `/v1/imports`: what other programs wrote, booked as a whole.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::app::App;
use super::extract::JsonBytes;
use super::problem::{Kind, Problem};
use crate::act::Actor;
use crate::importing::{self, ImportError, Imported};
use crate::interchange::{self, Faults, Format, LeftOut, check};
use crate::json;

/// A text to book.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportBody {
    #[schema(inline)]
    pub format: Format,
    /// The text itself.
    #[schema(example = "2026-01-31 * Rent\n    expenses:rent  900.00 EUR\n    assets:cash\n")]
    pub text: String,
    /// Directives to pass over, by their words.
    #[serde(default)]
    #[schema(max_items = 100)]
    pub leave_out: LeftOut,
    /// Read and check everything, and book nothing.
    #[serde(default)]
    pub check: bool,
}

/// Book a text of another program
///
/// CSV, beancount or ledger-cli: the accounts it opens, and all of its transfers or none. Whatever it says that a ledger
/// cannot keep, or the books would refuse, is told with its line before anything is opened. Each transfer has the key that the text gives it, or one that follows from what it
/// says: the same text is never booked twice, and one without a key that says what was booked so before is taken for it
/// (`booked_before` counts them, `taken_for_the_same` names the lines of those without a key). What is larger goes in several requests, or through `forebay-ledger import`.
#[utoipa::path(
    post, path = "/v1/imports", operation_id = "createImport", tag = "transfers",
    request_body = ImportBody,
    responses((status = 200, description = "What it came to; with `check`, what it would", body = Imported))
)]
pub async fn create(
    State(app): State<App>,
    actor: Actor,
    body: JsonBytes,
) -> Result<Json<Imported>, Problem> {
    let body: ImportBody = json::read(&body.0)?;
    let document = interchange::read(body.format, &body.text, &body.leave_out)?;
    let chart = importing::chart(&app.reader).await?;
    let plan = check::check(document, chart, app.limits.entries_max)?;
    if let Some(currency) = plan.currencies.first() {
        let detail = format!(
            "there is no currency {:?}; an administrator adds it with POST /v1/currencies",
            currency.code
        );
        return Err(Problem::new(Kind::UnknownCurrency, detail).at("text".into()));
    }
    let (transfers, most) = (plan.planned.len(), app.limits.batch_max);
    if transfers > most {
        let detail = format!("there are {transfers} transfers, {most} at most; cut the text");
        return Err(Problem::new(Kind::InvalidBody, detail).at("text".into()));
    }
    let foreseen = importing::foresee(&app.reader, plan).await?;
    if body.check {
        return Ok(Json(foreseen.imported()));
    }
    Ok(Json(importing::book_whole(&app.writer, foreseen, &actor).await?))
}

impl From<ImportError> for Problem {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Store(error) => error.into(),
            ImportError::Write(error) => error.into(),
            ImportError::Foreseen(faults) => faults.into(),
            ImportError::Refused { fault, .. } => Faults(vec![fault]).into(),
        }
    }
}
