//! What pages have around what they show: how each begins and ends, its figures, and the link to the next.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, header};

use super::markup::{Markup, in_query};

/// Nothing but this service's own style may be loaded, nothing may run, and no other page may show these in a frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// `root` is the way from the page to `/`.
pub fn begin(title: &str, root: &'static str) -> Markup {
    let mut page = Markup::default();
    page.raw("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/><meta name=\"viewport\" content=\"width=device-width\"/><title>");
    page.text(title).raw(" · Forebay ledger</title><link rel=\"stylesheet\" href=\"").raw(root);
    page.raw("style.css\"/></head><body><nav><a href=\"")
        .raw(root)
        .raw("\">Accounts</a><a href=\"")
        .raw(root);
    page.raw("trial-balance\">Trial balance</a><a href=\"")
        .raw(root)
        .raw("docs/\">API</a></nav><main><h1>");
    page.text(title).raw("</h1>\n");
    page
}

pub fn answered(mut page: Markup) -> Response {
    page.raw("</main></body></html>\n");
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    (headers, page.done()).into_response()
}

/// A link to the page after this one, if there is one.
pub fn more(page: &mut Markup, query: &str, cursor: Option<&str>) {
    if let Some(cursor) = cursor {
        page.raw("<p class=\"more\"><a href=\"?")
            .text(query)
            .text("cursor=")
            .text(&in_query(cursor));
        page.raw("\">Next page</a></p>\n");
    }
}

pub fn figures(page: &mut Markup, figures: &[(&'static str, &str)]) {
    page.raw("<dl>");
    for (name, amount) in figures {
        page.raw("<dt>").raw(name).raw("</dt><dd>").text(amount).raw("</dd>");
    }
    page.raw("</dl>\n");
}
