//! `forebay check`: tells every problem of an environment file at its place, and what its templates
//! would run into on AWS.

use std::path::Path;

use super::{Check, Failure, Output, say};
use crate::check::{self, Finding};
use crate::environment::Environment;
use crate::{estate, template, validate};

pub(super) fn run(asked: &Check) -> Result<(), Failure> {
    let path = asked.file.path()?;
    let environment = match (validate::environment(&path), asked.output) {
        (Ok(environment), _) => environment,
        (Err(problems), Output::Text) => return Err(problems.into()),
        (Err(problems), Output::Json) => {
            let mut told = problems.to_json();
            told["ok"] = false.into();
            say(&told.to_string());
            return Err(Failure::ToldDocument);
        }
    };
    let plan = estate::resolve(&environment).map_err(anyhow::Error::from)?;
    let templates = plan.as_ref().map(template::build).unwrap_or_default();
    let findings = plan.as_ref().map(|plan| check::all(plan, &templates)).unwrap_or_default();
    match asked.output {
        Output::Json => say(&json(&environment, &findings)),
        Output::Text if findings.is_empty() => {
            let resources: usize = templates.iter().map(|it| it.resources.len()).sum();
            say(&fine(&path, &environment, resources));
        }
        Output::Text => findings.iter().for_each(|finding| say(&finding.to_string())),
    }
    if findings.is_empty() { Ok(()) } else { Err(Failure::ToldDocument) }
}

fn fine(path: &Path, environment: &Environment, resources: usize) -> String {
    let accounts = environment.ledger.as_ref().map_or(0, |ledger| ledger.accounts.len());
    let mut told = format!(
        "{} is fine: environment {}; routes: {}, streams: {}, accounts: {accounts}",
        path.display(),
        environment.name,
        environment.proxy.routes.len(),
        environment.streams.len(),
    );
    if resources > 0 {
        told.push_str(&format!(", resources on AWS: {resources}"));
    }
    told
}

fn json(environment: &Environment, findings: &[Finding]) -> String {
    let told = |Finding { place, message }: &Finding| serde_json::json!({ "path": place, "message": message });
    let problems: Vec<_> = findings.iter().map(told).collect();
    let ok = problems.is_empty();
    serde_json::json!({ "ok": ok, "name": environment.name, "problems": problems }).to_string()
}
