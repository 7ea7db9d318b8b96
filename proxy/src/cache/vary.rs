//! Which of several answers to one URI fits a request (`Vary`, RFC 9111 section 4.1).

use std::collections::BTreeSet;

use http::header::{ACCEPT_ENCODING, VARY};
use http::{HeaderMap, HeaderName};

/// Fields a response may vary by and still be stored.
pub const FIELDS_MAX: usize = 32;

/// The request fields that selected an answer, with their values in one form. Empty when the answer
/// fits every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection(Vec<(HeaderName, Vec<u8>)>);

impl Selection {
    /// `None` when no other request can be known to fit: `*`, names that are none, too many.
    pub fn of(response: &HeaderMap, request: &HeaderMap) -> Option<Selection> {
        let mut names = BTreeSet::new();
        for value in response.get_all(VARY) {
            for name in value.as_bytes().split(|byte| *byte == b',') {
                let name = name.trim_ascii();
                if name.is_empty() {
                    continue;
                }
                if name == b"*" || names.len() == FIELDS_MAX {
                    return None;
                }
                names.insert(HeaderName::from_bytes(name).ok()?.as_str().to_owned());
            }
        }
        let named = names.into_iter().filter_map(|name| HeaderName::try_from(name).ok());
        let values = named.map(|name| (normalized(request, &name), name));
        Some(Selection(values.map(|(value, name)| (name, value)).collect()))
    }

    pub fn fits(&self, request: &HeaderMap) -> bool {
        self.0.iter().all(|(name, value)| normalized(request, name) == *value)
    }

    pub fn pairs(&self) -> impl Iterator<Item = (&HeaderName, &[u8])> {
        self.0.iter().map(|(name, value)| (name, value.as_slice()))
    }

    /// Of [`Selection::pairs`].
    pub fn from_pairs(pairs: Vec<(HeaderName, Vec<u8>)>) -> Selection {
        Selection(pairs)
    }

    /// Bytes it holds.
    pub fn cost(&self) -> u64 {
        let bytes = self.0.iter().map(|(name, value)| name.as_str().len() + value.len() + 64);
        bytes.sum::<usize>() as u64
    }
}

/// A field's value in one form: members of a list separated by one comma and nothing else.
/// `Accept-Encoding` is the set of codings the client takes, whatever order and weights it gives.
fn normalized(headers: &HeaderMap, name: &HeaderName) -> Vec<u8> {
    let values = headers.get_all(name);
    let members =
        values.iter().flat_map(|value| super::directives::split_unquoted(value.as_bytes()));
    let members = members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty());
    if *name == ACCEPT_ENCODING {
        let codings: BTreeSet<Vec<u8>> = members.filter_map(coding).collect();
        return codings.into_iter().collect::<Vec<_>>().join(&b","[..]);
    }
    members.collect::<Vec<_>>().join(&b","[..])
}

/// A coding the client takes, in lower case; `identity` goes without saying unless refused.
fn coding(member: &[u8]) -> Option<Vec<u8>> {
    let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next()?.to_ascii_lowercase();
    let zero = |part: &[u8]| {
        let part = part.to_ascii_lowercase();
        let weight = part.strip_prefix(b"q=").map(<[u8]>::to_vec);
        weight
            .is_some_and(|w| w.first() == Some(&b'0') && w.iter().all(|b| matches!(b, b'0' | b'.')))
    };
    let refused = parts.any(zero);
    match (name.as_slice(), refused) {
        (b"identity", false) => None,
        (b"identity" | b"*", true) => Some([name.as_slice(), b";q=0"].concat()),
        (_, true) => None,
        (b"x-gzip", false) => Some(b"gzip".to_vec()),
        (_, false) => Some(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn fits(vary: &str, first: &[(&str, &str)], second: &[(&str, &str)]) -> bool {
        let selection = Selection::of(&headers(&[("vary", vary)]), &headers(first)).unwrap();
        selection.fits(&headers(second))
    }

    #[test]
    fn values_are_compared_in_one_form() {
        type Fields = [(&'static str, &'static str)];
        let cases: &[(&str, &Fields, &Fields, bool)] = &[
            ("Foo", &[("foo", "1")], &[("FOO", "1")], true),
            ("foo", &[("foo", "1")], &[("foo", "2")], false),
            ("foo", &[("foo", "1")], &[], false),
            ("foo", &[], &[], true),
            ("foo", &[("foo", "a, b")], &[("foo", "a"), ("foo", "b")], true),
            ("foo, bar", &[("foo", "1"), ("bar", "2")], &[("foo", "1")], false),
            (
                "accept-encoding",
                &[("accept-encoding", "gzip, br;q=0.5")],
                &[("accept-encoding", "BR,gzip;q=1")],
                true,
            ),
            ("accept-encoding", &[("accept-encoding", "gzip;q=0")], &[], true),
            ("accept-encoding", &[("accept-encoding", "gzip")], &[], false),
            (
                "accept-encoding",
                &[("accept-encoding", "identity;q=0, gzip")],
                &[("accept-encoding", "gzip")],
                false,
            ),
        ];
        for (vary, first, second, expected) in cases {
            assert_eq!(fits(vary, first, second), *expected, "{vary}: {first:?} {second:?}");
        }
    }

    #[test]
    fn what_cannot_be_matched_is_not_stored() {
        for vary in ["*", "foo, *", "a b"] {
            assert_eq!(
                Selection::of(&headers(&[("vary", vary)]), &HeaderMap::new()),
                None,
                "{vary}"
            );
        }
        let many = (0..=FIELDS_MAX).map(|n| format!("f{n}")).collect::<Vec<_>>().join(",");
        assert_eq!(Selection::of(&headers(&[("vary", &many)]), &HeaderMap::new()), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_a_request_fits_itself(
            vary in proptest::collection::vec(any::<u8>(), 0..60),
            value in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let (Ok(vary), Ok(value)) = (HeaderValue::from_bytes(&vary), HeaderValue::from_bytes(&value))
            else { return Ok(()) };
            let mut response = HeaderMap::new();
            response.append(VARY, vary);
            response.append(VARY, HeaderValue::from_static("accept-encoding, cookie"));
            let mut request = HeaderMap::new();
            request.insert(ACCEPT_ENCODING, value.clone());
            request.insert(http::header::COOKIE, value);
            if let Some(selection) = Selection::of(&response, &request) {
                prop_assert!(selection.fits(&request));
            }
        }
    }
}
