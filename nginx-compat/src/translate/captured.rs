//! What expressions capture: where a capture is told as it is, and where nginx's escapes and Forebay's differ.

use proxy_config::map::MapCase;
use proxy_config::pattern::{Regex, Template, ValueMatch};
use proxy_config::route::PathMatch;

use crate::translate::lookup;
use crate::translate::value::unique;
use crate::translate::variable::{Names, variables};
use crate::tree::{Directive, flattened, walk};

/// What differs where a capture of the path may hold more than letters.
pub const SET: &str = "of what was captured, nginx escapes `+`, `&`, `;` and `%` where the path has an escape or a `+`, \
     Forebay what no path may have";
pub const TOLD: &str = "what was captured keeps its escapes, which nginx undoes";

/// The text of a group of an expression, by number or name.
pub fn group<'p>(pattern: &'p str, name: &str) -> Option<&'p str> {
    let number = name.parse::<usize>().ok();
    let (mut open, mut count, mut found) = (Vec::new(), 0, None);
    let (mut escaped, mut in_class) = (false, false);
    for (at, c) in pattern.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' if !in_class => in_class = true,
            ']' if in_class => in_class = false,
            _ if in_class => {}
            '(' => {
                let rest = &pattern[at + 1..];
                let named = rest.strip_prefix("?<").or_else(|| rest.strip_prefix("?P<"));
                let named = named.filter(|rest| !rest.starts_with(['=', '!']));
                let called = named.and_then(|rest| rest.split_once('>'));
                let is_group = called.is_some() || !rest.starts_with('?');
                count += usize::from(is_group);
                let is_it = is_group
                    && (number == Some(count) || called.is_some_and(|(own, _)| own == name));
                let start = called.map_or(at + 1, |(_, rest)| pattern.len() - rest.len());
                open.push(is_it.then_some(start));
            }
            ')' => {
                if let Some(Some(start)) = open.pop() {
                    found = Some(&pattern[start..at]);
                }
            }
            _ => {}
        }
    }
    found
}

/// Whether all that a group can match is letters, digits and what no one escapes.
fn is_plain(group: &str) -> bool {
    let mut rest = group.chars().peekable();
    let mut in_class = false;
    while let Some(c) = rest.next() {
        let fine = match c {
            '\\' => rest.next().is_some_and(|c| "dw.-/_".contains(c)),
            '[' if !in_class => {
                in_class = true;
                rest.peek() != Some(&'^')
            }
            ']' => {
                in_class = false;
                true
            }
            '.' | '*' => in_class || c == '*',
            '+' | '?' | '{' | '}' | '(' | ')' | '|' | '^' => !in_class,
            c => c.is_ascii_alphanumeric() || "-_/,=:@~".contains(c),
        };
        if !fine {
            return false;
        }
    }
    true
}

/// The expressions that what a block's steps name may have been captured by.
pub fn expressions(block: &Directive) -> Vec<String> {
    let mut found = own_expressions(block);
    let words: Vec<&str> = block.texts().collect();
    match words.as_slice() {
        ["~" | "~*", pattern] => found.push((*pattern).to_owned()),
        [word] if word.starts_with('~') => {
            found.push(word.trim_start_matches('~').trim_start_matches('*').to_owned());
        }
        _ => {}
    }
    found
}

fn own_expressions(block: &Directive) -> Vec<String> {
    let mut found = Vec::new();
    for line in flattened(block.children()) {
        match line.name.as_str() {
            "rewrite" => found.extend(line.argument(0).map(str::to_owned)),
            "if" => {
                let compares =
                    line.texts().any(|word| word.trim_start_matches('!').starts_with('~'));
                found.extend(line.texts().last().filter(|_| compares).map(str::to_owned));
                found.extend(own_expressions(line));
            }
            _ => {}
        }
    }
    found
}

/// Whether a text tells a capture that may hold more than what no one escapes.
pub fn may_differ(text: &str, expressions: &[String], names: &Names<'_>) -> bool {
    let is_number = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    let captures = variables(text).into_iter();
    captures.filter(|name| is_number(name) || names.is_captured(name)).any(|name| {
        let mut groups = expressions.iter().filter_map(|pattern| group(pattern, name)).peekable();
        groups.peek().is_none() || !groups.all(is_plain)
    })
}

/// Whether anything in a block tells what was captured by number or name.
pub fn is_told(block: &Directive) -> bool {
    let is_number = |name: &&str| name.bytes().all(|byte| byte.is_ascii_digit());
    let mut told = false;
    walk(block.children(), &mut |line| {
        told |=
            line.texts().any(|text| variables(text).iter().any(is_number) || text.contains("(?<"));
    });
    told
}

/// The expression whose captures are those of the path as it stands, where nothing in a block captures anew.
pub fn of_path(block: &Directive, path: Option<&PathMatch>) -> Option<Regex> {
    match path {
        Some(PathMatch::Regex(regex)) if own_expressions(block).is_empty() => Some(regex.clone()),
        _ => None,
    }
}

/// The variable that is a capture of the path without its escapes.
pub fn told(names: &mut Names<'_>, find: &Regex, name: &str) -> Option<String> {
    group(&find.to_string(), name)?;
    let case =
        MapCase { when: ValueMatch::Regex(find.clone()), value: Template(format!("${{{name}}}")) };
    let map = lookup::plain(Template("${path_text}".to_owned()), vec![case]);
    let same = |wanted: &str| names.maps.get(wanted).is_none_or(|known| *known == map);
    let wanted = unique(&format!("captured_{name}"), |name| !same(&name.replace('-', "_")));
    let wanted = wanted.replace('-', "_");
    names.maps.insert(wanted.clone(), map);
    Some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_and_judged() {
        for (pattern, name, expected, plain) in [
            (r"^/a/(.*)$", "1", Some(".*"), false),
            (r"^/(\d+)/([a-z_]+)", "2", Some("[a-z_]+"), true),
            (r"^/(?<who>[0-9a-f-]{8})/(x|y)", "who", Some("[0-9a-f-]{8}"), true),
            (r"^/(?<who>[^/]+)/(x|y)", "2", Some("x|y"), true),
            (r"^/(?:a|b)(/[(]x)", "1", Some("/[(]x"), false),
            (r"^/\((a+)", "1", Some("a+"), true),
            (r"^/(a[+]b)", "1", Some("a[+]b"), false),
            (r"^/([^/]+)", "1", Some("[^/]+"), false),
            (r"^/x", "1", None, true),
        ] {
            let found = group(pattern, name);
            assert_eq!(found, expected, "{pattern}");
            assert_eq!(found.is_none_or(is_plain), plain, "{pattern}");
        }
    }
}
