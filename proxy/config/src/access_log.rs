//! The access log: one line per request.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::Template;
use crate::syslog::{SCHEME, Syslog};
use crate::units::{Percent, UnitError, unit_error};

/// Where and how requests are logged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLog {
    /// `stdout`, `stderr`, `off`, a file (reopened on SIGUSR1), or `syslog:server=...`.
    pub path: LogTarget,
    /// What a line looks like; without it, JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<LogFormat>,
    /// How values stand in lines that are not JSON.
    #[serde(skip_serializing_if = "crate::written::is_default")]
    pub escape: LogEscape,
    /// Text with variables; requests for which it is empty or `0` have no line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<Template>,
    /// Part of the successful requests that is logged; failures always are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<Percent>,
    /// Query parameters and headers whose values are replaced by `-`, in the query of `Referer` too. What an expression
    /// captured, or a step set, is told as it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<String>,
}

impl Default for AccessLog {
    fn default() -> AccessLog {
        AccessLog {
            path: LogTarget::Stdout,
            format: None,
            escape: LogEscape::default(),
            when: None,
            sample: None,
            redact: Vec::new(),
        }
    }
}

impl AccessLog {
    /// What a line is made of; none for JSON.
    pub fn template(&self) -> Option<&str> {
        match self.format.as_ref()? {
            LogFormat::Json => None,
            LogFormat::Combined => Some(COMBINED),
            LogFormat::Template(template) => Some(&template.0),
        }
    }
}

/// nginx's predefined format of this name.
const COMBINED: &str = "$client - $user [$time_local] \"$request_line\" $answer_status $bytes_out \
                        \"$header_referer\" \"$header_user_agent\"";

/// How values stand in a line of text, so that none can end it or forge another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogEscape {
    /// Quotes, backslashes, control characters and what is not ASCII as `\x22`; nothing as `-`.
    #[default]
    Hex,
    /// As inside a string of JSON; nothing as nothing.
    Json,
    /// As they are. Whoever asks can then write lines of their own.
    None,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    Stdout,
    Stderr,
    Off,
    File(PathBuf),
    Syslog(Syslog),
}

impl fmt::Display for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogTarget::Stdout => f.write_str("stdout"),
            LogTarget::Stderr => f.write_str("stderr"),
            LogTarget::Off => f.write_str("off"),
            LogTarget::File(path) => path.display().fmt(f),
            LogTarget::Syslog(syslog) => syslog.fmt(f),
        }
    }
}

impl FromStr for LogTarget {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<LogTarget, UnitError> {
        match text {
            "stdout" => Ok(LogTarget::Stdout),
            "stderr" => Ok(LogTarget::Stderr),
            "off" => Ok(LogTarget::Off),
            text if text.starts_with(SCHEME) => text[SCHEME.len()..].parse().map(LogTarget::Syslog),
            path if path.contains('/') && !path.ends_with('/') && !path.contains('\0') => {
                Ok(LogTarget::File(path.into()))
            }
            _ => Err(unit_error(
                format!("`{text}` is not a place to log to"),
                "write `stdout`, `stderr`, `off`, a file with its directory (`/var/log/forebay/access.log`), or `syslog:server=ADDRESS`",
            )),
        }
    }
}

/// What a line looks like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// nginx's predefined `combined`.
    Combined,
    /// Text with variables.
    Template(Template),
}

crate::written::written_as_text!(LogTarget, "LogTarget", {
    "description": "Where to log: `stdout`, `stderr`, `off`, a file, or `syslog:server=ADDRESS` with `,facility=`, `,severity=`, `,tag=` and `,nohostname`.",
    "type": "string",
    "examples": ["stdout", "/var/log/forebay/access.log", "syslog:server=unix:/dev/log,tag=forebay"]
});
