//! What of nginx.conf concerns the process: pid file, logs, the foreground, how long a stop may take.

use std::path::PathBuf;

use forebay_nginx::translate::value::time;
use forebay_nginx::tree::{Directive, Document, flattened};
use proxy_config::syslog::{SCHEME, Syslog};

use super::error_log::Level;
use super::options::PID;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub pid: PathBuf,
    pub in_foreground: bool,
    /// Who is to serve, where nginx.conf says so.
    pub user: Option<String>,
    /// Targets as written, each with its level.
    pub error_logs: Vec<(String, Level)>,
    /// Milliseconds a graceful stop may take.
    pub stop_within: Option<u64>,
}

impl Settings {
    /// Reads the main context; the error is what nginx would say, with the place.
    pub fn of(document: &Document) -> Result<Settings, String> {
        let main = flattened(&document.directives);
        let last = |name: &str| main.iter().rev().find(|directive| directive.name == name);
        let first = |name: &str| last(name).and_then(|directive| directive.argument(0));
        let stop_within = match first("worker_shutdown_timeout") {
            Some(text) => Some(
                time(text)
                    .ok_or_else(|| {
                        let line =
                            last("worker_shutdown_timeout").map(|d| document.files.line(d.end));
                        format!(
                            "\"worker_shutdown_timeout\" directive invalid value in {}",
                            line.unwrap_or_default()
                        )
                    })?
                    .as_millis(),
            ),
            None => None,
        };
        Ok(Settings {
            pid: first("pid").unwrap_or(PID).into(),
            in_foreground: first("daemon").is_some_and(|value| value.eq_ignore_ascii_case("off")),
            user: first("user").map(str::to_owned),
            error_logs: error_logs(&main, document)?,
            stop_within,
        })
    }
}

/// Those of the main context; without one, those of `http`.
fn error_logs(main: &[&Directive], document: &Document) -> Result<Vec<(String, Level)>, String> {
    let own = |block: &[&Directive]| -> Vec<Directive> {
        block.iter().filter(|d| d.name == "error_log").map(|d| (*d).clone()).collect()
    };
    let mut lines = own(main);
    if lines.is_empty() {
        let http = main.iter().filter(|directive| directive.name == "http");
        lines = http.flat_map(|http| own(&flattened(http.children()))).collect();
    }
    lines.iter().map(|line| error_log(line, document)).collect()
}

fn error_log(line: &Directive, document: &Document) -> Result<(String, Level), String> {
    let place = || document.files.line(line.end);
    let target = line.argument(0).unwrap_or_default();
    if target.starts_with("memory:") {
        let why = "errors are logged to files, stderr and syslog, not to";
        return Err(format!("{why} \"{target}\" in {}", place()));
    }
    if let Some(syslog) = target.strip_prefix(SCHEME) {
        let read: Result<Syslog, _> = syslog.parse();
        read.map_err(|fault| format!("{} in {}", fault.message, place()))?;
    }
    let level = match line.argument(1) {
        None => Level::Error,
        Some(name) => Level::named(name)
            .ok_or_else(|| format!("invalid log level \"{name}\" in {}", place()))?,
    };
    Ok((target.to_owned(), level))
}

#[cfg(test)]
mod tests {
    use forebay_nginx::include::Includes;
    use forebay_nginx::parse::parse_bytes;

    use super::*;

    fn settings(text: &str) -> Result<Settings, String> {
        Settings::of(&parse_bytes("n.conf", text.as_bytes(), Includes::Unfollowed).document)
    }

    #[test]
    fn the_main_context_says_how_the_process_runs() {
        let all = settings(
            "daemon off; pid /run/a.pid; user www-data; error_log a.log warn; error_log stderr;\n\
             worker_shutdown_timeout 5s; http { error_log b.log; }",
        )
        .unwrap();
        assert_eq!(
            all,
            Settings {
                pid: "/run/a.pid".into(),
                in_foreground: true,
                user: Some("www-data".to_owned()),
                error_logs: vec![
                    ("a.log".to_owned(), Level::Warn),
                    ("stderr".to_owned(), Level::Error)
                ],
                stop_within: Some(5000),
            }
        );
        let none = settings("http { error_log b.log info; }").unwrap();
        assert_eq!(none.pid, PathBuf::from(PID));
        assert!(!none.in_foreground);
        assert_eq!(none.error_logs, [("b.log".to_owned(), Level::Info)]);
    }

    #[test]
    fn what_cannot_be_done_is_refused_at_its_place() {
        for text in
            ["\nerror_log a loud;", "\nerror_log syslog:tag=a;", "\nworker_shutdown_timeout x;"]
        {
            assert!(settings(text).unwrap_err().ends_with(" in n.conf:2"), "{text}");
        }
    }
}
