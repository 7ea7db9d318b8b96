//! `access_log` and `log_format`: which requests have a line where, and what it says.

use std::collections::{BTreeMap, HashMap};

use proxy_config::access_log::{AccessLog, LogEscape, LogFormat, LogTarget};
use proxy_config::pattern::Template;

use crate::translate::error_log::{self, ErrorLogs};
use crate::translate::log_variable;
use crate::translate::scope::Scope;
use crate::translate::value::{name_of_target, unique};
use crate::translate::variable::{Names, Place};
use crate::tree::{Directive, flattened};
use crate::verdict::{Verdict, Verdicts};

/// The logs of a configuration.
#[derive(Debug, Default)]
pub struct Logs<'a> {
    formats: HashMap<&'a str, &'a Directive>,
    /// The lines of `http`, for requests that no route takes.
    main: Vec<&'a Directive>,
    /// By name.
    pub named: BTreeMap<String, AccessLog>,
    /// The names of those that lead to the same place.
    by_target: HashMap<String, Vec<String>>,
    pub errors: ErrorLogs<'a>,
}

impl<'a> Logs<'a> {
    /// `outside` is what stands outside any block.
    pub fn new(outside: &[&'a Directive]) -> Logs<'a> {
        let mut logs = Logs { errors: ErrorLogs::new(outside), ..Logs::default() };
        let http = outside.iter().filter(|line| line.name == "http");
        for line in http.flat_map(|http| flattened(http.children())) {
            match (line.name.as_str(), line.argument(0)) {
                ("log_format", Some(name)) => drop(logs.formats.insert(name, line)),
                ("access_log", _) => logs.main.push(line),
                _ => {}
            }
        }
        logs
    }

    /// The names of the logs in effect at a place; none where it is the document's own.
    pub fn of(
        &mut self,
        scope: &Scope<'a>,
        place: &Place,
        names: &mut Names<'a>,
        verdicts: &mut Verdicts,
    ) -> Option<Vec<String>> {
        let lines = scope.effective("access_log");
        let is_main = |line: &&Directive| self.main.iter().any(|main| main.id == line.id);
        if lines.is_empty() || (lines.len() == 1 && lines.iter().all(is_main)) {
            return None;
        }
        let mut found = Vec::new();
        for line in lines {
            match self.log(line, place, names, verdicts) {
                Ok(None) => verdicts.add(line, Verdict::exact()),
                Ok(Some((log, differences))) => {
                    verdicts.add(line, Verdict::with_differences(&differences));
                    found.push(self.name_of(log));
                }
                Err(why) => verdicts.add(line, Verdict::unsupported(why)),
            }
        }
        Some(found)
    }

    /// Whether the lines of a place's logs tell something that `is_told` finds.
    pub fn tell(&self, scope: &Scope<'a>, is_told: impl Fn(&str) -> bool) -> bool {
        let named = scope.effective("access_log").iter().filter_map(|line| line.argument(1));
        let formats = named.filter_map(|name| self.formats.get(name));
        formats.flat_map(|format| format.texts().skip(1)).any(is_told)
    }

    /// The log of requests that no other has.
    pub fn main(&self, names: &mut Names<'a>, verdicts: &mut Verdicts) -> AccessLog {
        let off = AccessLog { path: LogTarget::Off, ..AccessLog::default() };
        let Some(line) = self.main.first() else { return AccessLog::default() };
        match self.log(line, &Place::default(), names, verdicts) {
            Ok(None) => {
                verdicts.add(line, Verdict::exact());
                off
            }
            Ok(Some((log, differences))) => {
                verdicts.add(line, Verdict::with_differences(&differences));
                log
            }
            Err(why) => {
                verdicts.add(line, Verdict::unsupported(why));
                off
            }
        }
    }

    fn name_of(&mut self, log: AccessLog) -> String {
        let there = self.by_target.entry(log.path.to_string()).or_default();
        if let Some(name) = there.iter().find(|name| self.named.get(*name) == Some(&log)) {
            return name.clone();
        }
        let name = unique(&name_of_target(&log.path), |name| self.named.contains_key(name));
        there.push(name.clone());
        self.named.insert(name.clone(), log);
        name
    }

    /// What a line asks for, and how it differs; nothing for `off`.
    fn log(
        &self,
        line: &'a Directive,
        place: &Place,
        names: &mut Names<'a>,
        verdicts: &mut Verdicts,
    ) -> Result<Option<(AccessLog, Vec<String>)>, String> {
        let path = match line.argument(0).unwrap_or_default() {
            "off" => return Ok(None),
            "/dev/stdout" => LogTarget::Stdout,
            "/dev/stderr" => LogTarget::Stderr,
            path if path.contains('$') => {
                return Err(
                    "logs go to files whose name is plain text, to syslog or to standard output"
                        .into(),
                );
            }
            path => error_log::target(path)?,
        };
        let (mut differences, mut when, mut format) = (Vec::new(), None, "combined");
        for word in line.texts().skip(1) {
            match word.split_once('=') {
                Some(("if", condition)) => when = Some(names.text(condition, place, verdicts)?),
                Some(("buffer" | "flush", _)) => {}
                Some(("gzip", _)) => differences.push("the log is not compressed".to_owned()),
                None if word == "gzip" => differences.push("the log is not compressed".to_owned()),
                None => format = word,
                Some(_) => return Err(format!("nginx refuses it: invalid parameter \"{word}\"")),
            }
        }
        let log = AccessLog { path, when, ..AccessLog::default() };
        let Some(described) = self.formats.get(format).copied() else {
            return match format {
                "combined" => {
                    Ok(Some((AccessLog { format: Some(LogFormat::Combined), ..log }, differences)))
                }
                other => Err(format!("nginx refuses it: unknown log format \"{other}\"")),
            };
        };
        let (text, escape, own) = text_of(described, place, names, verdicts)?;
        verdicts.add(described, Verdict::with_differences(&own));
        let format = Some(LogFormat::Template(text));
        Ok(Some((AccessLog { format, escape, ..log }, differences)))
    }
}

/// The lines of a format, how values stand in them, and what differs.
fn text_of<'a>(
    described: &'a Directive,
    place: &Place,
    names: &mut Names<'a>,
    verdicts: &mut Verdicts,
) -> Result<(Template, LogEscape, Vec<String>), String> {
    let mut words: Vec<&str> = described.texts().skip(1).collect();
    let escape = match words.first().copied() {
        Some("escape=default") => Some(LogEscape::Hex),
        Some("escape=json") => Some(LogEscape::Json),
        Some("escape=none") => Some(LogEscape::None),
        _ => None,
    };
    if escape.is_some() {
        words.remove(0);
    }
    let mut differences: Vec<String> = Vec::new();
    let mut of_end = |name: &str, _: String| {
        let (text, difference) = match log_variable::of_end(name) {
            Some((text, difference)) => (text, difference.to_owned()),
            None => ("-".to_owned(), format!("${name} is not known, `-` stands for it")),
        };
        if !difference.is_empty() && !differences.contains(&difference) {
            differences.push(difference);
        }
        Ok(text)
    };
    let place = &Place { is_text: true, ended: true, ..place.clone() };
    let text = names.text_with(&words.concat(), place, verdicts, &mut of_end)?;
    Ok((text, escape.unwrap_or_default(), differences))
}
