//! What a page's commands come to: variables, conditions, the form of dates. Pure but for the clock it is handed.

use std::collections::HashMap;

use jiff::Zoned;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use regex::Regex;

use crate::assemble::ssi::Command;

/// nginx's form of `$date_local` and `$date_gmt`.
const TIME_FORM: &str = "%A, %d-%b-%Y %H:%M:%S %Z";
/// nginx's words for a command that makes no sense.
const ERROR_TEXT: &str = "[an error occurred while processing the directive]";
/// Conditions in conditions.
const DEPTH_MAX: usize = 32;
/// Variables of one page.
const VARIABLES_MAX: usize = 256;

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    Text(String),
    Include {
        path: String,
        /// The variable that gets what is included, in place of the page.
        set: Option<String>,
        /// The block that stands in where what is included is empty or failed.
        stub: Option<String>,
    },
    /// What comes up to its end is kept under this name, and not shown.
    Block(String),
    BlockEnd,
    Nothing,
}

/// The state of one page.
pub struct Page {
    variables: HashMap<String, String>,
    form: String,
    error_text: String,
    /// For each condition around: whether its current branch is shown, and whether one has been.
    branches: Vec<(bool, bool)>,
}

impl Page {
    /// `is_silent`: a command that makes no sense leaves nothing.
    pub fn new(is_silent: bool) -> Page {
        Page {
            variables: HashMap::new(),
            form: TIME_FORM.to_owned(),
            error_text: if is_silent { String::new() } else { ERROR_TEXT.to_owned() },
            branches: Vec::new(),
        }
    }

    /// Whether what comes now is shown.
    pub fn is_shown(&self) -> bool {
        self.branches.iter().all(|(shown, _)| *shown)
    }

    pub fn set(&mut self, name: &str, value: String) {
        if self.variables.len() < VARIABLES_MAX || self.variables.contains_key(name) {
            self.variables.insert(name.to_owned(), value);
        }
    }

    /// The text of a variable: the page's own, a date, or what `outside` knows of the request.
    fn value(
        &self,
        name: &str,
        now: &Zoned,
        outside: &dyn Fn(&str) -> Option<String>,
    ) -> Option<String> {
        if let Some(own) = self.variables.get(name) {
            return Some(own.clone());
        }
        // A form that makes no sense comes to nothing.
        let date = |form: &str, zoned: &Zoned| strtime::format(form, zoned).unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "date_local" => Some(date(&self.form, now)),
            "date_gmt" => {
                let utc = now.with_time_zone(TimeZone::UTC);
                Some(date(&self.form.replace("%Z", "GMT"), &utc))
            }
            name => outside(name),
        }
    }

    /// A text with the variables in it.
    fn text(&self, text: &str, now: &Zoned, outside: &dyn Fn(&str) -> Option<String>) -> String {
        let (mut out, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once('$') {
            if let Some(kept) = before.strip_suffix('\\') {
                out.push_str(kept);
                out.push('$');
                rest = after;
                continue;
            }
            out.push_str(before);
            let (name, behind) = match after.strip_prefix('{') {
                Some(braced) => braced.split_once('}').unwrap_or((braced, "")),
                None => {
                    let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                    after.split_at(end.unwrap_or(after.len()))
                }
            };
            if name.is_empty() {
                out.push('$');
            }
            out.push_str(&self.value(name, now, outside).unwrap_or_default());
            rest = behind;
        }
        out + rest
    }

    /// What a command comes to.
    pub fn follow(
        &mut self,
        command: &Command,
        now: &Zoned,
        outside: &dyn Fn(&str) -> Option<String>,
    ) -> Order {
        match command.name.as_str() {
            "if" | "elif" | "else" | "endif" => return self.branch(command, now, outside),
            _ if !self.is_shown() => return Order::Nothing,
            _ => {}
        }
        let parameter = |name: &str| command.parameter(name);
        match command.name.as_str() {
            "echo" => self.echo(command, now, outside),
            "set" => match (parameter("var"), parameter("value")) {
                (Some(name), Some(value)) => {
                    let value = self.text(value, now, outside);
                    self.set(name, value);
                    Order::Nothing
                }
                _ => self.error(),
            },
            "config" => {
                if let Some(form) = parameter("timefmt") {
                    form.clone_into(&mut self.form);
                }
                if let Some(text) = parameter("errmsg") {
                    text.clone_into(&mut self.error_text);
                }
                Order::Nothing
            }
            "include" => match parameter("virtual").or_else(|| parameter("file")) {
                Some(path) => {
                    let path = self.text(path, now, outside);
                    let (set, stub) = (parameter("set"), parameter("stub"));
                    let owned = |text: Option<&str>| text.map(str::to_owned);
                    Order::Include { path, set: owned(set), stub: owned(stub) }
                }
                None => self.error(),
            },
            "block" => match parameter("name") {
                Some(name) => Order::Block(name.to_owned()),
                None => self.error(),
            },
            "endblock" => Order::BlockEnd,
            _ => self.error(),
        }
    }

    /// What stands where a command makes no sense.
    pub fn error_text(&self) -> String {
        self.error_text.clone()
    }

    fn error(&self) -> Order {
        Order::Text(self.error_text())
    }

    fn echo(
        &self,
        command: &Command,
        now: &Zoned,
        outside: &dyn Fn(&str) -> Option<String>,
    ) -> Order {
        let Some(name) = command.parameter("var") else { return self.error() };
        let Some(value) = self.value(name, now, outside) else {
            return Order::Text(command.parameter("default").unwrap_or("(none)").to_owned());
        };
        Order::Text(match command.parameter("encoding") {
            Some("none") => value,
            Some("url") => url_escaped(&value),
            _ => value
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&quot;"),
        })
    }

    fn branch(
        &mut self,
        command: &Command,
        now: &Zoned,
        outside: &dyn Fn(&str) -> Option<String>,
    ) -> Order {
        let holds = |page: &Page| {
            let condition = command.parameter("expr").unwrap_or_default();
            page.holds(condition, now, outside)
        };
        match command.name.as_str() {
            "if" if self.branches.len() >= DEPTH_MAX => return self.error(),
            "if" => {
                let holds = holds(self);
                self.branches.push((holds, holds));
            }
            "elif" => {
                let holds = holds(self);
                if let Some((shown, done)) = self.branches.last_mut() {
                    *shown = holds && !*done;
                    *done |= *shown;
                }
            }
            "else" => {
                if let Some((shown, done)) = self.branches.last_mut() {
                    (*shown, *done) = (!*done, true);
                }
            }
            _ => drop(self.branches.pop()),
        }
        Order::Nothing
    }

    /// `$a`, `$a = text`, `$a != text`, `$a = /regex/`.
    fn holds(
        &self,
        condition: &str,
        now: &Zoned,
        outside: &dyn Fn(&str) -> Option<String>,
    ) -> bool {
        let condition = condition.trim();
        let Some((left, right)) = condition.split_once('=') else {
            return !self.text(condition, now, outside).is_empty();
        };
        let (left, not) = match left.strip_suffix('!') {
            Some(left) => (left, true),
            None => (left, false),
        };
        let left = self.text(unquoted(left.trim()), now, outside);
        let right = right.trim();
        let expression = right.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        let equal = match expression {
            Some(expression) => Regex::new(expression).is_ok_and(|regex| regex.is_match(&left)),
            None => left == self.text(unquoted(right), now, outside),
        };
        equal != not
    }
}

fn unquoted(text: &str) -> &str {
    let inner = |quote| text.strip_prefix(quote).and_then(|rest: &str| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}

fn url_escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'%'
            | b'"'
            | b'<'
            | b'>'
            | b'\\'
            | b'^'
            | b'`'
            | b'{'
            | b'|'
            | b'}'
            | b'#'
            | b'?'
            | 0..=0x20
            | 0x7f.. => out.push_str(&format!("%{byte:02X}")),
            byte => out.push(char::from(byte)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assemble::ssi::{Piece, Reader};

    /// What a page comes to, includes as `[path]`.
    fn shown(page: &str) -> String {
        let now: Zoned = "2026-11-27T08:44:15+01:00[Europe/Berlin]".parse().unwrap();
        let outside = |name: &str| (name == "arg_x").then(|| "<x>".to_owned());
        let (mut reader, mut state, mut out) = (Reader::default(), Page::new(false), String::new());
        let mut pieces = reader.read(page.as_bytes());
        pieces.extend(reader.end());
        for piece in pieces {
            match piece {
                Piece::Text(text) if state.is_shown() => {
                    out.push_str(&String::from_utf8(text).unwrap());
                }
                Piece::Text(_) => {}
                Piece::Command(command) => match state.follow(&command, &now, &outside) {
                    Order::Text(text) => out.push_str(&text),
                    Order::Include { path, .. } => out.push_str(&format!("[{path}]")),
                    _ => {}
                },
            }
        }
        out
    }

    #[test]
    fn pages_are_as_nginx_shows_them() {
        for (page, expected) in [
            (r#"<!--#echo var="arg_x" --> <!--#echo var="arg_y" -->"#, "&lt;x&gt; (none)"),
            (r#"<!--#echo var="arg_x" encoding="none" -->"#, "<x>"),
            (r#"<!--#echo var="arg_x" encoding="url" -->"#, "%3Cx%3E"),
            (r#"<!--#echo var="n" default="-" -->"#, "-"),
            (
                r#"<!--#set var="a" value="1$arg_x" --><!--#echo var="a" encoding="none" -->"#,
                "1<x>",
            ),
            (r#"<!--#include virtual="/a?b=${arg_x}" -->"#, "[/a?b=<x>]"),
            (r#"<!--#if expr="$arg_x" -->y<!--#else -->n<!--#endif -->."#, "y."),
            (r#"<!--#if expr="$q" -->y<!--#elif expr="$arg_x = <x>" -->e<!--#endif -->"#, "e"),
            (r#"<!--#if expr="$arg_x != '<x>'" -->y<!--#else -->n<!--#endif -->"#, "n"),
            (r#"<!--#if expr="$arg_x = /^.x.$/" -->y<!--#endif -->"#, "y"),
            (
                r#"<!--#if expr="$q" --><!--#if expr="$arg_x" -->y<!--#endif --><!--#endif -->z"#,
                "z",
            ),
            (r#"<!--#config timefmt="%H:%M" --><!--#echo var="date_gmt" -->"#, "07:44"),
            (r#"<!--#config timefmt="%!" -->[<!--#echo var="date_local" -->]"#, "[]"),
            (r#"<!--#echo var="DATE_GMT" -->"#, "Friday, 27-Nov-2026 07:44:15 GMT"),
            ("<!--#nonsense -->", ERROR_TEXT),
        ] {
            assert_eq!(shown(page), expected, "{page}");
        }
    }
}
