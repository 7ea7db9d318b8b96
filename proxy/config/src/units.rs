//! Quantities with their units as people write them: `64MiB`, `250ms`, `100/s`, `5MB/s`, `50%`.
//!
//! Each type reads text, checks for overflow, and writes the same canonical text back. A failed
//! reading is a [`UnitError`]: what is wrong and what to write instead.

use std::fmt;
use std::str::FromStr;

/// Why a quantity could not be read. Displays as `message` and, on a second line, `hint: ...`;
/// the typed reader takes the two apart again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}\nhint: {hint}")]
pub struct UnitError {
    pub message: String,
    pub hint: String,
}

pub(crate) fn unit_error(message: impl Into<String>, hint: impl Into<String>) -> UnitError {
    UnitError { message: message.into(), hint: hint.into() }
}

const BYTE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

const TIME_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A number of bytes: `64MiB`, `64KiB` (powers of 1024), `10MB` (powers of 1000), or a plain
/// integer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    pub const fn bytes(bytes: u64) -> ByteSize {
        ByteSize(bytes)
    }

    pub const fn kib(count: u64) -> ByteSize {
        ByteSize(count * 1024)
    }

    pub const fn mib(count: u64) -> ByteSize {
        ByteSize(count * 1024 * 1024)
    }

    pub const fn as_bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact =
            BYTE_UNITS.iter().filter(|(_, size)| self.0 > 0 && self.0.is_multiple_of(*size));
        // The shortest exact form; powers of 1024 come first in the table and win ties.
        match exact.min_by_key(|(_, size)| self.0 / size) {
            Some((unit, size)) => write!(f, "{}{unit}", self.0 / size),
            None => f.write_str("0B"),
        }
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<ByteSize, UnitError> {
        let (number, unit) = split(text);
        if unit.is_empty() {
            return whole(number, text, "a size", "64MiB").map(ByteSize);
        }
        let Some((_, size)) = BYTE_UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(byte_unit_unknown(text, number, unit));
        };
        let count = whole(number, text, "a size", "64MiB")?;
        let bytes = count.checked_mul(*size).ok_or_else(|| too_large(text))?;
        Ok(ByteSize(bytes))
    }
}

fn byte_unit_unknown(text: &str, number: &str, unit: &str) -> UnitError {
    let letter = unit.chars().next().unwrap_or(' ').to_ascii_uppercase();
    let message = format!("`{text}` has no unit of size Forebay knows");
    if "KMGT".contains(letter) && number.parse::<u64>().is_ok() {
        let hint = format!(
            "write `{number}{letter}iB` (powers of 1024) or `{number}{letter}B` (powers of 1000)"
        );
        return unit_error(message, hint);
    }
    unit_error(message, "units are B, KiB, MiB, GiB, TiB and KB, MB, GB, TB: `64MiB`")
}

/// A span of time, in whole milliseconds inside: `250ms`, `30s`, `5m`, `1h`, `7d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u64);

impl Duration {
    pub const fn millis(millis: u64) -> Duration {
        Duration(millis)
    }

    pub const fn secs(secs: u64) -> Duration {
        Duration(secs * 1000)
    }

    pub const fn as_millis(self) -> u64 {
        self.0
    }

    pub const fn as_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }

    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        duration.as_std()
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TIME_UNITS.iter().find(|(_, size)| self.0 > 0 && self.0.is_multiple_of(*size)) {
            Some((unit, size)) => write!(f, "{}{unit}", self.0 / size),
            None => f.write_str("0s"),
        }
    }
}

impl FromStr for Duration {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Duration, UnitError> {
        let (number, unit) = split(text);
        if unit.is_empty() && number.parse::<u64>().is_ok() {
            return Err(unit_error(
                format!("`{text}` has no unit of time"),
                format!("write `{number}s`, `{number}ms` or `{number}m`"),
            ));
        }
        let Some((_, size)) = TIME_UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(unit_error(
                format!("`{text}` is not a time"),
                "write a whole number and one unit, ms, s, m, h or d: `250ms`, `90s`",
            ));
        };
        let count = whole(number, text, "a time", "250ms")?;
        count.checked_mul(*size).map(Duration).ok_or_else(|| too_large(text))
    }
}

/// The time a rate counts over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Per {
    Second,
    Minute,
    Hour,
}

impl Per {
    pub const fn as_millis(self) -> u64 {
        match self {
            Per::Second => 1_000,
            Per::Minute => 60_000,
            Per::Hour => 3_600_000,
        }
    }

    const fn letter(self) -> char {
        match self {
            Per::Second => 's',
            Per::Minute => 'm',
            Per::Hour => 'h',
        }
    }
}

/// How often something may happen: `100/s`, `6000/m`, `10/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    pub count: u64,
    pub per: Per,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.per.letter())
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Rate, UnitError> {
        let wrong = || {
            let number: String = text.chars().take_while(char::is_ascii_digit).collect();
            let number = if number.is_empty() { "100".to_owned() } else { number };
            unit_error(
                format!("`{text}` is not a rate"),
                format!("write a number per second, minute or hour: `{number}/s`, `{number}/m`"),
            )
        };
        let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
        let per = match unit {
            "s" => Per::Second,
            "m" => Per::Minute,
            "h" => Per::Hour,
            _ => return Err(wrong()),
        };
        Ok(Rate { count: whole(number, text, "a rate", "100/s")?, per })
    }
}

/// Bytes per second: `5MB/s`, `512KiB/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteRate(pub ByteSize);

impl ByteRate {
    pub const fn as_bytes_per_second(self) -> u64 {
        self.0.as_bytes()
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

impl FromStr for ByteRate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<ByteRate, UnitError> {
        let size = text.strip_suffix("/s").ok_or_else(|| {
            unit_error(format!("`{text}` is not a bandwidth"), "write bytes per second: `5MB/s`")
        })?;
        size.parse().map(ByteRate)
    }
}

/// A part of a whole from `0%` to `100%`, in hundredths of a percent inside: `50%`, `0.5%`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u16);

impl Percent {
    /// All of it, in hundredths of a percent.
    pub const WHOLE: u16 = 10_000;

    /// Whether one of which this was drawn, evenly from 0 to below [`Percent::WHOLE`], is of this part.
    pub const fn takes(self, drawn: u16) -> bool {
        drawn < self.0
    }

    /// Whole percents; more than 100 is taken as 100.
    pub const fn whole(percent: u16) -> Percent {
        Percent(if percent > 100 { Percent::WHOLE } else { percent * 100 })
    }

    pub const fn hundredths(self) -> u16 {
        self.0
    }

    /// From 0.0 to 1.0.
    pub fn as_fraction(self) -> f64 {
        f64::from(self.0) / f64::from(Percent::WHOLE)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 100, self.0 % 100);
        match part {
            0 => write!(f, "{whole}%"),
            part if part % 10 == 0 => write!(f, "{whole}.{}%", part / 10),
            part => write!(f, "{whole}.{part:02}%"),
        }
    }
}

impl FromStr for Percent {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Percent, UnitError> {
        let wrong = || {
            unit_error(
                format!("`{text}` is not a percentage"),
                "write a number from 0 to 100 with at most two decimals and `%`: `50%`, `0.5%`",
            )
        };
        let number = text.strip_suffix('%').ok_or_else(wrong)?;
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 2 || whole.len() > 3 {
            return Err(wrong());
        }
        let whole: u16 = whole.parse().map_err(|_| wrong())?;
        let part: u16 = format!("{part:0<2}").parse().map_err(|_| wrong())?;
        let hundredths = whole * 100 + part;
        if hundredths > Percent::WHOLE {
            return Err(unit_error(format!("`{text}` is more than 100%"), "write at most `100%`"));
        }
        Ok(Percent(hundredths))
    }
}

/// `64MiB` → (`64`, `MiB`).
fn split(text: &str) -> (&str, &str) {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(at)
}

fn whole(number: &str, text: &str, what: &str, example: &str) -> Result<u64, UnitError> {
    if number.contains('.') {
        return Err(unit_error(
            format!("`{text}` is not a whole number"),
            "write a whole number with a smaller unit: `1536MiB` for 1.5GiB, `1500ms` for 1.5s",
        ));
    }
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(unit_error(
            format!("`{text}` is not {what}"),
            format!("write a whole number with its unit: `{example}`"),
        ));
    }
    number.parse().map_err(|_| too_large(text))
}

fn too_large(text: &str) -> UnitError {
    unit_error(format!("`{text}` is too large"), "the largest value is 2^64 - 1")
}

crate::written::written_as_text!(ByteSize, "ByteSize", {
    "description": "A number of bytes: `64MiB`, `64KiB` (powers of 1024), `10MB` (powers of 1000), or a plain integer.",
    "anyOf": [
        { "type": "string", "pattern": "^[0-9]+(B|[KMGT]i?B)?$" },
        { "type": "integer", "minimum": 0 }
    ],
    "examples": ["64MiB"]
});
crate::written::written_as_text!(Duration, "Duration", {
    "description": "A span of time: a whole number and `ms`, `s`, `m`, `h` or `d`.",
    "type": "string",
    "pattern": "^[0-9]+(ms|s|m|h|d)$",
    "examples": ["250ms", "30s"]
});
crate::written::written_as_text!(Rate, "Rate", {
    "description": "How often: a whole number per second, minute or hour.",
    "type": "string",
    "pattern": "^[0-9]+/[smh]$",
    "examples": ["100/s", "6000/m"]
});
crate::written::written_as_text!(ByteRate, "ByteRate", {
    "description": "A bandwidth: bytes per second.",
    "type": "string",
    "pattern": "^[0-9]+(B|[KMGT]i?B)?/s$",
    "examples": ["5MB/s"]
});
crate::written::written_as_text!(Percent, "Percent", {
    "description": "A part of a whole, from `0%` to `100%`, with at most two decimals.",
    "type": "string",
    "pattern": "^[0-9]{1,3}([.][0-9]{1,2})?%$",
    "examples": ["50%"]
});
