//! What a client has seen of what it changes (RFC 9110, 13.1.1): `If-Match` has the `ETag` it was given, and nothing is
//! done where that is no longer what there is.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Request};
use http::request::Parts;
use http::{HeaderMap, Method, header};
use serde::Serialize;

use super::App;
use super::access::Table;
use super::etag;
use super::problem::{Kind, Problem};

/// Operations whose `If-Match` is held against what they change; of others there is no tag to compare.
pub const COMPARED: [&str; 4] = [
    "/v1/accounts/{code}/limits",
    "/v1/keys/{id}/revoke",
    "/v1/webhooks/{id}/remove",
    "/v1/webhooks/{id}/resume",
];

/// `If-Match`, if there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Precondition(Option<Vec<String>>);

impl Precondition {
    fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::IF_MATCH);
        let lists = values.iter().map(|value| value.to_str().unwrap_or_default());
        let tags = lists.flat_map(|list| list.split(',').map(|tag| tag.trim().to_owned()));
        Self(headers.contains_key(header::IF_MATCH).then(|| tags.collect()))
    }

    fn names_tags(&self) -> bool {
        self.0.as_ref().is_some_and(|tags| tags.iter().all(|tag| tag != "*"))
    }

    /// What is replaced as a whole is replaced by who has seen it: without a word of that, 428 (RFC 6585, 3).
    pub fn required(self, read: &str) -> Result<Self, Problem> {
        if self.0.is_some() {
            return Ok(self);
        }
        let detail = format!(
            "send If-Match with the ETag of {read}, so that what somebody else has set meanwhile is not \
             lost; `*` takes whatever there is"
        );
        Err(Problem::new(Kind::PreconditionRequired, detail))
    }

    /// The same thing that `current` is, where the client has seen just this; none where it takes whatever there is.
    pub fn seen<T: Serialize>(&self, current: T) -> Result<Option<T>, Problem> {
        match &self.0 {
            None => Ok(None),
            Some(tags) if tags.iter().any(|tag| tag == "*") => Ok(None),
            // A weak tag never matches here (RFC 9110, 8.8.3.2).
            Some(tags) if tags.contains(&etag::of(&current)) => Ok(Some(current)),
            Some(_) => Err(changed()),
        }
    }
}

/// It is no longer what the client has seen.
pub fn changed() -> Problem {
    let detail = "it is no longer what If-Match names; read it again and decide anew";
    Problem::new(Kind::PreconditionFailed, detail)
}

impl FromRequestParts<App> for Precondition {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

/// Refuses a tag where there is none to compare it with: to do it all the same would be to ignore it.
pub fn none_ignored(request: &Request) -> Result<(), Problem> {
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    let path = request.extensions().get::<axum::extract::MatchedPath>();
    let compared = path.is_some_and(|path| COMPARED.contains(&path.as_str()));
    if !reads && !compared && Precondition::of(request.headers()).names_tags() {
        let detail = "there is no tag of this to compare If-Match with; leave it out";
        return Err(Problem::new(Kind::PreconditionFailed, detail));
    }
    Ok(())
}

/// Refuses a parameter of an operation that has none: a transfer that was to be tried only would be booked.
pub fn no_query_ignored(table: &Table, request: &Request) -> Result<(), Problem> {
    let Some(query) = request.uri().query().filter(|query| !query.is_empty()) else {
        return Ok(());
    };
    let path = request.extensions().get::<axum::extract::MatchedPath>();
    if !path.is_some_and(|path| table.takes_no_query(request.method(), path.as_str())) {
        return Ok(());
    }
    let first = query.split(['&', '=']).find(|part| !part.is_empty()).unwrap_or(query);
    let name: String = first.chars().take(40).collect();
    let detail = format!("there is no parameter {name:?} here; this takes none in the query");
    Err(Problem::new(Kind::InvalidParameter, detail))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn given(values: &[&str]) -> Precondition {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_MATCH, HeaderValue::from_str(value).unwrap());
        }
        Precondition::of(&headers)
    }

    #[test]
    fn what_was_seen_is_found_in_lists_and_weak_tags_never_match() {
        let tag = etag::of(&7);
        let weak = format!("W/{tag}");
        let several = format!("\"a\", {tag}");
        for values in [&[tag.as_str()][..], &[several.as_str()], &["\"a\"", tag.as_str()]] {
            assert_eq!(given(values).seen(7), Ok(Some(7)), "{values:?}");
        }
        for values in [&[weak.as_str()][..], &[""], &["\"a\""], &["a, b"]] {
            let refused = given(values).seen(7).unwrap_err();
            assert_eq!(refused.kind, Kind::PreconditionFailed, "{values:?}");
        }
        assert_eq!(given(&["*"]).seen(7), Ok(None));
        assert_eq!(given(&[]).seen(7), Ok(None));
    }

    #[test]
    fn what_is_compared_is_there() {
        let document = crate::http::document();
        for path in COMPARED {
            assert!(document.paths.paths.contains_key(path), "{path}");
        }
    }

    #[test]
    fn what_must_be_seen_is_asked_for() {
        assert_eq!(given(&["*"]).required("it"), Ok(given(&["*"])));
        let refused = given(&[]).required("GET it").unwrap_err();
        assert_eq!(refused.kind, Kind::PreconditionRequired);
    }
}
