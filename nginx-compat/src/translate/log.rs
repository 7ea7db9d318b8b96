//! `access_log`: Forebay writes one log, in JSON lines.

use proxy_config::access_log::{AccessLog, LogTarget};

use crate::tree::{Directive, flattened};
use crate::verdict::{Verdict, Verdicts};

/// The log of the whole configuration: the first file named in document order, or none at all
/// when everything says `off`.
pub fn access_log(http: &[&Directive], verdicts: &mut Verdicts) -> AccessLog {
    let mut lines = Vec::new();
    http.iter().for_each(|http| collect(http, &mut lines));
    let target = |line: &&Directive| match line.argument(0) {
        None | Some("off") => None,
        Some("/dev/stdout") => Some(LogTarget::Stdout),
        Some("/dev/stderr") => Some(LogTarget::Stderr),
        Some(path) if path.starts_with("syslog:") || path.contains('$') => None,
        Some(path) if path.contains('/') => Some(LogTarget::File(path.into())),
        Some(path) => Some(LogTarget::File(format!("logs/{path}").into())),
    };
    let chosen = lines.iter().find_map(target);
    for line in &lines {
        let verdict = match (line.argument(0), target(line), &chosen) {
            (Some("off"), _, None) => Verdict::exact(),
            (Some("off"), ..) => {
                Verdict::approximate("there is one log; it has these requests too")
            }
            (_, Some(own), Some(chosen)) if own == *chosen => Verdict::approximate(
                "lines are JSON with Forebay's own fields, without format and conditions",
            ),
            (_, Some(_), Some(chosen)) => Verdict::approximate(format!(
                "there is one log; these lines go to {chosen}, as JSON"
            )),
            _ => Verdict::unsupported("logs go to one file, or to standard output"),
        };
        verdicts.add(line, verdict);
    }
    let all_off = !lines.is_empty() && lines.iter().all(|line| line.argument(0) == Some("off"));
    let path = chosen.unwrap_or(if all_off { LogTarget::Off } else { LogTarget::Stdout });
    AccessLog { path, ..AccessLog::default() }
}

fn collect<'a>(block: &'a Directive, lines: &mut Vec<&'a Directive>) {
    for directive in flattened(block.children()) {
        match directive.name.as_str() {
            "access_log" => lines.push(directive),
            "server" | "location" => collect(directive, lines),
            _ => {}
        }
    }
}
