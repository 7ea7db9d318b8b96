//! What becomes of a response when a route compresses: pure.

use std::time::SystemTime;

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, EXPIRES,
    HeaderName, IF_NONE_MATCH, LAST_MODIFIED, VIA,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use pingora::http::ResponseHeader;
use proxy_config::route_action::{Coding, Compression, WhenProxied};

use crate::accept_encoding::{quality, quality_of_identity};
use crate::headers::media_type;

/// Fields that hold a digest of the body as it is: encoding would make them wrong.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The rules have nothing to do with it.
    Untouched,
    /// It goes out as it is; to another client it might not.
    Varies,
    /// A 304: what it stands for may have been encoded.
    NotModified,
    Encode(Coding),
}

/// The name of a coding in HTTP (RFC 9110 section 8.4.1, RFC 7932, RFC 8878).
pub fn coding_name(coding: Coding) -> &'static str {
    match coding {
        Coding::Gzip => "gzip",
        Coding::Brotli => "br",
        Coding::Zstd => "zstd",
    }
}

/// The coding the client likes best among those offered; of several alike the one offered first. None
/// where it likes bytes as they are better.
pub fn preferred(request: &HeaderMap, offered: &[Coding]) -> Option<Coding> {
    let mut best: Option<(u16, Coding)> = None;
    for coding in offered {
        let liked = quality(request, coding_name(*coding));
        if liked > best.map_or(0, |(liked, _)| liked) {
            best = Some((liked, *coding));
        }
    }
    let (liked, coding) = best?;
    quality_of_identity(request).is_none_or(|plain| plain <= liked).then_some(coding)
}

/// What becomes of a response to a client that takes this coding.
pub fn decide(rules: &Compression, coding: Option<Coding>, head: &ResponseHeader) -> Verdict {
    let headers = &head.headers;
    if head.status == StatusCode::NOT_MODIFIED {
        return Verdict::NotModified;
    }
    // A part says what the whole would say (RFC 9110 section 15.3.7).
    let is_part = head.status == StatusCode::PARTIAL_CONTENT;
    let length = if is_part { whole_length(headers) } else { declared(headers) };
    let status = if is_part { StatusCode::OK } else { head.status };
    let wanted = rules.statuses.is_empty() || rules.statuses.contains(&status.as_u16());
    let untouched = !wanted
        || head.status == StatusCode::NO_CONTENT
        || head.status.is_informational()
        || headers.contains_key(CONTENT_ENCODING)
        || says_no_transform(headers)
        || DIGESTS.iter().any(|name| headers.contains_key(name))
        || length.is_some_and(|length| length == 0 || length < rules.body_min.as_bytes())
        || !is_of(&rules.types, headers);
    match coding {
        _ if untouched => Verdict::Untouched,
        Some(coding) if !is_part => Verdict::Encode(coding),
        _ => Verdict::Varies,
    }
}

fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The length of what a part is one of.
fn whole_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_RANGE)?.to_str().ok()?.rsplit_once('/')?.1.trim().parse().ok()
}

/// Whether an answer may be compressed for a request that another proxy passes on (`Via`).
pub fn suits_proxy(rules: &Compression, request: &HeaderMap, answer: &HeaderMap) -> bool {
    let (Some(cases), true) = (&rules.when_proxied, request.contains_key(VIA)) else { return true };
    let fields = answer.get_all(CACHE_CONTROL).iter().filter_map(|field| field.to_str().ok());
    let members: Vec<String> =
        fields.flat_map(|field| field.split(',').map(|m| m.trim().to_ascii_lowercase())).collect();
    let says = |word: &str| members.iter().any(|member| member.split('=').next() == Some(word));
    let expired = || {
        let text = answer.get(EXPIRES).and_then(|value| value.to_str().ok());
        text.is_some_and(|text| {
            httpdate::parse_http_date(text).map_or(true, |until| until <= SystemTime::now())
        })
    };
    cases.iter().any(|case| match case {
        WhenProxied::Expired => expired(),
        WhenProxied::NoCache => says("no-cache"),
        WhenProxied::NoStore => says("no-store"),
        WhenProxied::Private => says("private"),
        WhenProxied::NoLastModified => !answer.contains_key(LAST_MODIFIED),
        WhenProxied::NoEtag => !answer.contains_key(ETAG),
        WhenProxied::Auth => request.contains_key(AUTHORIZATION),
    })
}

fn says_no_transform(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(CACHE_CONTROL).iter().filter_map(|field| field.to_str().ok());
    let mut members = fields.flat_map(|field| field.split(',').map(str::trim));
    members.any(|member| member.eq_ignore_ascii_case("no-transform"))
}

/// Whether the media type is one of these: `text/html`, or `text/*` for all of a kind.
fn is_of(types: &[String], headers: &HeaderMap) -> bool {
    let media = media_type(headers).to_ascii_lowercase();
    types.iter().any(|wanted| match wanted.strip_suffix('*') {
        Some(kind) => media.starts_with(kind),
        None => *wanted == media,
    })
}

/// The tags of `If-None-Match`, as sent.
pub fn tags(request: &HeaderMap) -> Vec<Vec<u8>> {
    let fields = request.get_all(IF_NONE_MATCH).iter();
    fields
        .flat_map(|field| field.as_bytes().split(|byte| *byte == b','))
        .map(|tag| tag.trim_ascii().to_vec())
        .collect()
}

/// The weak form of a strong tag: what is encoded is the same thing in other bytes (RFC 9110 section
/// 8.8.1).
pub fn weak(tag: &HeaderValue) -> Option<HeaderValue> {
    let bytes = tag.as_bytes();
    if !bytes.starts_with(b"\"") {
        return None;
    }
    HeaderValue::from_bytes(&[b"W/", bytes].concat()).ok()
}

#[cfg(test)]
mod tests {
    use http::header::ACCEPT_ENCODING;

    use super::*;

    fn head(status: u16, fields: &[(&'static str, &str)]) -> ResponseHeader {
        let mut head = ResponseHeader::build(status, None).unwrap();
        for (name, value) in fields {
            head.append_header(*name, *value).unwrap();
        }
        head
    }

    #[test]
    fn the_client_chooses_and_the_route_breaks_ties() {
        use Coding::{Brotli, Gzip, Zstd};
        for (field, expected) in [
            ("gzip, br, zstd", Some(Zstd)),
            ("gzip, br", Some(Brotli)),
            ("gzip;q=0.9, br;q=0.8", Some(Gzip)),
            ("gzip;q=0, br;q=0.001", Some(Brotli)),
            ("*", Some(Zstd)),
            ("*;q=0.1, gzip;q=0.2", Some(Gzip)),
            ("identity, gzip;q=0.5", None),
            ("identity;q=0.5, gzip", Some(Gzip)),
            ("*;q=0", None),
            ("deflate", None),
            ("", None),
        ] {
            let mut request = HeaderMap::new();
            request.insert(ACCEPT_ENCODING, field.parse().unwrap());
            assert_eq!(preferred(&request, &[Zstd, Brotli, Gzip]), expected, "{field}");
        }
        assert_eq!(preferred(&HeaderMap::new(), &[Gzip]), None);
    }

    #[test]
    fn only_what_may_and_should_be_encoded_is() {
        let rules = Compression::default();
        let gzip = Some(Coding::Gzip);
        let encode = Verdict::Encode(Coding::Gzip);
        type Case = (u16, &'static [(&'static str, &'static str)], Verdict);
        let cases: &[Case] = &[
            (200, &[("content-type", "text/html; charset=utf-8")], encode),
            (200, &[("content-type", "TEXT/css"), ("content-length", "1024")], encode),
            (404, &[("content-type", "application/json")], encode),
            (200, &[("content-type", "text/css"), ("content-length", "1023")], Verdict::Untouched),
            (200, &[("content-type", "image/png")], Verdict::Untouched),
            (200, &[], Verdict::Untouched),
            (200, &[("content-type", "text/css"), ("content-encoding", "br")], Verdict::Untouched),
            (
                200,
                &[("content-type", "text/css"), ("cache-control", "public, No-Transform")],
                Verdict::Untouched,
            ),
            (
                200,
                &[("content-type", "text/css"), ("content-digest", "sha-256=:x:")],
                Verdict::Untouched,
            ),
            (206, &[("content-type", "text/css")], Verdict::Varies),
            (
                206,
                &[
                    ("content-type", "text/css"),
                    ("content-length", "10"),
                    ("content-range", "bytes 0-9/1024"),
                ],
                Verdict::Varies,
            ),
            (
                206,
                &[
                    ("content-type", "text/css"),
                    ("content-length", "10"),
                    ("content-range", "bytes 0-9/1023"),
                ],
                Verdict::Untouched,
            ),
            (204, &[("content-type", "text/css")], Verdict::Untouched),
            (304, &[], Verdict::NotModified),
        ];
        for (status, fields, expected) in cases {
            assert_eq!(decide(&rules, gzip, &head(*status, fields)), *expected, "{fields:?}");
        }
        let html = head(200, &[("content-type", "text/html")]);
        assert_eq!(decide(&rules, None, &html), Verdict::Varies);
    }

    #[test]
    fn strong_tags_become_weak_once() {
        let tag = HeaderValue::from_static("\"a\"");
        let once = weak(&tag).unwrap();
        assert_eq!(once, "W/\"a\"");
        assert_eq!(weak(&once), None);
    }
}
