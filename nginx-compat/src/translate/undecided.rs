//! Locations that have no route: why, and what is said of the lines in them.

use std::collections::HashSet;

use crate::translate::detour::Named;
use crate::translate::location::{Kind, Location};
use crate::translate::site::Work;
use crate::translate::{order, regex};
use crate::verdict::{Exactness, Verdict};

/// Verdicts for the locations that have no route.
pub fn say(
    level: &[Location<'_>],
    decided: &HashSet<usize>,
    named: &Named,
    work: &mut Work<'_, '_>,
) {
    for location in level {
        let id = location.directive.id;
        if !decided.contains(&id) {
            let verdict = match &location.kind {
                Kind::Regex { pattern, ignore_case } => match regex::convert(pattern, *ignore_case)
                {
                    Err(why) => Verdict::unsupported(format!(
                        "{why}; its requests go to the locations after it"
                    )),
                    Ok(_) => never(),
                },
                Kind::Named(at) if named.contains_key(at) => continue,
                Kind::Named(_) => never(),
                Kind::Invalid(fault) => Verdict::unsupported(fault.clone()),
                Kind::Exact(path) | Kind::Prefix { path, .. } => {
                    let verdict = match order::foreign_character(path) {
                        Some(c) => Verdict::unsupported(format!(
                            "routes read {c:?} in {path:?} differently; its requests go to shorter \
                             prefixes"
                        )),
                        None if order::never_matches(path) => Verdict::ignored(format!(
                            "{path:?} is not in normal form and never matches in nginx either"
                        )),
                        None => never(),
                    };
                    if verdict.exactness == Exactness::Ignored && location.nested.is_empty() {
                        crate::tree::walk(location.directive.children(), &mut |line| {
                            work.verdicts.add(line, verdict.clone());
                        });
                    }
                    verdict
                }
            };
            work.verdicts.add(location.directive, verdict);
        }
        say(&location.nested, decided, named, work);
    }
}

fn never() -> Verdict {
    Verdict::ignored("nginx never comes here either: other locations take it all")
}
