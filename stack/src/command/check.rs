//! `forebay check`: tells every problem of an environment file at its place.

use super::{Check, Failure, Output, say};
use crate::check::{self, Finding};
use crate::environment::Environment;
use crate::{estate, template, validate};

pub(super) fn run(asked: &Check) -> Result<(), Failure> {
    let path = asked.file.path()?;
    let name = path.display();
    let checked = validate::environment(&path);
    let findings = checked.as_ref().map(findings).unwrap_or_default();
    match (checked, asked.output) {
        (Ok(_), Output::Text) if !findings.is_empty() => {
            findings.iter().for_each(|finding| say(&finding.to_string()));
            Err(Failure::ToldDocument)
        }
        (Ok(environment), Output::Json) if !findings.is_empty() => {
            let told: Vec<_> = findings
                .iter()
                .map(|Finding { place, message }| serde_json::json!({ "path": place, "message": message }))
                .collect();
            let told =
                serde_json::json!({ "ok": false, "name": environment.name, "problems": told });
            say(&told.to_string());
            Err(Failure::ToldDocument)
        }
        (Ok(environment), Output::Text) => {
            let routes = environment.proxy.routes.len();
            let streams = environment.streams.len();
            let accounts = environment.ledger.as_ref().map_or(0, |ledger| ledger.accounts.len());
            let resources = resources(&environment);
            let resources = resources.map(|count| format!(", resources on AWS: {count}"));
            say(&format!(
                "{name} is fine: environment {}; routes: {routes}, streams: {streams}, accounts: {accounts}{}",
                environment.name,
                resources.unwrap_or_default()
            ));
            Ok(())
        }
        (Ok(environment), Output::Json) => {
            let told = serde_json::json!({ "ok": true, "name": environment.name, "problems": [] });
            say(&told.to_string());
            Ok(())
        }
        (Err(problems), Output::Text) => Err(problems.into()),
        (Err(problems), Output::Json) => {
            let mut told = problems.to_json();
            told["ok"] = false.into();
            say(&told.to_string());
            Err(Failure::ToldDocument)
        }
    }
}

/// What the templates would run into on AWS; nothing for an environment without an `aws` section.
fn findings(environment: &Environment) -> Vec<Finding> {
    let plan = estate::resolve(environment);
    plan.map(|plan| check::all(&plan, &template::build(&plan))).unwrap_or_default()
}

fn resources(environment: &Environment) -> Option<usize> {
    let plan = estate::resolve(environment)?;
    Some(template::build(&plan).iter().map(|template| template.resources.len()).sum())
}
