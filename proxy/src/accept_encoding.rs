//! Which codings a client takes (`Accept-Encoding`, RFC 9110 section 12.5.3).

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

/// Whether the client takes this coding.
pub fn takes(headers: &HeaderMap, coding: &str) -> bool {
    quality(headers, coding) > 0
}

/// How much the client likes this coding, in thousandths; 0 when it does not take it. What it does not
/// name it takes only by `*`; without the header nothing is encoded, because a client that cannot
/// decode sends none either.
pub fn quality(headers: &HeaderMap, coding: &str) -> u16 {
    named(headers, coding).or_else(|| named(headers, "*")).unwrap_or(0)
}

/// How much the client likes bytes as they are, where it says so.
pub fn quality_of_identity(headers: &HeaderMap) -> Option<u16> {
    named(headers, "identity")
}

fn named(headers: &HeaderMap, coding: &str) -> Option<u16> {
    let fields = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|field| field.to_str().ok());
    fields.flat_map(|field| field.split(',')).find_map(|member| {
        let mut parts = member.split(';').map(str::trim);
        if !parts.next().unwrap_or_default().eq_ignore_ascii_case(coding) {
            return None;
        }
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        Some(weight.map_or(1000, thousandths))
    })
}

/// `0.85` as 850; 0 for what is no weight (RFC 9110 section 12.4.2).
fn thousandths(weight: &str) -> u16 {
    let (whole, decimals) = weight.split_once('.').unwrap_or((weight, ""));
    let digits = decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    let decimals = format!("{decimals:0<3}").parse().ok().filter(|_| digits);
    match (whole, decimals) {
        ("0", Some(decimals)) => decimals,
        ("1", Some(0)) => 1000,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_zero_refuse() {
        for (field, expected) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000, *", false),
            ("*", true),
            ("*;q=0", false),
            ("br", false),
            ("gzip;q=x", false),
            ("gzip;q=1.5", false),
            ("gzip;q=0.0001", false),
            ("gzip;q=1.0", true),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, field.parse().unwrap());
            assert_eq!(takes(&headers, "gzip"), expected, "{field}");
        }
        assert!(!takes(&HeaderMap::new(), "gzip"));
    }
}
