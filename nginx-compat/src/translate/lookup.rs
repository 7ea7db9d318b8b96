//! `map` and `split_clients`: variables that are looked up; [`geo`] has its own.

use proxy_config::map::{Map, MapCase, MapShare};
use proxy_config::pattern::{Template, ValueMatch};

use crate::translate::geo;
use crate::translate::regex::convert;
use crate::translate::variable::{Names, Place};
use crate::tree::{Directive, flattened};
use crate::verdict::Verdicts;

/// What a map comes to.
#[derive(Debug)]
pub enum Found {
    Map(Map),
    /// The same whatever is looked up.
    Constant(Template),
}

/// A map of these cases whose default is nothing.
pub fn plain(of: Template, cases: Vec<MapCase>) -> Map {
    Map {
        of,
        behind: Vec::new(),
        behind_all: false,
        cases,
        ignore_case: false,
        shares: Vec::new(),
        default: Template::default(),
    }
}

/// `on` where the client speaks TLS, and nothing elsewhere.
pub fn https() -> Map {
    let when = ValueMatch::Exact("https".to_owned());
    let cases = vec![MapCase { when, value: Template("on".to_owned()) }];
    plain(Template("${scheme}".to_owned()), cases)
}

/// The map, and how it differs.
pub fn translate<'a>(
    source: &'a Directive,
    names: &mut Names<'a>,
    verdicts: &mut Verdicts,
) -> Result<(Found, Vec<String>), String> {
    match source.name.as_str() {
        "geo" => geo::translate(source, names, verdicts),
        "split_clients" => split_clients(source, names, verdicts),
        _ => map(source, names, verdicts),
    }
}

pub fn found(map: Map) -> Found {
    if map.cases.is_empty() && map.shares.is_empty() {
        return Found::Constant(map.default);
    }
    Found::Map(map)
}

fn map<'a>(
    source: &'a Directive,
    names: &mut Names<'a>,
    verdicts: &mut Verdicts,
) -> Result<(Found, Vec<String>), String> {
    let place = Place { is_text: true, ..Place::default() };
    let of = names.text(source.argument(0).unwrap_or_default(), &place, verdicts)?;
    let mut map = Map { ignore_case: true, ..plain(of, Vec::new()) };
    let rows = flattened(source.children());
    let hostnames = rows.iter().any(|row| row.name == "hostnames" && row.arguments.is_empty());
    let (mut wildcards, mut regexes) = (Vec::new(), Vec::new());
    for row in rows {
        let Some(value) = row.argument(0) else { continue };
        let value = names.text(value, &place, verdicts)?;
        let key = row.name.as_str();
        if key == "default" {
            map.default = value;
        } else if let Some(pattern) = key.strip_prefix("~*") {
            regexes.push(MapCase { when: ValueMatch::Regex(convert(pattern, true)?), value });
        } else if let Some(pattern) = key.strip_prefix('~') {
            regexes.push(MapCase { when: ValueMatch::Regex(convert(pattern, false)?), value });
        } else if let Some(pattern) = hostnames.then(|| wildcard(key)).flatten() {
            let case = MapCase { when: ValueMatch::Regex(convert(&pattern, true)?), value };
            wildcards.push((key.ends_with(".*"), std::cmp::Reverse(key.len()), case));
        } else {
            let text = key.strip_prefix('\\').unwrap_or(key).to_owned();
            if hostnames {
                // A dot at the end of a host name says nothing.
                let when = ValueMatch::Exact(format!("{text}."));
                map.cases.push(MapCase { when, value: value.clone() });
            }
            map.cases.push(MapCase { when: ValueMatch::Exact(text), value });
        }
    }
    wildcards.sort_by_key(|(at_the_end, length, _)| (*at_the_end, *length));
    map.cases.extend(wildcards.into_iter().map(|(_, _, case)| case));
    map.cases.extend(regexes);
    if map.cases.iter().all(|case| matches!(case.when, ValueMatch::Regex(_))) {
        map.ignore_case = false;
    }
    Ok((found(map), Vec::new()))
}

/// The expression of a mask of host names.
fn wildcard(key: &str) -> Option<String> {
    let escaped = |text: &str| text.replace('.', "\\.");
    if let Some(name) = key.strip_prefix("*.") {
        return Some(format!("^.+\\.{}\\.?$", escaped(name)));
    }
    if let Some(name) = key.strip_prefix('.') {
        return Some(format!("^(?:.+\\.)?{}\\.?$", escaped(name)));
    }
    key.strip_suffix(".*").map(|name| format!("^{}\\..+$", escaped(name)))
}

fn split_clients<'a>(
    source: &'a Directive,
    names: &mut Names<'a>,
    verdicts: &mut Verdicts,
) -> Result<(Found, Vec<String>), String> {
    let place = Place::default();
    let text = source.argument(0).unwrap_or_default();
    let mut map = plain(names.text(text, &place, verdicts)?, Vec::new());
    for row in flattened(source.children()) {
        let value = names.text(row.argument(0).unwrap_or_default(), &place, verdicts)?;
        if row.name == "*" {
            map.default = value;
            continue;
        }
        let share = row.name.parse().map_err(|_| format!("{:?} is no percentage", row.name))?;
        map.shares.push(MapShare { share, value });
    }
    // nginx hashes the bytes of the address.
    let binary = text.contains("binary_remote_addr");
    let differences = match binary {
        true => vec!["the address is hashed as text, so other clients draw each value".to_owned()],
        false => Vec::new(),
    };
    Ok((found(map), differences))
}
