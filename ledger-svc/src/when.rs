//! Days and times as people write them in parameters and on the command line.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// How a time is to be written, for messages.
pub const TIME: &str = "write 2026-01-31 or 2026-01-31T12:00:00Z";
/// How a day is to be written, for messages.
pub const DAY: &str = "write 2026-01-31";

/// A time with an offset (RFC 3339), or a day, which begins at midnight UTC. The last day there is begins later than any
/// time there is, which comes to the same.
pub fn time(text: &str) -> Option<Timestamp> {
    let last =
        Timestamp::from_microsecond(Timestamp::MAX.as_microsecond()).unwrap_or(Timestamp::MAX);
    let midnight = || Some(day(text)?.to_zoned(TimeZone::UTC).map_or(last, |at| at.timestamp()));
    text.parse().ok().or_else(midnight)
}

/// A calendar day and nothing else: the date library would also take a time behind it and drop it.
pub fn day(text: &str) -> Option<Date> {
    let day: Date = text.parse().ok()?;
    (day.to_string() == text && day.year() >= 0).then_some(day)
}

/// RFC 3339 with all six decimals, so that equal instants are equal texts.
pub fn write_instant<S: serde::Serializer>(
    at: &Timestamp,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{at:.6}"))
}

/// The same, or null.
pub fn write_instant_or_null<S: serde::Serializer>(
    at: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => write_instant(at, serializer),
        None => serializer.serialize_none(),
    }
}

/// The first instant after a day, in UTC.
pub fn end_of(date: Date) -> Timestamp {
    let next = date.tomorrow().and_then(|next| next.to_zoned(TimeZone::UTC));
    next.map_or(Timestamp::MAX, |next| next.timestamp())
}

/// The first instant of a day, in UTC. The first and the last day there are begin beyond the times there are.
pub fn begin_of(day: Date) -> Timestamp {
    match day.to_zoned(TimeZone::UTC) {
        Ok(day) => day.timestamp(),
        Err(_) if day.year() < 0 => Timestamp::MIN,
        Err(_) => Timestamp::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_times() {
        assert_eq!(day("2026-01-31"), Some(jiff::civil::date(2026, 1, 31)));
        for bad in ["2026-02-30", "2026-1-1", "20260101", "-2026-01-01", "2026-01-01T00:00:00Z", ""]
        {
            assert_eq!(day(bad), None, "{bad}");
        }
        assert_eq!(time("2026-01-31"), time("2026-01-31T01:00:00+01:00"));
        assert!(time("9999-12-31") > time("9999-12-30") && time("9999-12-30").is_some());
        assert!(time("2026-01-31T00:00:00").is_none() && time("noon").is_none());
    }
    #[test]
    fn days_end_where_the_next_begins() {
        let end = end_of(jiff::civil::date(2026, 2, 28));
        assert_eq!(end.to_string(), "2026-03-01T00:00:00Z");
        assert_eq!(end_of(Date::MAX), Timestamp::MAX);
    }
}
