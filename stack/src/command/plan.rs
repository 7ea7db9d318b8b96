//! `forebay plan`: what deploying an environment would change, and what each change does.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::cost::{of_held, of_templates};
use super::estate::{OnAws, failed};
use super::look::Look;
use super::{EnvironmentFile, Failure, Output, drift, runtime, say, synth};
use crate::cloud::Drift;
use crate::cost;
use crate::deploy::run::Deployment;
use crate::difference::confirmed::{self, Confirmed};
use crate::difference::{self, Difference, Held, drifted, guard, saved, told};

pub(super) const PLAN_JSON: &str = "\
The JSON of `-o json` is one object; keys are added to it, never renamed:
  name      the environment
  changes   true or false
  stacks    a list of {name, action, resources, exports, exports_gone}; action is create, update,
            delete or none; a resource is {id, type, effect, holds_data, kept, properties}, a
            property {path, before, after, effect, because}; effect is none, create, in_place,
            rolling, interruption, impossible, release, replacement or delete
  refused   why it may not be deployed as it is
  drift     with --drift: what was changed by hand, a list of {stack, id, type, status, fate,
            properties}, a property {path, template, actual, fate}; fate is stays, agreed, perhaps,
            overwritten, lost or fails; null without --drift
  confirmed with --confirm: what CloudFormation says, a list of {stack, unsaid, disagreements}, a
            disagreement {id, type, foretold, proposed}; null without --confirm
  cost      US dollars a month, as text: {before, after}, each {always, most}; and prices_of, the
            dates of the prices
Exit codes: 0 nothing to change, 1 changes, or changes that are refused.";

#[derive(Debug, Args)]
pub(super) struct Plan {
    #[command(flatten)]
    file: EnvironmentFile,
    /// Against the templates of this folder, which `forebay synth` wrote [default: what is deployed]
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Have CloudFormation look for what was changed by hand, and tell what deploying makes of it
    #[arg(long, conflicts_with = "against")]
    drift: bool,
    /// Have CloudFormation make change sets of the stacks that would change, hold them against what is
    /// foretold, and delete them again
    #[arg(long, conflicts_with = "against")]
    confirm: bool,
    /// A resource that holds data and may be replaced or deleted; may be given several times
    #[arg(long, value_name = "NAME")]
    allow_replacement: Vec<String>,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    look: Look,
}

pub(super) fn run(asked: &Plan) -> Result<(), Failure> {
    let (plan, templates) = synth::checked(&asked.file.path()?)?;
    let runtime = runtime()?;
    let (held, drifts, estate) = match &asked.against {
        Some(folder) => (saved::read(folder).map_err(anyhow::Error::from)?, None, None),
        None => runtime.block_on(deployed(asked))?,
    };
    let difference = difference::between(&held, &templates);
    let mut refused = guard::refusals(&difference, &held, &asked.allow_replacement);
    let confirmed = match estate.filter(|_| asked.confirm) {
        Some(estate) => Some(runtime.block_on(confirm(&estate, &difference, asked))?),
        None => None,
    };
    refused.extend(confirmed.iter().flatten().flat_map(|it| lost(it, &asked.allow_replacement)));
    let drifted = drifts.map(|drifts| drifted::fates(&difference, &drifts));
    let region = &plan.aws().region;
    let (before, after) = (of_held(region, &held), of_templates(region, &templates));
    match asked.output {
        Output::Json => {
            let told = json!({
                "name": plan.name,
                "changes": !difference.is_empty(),
                "stacks": difference.stacks,
                "refused": refused,
                "drift": drifted,
                "confirmed": confirmed,
                "cost": cost::told::change_json(&before, &after),
            });
            say(&told.to_string());
        }
        Output::Text => {
            say(&told::text(&difference));
            drifted.iter().for_each(|it| say(&drifted::told(it)));
            let said = confirmed.map(|it| confirmed::told(&it)).filter(|text| !text.is_empty());
            said.iter().for_each(|text| say(text));
            if before.always != after.always || before.most != after.most {
                say(&cost::told::change(&before, &after));
            }
            refused.iter().for_each(|why| say(&format!("refused: {why}")));
        }
    }
    if difference.is_empty() { Ok(()) } else { Err(Failure::Told) }
}

/// What is deployed and, where it is asked for, what was changed beside it.
async fn deployed(asked: &Plan) -> Result<(Vec<Held>, Option<Vec<Drift>>, Option<OnAws>), Failure> {
    let estate = OnAws::of(&asked.file).await?;
    let held = estate.held().await?;
    if !asked.drift {
        return Ok((held, None, Some(estate)));
    }
    let drifts = drift::found(&estate, asked.look.every).await?;
    Ok((held, Some(drifts), Some(estate)))
}

/// What CloudFormation says of it, with the release that is there.
async fn confirm(
    estate: &OnAws,
    difference: &Difference,
    asked: &Plan,
) -> Result<Vec<Confirmed>, Failure> {
    let deployment = Deployment {
        cloud: &estate.cloud,
        templates: &estate.templates,
        tags: &estate.plan.aws().tags,
        bucket: &estate.plan.aws().releases,
        parameters: &BTreeMap::new(),
        allowed: &asked.allow_replacement,
        look: asked.look.every,
    };
    deployment.confirm(difference).await.map_err(failed)
}

/// What holds data and CloudFormation would take away, though that was not foretold.
fn lost(confirmed: &Confirmed, allowed: &[String]) -> Vec<String> {
    let stack = &confirmed.stack;
    let lost = confirmed.disagreements.iter().filter(|it| it.loses && guard::holds_data(&it.kind));
    lost.filter(|it| !guard::is_allowed(allowed, stack, &it.id))
        .map(|it| {
            let (id, proposed) = (&it.id, it.proposed);
            format!(
                "{stack}/{id} holds data and CloudFormation says {proposed}. If that is meant: \
                 --allow-replacement {id}"
            )
        })
        .collect()
}
