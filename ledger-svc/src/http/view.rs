//! The books for people, as pages: accounts at `/`, an account's statement and reconciliation, the trial balance. Made here, whole, without
//! scripts; links are relative, so that a proxy may put them under a path of its own. Errors are problems as everywhere.

mod frame;
mod markup;
mod reconciliation;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header;
use serde::Deserialize;

use self::frame::{answered, begin, figures, more};
use self::markup::{Markup, in_query};
use super::access::{PAGES, STYLE};
use super::app::App;
use super::extract::{Paging, Params, Segment};
use super::period::{date, period};
use super::problem::{Kind, Problem};
use crate::account::Side;
use crate::as_of::AsOf;
use crate::report::{AccountEntry, CurrencyTotals, StatementBy};
use crate::store::{Days, Place};

pub fn router() -> Router<App> {
    let [accounts, account, trial, reconciliation] = PAGES;
    Router::new()
        .route(accounts, get(self::accounts))
        .route(account, get(statement))
        .route(trial, get(trial_balance))
        .route(reconciliation, get(self::reconciliation::page))
        .route(STYLE, get(style))
}

async fn style() -> Response {
    let kind = [
        (header::CONTENT_TYPE, "text/css; charset=utf-8"),
        (header::CACHE_CONTROL, "max-age=3600"),
    ];
    (kind, include_str!("view/style.css")).into_response()
}

fn totals(page: &mut Markup, currencies: &[CurrencyTotals]) {
    page.raw("<div class=\"wide\"><table><caption>All accounts</caption><thead><tr><th>Currency</th><th class=\"amount\">Debits</th><th class=\"amount\">Credits</th><th class=\"amount\">Difference</th></tr></thead><tbody>\n");
    for row in currencies {
        page.raw("<tr>").cell(&row.currency).amount(&row.debits).amount(&row.credits);
        page.amount(&row.difference).raw("</tr>\n");
    }
    page.raw("</tbody></table></div>\n");
}

async fn accounts(
    State(app): State<App>,
    Params(paging): Params<Paging>,
) -> Result<Response, Problem> {
    let books = app.reader.trial_balance(paging.after_code(), paging.limit()?).await?;
    let mut page = begin("Accounts", "./");
    totals(&mut page, &books.currencies);
    page.raw("<div class=\"wide\"><table><caption>Balances now</caption><thead><tr><th>Account</th><th>Currency</th><th>Normal side</th><th class=\"amount\">Balance</th><th class=\"amount\">Available</th><th class=\"amount\">Entries</th></tr></thead><tbody>\n");
    for row in &books.accounts {
        page.raw("<tr><td><a href=\"./accounts/").text(&row.account).raw("\">").text(&row.account);
        page.raw("</a></td>").cell(&row.currency).cell(row.normal_balance.as_str());
        page.amount(&row.balance)
            .amount(&row.available)
            .amount(&row.entries.to_string())
            .raw("</tr>\n");
    }
    page.raw("</tbody></table></div>\n");
    more(&mut page, "", books.next_cursor.as_deref());
    Ok(answered(page))
}

/// What a form of days asks for; a field left empty is one left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    by: Option<StatementBy>,
    from: Option<String>,
    to: Option<String>,
    effective_through: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

impl Asked {
    fn given(text: Option<String>) -> Option<String> {
        text.filter(|text| !text.is_empty())
    }
}

async fn trial_balance(
    State(app): State<App>,
    Params(asked): Params<Asked>,
) -> Result<Response, Problem> {
    let paging = Paging::new(asked.limit, asked.cursor);
    let day = Asked::given(asked.effective_through);
    let through = date("effective_through", day.as_deref())?;
    let mut page = begin("Trial balance", "./");
    page.raw(
        "<form><label>Through the day<input type=\"date\" name=\"effective_through\" value=\"",
    );
    page.text(day.as_deref().unwrap_or_default()).raw("\"/></label><button>Show</button></form>\n");
    let columns = "<thead><tr><th>Account</th><th>Currency</th><th class=\"amount\">Debits</th><th class=\"amount\">Credits</th><th class=\"amount\">Balance</th></tr></thead><tbody>\n";
    let caption = match &day {
        Some(day) => format!("What counts through {day}"),
        None => "Now".to_owned(),
    };
    let begin_table = |page: &mut Markup| {
        page.raw("<div class=\"wide\"><table><caption>")
            .text(&caption)
            .raw("</caption>")
            .raw(columns);
    };
    let row = |page: &mut Markup, account: &str, cells: [&str; 4]| {
        let [currency, debits, credits, balance] = cells;
        page.raw("<tr><td><a href=\"./accounts/").text(account).raw("\">").text(account);
        page.raw("</a></td>")
            .cell(currency)
            .amount(debits)
            .amount(credits)
            .amount(balance)
            .raw("</tr>\n");
    };
    let cursor = match through {
        None => {
            let books = app.reader.trial_balance(paging.after_code(), paging.limit()?).await?;
            totals(&mut page, &books.currencies);
            begin_table(&mut page);
            for a in &books.accounts {
                row(&mut page, &a.account, [&a.currency, &a.debits, &a.credits, &a.balance]);
            }
            books.next_cursor
        }
        Some(through) => {
            let at = AsOf::EffectiveThrough(through);
            let (after, limit) = (paging.after_code(), paging.limit()?);
            let books = app.reader.trial_balance_as_of(at, after, limit).await?;
            totals(&mut page, &books.currencies);
            begin_table(&mut page);
            for a in &books.accounts {
                row(&mut page, &a.account, [&a.currency, &a.debits, &a.credits, &a.balance]);
            }
            books.next_cursor
        }
    };
    page.raw("</tbody></table></div>\n");
    let query = day.map(|day| format!("effective_through={}&", in_query(&day))).unwrap_or_default();
    more(&mut page, &query, cursor.as_deref());
    Ok(answered(page))
}

async fn statement(
    State(app): State<App>,
    Segment(code): Segment,
    Params(asked): Params<Asked>,
) -> Result<Response, Problem> {
    let (from, to) = (Asked::given(asked.from), Asked::given(asked.to));
    let by = asked.by.unwrap_or_default();
    let paging = Paging::new(asked.limit, asked.cursor.clone());
    let limit = paging.limit()?;
    let read = match by {
        StatementBy::Booking => {
            let period = period(from.clone(), to.clone())?;
            app.reader.statement(&code, period, paging.after_number()?, limit).await?
        }
        StatementBy::Effective => {
            let days =
                Days { from: date("from", from.as_deref())?, to: date("to", to.as_deref())? };
            let wrong = || Problem::new(Kind::InvalidParameter, "cursor is not one this page gave");
            let after = asked.cursor.as_ref().map(|cursor| Place::parse(cursor).ok_or_else(wrong));
            app.reader.effective_statement(&code, days, after.transpose()?, limit).await?
        }
    };
    let statement = read.ok_or_else(|| Problem::no_account(&code))?;
    let balance = app.reader.balance(&code).await?.ok_or_else(|| Problem::no_account(&code))?;
    let account = app.reader.account(&code).await?.ok_or_else(|| Problem::no_account(&code))?;

    let mut page = begin(&account.name, "../");
    page.raw("<p>").text(&code).raw(" · ").text(&statement.currency).raw(" · grows on the ");
    page.text(account.normal_balance.as_str()).raw(" side</p>\n");
    if !account.metadata.is_empty() {
        page.raw("<dl>");
        for (name, value) in &account.metadata.0 {
            page.raw("<dt>").text(name).raw("</dt><dd>").text(value).raw("</dd>");
        }
        page.raw("</dl>\n");
    }
    figures(&mut page, &[("Balance now", &balance.balance), ("Available", &balance.available)]);
    period_form(&mut page, by, from.as_deref(), to.as_deref());
    figures(
        &mut page,
        &[
            ("Opening balance", &statement.opening_balance),
            ("Debits", &statement.debits),
            ("Credits", &statement.credits),
            ("Closing balance", &statement.closing_balance),
        ],
    );
    let mut query = String::new();
    if by == StatementBy::Effective {
        query.push_str("by=effective&");
    }
    for (name, value) in [("from", &from), ("to", &to)] {
        if let Some(value) = value {
            query.push_str(&format!("{name}={}&", in_query(value)));
        }
    }
    let mut own = query.clone();
    if let Some(limit) = asked.limit {
        own.push_str(&format!("limit={limit}&"));
    }
    if let Some(cursor) = &asked.cursor {
        own.push_str(&format!("cursor={}&", in_query(cursor)));
    }
    let is_whole = asked.cursor.is_none() && statement.next_cursor.is_none();
    links(&mut page, &code, &own, is_whole);
    entries(&mut page, &statement.entries);
    more(&mut page, &query, statement.next_cursor.as_deref());
    Ok(answered(page))
}

/// Whoever keeps a file should know whether there is more.
fn links(page: &mut Markup, code: &str, query: &str, is_whole: bool) {
    page.raw("<p class=\"more\">");
    page.raw("<a href=\"../reconciliation/").text(code).raw("\">Reconciliation</a> ");
    let of_page = if is_whole { "" } else { " of this page" };
    for (name, suffix) in [("CSV", ".csv"), ("JSON", "")] {
        page.raw("<a href=\"../v1/accounts/").text(code).raw("/statement").text(suffix).raw("?");
        page.text(query).raw("\">").text(name).text(of_page).raw("</a> ");
    }
    page.raw("</p>\n");
}

fn period_form(page: &mut Markup, by: StatementBy, from: Option<&str>, to: Option<&str>) {
    page.raw("<form><label>From<input name=\"from\" placeholder=\"2026-01-01\" value=\"");
    page.text(from.unwrap_or_default());
    page.raw("\"/></label><label>Before<input name=\"to\" placeholder=\"2026-02-01\" value=\"");
    page.text(to.unwrap_or_default());
    page.raw("\"/></label><label>By<select name=\"by\"><option value=\"booking\">time of booking</option><option value=\"effective\"");
    if by == StatementBy::Effective {
        page.raw(" selected=\"selected\"");
    }
    page.raw(">effective date</option></select></label><button>Show</button></form>\n");
}

fn entries(page: &mut Markup, entries: &[AccountEntry]) {
    page.raw("<div class=\"wide\"><table><caption>Entries</caption><thead><tr><th class=\"amount\">No.</th><th>Booked</th><th>Counts for</th><th>Description</th><th class=\"amount\">Debit</th><th class=\"amount\">Credit</th><th class=\"amount\">Balance</th></tr></thead><tbody>\n");
    for entry in entries {
        let (debit, credit) = match entry.direction {
            Side::Debit => (entry.amount.as_str(), ""),
            Side::Credit => ("", entry.amount.as_str()),
        };
        page.raw("<tr>").amount(&entry.number.to_string());
        page.raw("<td><a href=\"../v1/transfers/").text(&entry.transfer.to_string()).raw("\">");
        page.text(&entry.booked_at.strftime("%F %T").to_string()).raw("</a></td>");
        page.cell(&entry.effective_date.to_string()).cell(&entry.description);
        page.amount(debit).amount(credit).amount(&entry.balance).raw("</tr>\n");
    }
    page.raw("</tbody></table></div>\n");
}
