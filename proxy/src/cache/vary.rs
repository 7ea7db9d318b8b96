//! Which of several answers to one URI fits a request (`Vary`, RFC 9111 section 4.1).

use std::collections::BTreeSet;

use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_LANGUAGE, VARY};
use http::{HeaderMap, HeaderName};

/// Fields a response may vary by and still be stored.
pub const FIELDS_MAX: usize = 32;

/// The request fields that selected an answer, with their values in one form. Empty when the answer
/// fits every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    fields: Vec<(HeaderName, Vec<u8>)>,
    /// The one language the answer is in, where it was selected by language. Not kept on disk.
    language: Option<Vec<u8>>,
}

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
        let fields: Vec<_> = values.map(|(value, name)| (name, value)).collect();
        let by_language = fields.iter().any(|(name, _)| *name == ACCEPT_LANGUAGE);
        let mut languages = response.get_all(CONTENT_LANGUAGE).iter();
        let language = languages.next().map(|language| language.as_bytes().to_ascii_lowercase());
        let is_one = languages.next().is_none();
        let language = language.filter(|l| by_language && is_one && !l.contains(&b','));
        Some(Selection { fields, language })
    }

    pub fn fits(&self, request: &HeaderMap) -> bool {
        self.fields.iter().all(|(name, value)| {
            normalized(request, name) == *value
                || (*name == ACCEPT_LANGUAGE
                    && self.language.is_some()
                    && preferred_language(request) == self.language)
        })
    }

    pub fn pairs(&self) -> impl Iterator<Item = (&HeaderName, &[u8])> {
        self.fields.iter().map(|(name, value)| (name, value.as_slice()))
    }

    /// Of [`Selection::pairs`].
    pub fn from_pairs(pairs: Vec<(HeaderName, Vec<u8>)>) -> Selection {
        Selection { fields: pairs, language: None }
    }

    /// Bytes it holds.
    pub fn cost(&self) -> u64 {
        let bytes = self.fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 64);
        let language = self.language.as_ref().map_or(0, Vec::len);
        (bytes.sum::<usize>() + language) as u64
    }
}

/// A field's value in one form: members of a list separated by one comma and nothing else.
/// `Accept-Encoding` is the set of codings the client takes, whatever order and weights it gives;
/// `Accept-Language` is the set of languages with their weights.
fn normalized(headers: &HeaderMap, name: &HeaderName) -> Vec<u8> {
    let values = headers.get_all(name);
    let members =
        values.iter().flat_map(|value| super::directives::split_unquoted(value.as_bytes()));
    let members = members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty());
    if *name == ACCEPT_ENCODING {
        let codings: BTreeSet<Vec<u8>> = members.filter_map(coding).collect();
        return codings.into_iter().collect::<Vec<_>>().join(&b","[..]);
    }
    if *name == ACCEPT_LANGUAGE {
        let languages: BTreeSet<Vec<u8>> = members.map(<[u8]>::to_ascii_lowercase).collect();
        return languages.into_iter().collect::<Vec<_>>().join(&b","[..]);
    }
    members.collect::<Vec<_>>().join(&b","[..])
}

/// The language a client wants before all others; `None` when several are as good, or any will do.
fn preferred_language(request: &HeaderMap) -> Option<Vec<u8>> {
    let values = request.get_all(ACCEPT_LANGUAGE).iter();
    let members = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let mut best: Option<(u32, Vec<u8>)> = None;
    let mut tied = false;
    for member in members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty()) {
        let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let language = parts.next()?.to_ascii_lowercase();
        let weight = parts.next().map_or(Some(1000), thousandths)?;
        match &best {
            Some((held, _)) if weight < *held => {}
            Some((held, _)) if weight == *held => tied = true,
            _ => (best, tied) = (Some((weight, language)), false),
        }
    }
    best.filter(|(weight, language)| !tied && *weight > 0 && language != b"*").map(|(_, l)| l)
}

/// `q=0.5` in thousandths (RFC 9110 section 12.4.2).
fn thousandths(weight: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(weight).ok()?.to_ascii_lowercase();
    let (whole, part) = text.strip_prefix("q=")?.split_once('.').unwrap_or((&text[2..], ""));
    let valid = matches!(whole, "0" | "1") && part.len() <= 3;
    let digits = format!("{whole}{part:0<3}");
    (valid && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
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
    fn languages_are_compared_as_a_set_and_by_what_was_sent() {
        let fits = |language: &str, first: &str, second: &str| {
            let mut response = headers(&[("vary", "accept-language")]);
            if !language.is_empty() {
                response.insert(CONTENT_LANGUAGE, HeaderValue::from_str(language).unwrap());
            }
            let selection = Selection::of(&response, &headers(&[("accept-language", first)]));
            selection.unwrap().fits(&headers(&[("accept-language", second)]))
        };
        for (language, first, second, expected) in [
            ("", "en, de", "DE ,en", true),
            ("", "en, de;q=0.5", "en;q=0.5, de", false),
            ("", "en, de", "de", false),
            ("de", "en, de", "fr;q=0.5, De;q=1.0", true),
            ("de", "en, de", "fr, de", false),
            ("de", "en, de", "fr, de;q=0.9", false),
            ("de", "en, de", "de-CH, de;q=0.9", false),
            ("de, en", "en, de", "de", false),
            ("de", "en, de", "de;q=x", false),
            ("*", "en, de", "*", false),
        ] {
            assert_eq!(fits(language, first, second), expected, "{language}: {first} | {second}");
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
