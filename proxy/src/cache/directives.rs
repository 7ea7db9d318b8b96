//! What messages say about caching: `Cache-Control` (RFC 9111 section 5.2) and, aimed at caches like
//! this one, `CDN-Cache-Control` (RFC 9213). Times in seconds.

use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderMap, HeaderName};

/// The targeted field this proxy obeys before all others.
pub const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// Longest time that is taken as written (RFC 9111 section 1.2.2).
const SECONDS_MAX: u64 = 1 << 31;

/// The directives of one message; those of requests and of responses share names and parsing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    pub max_age: Option<u64>,
    pub s_maxage: Option<u64>,
    pub min_fresh: Option<u64>,
    pub max_stale: Option<u64>,
    pub stale_while_revalidate: Option<u64>,
    pub stale_if_error: Option<u64>,
    pub no_store: bool,
    pub no_cache: bool,
    pub private: bool,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    pub only_if_cached: bool,
    /// The policy asks the origin, whatever is stored.
    pub forced: bool,
    /// They come from a targeted field, so `Cache-Control` and `Expires` do not count.
    pub targeted: bool,
}

impl Directives {
    pub fn of_request(headers: &HeaderMap) -> Directives {
        let mut found = Directives::default();
        if headers.contains_key(CACHE_CONTROL) {
            found.read_all(headers, &CACHE_CONTROL);
        } else {
            let pragma = headers.get_all(PRAGMA).iter();
            let mut items = pragma.flat_map(|value| items(value.as_bytes()));
            found.no_cache = items.any(|(name, _)| name.eq_ignore_ascii_case(b"no-cache"));
        }
        found
    }

    pub fn of_response(headers: &HeaderMap) -> Directives {
        if let Some(targeted) = targeted(headers) {
            return targeted;
        }
        let mut found = Directives::default();
        found.read_all(headers, &CACHE_CONTROL);
        found
    }

    fn read_all(&mut self, headers: &HeaderMap, name: &HeaderName) {
        for value in headers.get_all(name) {
            for (name, argument) in items(value.as_bytes()) {
                self.take(&name.to_ascii_lowercase(), argument);
            }
        }
    }

    fn take(&mut self, name: &[u8], argument: Option<&[u8]>) {
        let seconds = argument.map_or(0, seconds);
        match name {
            b"max-age" => least(&mut self.max_age, seconds),
            b"s-maxage" => least(&mut self.s_maxage, seconds),
            b"min-fresh" => least(&mut self.min_fresh, seconds),
            // Without a value any staleness will do.
            b"max-stale" => {
                least(&mut self.max_stale, if argument.is_some() { seconds } else { SECONDS_MAX });
            }
            b"stale-while-revalidate" => least(&mut self.stale_while_revalidate, seconds),
            b"stale-if-error" => least(&mut self.stale_if_error, seconds),
            b"no-store" => self.no_store = true,
            // With field names (`no-cache="a"`) treated as without, as RFC 9111 allows.
            b"no-cache" => self.no_cache = true,
            b"private" => self.private = true,
            b"public" => self.public = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand = true,
            b"only-if-cached" => self.only_if_cached = true,
            _ => {}
        }
    }
}

/// Directives of answers, and whether they have an argument: a time in seconds where they must.
const OF_ANSWERS: [(&str, Argument); 13] = [
    ("max-age", Argument::Seconds),
    ("s-maxage", Argument::Seconds),
    ("stale-while-revalidate", Argument::Seconds),
    ("stale-if-error", Argument::Seconds),
    ("no-cache", Argument::Fields),
    ("private", Argument::Fields),
    ("no-store", Argument::None),
    ("public", Argument::None),
    ("must-revalidate", Argument::None),
    ("proxy-revalidate", Argument::None),
    ("must-understand", Argument::None),
    ("no-transform", Argument::None),
    ("immutable", Argument::None),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Argument {
    None,
    Seconds,
    /// Names of fields, or none.
    Fields,
}

/// Whether a person has written a `Cache-Control` of answers that means something.
///
/// Errors: what does not, and what would.
pub fn check(text: &str) -> Result<(), String> {
    let mut found = 0;
    for (name, argument) in items(text.as_bytes()) {
        found += 1;
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let known = OF_ANSWERS.iter().find(|(known, _)| *known == name);
        let Some((_, takes)) = known else {
            let names = OF_ANSWERS.map(|(name, _)| name).join(", ");
            return Err(format!("`{name}` is no directive of an answer; there are {names}"));
        };
        let is_number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        match (takes, argument) {
            (Argument::Seconds, argument) if !argument.is_some_and(is_number) => {
                return Err(format!("`{name}` is a number of seconds; write `{name}=60`"));
            }
            (Argument::None, Some(_)) => return Err(format!("`{name}` stands by itself")),
            _ => {}
        }
    }
    if found == 0 { Err("it is empty; leave it out".to_owned()) } else { Ok(()) }
}

/// Of several values the shortest counts: too short costs a request, too long a stale answer.
fn least(slot: &mut Option<u64>, seconds: u64) {
    *slot = Some(slot.map_or(seconds, |held| held.min(seconds)));
}

/// Freshness that is not a number is none (RFC 9111 section 4.2.1).
fn seconds(argument: &[u8]) -> u64 {
    if argument.is_empty() || !argument.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    std::str::from_utf8(argument)
        .ok()
        .and_then(|digits| digits.parse::<u64>().ok())
        .map_or(SECONDS_MAX, |seconds| seconds.min(SECONDS_MAX))
}

/// `name[=value]` items of a list; a quoted value comes without its quotes.
fn items(value: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    split_unquoted(value).filter_map(|item| {
        let item = item.trim_ascii();
        let at = item.iter().position(|byte| *byte == b'=');
        let (name, argument) = match at {
            Some(at) => (&item[..at], Some(&item[at + 1..])),
            None => (item, None),
        };
        let unquoted = argument.map(|argument| {
            let inner = argument.strip_prefix(b"\"");
            inner.and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(argument)
        });
        (!name.is_empty()).then_some((name, unquoted))
    })
}

/// Parts between commas that are outside of quotes.
pub fn split_unquoted(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |byte| {
        if escaped {
            escaped = false;
            return false;
        }
        match byte {
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' => return !quoted,
            _ => {}
        }
        false
    })
}

/// `CDN-Cache-Control` as a dictionary of structured fields (RFC 9651): wholly valid, or as good as
/// absent (RFC 9213 section 2.1).
fn targeted(headers: &HeaderMap) -> Option<Directives> {
    let mut text = Vec::new();
    for value in headers.get_all(CDN_CACHE_CONTROL) {
        if !text.is_empty() {
            text.push(b',');
        }
        text.extend_from_slice(value.as_bytes());
    }
    if text.trim_ascii().is_empty() {
        return None;
    }
    let mut found = Directives { targeted: true, ..Directives::default() };
    for item in split_unquoted(&text) {
        let item = item.trim_ascii();
        let end = item.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(item.len());
        let (name, rest) = item.split_at(end);
        let first = name.first()?;
        let legal = |byte: &u8| {
            byte.is_ascii_lowercase()
                || byte.is_ascii_digit()
                || matches!(byte, b'_' | b'-' | b'.' | b'*')
        };
        if !(first.is_ascii_lowercase() || *first == b'*') || !name.iter().all(legal) {
            return None;
        }
        let argument = match rest.strip_prefix(b"=") {
            Some(value) => Some(bare_item(value)?),
            None => None,
        };
        match argument {
            Some(b"?0") => {}
            Some(b"?1") => found.take(name, None),
            argument => found.take(name, argument),
        }
    }
    Some(found)
}

/// A value without its parameters, if it may stand in a structured field.
fn bare_item(value: &[u8]) -> Option<&[u8]> {
    let first = *value.first()?;
    if first == b'"' || first == b'(' || first == b':' {
        return Some(value);
    }
    let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
    let bare = &value[..end];
    let number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    let token = |byte: &u8| byte.is_ascii_graphic() && !b"\"(),;<=>?@[\\]{}".contains(byte);
    let valid = match first {
        b'?' => matches!(bare, b"?0" | b"?1"),
        b'0'..=b'9' | b'-' => bare.iter().all(number),
        b'a'..=b'z' | b'A'..=b'Z' | b'*' => bare.iter().all(token),
        _ => false,
    };
    valid.then_some(bare)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn response(fields: &[(&'static str, &str)]) -> Directives {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Directives::of_response(&headers)
    }

    #[test]
    fn directives_in_every_spelling() {
        let found = response(&[
            ("cache-control", "MAX-AGE=5, private=\"a, b\", , x=\"no-store\""),
            ("cache-control", "s-maxage=\"7\",stale-while-revalidate=3"),
        ]);
        assert_eq!((found.max_age, found.s_maxage), (Some(5), Some(7)));
        assert!(found.private && !found.no_store);
        assert_eq!(found.stale_while_revalidate, Some(3));
    }

    #[test]
    fn odd_numbers_are_stale_and_large_ones_bounded() {
        for (text, seconds) in [
            ("max-age=-1", 0),
            ("max-age=1.5", 0),
            ("max-age", 0),
            ("max-age=", 0),
            ("max-age=a", 0),
            ("max-age=99999999999999999999999", SECONDS_MAX),
            ("max-age=10, max-age=3", 3),
        ] {
            assert_eq!(response(&[("cache-control", text)]).max_age, Some(seconds), "{text}");
        }
    }

    #[test]
    fn the_targeted_field_wins_when_it_is_valid() {
        let both =
            |text: &str| response(&[("cache-control", "max-age=1"), ("cdn-cache-control", text)]);
        assert_eq!(both("max-age=60;x=1, private=?0").max_age, Some(60));
        assert!(both("no-store").no_store && both("no-store").max_age.is_none());
        for invalid in ["Max-Age=60", "max-age=60,", "", "max-age=", "max age=60", "=1"] {
            let found = both(invalid);
            assert_eq!((found.max_age, found.targeted), (Some(1), false), "{invalid}");
        }
        assert_eq!(both("max-age=\"60\"").max_age, Some(0), "a string is not a number of seconds");
    }

    #[test]
    fn what_a_person_writes_means_something() {
        for right in ["max-age=60", "public, S-MaxAge=5", "no-cache=\"a, b\", immutable", "private"]
        {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        for (wrong, part) in [
            ("nonsense", "`nonsense`"),
            ("max-age", "max-age=60"),
            ("max-age=1.5", "max-age=60"),
            ("max-age=60, publik", "`publik`"),
            ("no-store=1", "by itself"),
            ("max-stale=3", "`max-stale`"),
            ("max-age: 60", "`max-age: 60`"),
            (" , ", "empty"),
        ] {
            let said = check(wrong).unwrap_err();
            assert!(said.contains(part), "{wrong}: {said}");
        }
    }

    #[test]
    fn pragma_counts_only_without_cache_control() {
        let mut headers = HeaderMap::new();
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        assert!(Directives::of_request(&headers).no_cache);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-stale"));
        let found = Directives::of_request(&headers);
        assert_eq!((found.no_cache, found.max_stale), (false, Some(SECONDS_MAX)));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let mut headers = HeaderMap::new();
                headers.insert(CACHE_CONTROL, value.clone());
                headers.insert(CDN_CACHE_CONTROL, value);
                let found = Directives::of_response(&headers);
                prop_assert!(found.max_age.is_none_or(|seconds| seconds <= SECONDS_MAX));
                Directives::of_request(&headers);
            }
        }

        #[test]
        fn a_plain_number_is_read_as_it_is(seconds in 0..SECONDS_MAX, pad in "[ \t]{0,3}") {
            let found = response(&[("cache-control", &format!("x,{pad}max-age={seconds}{pad},y"))]);
            prop_assert_eq!(found.max_age, Some(seconds));
        }
    }
}
