//! `forebay synth`: the templates of an environment, checked, into a folder.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::templates::Made;
use super::{Failure, Synth, say};
use crate::estate::EstatePlan;
use crate::template::{BYTES_MAX, Template};

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
    for template in templates.iter().filter(|it| it.to_json().len() > BYTES_MAX) {
        let how = match template.to_hand_over().len() > BYTES_MAX {
            true => format!("through s3://{}", plan.aws().releases),
            false => "without its line breaks".to_owned(),
        };
        say(&format!(
            "Note: {} is above {BYTES_MAX} bytes, which CloudFormation takes from a bucket only; \
             `forebay deploy` hands it over {how}",
            file_name(template)
        ));
    }
    plan.notes.iter().chain(&plan.unknown).for_each(|note| say(&format!("Note: {note}")));
    Ok(())
}

/// Plan and templates of an environment file, with which nothing is wrong that can be known here.
pub(super) fn checked(path: &Path) -> Result<(EstatePlan, Vec<Template>), Failure> {
    let made = Made::of(path)?;
    let (problems, findings) = made.findings();
    let Some(plan) = made.plan else {
        return Err(Failure::Failed(anyhow::anyhow!(
            "{} has no `aws` section, so there is nothing to make templates of; \
             environments/production.yaml shows one",
            path.display()
        )));
    };
    if let Some(problems) = problems {
        return Err(problems.into());
    }
    if findings.is_empty() {
        return Ok((plan, made.templates));
    }
    let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
    Err(Failure::Failed(anyhow::anyhow!("{}", told.join("\nforebay: "))))
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
