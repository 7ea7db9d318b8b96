//! Entity tags (RFC 9110, 8.8.3): what a GET answers is tagged by its bytes, and who has them already is told so.

use std::hash::{DefaultHasher, Hasher as _};

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Serialize;

use super::problem::{Kind, Problem};

/// Tags whole answers; streams and pages for people have none.
pub async fn tag(request: Request, next: Next) -> Response {
    let wanted = (request.method() == Method::GET)
        .then(|| request.headers().get(header::IF_NONE_MATCH).cloned());
    let response = next.run(request).await;
    let Some(known) = wanted else { return response };
    if response.status() != StatusCode::OK || !is_whole(&response) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return Problem::new(Kind::Internal, "the answer broke off").into_response();
    };
    let tag = tag_of(&bytes);
    if known.is_some_and(|known| lists(&known, &tag)) {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.remove(header::CONTENT_LENGTH);
        insert(&mut parts.headers, &tag);
        return Response::from_parts(parts, Body::empty());
    }
    insert(&mut parts.headers, &tag);
    Response::from_parts(parts, Body::from(bytes))
}

/// The tag of an answer that is this as JSON.
pub fn of(answer: &impl Serialize) -> String {
    tag_of(&serde_json::to_vec(answer).expect("strings and numbers serialise"))
}

/// Two hashes of 64 bits each. Nobody gains by two answers that are tagged alike, so what is quick is enough.
fn tag_of(bytes: &[u8]) -> String {
    let hash = |seed: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(seed);
        hasher.write(bytes);
        hasher.finish()
    };
    format!("\"{:016x}{:016x}\"", hash(0), hash(1))
}

fn insert(headers: &mut HeaderMap, tag: &str) {
    // Hexadecimal between quotes is fit for a header.
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
}

/// What is in memory already, and data: a length is known before anything is sent.
fn is_whole(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let data = kind
        .is_some_and(|kind| kind.starts_with("application/json") || kind.starts_with("text/csv"));
    data && response.body().size_hint().exact().is_some()
}

/// Whether a list of tags has this one; a weak one of the same bytes counts (RFC 9110, 13.1.2).
fn lists(known: &HeaderValue, tag: &str) -> bool {
    let Ok(known) = known.to_str() else { return false };
    known.trim() == "*"
        || known.split(',').map(str::trim).any(|one| one.strip_prefix("W/").unwrap_or(one) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_in_lists() {
        let listed = |known: &str| lists(&HeaderValue::from_str(known).unwrap(), "\"a\"");
        for known in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert!(listed(known), "{known}");
        }
        for other in ["", "a", "\"b\"", "\"aa\""] {
            assert!(!listed(other), "{other}");
        }
    }
}
