//! Errors as a short page, with the words nginx has for them: people and programs look for those.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use pingora::http::ResponseHeader;
use proxy_config::error_answers::ErrorAnswers;

use crate::exchange::Exchange;

/// Reason phrases that are not those of the IANA registry.
const PHRASES: [(u16, &str); 7] = [
    (302, "Moved Temporarily"),
    (405, "Not Allowed"),
    (413, "Request Entity Too Large"),
    (414, "Request-URI Too Large"),
    (416, "Requested Range Not Satisfiable"),
    (503, "Service Temporarily Unavailable"),
    (504, "Gateway Time-out"),
];

/// Whether this configuration wants pages.
pub fn is_wanted(exchange: &Exchange) -> bool {
    exchange.generation.config.error_answers == ErrorAnswers::Html
}

fn phrase(status: StatusCode) -> &'static str {
    let own = PHRASES.iter().find(|(code, _)| *code == status.as_u16()).map(|(_, phrase)| *phrase);
    own.or_else(|| status.canonical_reason()).unwrap_or("Error")
}

/// The page of a status.
pub fn page(status: StatusCode) -> Bytes {
    let title = format!("{} {}", status.as_u16(), phrase(status));
    Bytes::from(format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n\
         <hr><center>Forebay</center>\r\n</body>\r\n</html>\r\n"
    ))
}

/// Makes a head that of a page.
pub fn dress(head: &mut ResponseHeader) -> pingora::Result<()> {
    head.set_reason_phrase(Some(phrase(head.status)))?;
    // nginx leaves it to caches for how long they keep an error, and so do those who ask for its pages.
    head.remove_header(&CACHE_CONTROL);
    head.insert_header(CONTENT_TYPE, "text/html")
}

/// Whether an answer of a route that has no body is one that nginx gives a page.
pub fn fills(status: u16) -> bool {
    status >= 300 && status != 304
}
