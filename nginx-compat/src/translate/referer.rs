//! `valid_referers`: `$invalid_referer` says whether a link to a place stands on somebody else's page.

use std::collections::BTreeMap;

use proxy_config::map::{Map, MapCase};
use proxy_config::pattern::{Template, ValueMatch};

use crate::translate::lookup;
use crate::translate::redirected::literal;
use crate::translate::regex::convert;
use crate::translate::scope::Scope;
use crate::translate::value::unique;
use crate::verdict::{Verdict, Verdicts};

/// The variable.
pub const INVALID: &str = "invalid_referer";
/// What ends the name of a host.
const END: &str = "(?::[0-9]*)?";

/// The words in effect at a place whose server has these names; nothing where there are none.
pub fn words(scope: &Scope<'_>, server_names: &[String]) -> Option<Vec<String>> {
    let lines = scope.effective("valid_referers");
    let words = lines.iter().flat_map(|line| line.texts()).map(str::to_owned);
    let mut words: Vec<String> = words.collect();
    if words.iter().any(|word| word == "server_names") {
        words.retain(|word| word != "server_names");
        words.extend(server_names.iter().filter(|name| !name.is_empty()).cloned());
    }
    (!lines.is_empty()).then_some(words)
}

/// Says what becomes of the lines.
pub fn say(scope: &Scope<'_>, verdicts: &mut Verdicts) {
    for line in scope.effective("valid_referers") {
        let read: Result<Vec<_>, _> = line.texts().map(pattern).collect();
        verdicts.add(line, read.map_or_else(Verdict::unsupported, |_| Verdict::exact()));
    }
}

/// `$invalid_referer` there: a map of its own for each list of words.
pub fn invalid(words: &[String], maps: &mut BTreeMap<String, Map>) -> Result<String, String> {
    let map = map(words)?;
    let same = |name: &str| maps.get(name).is_none_or(|known| *known == map);
    let name = unique("invalid-referer", |name| !same(&name.replace('-', "_")));
    let name = name.replace('-', "_");
    let template = format!("${{{name}}}");
    maps.insert(name, map);
    Ok(template)
}

/// `1` for a referrer that is none of these, else nothing.
fn map(words: &[String]) -> Result<Map, String> {
    let mut cases = Vec::new();
    let case = |when, value: &str| MapCase { when, value: Template(value.to_owned()) };
    let none = words.iter().any(|word| word == "none");
    cases.push(case(ValueMatch::Exact(String::new()), if none { "" } else { "1" }));
    for word in words {
        if let Some(pattern) = pattern(word)? {
            cases.push(case(ValueMatch::Regex(convert(&pattern, true)?), ""));
        }
    }
    cases.push(case(ValueMatch::Regex(convert("^https?://", true)?), "1"));
    let blocked = words.iter().any(|word| word == "blocked");
    let map = lookup::plain(Template("${header_referer}".to_owned()), cases);
    let default = Template(if blocked { "" } else { "1" }.to_owned());
    Ok(Map { default, ..map })
}

/// The expression of referrers that a word allows; nothing for those that say it of none at all.
fn pattern(word: &str) -> Result<Option<String>, String> {
    if ["none", "blocked", "server_names", "_", ""].contains(&word) {
        return Ok(None);
    }
    if let Some(regex) = word.strip_prefix('~') {
        let whole = match regex.strip_prefix('^') {
            Some(rest) => format!("^https?://(?:{rest})"),
            None => format!("^https?://.*?(?:{regex})"),
        };
        return convert(&whole, true).map(|_| Some(whole));
    }
    let (host, path) = match word.find('/') {
        Some(at) => word.split_at(at),
        None => (word, ""),
    };
    let host = match (host.strip_prefix("*."), host.strip_prefix('.'), host.strip_suffix(".*")) {
        (Some(name), ..) => format!("[^/:]+\\.{}", literal(name)),
        (_, Some(name), _) => format!("(?:[^/:]+\\.)?{}", literal(name)),
        (.., Some(name)) => format!("{}\\.[^/:]+", literal(name)),
        _ => literal(host),
    };
    let end = if path.is_empty() { "(?:/|$)" } else { "" };
    Ok(Some(format!("^https?://{host}{END}{}{end}", literal(path))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a referrer is invalid.
    fn judged(words: &[&str], referer: &str) -> bool {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let map = map(&words).unwrap();
        let fits = |when: &ValueMatch| match when {
            ValueMatch::Exact(text) => text == referer,
            ValueMatch::Regex(regex) => regex.compile().unwrap().is_match(referer),
            _ => false,
        };
        let case = map.cases.iter().find(|case| fits(&case.when));
        case.map_or(&map.default, |case| &case.value).0 == "1"
    }

    #[test]
    fn referrers_are_told_apart_as_nginx_tells_them_apart() {
        let usual =
            ["none", "blocked", "a.example", "*.b.example", "c.*", "d.example/x/", "~e[0-9]"];
        for (referer, invalid) in [
            ("", false),
            ("blanked", false),
            ("http://a.example/page", false),
            ("https://A.example:8443", false),
            ("http://x.a.example/", true),
            ("http://a.example.evil/", true),
            ("http://x.b.example/", false),
            ("http://b.example/", true),
            ("http://c.net/y", false),
            ("http://d.example/x/y", false),
            ("http://d.example/y", true),
            ("http://other/e7", false),
            ("http://other/", true),
        ] {
            assert_eq!(judged(&usual, referer), invalid, "{referer}");
        }
        assert!(judged(&["a.example"], "") && judged(&["a.example"], "blanked"));
    }
}
