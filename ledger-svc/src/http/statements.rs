//! `/v1/accounts/{code}/statement`: what an account did over a time, as JSON and as CSV.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use serde::Deserialize;
use utoipa::IntoParams;

use super::app::App;
use super::extract::{Paging, Params, Segment};
use super::period::{date, period};
use super::problem::{Kind, Problem};
use crate::json;
use crate::report::{AccountEntry, Statement, StatementBy};
use crate::store::{Days, Place};

/// Which time, and which page of its entries.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StatementParams {
    /// By which date: `booking` (when left out) or `effective`, for which `from` and `to` are dates.
    #[param(inline)]
    by: Option<StatementBy>,
    /// At or after this time: RFC 3339 (`+` written as `%2B`), or a date, which begins at
    /// midnight UTC. From the first entry when left out.
    #[param(example = "2026-01-01")]
    from: Option<String>,
    /// Before this time. To the last entry when left out.
    #[param(example = "2026-02-01")]
    to: Option<String>,
    /// Most entries to answer with.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before; the first page when left out.
    cursor: Option<String>,
}

/// Get an account's statement
///
/// The opening balance, what moved, the closing balance, and a page of entries each with the balance after
/// it. The closing balance is the balance as of `to`. By effective date, all pages are as of the first: what is booked while they
/// are read is on none of them, and in none of their figures. By time of booking, a period that is over answers
/// the same for ever; by effective date, one that is closed.
#[utoipa::path(
    get, path = "/v1/accounts/{code}/statement", operation_id = "getStatement", tag = "reports",
    params(("code" = String, Path, description = "The account's code"), StatementParams),
    responses((status = 200, description = "The statement with a page of its entries", body = Statement))
)]
pub async fn statement(
    State(app): State<App>,
    Segment(code): Segment,
    Params(params): Params<StatementParams>,
) -> Result<Json<Statement>, Problem> {
    read(&app, &code, params).await.map(Json)
}

/// Get an account's statement as CSV
///
/// The same entries, a heading line first (RFC 4180), then on the first page a line with the opening balance, and at the end of
/// the last one with the closing balance. `Link` has the next page, if there is one.
#[utoipa::path(
    get, path = "/v1/accounts/{code}/statement.csv", operation_id = "getStatementCsv", tag = "reports",
    params(("code" = String, Path, description = "The account's code"), StatementParams),
    responses((status = 200, description = "A page of entries", content_type = "text/csv", body = String,
        headers(("Link" = String, description = "`<…>; rel=\"next\"` when there is another page"))))
)]
pub async fn statement_csv(
    State(app): State<App>,
    Segment(code): Segment,
    Params(params): Params<StatementParams>,
) -> Result<Response, Problem> {
    let mut next = String::new();
    for (name, value) in [("from", &params.from), ("to", &params.to)] {
        if let Some(value) = value {
            next.push_str(&format!("{name}={}&", value.replace('+', "%2B")));
        }
    }
    if params.by == Some(StatementBy::Effective) {
        next.push_str("by=effective&");
    }
    if let Some(limit) = params.limit {
        next.push_str(&format!("limit={limit}&"));
    }
    let is_first = params.cursor.is_none();
    let statement = read(&app, &code, params).await?;
    let kind = [(header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present")];
    let mut response = (kind, csv(&statement, is_first)).into_response();
    if let Some(cursor) = &statement.next_cursor {
        let link =
            format!("</v1/accounts/{code}/statement.csv?{next}cursor={cursor}>; rel=\"next\"");
        // What was read as a time, a code and a number is fit for a header.
        if let Ok(link) = link.parse() {
            response.headers_mut().insert(header::LINK, link);
        }
    }
    Ok(response)
}

async fn read(app: &App, code: &str, params: StatementParams) -> Result<Statement, Problem> {
    let paging = Paging::new(params.limit, params.cursor.clone());
    let limit = paging.limit()?;
    let read = match params.by.unwrap_or_default() {
        StatementBy::Booking => {
            let period = period(params.from, params.to)?;
            app.reader.statement(code, period, paging.after_number()?, limit).await?
        }
        StatementBy::Effective => {
            let days = Days {
                from: date("from", params.from.as_deref())?,
                to: date("to", params.to.as_deref())?,
            };
            if days.from.zip(days.to).is_some_and(|(from, to)| from > to) {
                return Err(Problem::new(Kind::InvalidParameter, "from is later than to"));
            }
            let place = |cursor: String| {
                Place::parse(&cursor).ok_or_else(|| {
                    let detail =
                        "cursor is not one this listing gave; leave it out to begin at the start";
                    Problem::new(Kind::InvalidParameter, detail)
                })
            };
            let after = params.cursor.map(place).transpose()?;
            app.reader.effective_statement(code, days, after, limit).await?
        }
    };
    read.ok_or_else(|| Problem::no_account(code))
}

/// A JSON object, or nothing.
fn metadata_cell(entry: &AccountEntry) -> String {
    if entry.metadata.is_empty() {
        return String::new();
    }
    format!("\"{}\"", json::written(&entry.metadata).replace('"', "\"\""))
}

fn csv(statement: &Statement, is_first: bool) -> String {
    let mut text = String::from(
        "number,transfer,booked_at,effective_date,description,direction,amount,balance,currency,metadata\r\n",
    );
    let balance = |name: &str, balance: &str| {
        format!(",,,,\"{name}\",,,{balance},{},\r\n", statement.currency)
    };
    if is_first {
        text.push_str(&balance("Opening balance", &statement.opening_balance));
    }
    for entry in &statement.entries {
        // Of all fields only description and metadata are a person's text.
        text.push_str(&format!(
            "{},{},{:.6},{},\"{}\",{},{},{},{},{}\r\n",
            entry.number,
            entry.transfer,
            entry.booked_at,
            entry.effective_date,
            entry.description.replace('"', "\"\""),
            entry.direction,
            entry.amount,
            entry.balance,
            statement.currency,
            metadata_cell(entry),
        ));
    }
    if statement.next_cursor.is_none() {
        text.push_str(&balance("Closing balance", &statement.closing_balance));
    }
    text
}
