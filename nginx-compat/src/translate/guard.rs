//! What keeps a location closed. A location whose answer or protection depends on something Forebay
//! cannot do yet is not opened without it, not even in a partial conversion: a page behind a
//! password must not lose the password on its way.

use crate::translate::scope::Scope;
use crate::tree::Directive;
use crate::verdict::is_neutral;

/// Answer or change the request, in the location itself.
const HANDLERS: [&str; 9] = [
    "uwsgi_pass",
    "scgi_pass",
    "memcached_pass",
    "empty_gif",
    "random_index",
    "perl",
    "echo",
    "js_content",
    "redis_pass",
];

/// Protect or change the request, wherever they are in effect.
const GUARDS: [&str; 3] = ["auth_jwt", "modsecurity", "js_access"];

/// The directive that keeps a location closed, if any.
pub fn closes<'a>(location: &Scope<'a>) -> Option<&'a Directive> {
    let own = |scope: &Scope<'a>, names: &[&str]| {
        names.iter().find_map(|name| scope.own(name).first().copied())
    };
    own(location, &HANDLERS)
        .or_else(|| GUARDS.iter().find_map(|name| in_force(location, name)))
        .or_else(|| lua(location))
}

fn in_force<'a>(scope: &Scope<'a>, name: &str) -> Option<&'a Directive> {
    scope.effective(name).iter().copied().find(|directive| {
        let asks_nothing = is_neutral(directive) || (name == "allow" && directive.has("all"));
        !asks_nothing
    })
}

/// Lua code of any phase before the answer, at any level.
fn lua<'a>(scope: &Scope<'a>) -> Option<&'a Directive> {
    const PHASES: [&str; 4] =
        ["access_by_lua", "content_by_lua", "rewrite_by_lua", "server_rewrite"];
    let found = scope.own_names().find(|name| PHASES.iter().any(|phase| name.starts_with(phase)));
    match found {
        Some(name) => scope.own(name).first().copied(),
        None => scope.outer().and_then(|outer| lua(outer)),
    }
}
