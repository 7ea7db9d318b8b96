//! `forebay synth`: the templates of an environment, checked, into a folder.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::{Failure, Synth, say};
use crate::estate::{self, EstatePlan};
use crate::template::{self, Template};
use crate::{check, validate};

pub(super) fn run(asked: &Synth) -> Result<(), Failure> {
    let (plan, templates) = checked(&asked.file.path()?)?;
    fs::create_dir_all(&asked.folder)?;
    for template in &templates {
        fs::write(asked.folder.join(file_name(template)), template.to_json())?;
    }
    let order = serde_json::to_string_pretty(&order(&plan, &templates));
    fs::write(asked.folder.join("stacks.json"), order.map_err(std::io::Error::other)? + "\n")?;
    for template in &templates {
        say(&format!(
            "{:<28}{:>4} resources {:>7} bytes",
            asked.folder.join(file_name(template)).display(),
            template.resources.len(),
            template.to_json().len()
        ));
    }
    plan.notes.iter().for_each(|note| say(&format!("Note: {note}")));
    Ok(())
}

/// Plan and templates of an environment file, with which nothing is wrong that can be known here.
pub(super) fn checked(path: &Path) -> Result<(EstatePlan, Vec<Template>), Failure> {
    let plan = plan(path)?;
    let templates = template::build(&plan);
    let findings = check::all(&plan, &templates);
    if findings.is_empty() {
        return Ok((plan, templates));
    }
    let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
    Err(Failure::Failed(anyhow::anyhow!("{}", told.join("\nforebay: "))))
}

/// The plan of an environment file; a file without an `aws` section is told so.
fn plan(path: &Path) -> Result<EstatePlan, Failure> {
    let environment = validate::environment(path)?;
    let plan = estate::resolve(&environment).map_err(anyhow::Error::from)?;
    plan.ok_or_else(|| {
        Failure::Failed(anyhow::anyhow!(
            "{} has no `aws` section, so there is nothing to make templates of; \
             environments/production.yaml shows one",
            path.display()
        ))
    })
}

fn file_name(template: &Template) -> String {
    format!("{}.json", template.stack.word())
}

/// For whoever deploys the templates: which stack, in which order, with what.
fn order(plan: &EstatePlan, templates: &[Template]) -> serde_json::Value {
    let stack = |template: &Template| {
        let parameters: Vec<&String> = template.parameters.keys().collect();
        json!({
            "name": template.name,
            "template": file_name(template),
            "parameters": parameters,
            "capabilities": ["CAPABILITY_IAM"],
        })
    };
    let stacks: Vec<_> = templates.iter().map(stack).collect();
    json!({
        "account": plan.aws().account,
        "region": plan.aws().region,
        "tags": plan.aws().tags,
        "stacks": stacks,
    })
}
