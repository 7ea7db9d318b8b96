//! LL-HLS blocking reload (draft-pantos-hls-rfc8216bis, section 6.2.5.2): a player asks for a playlist
//! that has a segment or part which is not there yet, and is answered when it is.

/// The delivery directives. They count in the cache key whatever the policy says, in one order.
const DIRECTIVES: &str = "_HLS_";

/// What a blocking reload waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// Media sequence number of a segment.
    pub msn: u64,
    /// A part of it; without it, the whole segment.
    pub part: Option<u64>,
}

pub fn is_directive(parameter: &str) -> bool {
    parameter.starts_with(DIRECTIVES)
}

/// A URI without its delivery directives: what names the stream.
pub fn without_directives(uri: &str) -> String {
    let Some((path, query)) = uri.split_once('?') else { return uri.to_owned() };
    let rest: Vec<&str> = query.split('&').filter(|part| !is_directive(part)).collect();
    if rest.is_empty() { path.to_owned() } else { format!("{path}?{}", rest.join("&")) }
}

/// What a query asks to be held for. Errors are what the client did wrong: 400.
pub fn read(query: &str) -> Result<Option<Reload>, &'static str> {
    let number = |name: &str| -> Result<Option<u64>, &'static str> {
        let mut values = query.split('&').filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then_some(value)
        });
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err("a delivery directive is there twice");
        }
        let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let parsed = value.parse().ok().filter(|_| is_number);
        parsed.map(Some).ok_or("a delivery directive is not a number")
    };
    let (msn, part) = (number("_HLS_msn")?, number("_HLS_part")?);
    match (msn, part) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err("_HLS_part needs _HLS_msn"),
        (Some(msn), part) => Ok(Some(Reload { msn, part })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn directives_are_read_in_any_order() {
        let held = |msn, part| Ok(Some(Reload { msn, part }));
        let cases = [
            ("", Ok(None)),
            ("a=1", Ok(None)),
            ("_HLS_skip=YES", Ok(None)),
            ("_HLS_msn=7", held(7, None)),
            ("_HLS_msn=7&_HLS_part=2", held(7, Some(2))),
            ("_HLS_part=2&x=1&_HLS_skip=v2&_HLS_msn=7", held(7, Some(2))),
            ("_HLS_part=2", Err("_HLS_part needs _HLS_msn")),
            ("_HLS_msn=x", Err("a delivery directive is not a number")),
            ("_HLS_msn=", Err("a delivery directive is not a number")),
            ("_HLS_msn=+1", Err("a delivery directive is not a number")),
            ("_HLS_msn=99999999999999999999", Err("a delivery directive is not a number")),
            ("_HLS_msn=1&_HLS_msn=1", Err("a delivery directive is there twice")),
        ];
        for (query, expected) in cases {
            assert_eq!(read(query), expected, "{query}");
        }
    }

    #[test]
    fn a_stream_is_named_without_them() {
        for (uri, named) in [
            ("http://a/x.m3u8", "http://a/x.m3u8"),
            ("http://a/x.m3u8?_HLS_msn=1&_HLS_part=2", "http://a/x.m3u8"),
            ("http://a/x.m3u8?t=1&_HLS_msn=1", "http://a/x.m3u8?t=1"),
        ] {
            assert_eq!(without_directives(uri), named);
        }
    }

    proptest! {
        #[test]
        fn order_and_company_do_not_matter(msn: u64, part: u64, other in "[a-z]{1,4}=[a-z0-9]{0,4}") {
            let (m, p) = (format!("_HLS_msn={msn}"), format!("_HLS_part={part}"));
            let expected = Ok(Some(Reload { msn, part: Some(part) }));
            prop_assert_eq!(read(&format!("{m}&{other}&{p}")), expected);
            prop_assert_eq!(read(&format!("{p}&{m}&{other}")), expected);
        }
    }
}
