//! `/v1/accounts/{code}/statement`: what an account did over a time, as JSON and as CSV.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::accounts::missing;
use super::extract::{Paging, Params, Segment};
use super::problem::{Kind, Problem};
use crate::report::Statement;
use crate::store::Period;

/// Which time, and which page of its entries.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StatementParams {
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

/// Get an account's statement
///
/// By time of booking: the opening balance, what moved, the closing balance, and a page of entries
/// each with the balance after it. The closing balance is the balance as of `to`. A period that is
/// over answers the same for ever.
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
/// The same entries, a heading line first (RFC 4180). `Link` has the next page, if there is one.
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
    if let Some(limit) = params.limit {
        next.push_str(&format!("limit={limit}&"));
    }
    let statement = read(&app, &code, params).await?;
    let kind = [(header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present")];
    let mut response = (kind, csv(&statement)).into_response();
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
    let period = Period { from: time("from", params.from)?, to: time("to", params.to)? };
    if let (Some(from), Some(to)) = (period.from, period.to)
        && from > to
    {
        return Err(Problem::new(Kind::InvalidParameter, "from is later than to"));
    }
    let paging = Paging::new(params.limit, params.cursor);
    let (after, limit) = (paging.after_number()?, paging.limit()?);
    app.reader.statement(code, period, after, limit).await?.ok_or_else(|| missing(code))
}

fn time(name: &str, text: Option<String>) -> Result<Option<jiff::Timestamp>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let midnight = || {
        let date: jiff::civil::Date = text.parse().ok()?;
        let day = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        (date.to_string() == text).then(|| day.timestamp())
    };
    text.parse().ok().or_else(midnight).map(Some).ok_or_else(|| {
        Problem::new(
            Kind::InvalidParameter,
            format!(
                "{name} is neither a date nor a time; write 2026-01-31 or 2026-01-31T12:00:00Z, and an offset's + as %2B"
            ),
        )
    })
}

fn csv(statement: &Statement) -> String {
    let mut text = String::from(
        "number,transfer,booked_at,effective_date,description,direction,amount,balance,currency\r\n",
    );
    for entry in &statement.entries {
        // Of all fields only the description is a person's text.
        text.push_str(&format!(
            "{},{},{:.6},{},\"{}\",{},{},{},{}\r\n",
            entry.number,
            entry.transfer,
            entry.booked_at,
            entry.effective_date,
            entry.description.replace('"', "\"\""),
            entry.direction,
            entry.amount,
            entry.balance,
            statement.currency,
        ));
    }
    text
}
