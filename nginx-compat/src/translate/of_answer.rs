//! Variables of answers: what is known of one, and of who was asked for it.

use crate::translate::request_body;
use crate::translate::variable::{Meaning, Place};

/// Known only when the answer is there.
const LATE: [&str; 12] = [
    "body_bytes_sent",
    "bytes_sent",
    "request_body",
    "request_body_file",
    "request_time",
    "status",
    "upstream_bytes_received",
    "upstream_cache_status",
    "upstream_connect_time",
    "upstream_header_time",
    "upstream_response_length",
    "upstream_response_time",
];

/// What is known of an answer, or of who was asked for it.
pub fn of_answer(name: &str, place: &Place) -> Result<Meaning, String> {
    let variable = |name: &str| Ok(Meaning::Template(format!("${{{name}}}")));
    match name {
        "upstream_addr" if place.answer || place.page => variable("tried_servers"),
        "upstream_status" if place.answer || place.page => variable("tried_statuses"),
        name if request_body::NAMES.contains(&name) && place.answer => variable(name),
        "status" if place.answer => variable("answer_status"),
        "upstream_cache_status" if place.answer => variable("answer_cache"),
        name if place.answer && name.starts_with("upstream_cookie_") => {
            variable(&format!("answer_cookie_{}", &name["upstream_cookie_".len()..]))
        }
        name if place.answer && header_of_answer(name).is_some() => {
            variable(&format!("answer_{}", header_of_answer(name).unwrap_or_default()))
        }
        name if LATE.contains(&name) || is_of_answer(name) || is_of_attempts(name) => {
            Err(format!("${name} is known only when the answer comes"))
        }
        name => Err(format!("${name} is not known to Forebay")),
    }
}

fn header_of_answer(name: &str) -> Option<&str> {
    let starts = ["sent_http_", "upstream_http_"];
    starts.iter().find_map(|start| name.strip_prefix(start)).filter(|rest| !rest.is_empty())
}

/// Known of an upstream that was asked.
fn is_of_attempts(name: &str) -> bool {
    ["upstream_addr", "upstream_status"].contains(&name)
}

fn is_of_answer(name: &str) -> bool {
    ["sent_http_", "upstream_http_", "upstream_cookie_", "sent_trailer_", "upstream_trailer_"]
        .iter()
        .any(|start| name.starts_with(start))
}
