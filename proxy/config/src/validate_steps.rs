//! Rules for the steps of routes.

use std::collections::BTreeSet;

use crate::config::Config;
use crate::findings::{Findings, item};
use crate::leads::Leads;
use crate::link_check::{CheckLink, LinkProof};
use crate::route_action::Respond;
use crate::steps::{Action, ConditionTest, Step};
use crate::template::{Scope, VARIABLES};
use crate::validate_templates::{header_value, headers, template};

pub(crate) fn check(config: &Config, findings: &mut Findings<'_>) {
    let names: BTreeSet<&str> = config.routes.iter().map(|route| route.name.as_str()).collect();
    let leads = Leads::new(config);
    for (index, route) in config.routes.iter().enumerate() {
        if route.steps.is_empty() {
            continue;
        }
        let scope = leads.scope_of(route);
        for (at, step) in route.steps.iter().enumerate() {
            let path = item(format!("{}.steps", item("routes", index)), at);
            check_step(step, &scope, &names, &path, findings);
        }
    }
}

fn check_step(
    step: &Step,
    scope: &Scope<'_>,
    names: &BTreeSet<&str>,
    path: &str,
    findings: &mut Findings<'_>,
) {
    if step.then.is_empty() {
        let hint = "add an action, such as `- stop`, or remove the step";
        findings.add(format!("{path}.then"), "the step does nothing", hint);
    }
    for (index, condition) in step.when.iter().enumerate() {
        let place = item(format!("{path}.when"), index);
        template(&condition.of, scope, &format!("{place}.of"), findings);
        if let Some(ConditionTest::Equals(text)) = &condition.is {
            template(text, scope, &format!("{place}.is.equals"), findings);
        }
    }
    for (index, action) in step.then.iter().enumerate() {
        let place = item(format!("{path}.then"), index);
        check_action(action, scope, names, &place, findings);
    }
}

fn check_action(
    action: &Action,
    scope: &Scope<'_>,
    names: &BTreeSet<&str>,
    path: &str,
    findings: &mut Findings<'_>,
) {
    match action {
        Action::Set(set) => {
            check_name(&set.name, &format!("{path}.set.name"), findings);
            template(&set.to, scope, &format!("{path}.set.to"), findings);
        }
        Action::CheckLink(check) => {
            check_link(check, scope, &format!("{path}.check_link"), findings);
        }
        Action::Rewrite(rewrite) => {
            template(&rewrite.to, scope, &format!("{path}.rewrite.to"), findings);
            if let Some(status) = rewrite.redirect {
                redirect_status(status, &format!("{path}.rewrite.redirect"), findings);
            }
        }
        Action::Respond(respond) => {
            check_respond(respond, &format!("{path}.respond"), findings);
            if let Some(body) = &respond.body {
                template(body, scope, &format!("{path}.respond.body"), findings);
            }
            headers(&respond.headers, scope, &format!("{path}.respond.headers"), findings);
        }
        Action::Redirect(redirect) => {
            header_value(&redirect.to, scope, &format!("{path}.redirect.to"), findings);
            redirect_status(redirect.status, &format!("{path}.redirect.status"), findings);
        }
        Action::Route(name) => {
            if !names.contains(name.as_str()) {
                let hint = match crate::suggest::closest(name, names.iter().copied()) {
                    Some(closest) => format!("did you mean `{closest}`?"),
                    None => "write the name of another route".to_owned(),
                };
                findings.add(format!("{path}.route"), format!("no route is named `{name}`"), hint);
            }
        }
        Action::Stop | Action::Close => {}
    }
}

fn check_link(check: &CheckLink, scope: &Scope<'_>, path: &str, findings: &mut Findings<'_>) {
    check_name(&check.name, &format!("{path}.name"), findings);
    if let Some(name) = &check.expires {
        check_name(name, &format!("{path}.expires"), findings);
        if *name == check.name {
            let hint = "give the time a variable of its own";
            findings.add(format!("{path}.expires"), "one variable cannot be both", hint);
        }
    }
    match &check.by {
        LinkProof::Text(text) => {
            template(&text.given, scope, &format!("{path}.by.text.given"), findings);
            template(&text.md5_of, scope, &format!("{path}.by.text.md5_of"), findings);
        }
        LinkProof::Path(proof) if proof.word.is_empty() => {
            let hint = "write the word that links were signed with";
            findings.add(format!("{path}.by.path.word"), "anybody could sign a link", hint);
        }
        LinkProof::Path(_) => {}
    }
}

fn check_name(name: &str, path: &str, findings: &mut Findings<'_>) {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        let hint = "write letters, digits and `_`, such as `is_mobile`";
        findings.add(path, format!("`{name}` is not the name of a variable"), hint);
    } else if VARIABLES.iter().any(|(known, _)| *known == name) {
        let message = format!("`${name}` is what the request says and cannot be set");
        findings.add(path, message, "choose another name");
    }
}

/// Statuses of answers that have no content (RFC 9110 sections 15.3.5, 15.3.6, 15.4.5), and why not.
const WITHOUT_CONTENT: [(u16, &str); 3] = [
    (204, "204 says that there is no content"),
    (205, "205 tells the client to empty its form, and has no content"),
    (304, "304 tells the client to use what it has, and has no content"),
];

pub(crate) fn check_respond(respond: &Respond, path: &str, findings: &mut Findings<'_>) {
    findings.status(format!("{path}.status"), respond.status, 200, 599);
    let has_body = respond.body.as_ref().is_some_and(|body| !body.0.is_empty());
    let without = WITHOUT_CONTENT.iter().find(|(status, _)| *status == respond.status);
    if let Some((_, why)) = without.filter(|_| has_body) {
        let hint = "remove `body`, or answer with a status that has one, such as 200";
        findings.add_related(
            &format!("{path}.body"),
            *why,
            hint,
            (&format!("{path}.status"), "the status is here"),
        );
    }
}

pub(crate) fn redirect_status(status: u16, path: &str, findings: &mut Findings<'_>) {
    if ![301, 302, 303, 307, 308].contains(&status) {
        let message = format!("{status} does not redirect");
        findings.add(path, message, "write 301, 302, 303, 307 or 308");
    }
}
