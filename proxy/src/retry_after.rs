//! `Retry-After` (RFC 9110 section 10.2.3), as those that the proxy asks by itself say when to come back.

use std::time::Duration;

/// Longest time that anybody is left in peace because it asked for that.
const PEACE_MAX: Duration = Duration::from_secs(7 * 86_400);

/// How long to wait from `now` on, in seconds since 1970; `None` where it says nothing that can be understood.
pub fn retry_after(value: &[u8], now: i64) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = if is_number {
        text.parse::<u64>().unwrap_or(u64::MAX)
    } else {
        let date = httpdate::parse_http_date(text).ok()?;
        let at = date.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
        at.saturating_sub(u64::try_from(now).unwrap_or(0))
    };
    Some(Duration::from_secs(seconds).min(PEACE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_asked_says_when_to_come_back() {
        for (value, seconds) in [
            (&b"120"[..], Some(120)),
            (b" 0 ", Some(0)),
            (b"Thu, 01 Jan 1970 00:20:00 GMT", Some(200)),
            (b"Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            (b"Fri, 01 Jan 2100 00:00:00 GMT", Some(PEACE_MAX.as_secs())),
            (b"4294967295", Some(PEACE_MAX.as_secs())),
            (b"18446744073709551615", Some(PEACE_MAX.as_secs())),
            (b"99999999999999999999", Some(PEACE_MAX.as_secs())),
            (b"", None),
            (b"-5", None),
            (b"soon", None),
            (b"\xff", None),
        ] {
            assert_eq!(retry_after(value, 1000), seconds.map(Duration::from_secs), "{value:?}");
        }
    }
}
