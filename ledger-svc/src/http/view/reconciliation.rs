//! The page of an account's reconciliation: balances against each other, and what is open on either side.

use axum::extract::State;
use axum::response::Response;

use super::super::app::App;
use super::frame::{answered, begin, figures, more};
use crate::http::extract::{Paging, Params, Segment};
use crate::http::problem::Problem;
use crate::http::reconciliation::stand;

pub async fn page(
    State(app): State<App>,
    Segment(code): Segment,
    Params(paging): Params<Paging>,
) -> Result<Response, Problem> {
    let account = app.standing(&code).await?;
    let (after, limit) = (paging.after_number()?, paging.limit()?);
    let lines = app.reader.open_lines(&account, after, limit).await?;
    let entries = app.reader.unmatched_entries(&account, 0, limit).await?;
    let stand = stand(&app.reader, &code, &account).await?;
    let mut page = begin("Reconciliation", "../");
    page.raw("<p><a href=\"../accounts/").text(&code).raw("\">").text(&code).raw("</a> · ");
    page.text(&account.currency.code).raw("</p>\n");
    if let Some(statement) = &stand.statement {
        page.raw("<p>Statement ").text(&statement.name).raw(", through ");
        page.text(&statement.last_date.to_string()).raw("</p>\n");
        let said = statement.closing_balance.as_deref().unwrap_or("not said");
        let difference = stand.difference.as_deref().unwrap_or("unknown");
        let books = stand.balance.as_deref().unwrap_or_default();
        figures(
            &mut page,
            &[
                ("Balance it says", said),
                ("Balance of the books", books),
                ("Difference", difference),
            ],
        );
    }
    page.raw("<div class=\"wide\"><table><caption>Lines without an entry</caption><thead><tr><th class=\"amount\">Line</th><th>Date</th><th>Reference</th><th>Text</th><th class=\"amount\">Amount</th></tr></thead><tbody>\n");
    for line in &lines.items {
        page.raw("<tr>").amount(&line.id.to_string()).cell(&line.date.to_string());
        page.cell(&line.reference).cell(&line.text).amount(&line.amount).raw("</tr>\n");
    }
    page.raw("</tbody></table></div>\n");
    more(&mut page, "", lines.next_cursor.as_deref());
    page.raw("<div class=\"wide\"><table><caption>Entries without a line, the first of them</caption><thead><tr><th class=\"amount\">Entry</th><th>Counts for</th><th>Description</th><th class=\"amount\">Amount</th></tr></thead><tbody>\n");
    for entry in &entries.items {
        page.raw("<tr>").amount(&entry.id.to_string()).cell(&entry.effective_date.to_string());
        page.cell(&entry.description).amount(&entry.amount).raw("</tr>\n");
    }
    page.raw("</tbody></table></div>\n");
    Ok(answered(page))
}
