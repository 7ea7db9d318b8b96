//! What a request's target becomes. The proxy and `explain` ask the same function.

use crate::captures::Captures;
use crate::facts::Facts;
use crate::matching::encode_path;
use crate::route_action::Rewrite;
use crate::template::{Compiled, Scope, TemplateError};

/// A rewrite, made ready.
#[derive(Clone, Debug)]
pub enum Rewriting {
    PrefixTo(String),
    /// Whether the client's query is left out.
    To(Compiled, bool),
    Find(regex::Regex, Compiled),
}

impl Rewriting {
    pub fn new(rewrite: &Rewrite, scope: &Scope<'_>) -> Result<Rewriting, TemplateError> {
        Ok(match rewrite {
            Rewrite::PrefixTo(to) => Rewriting::PrefixTo(to.clone()),
            Rewrite::To(to) => {
                let (text, alone) = match to.0.strip_suffix('?') {
                    Some(text) => (text, true),
                    None => (to.0.as_str(), false),
                };
                Rewriting::To(Compiled::new(text, scope)?, alone)
            }
            Rewrite::Regex(rewrite) => {
                let mut own =
                    Scope { maps: scope.maps.clone(), set: scope.set, ..Scope::default() };
                let regex = rewrite.find.compile().expect("checked when it was read");
                own.add(&regex);
                Rewriting::Find(regex, Compiled::new(&rewrite.replace.0, &own)?)
            }
        })
    }

    pub fn is_of_prefix(&self) -> bool {
        matches!(self, Rewriting::PrefixTo(_))
    }

    /// Path and query after the rewrite; not yet in normal form. `path` is the path routes are
    /// compared with, `rest` what of it follows the prefix that matched. The query stays as it is
    /// unless the template has one.
    pub fn target(&self, facts: &Facts<'_>, path: &str, rest: &[u8]) -> String {
        let target = match self {
            Rewriting::PrefixTo(to) => format!("{to}{}", encode_path(rest)),
            Rewriting::To(to, true) => return to.render(facts),
            Rewriting::To(to, false) => to.render(facts),
            Rewriting::Find(find, replace) => match find.captures(path) {
                Some(found) => replaced(&found, (find, replace), path, facts),
                None => encode_path(path.as_bytes()),
            },
        };
        if target.contains('?') { target } else { with_query(target, facts.target.query) }
    }
}

/// The path with what was found replaced; a query that the template has comes last.
fn replaced(
    found: &regex::Captures<'_>,
    (find, replace): (&regex::Regex, &Compiled),
    path: &str,
    facts: &Facts<'_>,
) -> String {
    let encoded = |text: &str| encode_path(text.as_bytes());
    let value = |at| encoded(found.get(at).map_or("", |part| part.as_str()));
    let mut captures = Captures::default();
    captures.add(find.capture_names().enumerate().map(|(at, name)| (name, value(at))));
    let middle = replace.render_with(facts, &captures);
    let whole = found.get_match().range();
    let (before, after) = (encoded(&path[..whole.start]), encoded(&path[whole.end..]));
    match middle.split_once('?') {
        Some((middle, query)) => format!("{before}{middle}{after}?{query}"),
        None => format!("{before}{middle}{after}"),
    }
}

fn with_query(path: String, query: &str) -> String {
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Maps;
    use crate::matching::Target;
    use crate::pattern::Template;

    #[test]
    fn a_question_mark_at_the_end_leaves_the_clients_query_out() {
        let target = Target {
            listener: "l",
            host: "h",
            path: "/a",
            query: "q=1",
            method: "GET",
            headers: None,
        };
        let (captures, maps) = (Captures::default(), Maps::default());
        let facts = Facts { request_uri: "/a?q=1", ..Facts::of(target, &captures, &maps) };
        for (to, expected) in [
            ("/b", "/b?q=1"),
            ("/b?", "/b"),
            ("/b?x", "/b?x"),
            ("/b??", "/b?"),
            ("${request_uri}?", "/a?q=1"),
            ("${path}?", "/a"),
        ] {
            let rewrite = Rewrite::To(Template(to.to_owned()));
            let rewriting = Rewriting::new(&rewrite, &Scope::default()).expect("it is one");
            assert_eq!(rewriting.target(&facts, "/a", b""), expected, "{to}");
        }
    }
}
