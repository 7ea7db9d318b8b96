//! Values of options as people write them.

use std::time::Duration;

use jiff::civil::Date;
use tracing_subscriber::EnvFilter;

use crate::when;

pub fn count(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(count) if count <= tokio::sync::Semaphore::MAX_PERMITS => Ok(count),
        Ok(_) => Err(format!("must be at most {}", tokio::sync::Semaphore::MAX_PERMITS)),
        Err(_) => Err("must be a whole number".into()),
    }
}

pub fn filter(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration; write 250ms, 30s, 5m or 1h");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let (seconds, ms) = match unit {
        "ms" => (Some(number / 1000), number % 1000),
        "s" => (Some(number), 0),
        "m" => (number.checked_mul(60), 0),
        "h" => (number.checked_mul(3600), 0),
        _ => return Err(wrong()),
    };
    let seconds = seconds.filter(|seconds| *seconds <= 86_400).ok_or("must be at most 24h")?;
    Ok(Duration::from_secs(seconds) + Duration::from_millis(ms))
}

/// One that something has to be done in.
pub fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be more than nothing".into()),
        some => Ok(some),
    }
}

/// One of a second or more.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let found = duration(text)?;
    if found < Duration::from_secs(1) { Err("must be 1s or more".into()) } else { Ok(found) }
}

pub fn day(text: &str) -> Result<Date, String> {
    when::day(text).ok_or_else(|| format!("{text:?} is no day; {}", when::DAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for bad in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "1d",
            "25h",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(some_time("1ms"), Ok(Duration::from_millis(1)));
        assert!(some_time("0s").is_err() && seconds("999ms").is_err());
        assert_eq!(seconds("1000ms"), Ok(Duration::from_secs(1)));
    }
}
