//! What a location makes of the headers of answers: `proxy_hide_header`, `expires`, `add_header`.

use proxy_config::pattern::Template;
use proxy_config::route_action::{HeaderAddition, HeaderEdits, HeaderReplacement};

use crate::translate::regex::convert;
use crate::translate::scope::Scope;
use crate::translate::value::time;
use crate::translate::variable::{Names, Place};
use crate::tree::Directive;
use crate::verdict::{Verdict, Verdicts};

/// As far as nginx counts.
const EXPIRES_MAX: &str = "Thu, 31 Dec 2037 23:55:55 GMT";
const EPOCH: &str = "Thu, 01 Jan 1970 00:00:01 GMT";
/// Types of text whose character set nginx names.
const CHARSET_TYPES: [&str; 6] = [
    "text/html",
    "text/xml",
    "text/plain",
    "text/vnd.wap.wml",
    "application/javascript",
    "application/rss+xml",
];
/// What nginx takes off answers of an upstream unless `proxy_pass_header` names it.
const HIDDEN: [&str; 5] =
    ["x-pad", "x-accel-expires", "x-accel-redirect", "x-accel-limit-rate", "x-accel-buffering"];

/// The edits in effect; none when answers stay as they are.
pub fn edits(
    scope: &Scope<'_>,
    family: Option<&str>,
    place: &Place,
    names: &mut Names<'_>,
    verdicts: &mut Verdicts,
) -> Option<HeaderEdits> {
    let mut edits = HeaderEdits::default();
    if let Some(family) = family {
        edits.remove = hidden(scope, family, verdicts);
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
    for line in scope.effective("add_trailer") {
        verdicts.add(
            line,
            match line.argument(1) {
                Some("") if family.is_some() && line.has("always") => Verdict::exact(),
                Some("") if family.is_some() => {
                    Verdict::approximate("answers of every status go in chunks, not only of some")
                }
                Some("") => Verdict::approximate("answers with a length tell it"),
                _ => Verdict::unsupported("answers end without trailers of your own"),
            },
        );
    }
    edits.replace.extend(charset(scope, verdicts));
    (edits != HeaderEdits::default()).then_some(edits)
}

/// Whether something is to follow the bodies of answers: then nginx tells no length, though what follows is nothing.
pub fn has_trailers(scope: &Scope<'_>) -> bool {
    scope.effective("add_trailer").iter().any(|line| line.argument(1) == Some(""))
}

/// `charset`: what answers that say nothing of it are written in.
fn charset(scope: &Scope<'_>, verdicts: &mut Verdicts) -> Option<HeaderReplacement> {
    let line = scope.one("charset").filter(|line| !line.has("off"))?;
    let name = line.argument(0).unwrap_or_default();
    if name.contains('$') {
        verdicts.add(line, Verdict::unsupported("a character set in a variable is not known"));
        return None;
    }
    let types = scope.one("charset_types");
    let listed: Vec<String> = match types {
        Some(types) => {
            verdicts.add(types, Verdict::exact());
            types.texts().chain(["text/html"]).map(escaped).collect()
        }
        None => CHARSET_TYPES.iter().map(|kind| escaped(kind)).collect(),
    };
    verdicts.add(line, Verdict::exact());
    let find = convert(&format!("^({})$", listed.join("|")), true).ok()?;
    let with = Template(format!("${{1}}; charset={name}"));
    Some(HeaderReplacement {
        name: "content-type".to_owned(),
        find: Some(find),
        starts_with: None,
        with,
    })
}

fn escaped(kind: &str) -> String {
    if kind == "*" { ".+".to_owned() } else { kind.replace('.', "\\.").replace('+', "\\+") }
}

fn hidden(scope: &Scope<'_>, family: &str, verdicts: &mut Verdicts) -> Vec<String> {
    let mut hidden: Vec<String> = HIDDEN.iter().map(|name| (*name).to_owned()).collect();
    for line in scope.effective(&format!("{family}_hide_header")) {
        let name = line.argument(0).unwrap_or_default().to_ascii_lowercase();
        verdicts.add(line, Verdict::exact());
        if !hidden.contains(&name) {
            hidden.push(name);
        }
    }
    for line in scope.effective(&format!("{family}_pass_header")) {
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
    let name = line.argument(0).unwrap_or_default().to_owned();
    // A line break at the end cannot be sent.
    let text = line.argument(1).unwrap_or_default().trim_end_matches(['\r', '\n']);
    let always = match line.argument(2) {
        None => false,
        Some("always") => true,
        Some(other) => return Err(format!("nginx refuses it: invalid parameter \"{other}\"")),
    };
    let lower = name.to_ascii_lowercase();
    if proxy_config::header_edits::NOT_EDITABLE.contains(&lower.as_str()) {
        return Err(format!("{name} belongs to the connection, which Forebay frames by itself"));
    }
    let value = names.text(text, &Place { answer: true, ..place.clone() }, verdicts)?;
    if value.0.is_empty() {
        return Ok(None);
    }
    let replace = ["last-modified", "etag"].contains(&lower.as_str());
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
    Ok(vec![addition("Expires", expires), addition("Cache-Control", control)])
}
