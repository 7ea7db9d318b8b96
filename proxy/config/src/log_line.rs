//! Lines of an access log, made ready: text, variables of the request, and what is only known when
//! it has ended.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::access_log::LogEscape;
use crate::ending::{Ending, Part, parts};
use crate::facts::Facts;
use crate::template::{Scope, TemplateError};

/// The form of a line.
#[derive(Clone, Debug)]
pub struct LogLine {
    parts: Vec<Part>,
    escape: LogEscape,
}

impl LogLine {
    pub fn new(text: &str, escape: LogEscape, scope: &Scope<'_>) -> Result<LogLine, TemplateError> {
        Ok(LogLine { parts: parts(text, scope)?, escape })
    }

    fn is_hex(&self) -> bool {
        matches!(self.escape, LogEscape::Hex)
    }

    /// The line with its end. `ended` tells the rest.
    pub fn render<'v>(&self, facts: &Facts<'_>, ended: impl Fn(&Ending) -> Cow<'v, str>) -> String {
        let mut line = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => line.push_str(text),
                Part::Of(variable) => match variable.header().filter(|_| self.is_hex()) {
                    // It may be no UTF-8, and can be told all the same.
                    Some(name) => hex(&facts.header_bytes(name), &mut line),
                    None => escape(&variable.render(facts), self.escape, &mut line),
                },
                Part::At(ending) => escape(&ended(ending), self.escape, &mut line),
            }
        }
        line.push('\n');
        line
    }
}

/// Nothing is told as `-`.
fn hex(value: &[u8], line: &mut String) {
    if value.is_empty() {
        line.push('-');
    }
    for byte in value {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => {
                // Writing to a String cannot fail.
                let _ = write!(line, "\\x{byte:02X}");
            }
            byte => line.push(char::from(*byte)),
        }
    }
}

fn escape(value: &str, how: LogEscape, line: &mut String) {
    match how {
        LogEscape::None => line.push_str(value),
        LogEscape::Hex => hex(value.as_bytes(), line),
        LogEscape::Json => {
            for c in value.chars() {
                match c {
                    '"' => line.push_str("\\\""),
                    '\\' => line.push_str("\\\\"),
                    '\n' => line.push_str("\\n"),
                    '\r' => line.push_str("\\r"),
                    '\t' => line.push_str("\\t"),
                    c if c.is_ascii_control() => {
                        let _ = write!(line, "\\u{:04X}", u32::from(c));
                    }
                    c => line.push(c),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captures::Captures;
    use crate::facts::Maps;
    use crate::matching::Target;

    fn line(text: &str, how: LogEscape) -> Result<String, TemplateError> {
        let line = LogLine::new(text, how, &Scope::default())?;
        let mut headers = http::HeaderMap::new();
        headers.insert("user-agent", http::HeaderValue::from_static("a\"b\\c\td"));
        let target = Target {
            listener: "public",
            host: "A.example",
            path: "/p",
            query: "",
            method: "GET",
            headers: Some(&headers),
        };
        let (captures, maps) = (Captures::default(), Maps::default());
        let facts = Facts::of(target, &captures, &maps);
        let ended = |ending: &Ending| match ending {
            Ending::Status => Cow::Borrowed("200"),
            Ending::Sent(name) => Cow::Owned(format!("the {name}")),
            _ => Cow::Borrowed(""),
        };
        Ok(line.render(&facts, ended))
    }

    #[test]
    fn values_cannot_end_a_line_or_a_field() {
        let text =
            "$host $answer_status \"$header_user_agent\" ${answer_content_type}; $$1 $upstream.";
        let cases = [
            (LogEscape::Hex, "a.example 200 \"a\\x22b\\x5Cc\\x09d\" the content-type; $1 -.\n"),
            (LogEscape::Json, "a.example 200 \"a\\\"b\\\\c\\td\" the content-type; $1 .\n"),
            (LogEscape::None, "a.example 200 \"a\"b\\c\td\" the content-type; $1 .\n"),
        ];
        for (how, expected) in cases {
            assert_eq!(line(text, how).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_told_as_they_came() {
        let line = LogLine::new("$header_x \"a${header_x}\"", LogEscape::Hex, &Scope::default());
        let mut headers = http::HeaderMap::new();
        for value in [&b"caf\xe9"[..], b"\xc3\xa9"] {
            headers.append("x", http::HeaderValue::from_bytes(value).unwrap());
        }
        let target = Target {
            listener: "public",
            host: "",
            path: "/",
            query: "",
            method: "GET",
            headers: Some(&headers),
        };
        let (captures, maps) = (Captures::default(), Maps::default());
        let facts = Facts::of(target, &captures, &maps);
        let told = line.unwrap().render(&facts, |_| Cow::Borrowed(""));
        let value = "caf\\xE9, \\xC3\\xA9";
        assert_eq!(told, format!("{value} \"a{value}\"\n"));
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        assert!(line("$statsu", LogEscape::Hex).is_err());
        assert!(line("50$", LogEscape::Hex).is_err());
    }
}
