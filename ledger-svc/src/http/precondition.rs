//! What a client has seen of what it changes (RFC 9110, 13.1.1 and 13.1.2): `If-Match` has the `ETag` it was given, and
//! nothing is done where that is no longer what there is; nor where it is what `If-None-Match` has.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Request};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, header};
use serde::Serialize;

use super::access::Table;
use super::app::App;
use super::etag;
use super::problem::{Kind, Problem};

/// Operations whose `If-Match` is held against what they change; of others there is no tag to compare.
pub const COMPARED: [&str; 4] = [
    "/v1/accounts/{code}/limits",
    "/v1/keys/{id}/revoke",
    "/v1/webhooks/{id}/remove",
    "/v1/webhooks/{id}/resume",
];

/// `If-Match` and `If-None-Match`, if there are any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Precondition {
    one_of: Option<Vec<String>>,
    none_of: Option<Vec<String>>,
}

impl Precondition {
    fn of(headers: &HeaderMap) -> Self {
        let listed = |name: HeaderName| {
            let values = headers.get_all(&name);
            let lists = values.iter().map(|value| value.to_str().unwrap_or_default());
            let tags = lists.flat_map(|list| list.split(',').map(|tag| tag.trim().to_owned()));
            headers.contains_key(&name).then(|| tags.collect())
        };
        Self { one_of: listed(header::IF_MATCH), none_of: listed(header::IF_NONE_MATCH) }
    }

    fn names_tags(&self) -> bool {
        self.one_of.as_ref().is_some_and(|tags| tags.iter().all(|tag| tag != "*"))
    }

    /// Whether what there is, under this tag, is what `If-None-Match` has: `*` is whatever there is.
    fn excludes(&self, tag: &str) -> bool {
        let is = |named: &String| named == "*" || named.strip_prefix("W/").unwrap_or(named) == tag;
        self.none_of.as_ref().is_some_and(|tags| tags.iter().any(is))
    }

    /// What is replaced as a whole is replaced by who has seen it: without a word of that, 428 (RFC 6585, 3).
    pub fn required(self, read: &str) -> Result<Self, Problem> {
        if self.one_of.is_some() {
            return Ok(self);
        }
        if self.excludes("*") {
            return Err(excluded());
        }
        let detail = format!(
            "send If-Match with the ETag of {read}, so that what somebody else has set meanwhile is not \
             lost; `*` takes whatever there is"
        );
        Err(Problem::new(Kind::PreconditionRequired, detail))
    }

    /// The same thing that `current` is, where the client has seen just this; none where it takes whatever there is.
    pub fn seen<T: Serialize>(&self, current: T) -> Result<Option<T>, Problem> {
        if self.none_of.is_some() && self.excludes(&etag::of(&current)) {
            return Err(excluded());
        }
        match &self.one_of {
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

fn excluded() -> Problem {
    let detail =
        "it is what If-None-Match says it must not be; leave it out to change what is there";
    Problem::new(Kind::PreconditionFailed, detail)
}

impl FromRequestParts<App> for Precondition {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

/// Refuses a tag where there is none to compare it with: to do it all the same would be to ignore it. What is no operation is
/// answered as such.
pub fn none_ignored(table: &Table, request: &Request) -> Result<(), Problem> {
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    let path = request.extensions().get::<axum::extract::MatchedPath>();
    let compared = path.is_some_and(|path| COMPARED.contains(&path.as_str()));
    let is_known = path.is_some_and(|path| table.knows(request.method(), path.as_str()));
    if reads || compared || !is_known {
        return Ok(());
    }
    let precondition = Precondition::of(request.headers());
    let named = match (precondition.names_tags(), &precondition.none_of) {
        (false, None) => return Ok(()),
        (true, _) => "If-Match",
        (false, Some(_)) => "If-None-Match",
    };
    let detail = format!("there is no tag of this to compare {named} with; leave it out");
    Err(Problem::new(Kind::PreconditionFailed, detail))
}

/// Refuses a body that is said to be packed (RFC 9110, 8.4): nothing here unpacks, and it would be read as what it is not.
pub fn no_coding_ignored(request: &Request) -> Result<(), Problem> {
    let codings = request.headers().get_all(header::CONTENT_ENCODING).iter();
    let mut codings = codings.flat_map(|codings| codings.as_bytes().split(|byte| *byte == b','));
    if codings.all(|coding| matches!(coding.trim_ascii(), b"" | b"identity")) {
        return Ok(());
    }
    let detail = "the body must be sent as it is, without Content-Encoding";
    Err(Problem::new(Kind::UnsupportedMediaType, detail))
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
    fn what_must_not_be_there_is_found_under_any_tag_of_it() {
        let tag = etag::of(&7);
        let judged = |none: &str| {
            let mut headers = HeaderMap::new();
            headers.append(header::IF_MATCH, HeaderValue::from_static("*"));
            headers.append(header::IF_NONE_MATCH, HeaderValue::from_str(none).unwrap());
            Precondition::of(&headers).seen(7).map_err(|problem| problem.kind)
        };
        for there in ["*", &tag, &format!("W/{tag}"), &format!("\"a\", {tag}")] {
            assert_eq!(judged(there), Err(Kind::PreconditionFailed), "{there}");
        }
        assert_eq!(judged("\"a\""), Ok(None));
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
