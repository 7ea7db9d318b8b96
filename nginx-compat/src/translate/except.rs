//! `limit_except`: what holds for all methods but those it names, as a route of its own.

use proxy_config::pattern::Template;
use proxy_config::steps::{Action, Condition, ConditionTest, Step};

use crate::translate::answer::{self, Here};
use crate::translate::detour;
use crate::translate::regex::convert;
use crate::translate::scope::Scope;
use crate::translate::site::Work;
use crate::translate::value::unique;
use crate::verdict::Verdict;

/// What leads requests of the other methods there; nothing where no method is limited.
pub fn steps<'a>(here: &Here<'_, 'a>, work: &mut Work<'_, 'a>) -> Result<Vec<Step>, String> {
    let Some(line) = here.scope.own("limit_except").first().copied() else { return Ok(Vec::new()) };
    let mut methods: Vec<String> = line.texts().map(str::to_ascii_uppercase).collect();
    if methods.iter().any(|method| method == "GET") {
        methods.push("HEAD".to_owned());
    }
    if methods.iter().any(|method| !method.bytes().all(|byte| byte.is_ascii_uppercase())) {
        return Err("nginx refuses it: a method of limit_except is none".to_owned());
    }
    let scope = Scope::of(line, Some(here.scope));
    let around = Some(&**here.scope);
    let inside = Here { scope: &scope, around, ..*here };
    let mut route = answer::route(&inside, work)?;
    let name = unique(&format!("except-of-line-{}", line.start.line), |n| work.taken.contains(n));
    work.taken.insert(name.clone());
    route.name.clone_from(&name);
    route.internal = true;
    route.rewrite = detour::by_expression(route.rewrite, here.path);
    let origin = format!("{}: {}", work.files.line(line.start), line.heading());
    work.by_name.push((route, origin, line.id));
    work.verdicts.add(line, Verdict::exact());
    let find = convert(&format!("^(?:{})$", methods.join("|")), false)?;
    let of = Template("${method}".to_owned());
    let when = vec![Condition { of, is: Some(ConditionTest::Regex(find)), not: true }];
    Ok(vec![Step { when, then: vec![Action::Route(name), Action::Stop] }])
}
