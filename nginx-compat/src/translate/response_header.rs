//! What a location makes of the headers of answers: `proxy_hide_header`, `expires`, `add_header`.

use proxy_config::pattern::Template;
use proxy_config::route_action::{HeaderAddition, HeaderEdits, HeaderReplacement};

use crate::translate::answer_map;
use crate::translate::captured;
use crate::translate::regex::convert;
use crate::translate::scope::Scope;
use crate::translate::value::time;
use crate::translate::variable::{Names, Place};
use crate::tree::Directive;
use crate::verdict::{Verdict, Verdicts};

/// As far as nginx counts.
const EXPIRES_MAX: &str = "Thu, 31 Dec 2037 23:55:55 GMT";
const EPOCH: &str = "Thu, 01 Jan 1970 00:00:01 GMT";
const NO_TIME: &str = "only a time from now, epoch, max, off and, for files, a map of their types to such are translated; \
     let the upstream say how long its answers are good";
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
pub fn edits<'a>(
    scope: &Scope<'a>,
    family: Option<&str>,
    place: &Place,
    names: &mut Names<'a>,
    verdicts: &mut Verdicts,
) -> Option<HeaderEdits> {
    let mut edits = HeaderEdits::default();
    if let Some(family) = family {
        edits.remove = hidden(scope, family, verdicts);
    }
    if let Some(line) = scope.one("expires") {
        match expires(line, scope, names, verdicts) {
            Ok(additions) => {
                verdicts.add(line, Verdict::exact());
                edits.append.extend(additions);
            }
            Err(why) => verdicts.add(line, Verdict::unsupported(why)),
        }
    }
    for line in scope.effective("add_header") {
        if is_length_of_nothing(line, scope) {
            verdicts.add(line, Verdict::ignored("an answer of 204 has no length (RFC 9110)"));
            continue;
        }
        if answer_map::fills_in(line, names, verdicts) {
            continue;
        }
        match addition((line, scope), place, names, verdicts) {
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

/// `add_header Content-Length 0` beside `return 204`, as recipes for CORS have it.
fn is_length_of_nothing(line: &Directive, scope: &Scope<'_>) -> bool {
    let is_length =
        line.argument(0).is_some_and(|name| name.eq_ignore_ascii_case("content-length"));
    is_length
        && line.argument(1) == Some("0")
        && scope.own("return").iter().any(|line| line.argument(0) == Some("204"))
}

fn addition<'a>(
    (line, scope): (&'a Directive, &Scope<'a>),
    place: &Place,
    names: &mut Names<'a>,
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
    let place = Place { answer: true, is_text: true, ..place.clone() };
    let mut read = |text: &str, names: &mut Names<'a>, verdicts: &mut Verdicts| {
        names.text(text, &place, verdicts).map(|value| [value])
    };
    let value = match answer_map::by_type(text, scope, names, verdicts, &mut read) {
        Some(made) => made.map(|[value]| value)?,
        None => names.text(text, &place, verdicts)?,
    };
    if place.expression.is_none()
        && captured::may_differ(text, &captured::expressions(scope.block()), names)
    {
        verdicts.add(line, Verdict::approximate(captured::TOLD));
    }
    if value.0.is_empty() {
        return Ok(None);
    }
    let replace = ["last-modified", "etag"].contains(&lower.as_str());
    Ok(Some(HeaderAddition { name, value, always, replace }))
}

fn expires<'a>(
    line: &'a Directive,
    scope: &Scope<'a>,
    names: &mut Names<'a>,
    verdicts: &mut Verdicts,
) -> Result<Vec<HeaderAddition>, String> {
    let text = line.argument(0).unwrap_or_default();
    let times = match line.argument(1) {
        None if text.starts_with('$') => {
            let mut read = |text: &str, _: &mut Names<'a>, _: &mut Verdicts| freshness(text);
            answer_map::by_type(text, scope, names, verdicts, &mut read)
                .unwrap_or_else(|| Err(NO_TIME.to_owned()))?
        }
        None => freshness(text)?,
        Some(_) => return Err(NO_TIME.to_owned()),
    };
    let [expires, control] = times;
    if expires.0.is_empty() {
        return Ok(Vec::new());
    }
    let addition = |name: &str, value| HeaderAddition {
        name: name.to_owned(),
        value,
        always: false,
        replace: true,
    };
    Ok(vec![addition("Expires", expires), addition("Cache-Control", control)])
}

/// `Expires` and `Cache-Control`; nothing for `off`, and what no map gives.
fn freshness(text: &str) -> Result<[Template; 2], String> {
    let (expires, control) = match text {
        "off" | "" => (String::new(), String::new()),
        "epoch" => (EPOCH.to_owned(), "no-cache".to_owned()),
        "max" => (EXPIRES_MAX.to_owned(), "max-age=315360000".to_owned()),
        text if text.starts_with(['@', '$']) => return Err(NO_TIME.to_owned()),
        text => {
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
    };
    Ok([Template(expires), Template(control)])
}
