//! Addresses as they were sent. `rewrite ^ $request_uri` makes the client's path and query, escapes and all, the path that
//! expressions see and `$uri` tells: here it is a variable, so that nothing of it is escaped or undone twice.
//! And paths that a rewrite leaves without the slash at their beginning.

use proxy_config::pattern::Template;
use proxy_config::route::PathMatch;
use proxy_config::steps::{Action, Condition, ConditionTest, SetVariable, Step};

use crate::translate::answer::answered;
use crate::translate::captured::group;
use crate::translate::regex::convert;
use crate::translate::scope::Scope;
use crate::translate::variable::variables;
use crate::tree::{Directive, flattened, walk};

/// What stands for `$uri` from then on.
pub const AS_SENT: &str = "address_as_sent";

/// Expressions that find something in every path.
const ANYTHING: [&str; 8] = ["^", "^/", "/", ".*", "^.*", "^.*$", "(.*)", "^(.*)$"];

/// Whether a step makes the address as it was sent the path.
pub fn begins(line: &Directive) -> bool {
    let stays = line.argument(2).is_none_or(|flag| flag == "break");
    line.name == "rewrite"
        && stays
        && line.argument(0).is_some_and(|find| ANYTHING.contains(&find))
        && line.argument(1).is_some_and(|to| ["$request_uri", "${request_uri}"].contains(&to))
}

/// Whether a place does so.
pub fn is_so(scope: &Scope<'_>) -> bool {
    scope.own("rewrite").iter().any(|line| begins(line))
}

/// The first step; the error says why it cannot be translated here.
pub fn first(line: &Directive, block: &Directive, is_first: bool) -> Result<Vec<Action>, String> {
    let lines = flattened(block.children());
    let pass = lines.iter().find(|line| line.name == "proxy_pass");
    let asks = pass.and_then(|pass| pass.argument(0)).is_some_and(names_path);
    if !asks || !is_first || block.name != "location" {
        return Err(
            "`$request_uri` as the path is translated as the first step of a location whose \
                    `proxy_pass` names `$uri`"
                .to_owned(),
        );
    }
    let mut then = vec![set("${request_uri}".to_owned())];
    then.extend(line.argument(2).map(|_| Action::Stop));
    Ok(then)
}

/// A rewrite of such an address, whose template is known.
pub fn rewritten(line: &Directive, to: Template) -> Result<Step, String> {
    let plain = line.argument(1).unwrap_or_default();
    let mut then = vec![set(to.0)];
    match line.argument(2) {
        _ if plain.contains('?') || plain.contains("://") || plain.starts_with("$scheme") => {
            return Err("a rewrite of `$request_uri` to an address with a query".to_owned());
        }
        None => {}
        Some("break") => then.push(Action::Stop),
        Some(flag) => return Err(format!("a rewrite of `$request_uri` with `{flag}`")),
    }
    let is = Some(ConditionTest::Regex(convert(line.argument(0).unwrap_or_default(), false)?));
    let of = Template(format!("${{{AS_SENT}}}"));
    Ok(Step { when: vec![Condition { of, is, not: false }], then })
}

fn set(to: String) -> Action {
    Action::Set(SetVariable { name: AS_SENT.to_owned(), to: Template(to) })
}

/// Whether no request of a location comes past a rewrite: `^/git(/.*)` in `location /git/`.
pub fn takes_all(find: &str, path: Option<&PathMatch>) -> bool {
    if ANYTHING.contains(&find) {
        return true;
    }
    let Some(PathMatch::Prefix(path)) = path else { return false };
    let Some(find) = find.strip_prefix('^') else { return false };
    let find = find.strip_suffix('$').unwrap_or(find);
    let before = ["(/.*)", "/(.*)", "(/?.*)", "(.*)"].iter().find_map(|end| {
        let before = find.strip_suffix(end)?;
        Some(if end.starts_with("(.") || end.starts_with("(/?") {
            before.to_owned()
        } else {
            format!("{before}/")
        })
    });
    before.is_some_and(|before| {
        let is_text = before.chars().all(|c| c.is_ascii_alphanumeric() || "/-_".contains(c));
        is_text && path.starts_with(&before)
    })
}

/// What is answered where nginx would look for a location by such an address, and find this one again and again.
pub fn lost() -> Step {
    Step { when: Vec::new(), then: vec![Action::Respond(answered(500))] }
}

fn names_path(text: &str) -> bool {
    variables(text).iter().any(|name| ["uri", "document_uri"].contains(name))
}

/// Whether what a rewrite makes of a path may begin with something else than a slash.
pub fn may_lack_slash(find: &str, to: &str) -> bool {
    if to.starts_with('/') {
        return false;
    }
    let name = match variables(to).first() {
        Some(name) if to.starts_with('$') => *name,
        _ => return true,
    };
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    let Some(group) = group(find, name) else { return is_number };
    let start = group.strip_prefix('\\').unwrap_or(group);
    let first = find.strip_prefix('^').and_then(|rest| rest.strip_prefix('('));
    let is_all = ["^(.*)", "^(.*)$", "^(.+)", "^(.+)$"].contains(&find)
        || first.is_some_and(|rest| rest.starts_with(".+)"));
    let is_optional =
        find.contains(&format!("({group})?")) || find.contains(&format!("({group})*"));
    !is_all
        && (!start.starts_with('/')
            || group.contains('|')
            || is_optional
            || start.starts_with("/?")
            || start.starts_with("/*"))
}

/// Whether a place makes such paths of its own, and names them behind a slash: `http://host/$uri`.
pub fn puts_slash(scope: &Scope<'_>) -> bool {
    let lacks = |line: &&Directive| {
        let (find, to) =
            (line.argument(0).unwrap_or_default(), line.argument(1).unwrap_or_default());
        line.argument(2) == Some("break") && may_lack_slash(find, to)
    };
    let url = scope.own("proxy_pass").first().and_then(|pass| pass.argument(0)).unwrap_or_default();
    !is_so(scope) && behind_slash(url) != url && scope.own("rewrite").iter().any(lacks)
}

/// The same text, where a path has its slash by itself.
pub fn behind_slash(text: &str) -> String {
    text.replace("/$uri", "$uri").replace("/${uri}", "${uri}")
}

/// Whether something of a block besides what it passes to tells the path.
pub fn is_told(block: &Directive) -> bool {
    let mut told = false;
    walk(block.children(), &mut |line| {
        told |= line.name != "proxy_pass" && line.texts().any(names_path);
    });
    told
}

/// Before a rewrite to what may be nothing: then nginx has no path left and answers 500.
pub fn empty(find: &str, to: &Template) -> Result<Step, String> {
    let path = Template("${path_text}".to_owned());
    let found = ConditionTest::Regex(convert(find, false)?);
    let nothing = ConditionTest::Equals(Template::default());
    let when = |of: &Template, is| Condition { of: of.clone(), is: Some(is), not: false };
    let then = vec![Action::Respond(answered(500))];
    Ok(Step { when: vec![when(&path, found), when(to, nothing)], then })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_at_the_beginning() {
        for (find, to, lacks) in [
            ("^/a/(.*)", "$1", true),
            ("^/a(/.*)", "$1", false),
            ("^/a(/.*)?$", "$1", true),
            ("^/a(/|$)", "$1", true),
            ("^(.*)$", "$1", false),
            ("^(.+)/x$", "$1", false),
            ("^(/[^/]+)?(/.*)", "$2", false),
            ("^/a", "/b", false),
            ("^/a", "b", true),
            ("^/a/(?<rest>.*)", "$rest", true),
            ("^/a", "$somewhere", false),
            ("^/a", "$1", true),
        ] {
            assert_eq!(may_lack_slash(find, to), lacks, "{find} {to}");
        }
    }

    #[test]
    fn rewrites_that_take_every_request_of_their_location() {
        let all =
            |find: &str, path: &str| takes_all(find, Some(&PathMatch::Prefix(path.to_owned())));
        assert!(all("^/git(/.*)", "/git/") && all("^/git/(.*)$", "/git/") && all("^", "/"));
        assert!(
            !all("^/git(/.*)", "/git")
                && !all("^/hub(/.*)", "/git/")
                && !all("^/g.t(/.*)", "/git/")
        );
    }
}
