//! `forebay check`: tells every problem of an environment file at its place, and what its templates
//! would run into on AWS.

use std::path::Path;

use proxy_config::Problems;

use super::templates::Made;
use super::{Check, Failure, Output, say};
use crate::check::Finding;

pub(super) fn run(asked: &Check) -> Result<(), Failure> {
    let path = asked.file.path()?;
    let made = match (Made::of(&path), asked.output) {
        (Ok(made), _) => made,
        (Err(Failure::Document(problems)), Output::Json) => {
            let mut told = problems.to_json();
            told["ok"] = false.into();
            say(&told.to_string());
            return Err(Failure::ToldDocument);
        }
        (Err(failure), _) => return Err(failure),
    };
    let (problems, findings) = made.findings();
    let fine = problems.is_none() && findings.is_empty();
    match asked.output {
        Output::Json => say(&json(&made, problems.as_ref(), &findings)),
        Output::Text => {
            if fine {
                say(&summary(&path, &made));
            }
            made.unknown().iter().for_each(|note| say(&format!("Note: {note}")));
            problems.iter().for_each(|problems| say(problems.to_string().trim_end()));
            findings.iter().for_each(|finding| say(&finding.to_string()));
        }
    }
    if fine { Ok(()) } else { Err(Failure::ToldDocument) }
}

fn summary(path: &Path, made: &Made) -> String {
    let environment = &made.environment;
    let accounts = environment.ledger.as_ref().map_or(0, |ledger| ledger.accounts.len());
    let mut told = format!(
        "{} is fine: environment {}; routes: {}, streams: {}, accounts: {accounts}",
        path.display(),
        environment.name,
        environment.proxy.routes.len(),
        environment.streams.len(),
    );
    let resources: usize = made.templates.iter().map(|it| it.resources.len()).sum();
    if resources > 0 {
        told.push_str(&format!(", resources on AWS: {resources}"));
    }
    told
}

fn json(made: &Made, problems: Option<&Problems>, findings: &[Finding]) -> String {
    let told = |Finding { place, message }: &Finding| serde_json::json!({ "path": place, "message": message });
    let mut all: Vec<_> = findings.iter().map(told).collect();
    if let Some(problems) = problems {
        all.extend(problems.to_json()["problems"].as_array().cloned().unwrap_or_default());
    }
    let (ok, name) = (all.is_empty(), &made.environment.name);
    serde_json::json!({ "ok": ok, "name": name, "problems": all, "notes": made.unknown() })
        .to_string()
}
