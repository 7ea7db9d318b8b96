//! `gunzip` and `sub_filter`: bodies that are changed on their way.

use proxy_config::includes::Includes;
use proxy_config::route_action::{Gunzip, Substitution, Substitutions};

use crate::translate::scope::Scope;
use crate::translate::variable::{Names, Place};
use crate::verdict::{Verdict, Verdicts};

/// `gunzip`, with what gzip's own directives say of it.
pub fn gunzip(scope: &Scope<'_>, verdicts: &mut Verdicts) -> Option<Gunzip> {
    let line = scope.one("gunzip")?;
    verdicts.add(line, Verdict::exact());
    if !line.has("on") {
        return None;
    }
    for name in ["gzip_vary", "gzip_http_version"] {
        scope.one(name).into_iter().for_each(|line| verdicts.add(line, Verdict::exact()));
    }
    if let Some(line) = scope.one("gunzip_buffers") {
        verdicts.add(line, Verdict::ignored("how nginx holds what it decompresses"));
    }
    Some(Gunzip {
        vary: scope.one("gzip_vary").is_some_and(|line| line.has("on")),
        http10: scope.one("gzip_http_version").is_some_and(|line| line.has("1.0")),
    })
}

/// `sub_filter` and its family.
pub fn substitutions(
    scope: &Scope<'_>,
    place: &Place,
    names: &mut Names<'_>,
    verdicts: &mut Verdicts,
) -> Option<Substitutions> {
    let place = &Place { is_text: true, ..place.clone() };
    for name in ["sub_filter_once", "sub_filter_types", "sub_filter_last_modified"] {
        scope.effective(name).iter().for_each(|line| verdicts.add(line, Verdict::exact()));
    }
    let mut rules = Substitutions::default();
    for line in scope.effective("sub_filter") {
        let mut text =
            |index| names.text(line.argument(index).unwrap_or_default(), place, verdicts);
        match text(0).and_then(|find| Ok(Substitution { find, with: text(1)? })) {
            Ok(pair) => {
                rules.pairs.push(pair);
                verdicts.add(line, Verdict::exact());
            }
            Err(why) => verdicts.add(line, Verdict::unsupported(why)),
        }
    }
    for line in scope.effective("sub_filter_types") {
        rules.types.extend(line.texts().map(str::to_owned));
    }
    rules.once = scope.one("sub_filter_once").is_none_or(|line| line.has("on"));
    rules.keep_last_modified =
        scope.one("sub_filter_last_modified").is_some_and(|line| line.has("on"));
    (!rules.pairs.is_empty()).then_some(rules)
}

/// `ssi` and its family.
pub fn includes(scope: &Scope<'_>, verdicts: &mut Verdicts) -> Option<Includes> {
    const FAMILY: [&str; 4] = ["ssi", "ssi_types", "ssi_last_modified", "ssi_silent_errors"];
    for line in FAMILY.iter().flat_map(|name| scope.effective(name)) {
        verdicts.add(line, Verdict::exact());
    }
    let line = scope.one("ssi").filter(|line| line.has("on"))?;
    let why = "parts are asked for one after the other, as many and as deep as `includes` lets them, and pass the \
               access rules of their location, which nginx does not ask; an answer to a request with a body is sent as it is; a page is never `not modified`";
    verdicts.add(line, Verdict::approximate(why));
    let is_on = |name: &str| scope.one(name).is_some_and(|line| line.has("on"));
    let mut includes = Includes {
        keep_last_modified: is_on("ssi_last_modified"),
        silent_errors: is_on("ssi_silent_errors"),
        ..Includes::default()
    };
    for line in scope.effective("ssi_types") {
        includes.types.extend(line.texts().map(str::to_owned));
    }
    Some(includes)
}
