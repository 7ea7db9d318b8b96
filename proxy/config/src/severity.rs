//! How grave a message is.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How grave a message is, the gravest last (RFC 5424 section 6.2.1).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Debug,
    Info,
    Notice,
    Warn,
    #[default]
    Error,
    Crit,
    Alert,
    Emerg,
}

impl Severity {
    const ALL: [(Severity, &'static str); 8] = [
        (Severity::Debug, "debug"),
        (Severity::Info, "info"),
        (Severity::Notice, "notice"),
        (Severity::Warn, "warn"),
        (Severity::Error, "error"),
        (Severity::Crit, "crit"),
        (Severity::Alert, "alert"),
        (Severity::Emerg, "emerg"),
    ];

    pub fn named(name: &str) -> Option<Severity> {
        Severity::ALL.iter().find(|(_, is)| *is == name).map(|(severity, _)| *severity)
    }

    pub fn name(self) -> &'static str {
        Severity::ALL.iter().find(|(severity, _)| *severity == self).map_or("", |(_, name)| name)
    }

    /// The number syslog has for it, 0 the gravest.
    pub fn number(self) -> u8 {
        7 - self as u8
    }

    /// One level less grave.
    pub fn lower(self) -> Severity {
        let below = Severity::ALL.iter().rev().find(|(severity, _)| *severity < self);
        below.map_or(self, |(severity, _)| *severity)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Severity, String> {
        Severity::named(text).ok_or_else(|| format!("`{text}` is no severity"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_have_their_order_and_numbers() {
        assert!(Severity::Debug < Severity::Error && Severity::Error < Severity::Emerg);
        assert_eq!(
            [Severity::Emerg, Severity::Error, Severity::Info].map(Severity::number),
            [0, 3, 6]
        );
        assert_eq!(Severity::Error.lower(), Severity::Warn);
        assert_eq!(Severity::Debug.lower(), Severity::Debug);
        assert_eq!("alert".parse(), Ok(Severity::Alert));
        assert!("loud".parse::<Severity>().is_err());
    }
}
