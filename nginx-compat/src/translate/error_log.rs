//! `error_log` and `log_not_found`: where it is said why requests failed.

use std::collections::BTreeMap;

use proxy_config::access_log::LogTarget;
use proxy_config::error_log::ErrorLog;
use proxy_config::severity::Severity;
use proxy_config::syslog::SCHEME;

use crate::translate::scope::Scope;
use crate::translate::value::{name_of_target, unique};
use crate::tree::{Directive, flattened};
use crate::verdict::{Verdict, Verdicts};

const WORDS: &str = "it tells of requests that failed, in lines of nginx's form; not all messages nginx has are told";
const QUIET: &str = "what is less grave than `crit` is not told there, whatever it is";

/// The error logs of a configuration.
#[derive(Debug, Default)]
pub struct ErrorLogs<'a> {
    /// The lines of `http`, or else of what is around it.
    main: Vec<&'a Directive>,
    /// Those around `http` where it has its own.
    outer: Vec<&'a Directive>,
    /// By name.
    pub named: BTreeMap<String, ErrorLog>,
}

impl<'a> ErrorLogs<'a> {
    pub fn new(outside: &[&'a Directive]) -> ErrorLogs<'a> {
        let of = |lines: &[&'a Directive]| -> Vec<&'a Directive> {
            lines.iter().copied().filter(|line| line.name == "error_log").collect()
        };
        let http = outside.iter().filter(|line| line.name == "http");
        let inside: Vec<&Directive> = http.flat_map(|http| flattened(http.children())).collect();
        let (mut main, mut outer) = (of(&inside), of(outside));
        if main.is_empty() {
            std::mem::swap(&mut main, &mut outer);
        }
        ErrorLogs { main, outer, ..ErrorLogs::default() }
    }

    /// The logs of requests whose route names none.
    pub fn main(&mut self, verdicts: &mut Verdicts) -> Vec<String> {
        for line in &self.outer {
            let why = "requests are told of where `http` says; what concerns the process goes to standard error";
            verdicts.add(line, Verdict::ignored(why));
        }
        self.names(&self.main.clone(), false, verdicts)
    }

    /// The names of the logs in effect at a place that serves files or not; none where they are those of the document.
    pub fn of(
        &mut self,
        scope: &Scope<'a>,
        serves_files: bool,
        verdicts: &mut Verdicts,
    ) -> Option<Vec<String>> {
        let line = scope.one("log_not_found").filter(|line| serves_files && line.has("off"));
        if let Some(line) = line {
            verdicts.add(line, Verdict::approximate(QUIET));
        }
        let is_main = |line: &&Directive| self.main.iter().any(|main| main.id == line.id);
        let lines = scope.effective("error_log");
        let lines = match lines.iter().all(is_main) {
            true if line.is_none() => return None,
            true => self.main.clone(),
            false => lines.to_vec(),
        };
        Some(self.names(&lines, line.is_some(), verdicts))
    }

    fn names(
        &mut self,
        lines: &[&'a Directive],
        is_quiet: bool,
        verdicts: &mut Verdicts,
    ) -> Vec<String> {
        let mut names = Vec::new();
        for line in lines {
            match read(line) {
                Ok(mut log) => {
                    verdicts.add(line, Verdict::approximate(WORDS));
                    if is_quiet {
                        log.level = log.level.max(Severity::Crit);
                    }
                    names.push(self.name_of(log));
                }
                Err(why) => verdicts.add(line, Verdict::unsupported(why)),
            }
        }
        names
    }

    fn name_of(&mut self, log: ErrorLog) -> String {
        if let Some((name, _)) = self.named.iter().find(|(_, known)| **known == log) {
            return name.clone();
        }
        let name = unique(&name_of_target(&log.path), |name| self.named.contains_key(name));
        self.named.insert(name.clone(), log);
        name
    }
}

fn read(line: &Directive) -> Result<ErrorLog, String> {
    let path = match line.argument(0).unwrap_or_default() {
        "stderr" => LogTarget::Stderr,
        path if path.starts_with("memory:") => {
            return Err("no log is kept in memory; name a file".to_owned());
        }
        path => target(path)?,
    };
    let level = match line.argument(1) {
        None => Severity::default(),
        Some(name) => Severity::named(name)
            .ok_or_else(|| format!("nginx refuses it: invalid log level \"{name}\""))?,
    };
    Ok(ErrorLog { path, level })
}

/// A file, or syslog.
pub fn target(path: &str) -> Result<LogTarget, String> {
    if path.starts_with(SCHEME) {
        return path.parse().map_err(|fault: proxy_config::units::UnitError| fault.message);
    }
    if path.is_empty() || path.ends_with('/') || path.contains('\0') {
        return Err("nginx refuses it: a log is a file, and this names none".to_owned());
    }
    Ok(LogTarget::File(match path.contains('/') {
        true => path.into(),
        false => format!("./{path}").into(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::include::Includes;
    use crate::parse::parse_bytes;
    use crate::translate::translate;

    #[test]
    fn logs_go_where_the_innermost_lines_say() {
        let text = "error_log main.log warn; http { server { listen 80; root /srv;\n\
                    location /a/ { error_log stderr; error_log syslog:server=127.0.0.1,tag=a crit; }\n\
                    location = /b { log_not_found off; } location /c/ { } } }";
        let document = parse_bytes("t", text.as_bytes(), Includes::Unfollowed).document;
        let config = translate(&document).config.unwrap();
        assert_eq!(config.error_log, ["main"]);
        let of = |path: &str| {
            let is = |route: &&proxy_config::Route| route.name.ends_with(path);
            config.routes.iter().find(is).unwrap().error_logs.clone()
        };
        assert_eq!(of("-a"), Some(vec!["stderr".to_owned(), "syslog".to_owned()]));
        assert_eq!(of("-c"), None);
        let quiet = of("b-exact").unwrap();
        let level =
            |name: &str| (config.error_logs[name].path.to_string(), config.error_logs[name].level);
        assert_eq!(level(&quiet[0]), ("./main.log".to_owned(), Severity::Crit));
        assert_eq!(level("main"), ("./main.log".to_owned(), Severity::Warn));
        assert_eq!(
            level("syslog"),
            ("syslog:server=127.0.0.1:514,facility=local7,tag=a".to_owned(), Severity::Crit)
        );
    }

    #[test]
    fn what_is_no_log_is_said() {
        for line in
            ["error_log memory:1m", "error_log a/", "error_log a loud", "error_log syslog:tag=a"]
        {
            let parsed = parse_bytes("t", format!("{line};").as_bytes(), Includes::Unfollowed);
            assert!(read(&parsed.document.directives[0]).is_err(), "{line}");
        }
    }
}
