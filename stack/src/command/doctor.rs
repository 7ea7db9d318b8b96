//! `forebay doctor`: what a deployment would need, looked at one by one.

use clap::Args;

use super::{EnvironmentFile, Failure, runtime, say, synth};
use crate::cloud::{Cloud, StackState};
use crate::estate::EstatePlan;
use crate::quotas::{self, Need};
use crate::template::{Stack, Template};

#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    file: EnvironmentFile,
}

/// How something is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Well,
    Ill,
    /// It could not be looked at, which by itself is no fault.
    Unseen,
}

/// One thing that was looked at.
struct Finding {
    health: Health,
    text: String,
}

fn well(text: impl Into<String>) -> Finding {
    Finding { health: Health::Well, text: text.into() }
}

fn ill(text: impl Into<String>) -> Finding {
    Finding { health: Health::Ill, text: text.into() }
}

fn unseen(text: impl Into<String>) -> Finding {
    Finding { health: Health::Unseen, text: text.into() }
}

pub(super) fn run(asked: &Doctor) -> Result<(), Failure> {
    let findings = runtime()?.block_on(look(asked))?;
    for finding in &findings {
        let sign = match finding.health {
            Health::Well => "ok  ",
            Health::Ill => "FAIL",
            Health::Unseen => "?   ",
        };
        say(&format!("{sign}  {}", finding.text));
    }
    let well = findings.iter().all(|finding| finding.health != Health::Ill);
    if well { Ok(()) } else { Err(Failure::Told) }
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
    let standing = standing(&cloud, &plan.name).await;
    findings.push(room_for_stacks(&cloud, &aws.region, templates.len(), standing.len()).await);
    images(&cloud, &aws.region, &templates, &mut findings).await;
    quotas(&cloud, &templates, &mut findings).await;
    archives(&cloud, &plan, &mut findings).await;
    for template in &templates {
        let body = template.to_hand_over();
        findings.push(match cloud.validate(&template.name, &body, &aws.releases).await {
            Ok(()) => well(format!("CloudFormation takes the template of {}", template.name)),
            Err(error) => ill(error.to_string()),
        });
    }
    findings.extend(standing);
    Ok(findings)
}

/// Each stack of the environment that exists, and how it is.
async fn standing(cloud: &Cloud, name: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for stack in Stack::ALL {
        match cloud.stack(&format!("{name}-{}", stack.word())).await {
            Ok(Some(state)) => found.push(of_a_stack(&state)),
            Ok(None) => {}
            Err(error) => found.push(ill(error.to_string())),
        }
    }
    found
}

/// Whether the account has room for the stacks that are yet to be made.
async fn room_for_stacks(cloud: &Cloud, region: &str, wanted: usize, there: usize) -> Finding {
    let (limits, used) = match (cloud.limits().await, cloud.count_stacks().await) {
        (Ok(limits), Ok(used)) => (limits, used),
        (Err(error), _) | (_, Err(error)) => return ill(error.to_string()),
    };
    let limit = limits.iter().find(|(name, _)| name == "StackLimit").map(|(_, max)| *max);
    let Some(max) = limit else { return well(format!("{region} answers")) };
    let new = wanted.saturating_sub(there);
    let text =
        format!("{new} new stacks, {used} there are, of {max} the account may have in {region}");
    if usize::try_from(max).is_ok_and(|max| used + new <= max) { well(text) } else { ill(text) }
}

/// Whether the images that instances begin with exist in the region.
async fn images(cloud: &Cloud, region: &str, templates: &[Template], found: &mut Vec<Finding>) {
    for name in quotas::images(templates) {
        found.push(match cloud.parameter(&name).await {
            Ok(Some(image)) => well(format!("{region} has the image {image} ({name})")),
            Ok(None) => ill(format!("{region} has no image {name}")),
            Err(error) => unseen(error.to_string()),
        });
    }
}

/// Whether the account may have what the estate may come to need.
async fn quotas(cloud: &Cloud, templates: &[Template], found: &mut Vec<Finding>) {
    // Each service would have to be asked for it in its own way.
    let note = "the quotas below are held against this estate alone: what else the account runs is not counted";
    found.push(unseen(note));
    for Need { service, code, what, count } in quotas::needs(templates) {
        let allowed = match cloud.quota(service, code).await {
            Ok(allowed) => allowed,
            Err(error) => {
                found.push(unseen(error.to_string()));
                continue;
            }
        };
        #[expect(clippy::cast_precision_loss, reason = "quotas are small numbers")]
        let enough = allowed >= count as f64;
        found.push(if enough {
            well(format!("{count} {what} at the most, of {allowed} the account may have in all"))
        } else {
            ill(format!(
                "{count} {what} at the most, and the account may have {allowed}: aws service-quotas \
                 request-service-quota-increase --service-code {service} --quota-code {code} \
                 --desired-value {count}"
            ))
        });
    }
}

/// Whether the archives of functions are where Lambda is told to find them.
async fn archives(cloud: &Cloud, plan: &EstatePlan, found: &mut Vec<Finding>) {
    let bucket = &plan.aws().releases;
    for (name, function) in &plan.estate.functions {
        let place = format!("s3://{bucket}/{}", function.code);
        found.push(match cloud.is_there(bucket, &function.code).await {
            Ok(true) => well(format!("{place} is there")),
            Ok(false) => ill(format!("functions.{name}.code: {place} is not there")),
            Err(error) => unseen(error.to_string()),
        });
    }
}

fn of_a_stack(state: &StackState) -> Finding {
    let protected = if state.protected { "" } else { ", not protected from deletion" };
    let text = format!("{} is {}{protected}", state.name, state.status);
    let settled = state.is_well() || state.status == "UPDATE_ROLLBACK_COMPLETE";
    if settled && state.protected { well(text) } else { ill(text) }
}
