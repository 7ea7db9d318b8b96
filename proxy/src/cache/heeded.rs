//! Which fields of an answer count when it is judged, where a policy says that not all do.

use std::borrow::Cow;

use http::header::{CACHE_CONTROL, EXPIRES, HeaderName};
use http::{HeaderMap, HeaderValue};

use crate::cache::directives::CDN_CACHE_CONTROL;
use crate::cache::freshness::Rules;

/// What a server says to its proxy alone: for how many seconds, or until when, an answer may be kept.
pub const X_ACCEL_EXPIRES: HeaderName = HeaderName::from_static("x-accel-expires");

impl Rules {
    /// The fields of an answer that count, as they count.
    pub fn heeded<'h>(&self, headers: &'h HeaderMap, now_ms: u64) -> Cow<'h, HeaderMap> {
        let accel = headers.get(X_ACCEL_EXPIRES).filter(|_| self.x_accel_expires);
        let accel = accel.and_then(|value| accel_seconds(value, now_ms));
        if self.ignored.is_empty() && accel.is_none() {
            return Cow::Borrowed(headers);
        }
        let mut heeded = headers.clone();
        for name in &self.ignored {
            heeded.remove(name);
        }
        if let Some(seconds) = accel {
            heeded.remove(CDN_CACHE_CONTROL);
            heeded.remove(EXPIRES);
            let said =
                if seconds == 0 { "no-store".to_owned() } else { format!("max-age={seconds}") };
            if let Ok(said) = HeaderValue::try_from(said) {
                heeded.insert(CACHE_CONTROL, said);
            }
        }
        Cow::Owned(heeded)
    }
}

/// How long is left by `X-Accel-Expires`; 0 where it is not to be kept, nothing where it says nothing.
fn accel_seconds(value: &HeaderValue, now_ms: u64) -> Option<u64> {
    let text = value.to_str().ok()?.trim();
    match text.strip_prefix('@') {
        Some(at) => Some(at.parse::<u64>().ok()?.saturating_sub(now_ms / 1000)),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use http::header::{SET_COOKIE, VARY};

    use super::*;
    use crate::cache::freshness::{Refusal, assess};

    const NOW: u64 = 1_800_000_000_000;

    /// How long an answer is fresh, in seconds, or why it is not kept.
    fn fresh(fields: &[(&str, &str)], rules: &Rules) -> Result<i64, Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let times = assess(StatusCode::OK, &headers, false, rules, (NOW, NOW))?;
        Ok(times.fresh_for_ms(NOW) / 1000)
    }

    #[test]
    fn x_accel_expires_counts_before_all_else_where_it_counts() {
        let rules = Rules { x_accel_expires: true, ttl_default_ms: Some(5000), ..Rules::default() };
        let of = |value: &str, control: &str| {
            fresh(&[("x-accel-expires", value), ("cache-control", control)], &rules)
        };
        assert_eq!(of("60", "private, max-age=1"), Ok(60));
        assert_eq!(of("0", "max-age=60"), Err(Refusal::NoStore));
        assert_eq!(of("@1800000007", "no-store"), Ok(7));
        assert_eq!(of("@1799999999", "max-age=60"), Err(Refusal::NoStore));
        assert_eq!(of("off", "max-age=60"), Ok(60));
        assert_eq!(of("", "x"), Ok(5));
        let deaf = Rules { ttl_default_ms: Some(5000), ..Rules::default() };
        assert_eq!(fresh(&[("x-accel-expires", "60")], &deaf), Ok(5));
    }

    #[test]
    fn each_field_may_count_for_nothing_by_itself() {
        let rules = |ignored: &[HeaderName]| Rules {
            ignored: ignored.to_vec(),
            ttl_default_ms: Some(5000),
            cookies_never: true,
            ..Rules::default()
        };
        let fields = [
            ("cache-control", "private"),
            ("expires", "Fri, 15 Jan 2027 08:01:00 GMT"),
            ("set-cookie", "a=b"),
            ("vary", "*"),
        ];
        for (ignored, expected) in [
            (&[][..], Err(Refusal::Private)),
            (&[CACHE_CONTROL], Err(Refusal::SetCookie)),
            (&[CACHE_CONTROL, SET_COOKIE], Err(Refusal::VaryAll)),
            (&[CACHE_CONTROL, SET_COOKIE, VARY], Ok(60)),
            (&[CACHE_CONTROL, SET_COOKIE, VARY, EXPIRES], Ok(5)),
        ] {
            assert_eq!(fresh(&fields, &rules(ignored)), expected, "{ignored:?}");
        }
        let public = [("cache-control", "public, max-age=9"), ("set-cookie", "a=b")];
        assert_eq!(fresh(&public, &rules(&[])), Err(Refusal::SetCookie), "never is never");
    }
}
