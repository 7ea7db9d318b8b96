//! Statuses of errors: one, or a class of them.

use std::fmt;
use std::str::FromStr;

use crate::units::{UnitError, unit_error};

/// `404`, `4xx` or `5xx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusMatch {
    One(u16),
    /// By the first digit.
    Class(u16),
}

impl StatusMatch {
    pub fn takes(self, status: u16) -> bool {
        match self {
            StatusMatch::One(one) => one == status,
            StatusMatch::Class(class) => class == status / 100,
        }
    }
}

impl fmt::Display for StatusMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StatusMatch::One(status) => status.fmt(f),
            StatusMatch::Class(class) => write!(f, "{class}xx"),
        }
    }
}

impl FromStr for StatusMatch {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<StatusMatch, UnitError> {
        match (text, text.parse::<u16>()) {
            ("4xx", _) => Ok(StatusMatch::Class(4)),
            ("5xx", _) => Ok(StatusMatch::Class(5)),
            (_, Ok(status)) if (300..600).contains(&status) => Ok(StatusMatch::One(status)),
            _ => Err(unit_error(
                format!("`{text}` is not the status of an error"),
                "write one from 300 to 599, or `4xx` or `5xx` for all of a class",
            )),
        }
    }
}

crate::written::written_as_text!(StatusMatch, "StatusMatch", {
    "description": "Status of an error or a redirect, from 300 to 599, or `4xx` or `5xx`.",
    "anyOf": [
        { "type": "integer", "minimum": 300, "maximum": 599 },
        { "type": "string", "enum": ["4xx", "5xx"] }
    ],
    "examples": [404, "5xx"]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_status_or_a_class() {
        for (text, taken, not_taken) in [("404", 404, 403), ("4xx", 499, 500), ("5xx", 500, 404)] {
            let status: StatusMatch = text.parse().expect(text);
            assert!(status.takes(taken) && !status.takes(not_taken), "{text}");
            assert_eq!(status.to_string(), text);
        }
        for text in ["200", "299", "600", "3xx", "xx", "", "-1"] {
            assert!(text.parse::<StatusMatch>().is_err(), "{text}");
        }
    }
}
