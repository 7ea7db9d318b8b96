//! What `return` with text sends as its type: that of a file of the path asked for.

use std::collections::BTreeMap;

use proxy_config::map::{Map, MapCase};
use proxy_config::pattern::{Template, ValueMatch};
use proxy_config::route::PathMatch;
use proxy_config::route_action::MediaTypes;

use crate::translate::lookup;
use crate::translate::redirected::literal;
use crate::translate::regex::convert;
use crate::translate::variable::Names;
use crate::tree::{Directive, walk};

/// The type for a block's answers: known beforehand where its location is one path, looked up where it is many.
pub fn content_type(
    block: &Directive,
    path: Option<&PathMatch>,
    types: &MediaTypes,
    names: &mut Names<'_>,
) -> Template {
    let default = Template(types.default.replace('$', "$$"));
    let mut answers = false;
    walk(block.children(), &mut |line| {
        answers |=
            line.name == "return" && line.argument(0).is_some_and(|code| code.starts_with('2'));
    });
    match path {
        _ if !answers => default,
        Some(PathMatch::Exact(path)) => {
            let name = path.rsplit('/').next().unwrap_or_default();
            let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
            let known = ending.and_then(|ending| types.by_ending.get(&ending));
            known.map_or(default, |known| Template(known.replace('$', "$$")))
        }
        _ => looked_up(types, default, names),
    }
}

fn looked_up(types: &MediaTypes, default: Template, names: &mut Names<'_>) -> Template {
    let mut endings: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (ending, kind) in types.by_ending.iter().filter(|(_, kind)| **kind != types.default) {
        endings.entry(kind).or_default().push(literal(ending));
    }
    let case = |(kind, endings): (&str, Vec<String>)| {
        let find = convert(&format!("\\.(?:{})$", endings.join("|")), true).ok()?;
        Some(MapCase { when: ValueMatch::Regex(find), value: Template(kind.replace('$', "$$")) })
    };
    let cases: Vec<MapCase> = endings.into_iter().filter_map(case).collect();
    if cases.is_empty() {
        return default;
    }
    let map = Map { default, ..lookup::plain(Template("${path_text}".to_owned()), cases) };
    let same = names.maps.iter().find(|(_, known)| **known == map).map(|(name, _)| name.clone());
    let name = same.unwrap_or_else(|| {
        let all = |count: &usize| match count {
            1 => "type_of_path".to_owned(),
            count => format!("type_of_path_{count}"),
        };
        let free = (1..).map(|count| all(&count)).find(|name| !names.maps.contains_key(name));
        let name = free.unwrap_or_default();
        names.maps.insert(name.clone(), map);
        name
    });
    Template(format!("${{{name}}}"))
}
