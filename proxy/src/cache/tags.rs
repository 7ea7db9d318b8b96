//! Names that answers are purged by: those of the headers a policy names (`Surrogate-Key`,
//! `Cache-Tag`), and the cache groups of RFC 9875, which belong to one origin each.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use crate::cache::directives::split_unquoted;

const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");
const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// Tags one answer may have. An answer with more is not stored: it could not be purged by all of them.
pub const TAGS_MAX: usize = 512;
/// Longest tag, in bytes.
pub const TAG_BYTES_MAX: usize = 1024;
/// What a tag costs beyond its bytes: its places in the index and in the answer.
const TAG_OVERHEAD: u64 = 192;

/// The tags of one answer, in order, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(Vec<Arc<str>>);

impl FromIterator<Arc<str>> for Tags {
    fn from_iter<T: IntoIterator<Item = Arc<str>>>(tags: T) -> Tags {
        Tags(tags.into_iter().collect::<BTreeSet<_>>().into_iter().collect())
    }
}

impl Tags {
    /// `uri` is that of the answer. `None` when there are more, or longer ones, than may be kept.
    pub fn of(response: &HeaderMap, names: &[HeaderName], uri: &str) -> Option<Tags> {
        let mut found = BTreeSet::new();
        for value in names.iter().flat_map(|name| response.get_all(name)) {
            let apart = |byte: &u8| *byte == b',' || byte.is_ascii_whitespace();
            for tag in value.as_bytes().split(apart).filter(|tag| !tag.is_empty()) {
                found.insert(Arc::from(String::from_utf8_lossy(tag)));
            }
        }
        found.extend(groups(response, &CACHE_GROUPS, uri));
        let fits = found.len() <= TAGS_MAX
            && found.iter().all(|tag: &Arc<str>| tag.len() <= TAG_BYTES_MAX + origin(uri).len());
        fits.then(|| found.into_iter().collect())
    }

    pub fn contains(&self, tag: &str) -> bool {
        self.0.binary_search_by(|held| (**held).cmp(tag)).is_ok()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter()
    }

    /// Bytes they hold.
    pub fn cost(&self) -> u64 {
        self.0.iter().map(|tag| tag.len() as u64 + TAG_OVERHEAD).sum()
    }
}

/// The groups that a response to an unsafe request says are out of date (RFC 9875 section 3), as tags.
pub fn invalidated_groups(response: &HeaderMap, uri: &str) -> Vec<Arc<str>> {
    groups(response, &CACHE_GROUP_INVALIDATION, uri).take(TAGS_MAX).collect()
}

/// A tag has no space, so a group of an origin is never taken for one.
fn groups<'a>(
    response: &HeaderMap,
    name: &HeaderName,
    uri: &'a str,
) -> impl Iterator<Item = Arc<str>> + use<'a> {
    let named = strings(response, name).unwrap_or_default();
    named.into_iter().map(move |group| Arc::from(format!("{} {group}", origin(uri))))
}

/// `scheme://host` of a URI.
fn origin(uri: &str) -> &str {
    let authority = uri.find("://").map_or(0, |at| at + 3);
    let end = uri[authority..].find('/').map_or(uri.len(), |at| authority + at);
    &uri[..end]
}

/// A list of strings (RFC 9651 sections 3.1 and 3.3.3); `None` when it is not wholly that.
fn strings(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    let mut found = Vec::new();
    for value in headers.get_all(name) {
        for item in split_unquoted(value.as_bytes()).map(<[u8]>::trim_ascii) {
            let (mut text, mut escaped) = (String::new(), false);
            let mut bytes = item.strip_prefix(b"\"")?.iter();
            loop {
                match *bytes.next()? {
                    byte @ (b'"' | b'\\') if escaped => {
                        text.push(char::from(byte));
                        escaped = false;
                    }
                    _ if escaped => return None,
                    b'\\' => escaped = true,
                    b'"' => break,
                    byte @ 0x20..=0x7e => text.push(char::from(byte)),
                    _ => return None,
                }
            }
            // Parameters follow; none of them means anything here.
            if !matches!(bytes.next(), None | Some(b';')) {
                return None;
            }
            found.push(text);
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const URI: &str = "http://a.example/x";

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn tags(fields: &[(&str, &str)]) -> Option<Vec<String>> {
        let names = ["surrogate-key", "cache-tag"].map(HeaderName::from_static);
        let tags = Tags::of(&headers(fields), &names, URI)?;
        Some(tags.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn tags_in_every_spelling() {
        let got = tags(&[
            ("surrogate-key", "b a  a"),
            ("cache-tag", "c,d , b"),
            ("cache-groups", "\"a\", \"x y\\\"\";p=1"),
        ]);
        let groups = ["http://a.example a", "http://a.example x y\""];
        assert_eq!(got.unwrap(), ["a", "b", "c", "d", groups[0], groups[1]]);
        assert_eq!(tags(&[("surrogate-key", " , ")]), Some(vec![]));
        for invalid in ["a", "\"a", "\"a\"x", "\"a\\x\"", "\"a\", b", "1", ""] {
            assert_eq!(tags(&[("cache-groups", invalid)]), Some(vec![]), "{invalid}");
        }
    }

    #[test]
    fn more_tags_than_can_be_kept_are_refused() {
        let many = |count: usize| (0..count).map(|n| format!("t{n}")).collect::<Vec<_>>().join(" ");
        assert_eq!(tags(&[("surrogate-key", &many(TAGS_MAX))]).unwrap().len(), TAGS_MAX);
        assert_eq!(tags(&[("surrogate-key", &many(TAGS_MAX + 1))]), None);
        assert_eq!(tags(&[("cache-tag", &"x".repeat(TAG_BYTES_MAX + 100))]), None);
    }

    #[test]
    fn groups_end_with_their_origin() {
        let fields = headers(&[("cache-group-invalidation", "\"a\", \"b\"")]);
        let got = invalidated_groups(&fields, "https://b.example:8443/y/z?q=/");
        let got: Vec<&str> = got.iter().map(|tag| &**tag).collect();
        assert_eq!(got, ["https://b.example:8443 a", "https://b.example:8443 b"]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
            let mut map = HeaderMap::new();
            map.insert("cache-tag", value.clone());
            map.insert(CACHE_GROUPS, value);
            let names = [HeaderName::from_static("cache-tag")];
            if let Some(tags) = Tags::of(&map, &names, URI) {
                for tag in tags.iter() {
                    prop_assert!(!tag.is_empty() && tags.contains(tag));
                }
            }
        }
    }
}
