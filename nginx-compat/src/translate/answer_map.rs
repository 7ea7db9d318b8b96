//! Maps over what an answer says, which are known too late for a variable: by the type of files, which goes by the ending of
//! their path, and by a header that is added where it is not there.

use std::collections::BTreeMap;

use proxy_config::map::{Map, MapCase};
use proxy_config::pattern::{Template, ValueMatch};

use crate::translate::files::Types;
use crate::translate::lookup;
use crate::translate::redirected::literal;
use crate::translate::regex::convert;
use crate::translate::rewrite;
use crate::translate::scope::Scope;
use crate::translate::value::unique;
use crate::translate::variable::{Names, variables};
use crate::tree::{Directive, flattened};
use crate::verdict::{Verdict, Verdicts};

const BY_ENDING: &str = "by the ending of the path; in nginx, pages of errors and redirects are `text/html` whatever it is";

/// The map that is all of a text, and what it looks up.
fn source<'a>(text: &str, names: &Names<'a>) -> Option<(&'a Directive, &'a str)> {
    let [name] = variables(text)[..] else { return None };
    if text != format!("${name}") && text != format!("${{{name}}}") {
        return None;
    }
    let source = names.source(name).filter(|source| source.name == "map")?;
    let [of] = variables(source.argument(0)?)[..] else { return None };
    Some((source, of))
}

/// What is said of a header that is added only to answers that lack it.
pub const NOT_PUT_IN: &str =
    "an answer has it as the upstream sends it; where it sends none, nginx puts one in";

/// Whether a header is added only to answers that lack it: `map $upstream_http_x_a $a { '' text; }` and `add_header X-A $a`.
pub fn fills_in(line: &Directive, names: &Names<'_>, verdicts: &mut Verdicts) -> bool {
    let name = line.argument(0).unwrap_or_default().to_ascii_lowercase().replace('-', "_");
    let Some((source, of)) = source(line.argument(1).unwrap_or_default(), names) else {
        return false;
    };
    let of_header =
        ["upstream_http_", "sent_http_"].iter().find_map(|start| of.strip_prefix(start));
    let rows = flattened(source.children());
    let says = |row: &&Directive| row.argument(0).is_some_and(|value| !value.is_empty());
    let only_empty = rows.iter().filter(|row| says(row)).all(|row| row.name.is_empty());
    if of_header.is_none_or(|header| header.to_ascii_lowercase() != name) || !only_empty {
        return false;
    }
    verdicts.add(line, Verdict::approximate(NOT_PUT_IN));
    verdicts.add(source, Verdict::approximate(NOT_PUT_IN));
    true
}

/// Makes templates of a value of a map.
type Read<'r, 'a, const N: usize> =
    dyn FnMut(&str, &mut Names<'a>, &mut Verdicts) -> Result<[Template; N], String> + 'r;

/// What a text comes to that is a map over the type of an answer, where files answer; `read` makes the values templates.
pub fn by_type<'a, const N: usize>(
    text: &str,
    scope: &Scope<'a>,
    names: &mut Names<'a>,
    verdicts: &mut Verdicts,
    read: &mut Read<'_, 'a, N>,
) -> Option<Result<[Template; N], String>> {
    let (source, of) = source(text, names)?;
    let serves = rewrite::passes_nothing(scope) && scope.holder(&["root", "alias"]).is_some();
    if of != "sent_http_content_type" || !serves {
        return None;
    }
    let types = Types::of(scope, verdicts);
    let rows = match Rows::of(source) {
        Ok(rows) => rows,
        Err(why) => return Some(Err(why)),
    };
    let mut endings: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut value_of = |kind: &str, names: &mut Names<'a>, verdicts: &mut Verdicts| {
        read(rows.value(kind), names, verdicts)
    };
    for (ending, kind) in &types.by_ending {
        endings.entry(rows.value(kind)).or_default().push(literal(ending));
    }
    let mut found = Vec::new();
    let index = scope.effective("index").first().and_then(|line| line.argument(0));
    let ending = index.unwrap_or("index.html").rsplit('.').next().unwrap_or_default();
    let of_index = types.by_ending.get(ending).unwrap_or(&types.default);
    let mut finds = vec![("/$".to_owned(), of_index.as_str())];
    for (value, endings) in &endings {
        let kind = types.by_ending.values().find(|kind| rows.value(kind) == *value);
        finds.push((format!("\\.(?:{})$", endings.join("|")), kind.map_or("", String::as_str)));
    }
    for (find, kind) in finds {
        match (convert(&find, true), value_of(kind, names, verdicts)) {
            (Ok(find), Ok(values)) => found.push((find, values)),
            (Err(why), _) | (_, Err(why)) => return Some(Err(why)),
        }
    }
    let default = match value_of(&types.default, names, verdicts) {
        Ok(default) => default,
        Err(why) => return Some(Err(why)),
    };
    verdicts.add(source, Verdict::approximate(BY_ENDING));
    let variable = variables(text).first().copied().unwrap_or_default().to_ascii_lowercase();
    let made = std::array::from_fn(|at| {
        let case = |(find, values): &(_, [Template; N])| MapCase {
            when: ValueMatch::Regex(Clone::clone(find)),
            value: values[at].clone(),
        };
        let cases = found.iter().map(case).collect();
        let of = Template("${path_text}".to_owned());
        let map = Map { default: default[at].clone(), ..lookup::plain(of, cases) };
        let same = |name: &str| names.maps.get(name).is_none_or(|known| *known == map);
        let name = unique(&format!("{variable}_by_type"), |name| !same(&name.replace('-', "_")));
        let name = name.replace('-', "_");
        names.maps.insert(name.clone(), map);
        Template(format!("${{{name}}}"))
    });
    Some(Ok(made))
}

/// The rows of a map, to be looked through beforehand.
struct Rows<'a> {
    exact: Vec<(&'a str, &'a str)>,
    expressions: Vec<(regex::Regex, &'a str)>,
    default: &'a str,
}

impl<'a> Rows<'a> {
    fn of(source: &'a Directive) -> Result<Rows<'a>, String> {
        let mut rows = Rows { exact: Vec::new(), expressions: Vec::new(), default: "" };
        for row in flattened(source.children()) {
            let Some(value) = row.argument(0) else { continue };
            let (key, ignore_case) = match row.name.strip_prefix("~*") {
                Some(key) => (Some(key), true),
                None => (row.name.strip_prefix('~'), false),
            };
            match key {
                Some(_)
                    if variables(value)
                        .iter()
                        .any(|name| name.starts_with(|c: char| c.is_ascii_digit())) =>
                {
                    return Err("a value with what was captured of a type".to_owned());
                }
                Some(key) => {
                    let find =
                        convert(key, ignore_case)?.compile().map_err(|why| why.to_string())?;
                    rows.expressions.push((find, value));
                }
                None if row.name == "default" => rows.default = value,
                None => rows.exact.push((row.name.strip_prefix('\\').unwrap_or(&row.name), value)),
            }
        }
        Ok(rows)
    }

    fn value(&self, kind: &str) -> &'a str {
        let exact = self.exact.iter().find(|(key, _)| key.eq_ignore_ascii_case(kind));
        let found = || self.expressions.iter().find(|(find, _)| find.is_match(kind));
        match exact {
            Some((_, value)) => value,
            None => found().map_or(self.default, |(_, value)| value),
        }
    }
}
