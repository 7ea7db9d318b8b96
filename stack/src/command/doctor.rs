//! `forebay doctor`: what a deployment would need, looked at one by one.

use clap::Args;

use super::{EnvironmentFile, Failure, runtime, say, synth};
use crate::cloud::{Cloud, StackState};
use crate::template::Stack;

#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    file: EnvironmentFile,
}

/// One thing that was looked at.
struct Finding {
    well: bool,
    text: String,
}

fn well(text: impl Into<String>) -> Finding {
    Finding { well: true, text: text.into() }
}

fn ill(text: impl Into<String>) -> Finding {
    Finding { well: false, text: text.into() }
}

pub(super) fn run(asked: &Doctor) -> Result<(), Failure> {
    let findings = runtime()?.block_on(look(asked))?;
    for finding in &findings {
        say(&format!("{}  {}", if finding.well { "ok  " } else { "FAIL" }, finding.text));
    }
    if findings.iter().all(|finding| finding.well) { Ok(()) } else { Err(Failure::Told) }
}

async fn look(asked: &Doctor) -> Result<Vec<Finding>, Failure> {
    let (plan, templates) = synth::checked(&asked.file.path()?)?;
    let resources: usize = templates.iter().map(|it| it.resources.len()).sum();
    let mut findings = vec![well(format!(
        "{} templates, {resources} resources, all offline checks pass",
        templates.len()
    ))];
    let aws = plan.aws();
    let cloud = Cloud::of(&aws.region).await;
    match cloud.who().await {
        Err(error) => {
            findings.push(ill(error.to_string()));
            return Ok(findings);
        }
        Ok(who) if who.account != aws.account => {
            let message =
                format!("the credentials are of {}, the file says {}", who.account, aws.account);
            findings.push(ill(message));
            return Ok(findings);
        }
        Ok(who) => findings.push(well(format!("credentials of {} as {}", who.account, who.arn))),
    }
    findings.push(match cloud.limits().await {
        Ok(limits) => {
            let stacks = limits.iter().find(|(name, _)| name == "StackLimit").map(|(_, max)| *max);
            match stacks {
                Some(max) => well(format!("{} allows {max} stacks", aws.region)),
                None => well(format!("{} answers", aws.region)),
            }
        }
        Err(error) => ill(error.to_string()),
    });
    for template in &templates {
        findings.push(match cloud.validate(&template.name, &template.to_json()).await {
            Ok(()) => well(format!("CloudFormation takes the template of {}", template.name)),
            Err(error) => ill(error.to_string()),
        });
    }
    for stack in Stack::ALL {
        let name = format!("{}-{}", plan.name, stack.word());
        match cloud.stack(&name).await {
            Ok(Some(state)) => findings.push(standing(&state)),
            Ok(None) => {}
            Err(error) => findings.push(ill(error.to_string())),
        }
    }
    Ok(findings)
}

fn standing(state: &StackState) -> Finding {
    let protected = if state.protected { "" } else { ", not protected from deletion" };
    let text = format!("{} is {}{protected}", state.name, state.status);
    let settled = state.is_well() || state.status == "UPDATE_ROLLBACK_COMPLETE";
    Finding { well: settled && state.protected, text }
}
