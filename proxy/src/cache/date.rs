//! Dates of HTTP in their three forms (RFC 9110 section 5.6.7). Lenient where nothing can be mistaken:
//! letters in any case, and a weekday that is not the date's. Strict in all else, so that what is not a
//! date does not become one.

const WEEKDAYS: [&str; 7] =
    ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
/// Years of two digits from here on are of the last century.
const LAST_CENTURY_FROM: u64 = 70;
/// Longest date: a weekday in full.
const BYTES_MAX: usize = 33;

/// Milliseconds since 1970; what is before that is 0, what is no date is `None`.
pub fn date_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.len() > BYTES_MAX {
        return None;
    }
    let text = text.to_ascii_lowercase();
    let seconds = match text.split_once(", ") {
        Some((weekday, rest)) => with_comma(weekday, rest)?,
        None => asctime(&text)?,
    };
    Some(seconds * 1000)
}

/// `sun, 06 nov 1994 08:49:37 gmt` or `sunday, 06-nov-94 08:49:37 gmt`, behind the comma.
fn with_comma(weekday: &str, rest: &str) -> Option<u64> {
    let mut parts = rest.split(' ');
    let first = parts.next()?;
    let (day, month, year) = if first.contains('-') {
        WEEKDAYS.contains(&weekday).then_some(())?;
        let mut date = first.split('-');
        let (day, month, year) = (date.next()?, date.next()?, digits(date.next()?, 2)?);
        date.next().is_none().then_some(())?;
        (day, month, if year < LAST_CENTURY_FROM { 2000 + year } else { 1900 + year })
    } else {
        is_short_weekday(weekday).then_some(())?;
        (first, parts.next()?, digits(parts.next()?, 4)?)
    };
    let time = parts.next()?;
    (parts.next() == Some("gmt") && parts.next().is_none()).then_some(())?;
    seconds(year, month, digits(day, 2)?, time)
}

/// `sun nov  6 08:49:37 1994`.
fn asctime(text: &str) -> Option<u64> {
    let (weekday, rest) = text.split_at_checked(4)?;
    is_short_weekday(weekday.strip_suffix(' ')?).then_some(())?;
    let (month, rest) = rest.split_at_checked(4)?;
    let (day, rest) = rest.split_at_checked(2)?;
    let day = match day.strip_prefix(' ') {
        Some(day) => digits(day, 1)?,
        None => digits(day, 2)?,
    };
    let (time, year) = rest.strip_prefix(' ')?.split_once(' ')?;
    seconds(digits(year, 4)?, month.strip_suffix(' ')?, day, time)
}

fn is_short_weekday(text: &str) -> bool {
    text.len() == 3 && WEEKDAYS.iter().any(|weekday| weekday.starts_with(text))
}

fn digits(text: &str, count: usize) -> Option<u64> {
    let all = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok())?
}

/// Seconds since 1970 of a day and a time `08:49:37`.
fn seconds(year: u64, month: &str, day: u64, time: &str) -> Option<u64> {
    let month = (1..).zip(MONTHS).find(|(_, name)| *name == month)?.0;
    let mut parts = time.split(':');
    let mut part = || digits(parts.next()?, 2);
    let (hour, minute, second) = (part()?, part()?, part()?);
    // 60 is a leap second.
    let valid = parts.next().is_none() && hour < 24 && minute < 60 && second <= 60;
    (valid && (1..=days_of(year, month)).contains(&day)).then_some(())?;
    if year < 1970 {
        return Some(0);
    }
    let days = days_before(year, month) + day - 1;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from the beginning of 1970 to the first of a month.
fn days_before(year: u64, month: u64) -> u64 {
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    years + (1..month).map(|earlier| days_of(year, earlier)).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn three_forms_in_any_case_and_nothing_else() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "SUN, 06 nov 1994 08:49:37 gmt",
            "Mon, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(date_ms(text), Some(784_111_777_000), "{text}");
        }
        assert_eq!(date_ms("Thursday, 18-Aug-50 02:01:18 GMT"), Some(2_544_400_878_000));
        assert_eq!(date_ms("Sun, 06 Nov 1904 08:49:37 GMT"), Some(0));
        for text in [
            "0",
            "",
            "-1",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 31 Jun 2050 02:01:18 GMT",
            "Thu, 29 Feb 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 24:01:18 GMT",
            "Xyz, 18 Aug 2050 02:01:18 GMT",
            "Thu Aug 8 02:01:18 2050",
        ] {
            assert_eq!(date_ms(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in 0u64..253_402_300_800) {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
            prop_assert_eq!(date_ms(&text), Some(seconds * 1000));
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,40}", odd in "[a-zA-Z]{3,6},? ?[0-9]{1,2}[ -][a-zA-Z]{3}[ -][0-9]{2,4} [0-9:]{5,8} GMT") {
            date_ms(&text);
            date_ms(&odd);
        }
    }
}
