//! What would not load is closed: a capture that nothing captures, a header that cannot be one. The
//! proxy's own rules say so, before anybody is given the configuration.

use std::collections::{BTreeMap, BTreeSet};

use proxy_config::validate::validate;
use proxy_config::{Config, Route, Source, Tree};

use crate::translate::Origins;
use crate::translate::upstream::{CLOSED, closed_upstream};
use crate::tree::{Directive, Document, walk};
use crate::verdict::{Verdict, Verdicts};

/// Times that closing something may show another fault.
const ROUNDS_MAX: usize = 4;

/// Closes routes until the rest is sound. The error says why it cannot be made so.
pub fn sieve(
    config: &mut Config,
    origins: &mut Origins,
    document: &Document,
    verdicts: &mut Verdicts,
) -> Result<(), String> {
    let nothing = Tree::parse(Source::new("nothing", "{}"));
    let nothing = nothing.map_err(|_| "an empty document does not load".to_owned())?;
    let mut last = String::new();
    let mut blocks: BTreeMap<usize, &Directive> = BTreeMap::new();
    walk(&document.directives, &mut |directive| {
        blocks.insert(directive.id, directive);
    });
    for _ in 0..ROUNDS_MAX {
        let problems = validate(config, nothing.root(), "", &[]);
        if problems.is_empty() {
            return Ok(());
        }
        let mut closed: BTreeMap<usize, String> = BTreeMap::new();
        let mut removed: BTreeSet<usize> = BTreeSet::new();
        for problem in problems {
            let why = problem.message.clone();
            last = format!("{}: {why}", problem.path);
            if let Some((index, rest)) = in_list(&problem.path, "routes[") {
                if rest.starts_with(".match") || rest.is_empty() {
                    removed.insert(index);
                }
                closed.insert(index, why);
                continue;
            }
            if let Some(rest) = problem.path.strip_prefix("upstreams.") {
                let name = rest.split('.').next().unwrap_or(rest);
                for (index, route) in config.routes.iter().enumerate() {
                    if route.upstream.as_deref() == Some(name) {
                        closed.insert(index, format!("{name}: {why}"));
                    }
                }
                config.upstreams.remove(name);
                continue;
            }
            let named = ["maps.", "rate_limits."].iter().find_map(|s| problem.path.strip_prefix(s));
            let Some(name) = named.and_then(|rest| rest.split('.').next()) else {
                return Err(last);
            };
            for (index, route) in config.routes.iter().enumerate() {
                if uses(route, name) {
                    closed.insert(index, format!("{name}: {why}"));
                }
            }
            config.maps.remove(name);
            config.rate_limits.remove(name);
        }
        for (index, why) in &closed {
            let block = origins.blocks.get(*index).and_then(|id| blocks.get(id));
            if let Some(block) = block {
                let why = format!("stays closed: {why}");
                verdicts.add(block, Verdict::unsupported(why));
            }
            let Some(route) = config.routes.get_mut(*index) else { continue };
            let when = std::mem::take(&mut route.when);
            let (name, internal) = (std::mem::take(&mut route.name), route.internal);
            *route = Route { when, internal, ..Route::to(name, CLOSED) };
        }
        if !closed.is_empty() {
            config.upstreams.entry(CLOSED.to_owned()).or_insert_with(closed_upstream);
        }
        for index in removed.into_iter().rev() {
            config.routes.remove(index);
            origins.routes.remove(index);
            origins.blocks.remove(index);
        }
    }
    Err(last)
}

fn in_list<'p>(path: &'p str, start: &str) -> Option<(usize, &'p str)> {
    let (index, rest) = path.strip_prefix(start)?.split_once(']')?;
    Some((index.parse().ok()?, rest))
}

/// Whether a route says a name, as a variable or as that of a limit.
fn uses(route: &Route, name: &str) -> bool {
    let text = serde_json::to_string(route).unwrap_or_default();
    text.contains(&format!("${{{name}}}")) || route.rate_limits.iter().any(|limit| limit == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::include::Includes;
    use crate::parse::parse_bytes;
    use crate::translate::translate;

    #[test]
    fn what_cannot_be_made_sound_is_said() {
        let text = b"http { server { listen 80; location / { return 204; } } }";
        let parsed = parse_bytes("t", text, Includes::Unfollowed);
        let mut made = translate(&parsed.document);
        let mut config = made.config.take().expect("it is translated");
        let trusted = "10.0.0.0/8".parse().expect("a network");
        config.listeners.values_mut().for_each(|one| one.trusted_proxies.push(trusted));
        let outcome = sieve(&mut config, &mut made.origins, &parsed.document, &mut made.verdicts);
        let why = outcome.expect_err("nothing they say is read");
        assert!(why.starts_with("listeners.port-80") && why.contains("trusted"), "{why}");
    }
}
