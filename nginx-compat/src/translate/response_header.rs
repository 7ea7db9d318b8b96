//! What a location makes of the headers of answers: `proxy_hide_header`, `expires`, `add_header`.

use proxy_config::pattern::Template;
use proxy_config::route_action::{HeaderAddition, HeaderEdits};

use crate::translate::scope::Scope;
use crate::translate::value::time;
use crate::translate::variable::{Names, Place};
use crate::tree::Directive;
use crate::verdict::{Verdict, Verdicts};

/// As far as nginx counts.
const EXPIRES_MAX: &str = "Thu, 31 Dec 2037 23:55:55 GMT";
const EPOCH: &str = "Thu, 01 Jan 1970 00:00:01 GMT";
/// What nginx takes off answers of an upstream unless `proxy_pass_header` names it.
const HIDDEN: [&str; 5] =
    ["x-pad", "x-accel-expires", "x-accel-redirect", "x-accel-limit-rate", "x-accel-buffering"];

/// The edits in effect; none when answers stay as they are.
pub fn edits(
    scope: &Scope<'_>,
    proxied: bool,
    place: &Place,
    names: &mut Names<'_>,
    verdicts: &mut Verdicts,
) -> Option<HeaderEdits> {
    let mut edits = HeaderEdits::default();
    if proxied {
        edits.remove = hidden(scope, verdicts);
    }
    if let Some(line) = scope.one("expires") {
        match expires(line) {
            Ok(additions) => {
                verdicts.add(line, Verdict::exact());
                edits.append.extend(additions);
            }
            Err(why) => verdicts.add(line, Verdict::unsupported(why)),
        }
    }
    for line in scope.effective("add_header") {
        match addition(line, place, names, verdicts) {
            Ok(addition) => {
                verdicts.add(line, Verdict::exact());
                edits.append.extend(addition);
            }
            Err(why) => verdicts.add(line, Verdict::unsupported(why)),
        }
    }
    (edits != HeaderEdits::default()).then_some(edits)
}

fn hidden(scope: &Scope<'_>, verdicts: &mut Verdicts) -> Vec<String> {
    let mut hidden: Vec<String> = HIDDEN.iter().map(|name| (*name).to_owned()).collect();
    for line in scope.effective("proxy_hide_header") {
        let name = line.argument(0).unwrap_or_default().to_ascii_lowercase();
        verdicts.add(line, Verdict::exact());
        if !hidden.contains(&name) {
            hidden.push(name);
        }
    }
    for line in scope.effective("proxy_pass_header") {
        let name = line.argument(0).unwrap_or_default().to_ascii_lowercase();
        verdicts.add(
            line,
            match name.as_str() {
                "date" => Verdict::approximate("Forebay writes Date itself"),
                _ => Verdict::exact(),
            },
        );
        hidden.retain(|known| *known != name);
    }
    hidden
}

fn addition(
    line: &Directive,
    place: &Place,
    names: &mut Names<'_>,
    verdicts: &mut Verdicts,
) -> Result<Option<HeaderAddition>, String> {
    let name = line.argument(0).unwrap_or_default().to_ascii_lowercase();
    let text = line.argument(1).unwrap_or_default();
    let always = match line.argument(2) {
        None => false,
        Some("always") => true,
        Some(other) => return Err(format!("nginx refuses it: invalid parameter \"{other}\"")),
    };
    if proxy_config::header_edits::NOT_EDITABLE.contains(&name.as_str()) {
        return Err(format!("{name} belongs to the connection, which Forebay frames by itself"));
    }
    let value = names.text(text, place, verdicts)?;
    if value.0.is_empty() {
        return Ok(None);
    }
    let replace = name == "last-modified";
    Ok(Some(HeaderAddition { name, value, always, replace }))
}

fn expires(line: &Directive) -> Result<Vec<HeaderAddition>, String> {
    let (expires, control) = match (line.argument(0), line.argument(1)) {
        (Some("off"), None) => return Ok(Vec::new()),
        (Some("epoch"), None) => (EPOCH.to_owned(), "no-cache".to_owned()),
        (Some("max"), None) => (EXPIRES_MAX.to_owned(), "max-age=315360000".to_owned()),
        (Some(text), None) if !text.starts_with(['@', '$']) => {
            let (past, digits) = match text.strip_prefix('-') {
                Some(digits) => (true, digits),
                None => (false, text.strip_prefix('+').unwrap_or(text)),
            };
            let seconds = time(digits).ok_or_else(|| format!("{text:?} is no time"))?;
            let seconds = seconds.as_millis() / 1000;
            match past {
                true => (format!("${{date_before_{seconds}}}"), "no-cache".to_owned()),
                false => (format!("${{date_in_{seconds}}}"), format!("max-age={seconds}")),
            }
        }
        _ => {
            return Err(
                "only a time from now, epoch, max and off are translated; let the upstream \
                        say how long its answers are good"
                    .to_owned(),
            );
        }
    };
    let addition = |name: &str, value: String| HeaderAddition {
        name: name.to_owned(),
        value: Template(value),
        always: false,
        replace: true,
    };
    Ok(vec![addition("expires", expires), addition("cache-control", control)])
}
