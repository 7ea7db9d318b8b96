//! What a page may ask of the request it answers, by the names that pages have for it.

use pingora::proxy::Session;
use proxy_config::template::{Compiled, Scope};

use crate::edge::Edge;
use crate::exchange::Exchange;
use crate::rules;

/// Names that pages have for what templates call otherwise.
const NAMES: [(&str, &str); 11] = [
    ("args", "query"),
    ("query_string", "query"),
    ("query_string_unescaped", "query"),
    ("document_uri", "path_text"),
    ("document_name", "path_text"),
    ("uri", "path_text"),
    ("remote_addr", "client"),
    ("remote_port", "peer_port"),
    ("request_method", "method"),
    ("server_port", "port"),
    ("server_protocol", "protocol"),
];

/// What is known of the request under a name of the page's: what steps have set, a part of the request, or a variable
/// of templates; nothing where it is empty, but for a parameter that is there and empty.
pub fn known(edge: &Edge, session: &Session, exchange: &Exchange, name: &str) -> Option<String> {
    let set = &exchange.ruled.walk.variables;
    if let Some(value) = set.find(name) {
        return Some(value.to_owned());
    }
    let head = session.req_header();
    let own = NAMES.iter().find(|(is, _)| *is == name).map_or(name, |(_, own)| own);
    let prefixed = [("http_", "header_"), ("arg_", "query_")].iter().find_map(|(start, own)| {
        name.strip_prefix(start).filter(|rest| !rest.is_empty()).map(|rest| format!("{own}{rest}"))
    });
    let own = prefixed.as_deref().unwrap_or(own);
    let (asked, walk) = (rules::asked_for(head, exchange), &exchange.ruled.walk);
    let target = rules::target(&edge.listener, head);
    let facts = rules::facts(head, exchange, target, &asked, walk);
    if let Some(parameter) = own.strip_prefix("query_") {
        return facts.parameter(parameter).map(str::to_owned);
    }
    let maps = exchange.generation.config.maps.keys().map(String::as_str).collect();
    let scope = Scope { maps, ..Scope::default() };
    let text = Compiled::new(&format!("${{{own}}}"), &scope).ok()?.render(&facts);
    Some(text).filter(|text| !text.is_empty())
}
