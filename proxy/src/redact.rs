//! What a log does not tell (`redact`): values of query parameters and of headers, replaced by `-`. A query
//! is told in several places: the target, a rewritten one, the `Referer` of the next request.

use std::borrow::Cow;

use http::header::REFERER;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

/// What stands in place of a value.
const REDACTED: &str = "-";

/// Names whose values are not told.
#[derive(Clone, Debug)]
pub struct Redaction {
    names: Vec<String>,
}

impl Redaction {
    /// `None` where everything is told.
    pub fn of(names: &[String]) -> Option<Redaction> {
        (!names.is_empty()).then(|| Redaction { names: names.to_vec() })
    }

    /// What signs links at the large clouds, as the semantic conventions of OpenTelemetry have it (`url.query`).
    pub fn of_signatures() -> Redaction {
        let names = ["AWSAccessKeyId", "Signature", "sig", "X-Goog-Signature"];
        Redaction { names: names.map(str::to_owned).to_vec() }
    }

    pub fn hides_header(&self, name: &str) -> bool {
        self.names.iter().any(|hidden| hidden.eq_ignore_ascii_case(name))
    }

    /// A header's value as it is told.
    pub fn header<'a>(&self, name: &HeaderName, value: &'a str) -> Cow<'a, str> {
        match name {
            name if self.hides_header(name.as_str()) => Cow::Borrowed(REDACTED),
            name if name == REFERER => self.target(value),
            _ => Cow::Borrowed(value),
        }
    }

    /// Headers as they are told.
    pub fn headers(&self, headers: &HeaderMap) -> HeaderMap {
        let told = |name: &HeaderName, value: &HeaderValue| {
            let text = value.to_str().ok()?;
            match self.header(name, text) {
                Cow::Borrowed(same) if same == text => None,
                told => HeaderValue::from_str(&told).ok(),
            }
        };
        let all = headers.iter().map(|(name, value)| {
            let hidden = self.hides_header(name.as_str());
            let instead = hidden.then(|| HeaderValue::from_static(REDACTED));
            let value = instead.or_else(|| told(name, value)).unwrap_or_else(|| value.clone());
            (name.clone(), value)
        });
        all.collect()
    }

    /// A query as it is told.
    pub fn query<'a>(&self, query: &'a str) -> Cow<'a, str> {
        let is_hidden = |pair: &str| {
            let Some((name, _)) = pair.split_once('=') else { return false };
            let name = percent_decode_str(name).decode_utf8_lossy();
            self.names.iter().any(|hidden| *hidden == name)
        };
        if !query.split('&').any(is_hidden) {
            return Cow::Borrowed(query);
        }
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) if is_hidden(pair) => format!("{name}={REDACTED}"),
            _ => pair.to_owned(),
        });
        Cow::Owned(pairs.collect::<Vec<_>>().join("&"))
    }

    /// A path or URL with its query as it is told.
    pub fn target<'a>(&self, target: &'a str) -> Cow<'a, str> {
        let Some((path, rest)) = target.split_once('?') else { return Cow::Borrowed(target) };
        let (query, fragment) = match rest.split_once('#') {
            Some((query, _)) => (query, &rest[query.len()..]),
            None => (rest, ""),
        };
        match self.query(query) {
            Cow::Borrowed(_) => Cow::Borrowed(target),
            Cow::Owned(query) => Cow::Owned(format!("{path}?{query}{fragment}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_hidden_wherever_their_names_stand() {
        let names = ["token".to_owned(), "Authorization".to_owned()];
        let redaction = Redaction::of(&names).unwrap();
        for (query, told) in [
            ("a=1&token=secret&b", "a=1&token=-&b"),
            ("tok%65n=secret", "tok%65n=-"),
            ("token=a&token=b", "token=-&token=-"),
            ("token", "token"),
            ("tokens=1", "tokens=1"),
            ("", ""),
        ] {
            assert_eq!(redaction.query(query), told);
        }
        assert_eq!(redaction.target("/p?token=x#f"), "/p?token=-#f");
        assert_eq!(redaction.target("/p"), "/p");
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer x"),
            ("referer", "https://a/?token=x&y=1"),
            ("user-agent", "curl"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let told = redaction.headers(&headers);
        assert_eq!(told["authorization"], "-");
        assert_eq!(told["referer"], "https://a/?token=-&y=1");
        assert_eq!(told["user-agent"], "curl");
        assert!(Redaction::of(&[]).is_none());
    }
}
