//! `forebay plan`: what deploying an environment would change, and what each change does.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::cost::{of_held, of_templates};
use super::estate::OnAws;
use super::look::Look;
use super::{EnvironmentFile, Failure, Output, drift, runtime, say, synth};
use crate::cloud::Drift;
use crate::cost;
use crate::difference::{self, Held, drifted, guard, saved, told};

pub(super) const PLAN_JSON: &str = "\
The JSON of `-o json` is one object; keys are added to it, never renamed:
  name      the environment
  changes   true or false
  stacks    a list of {name, action, resources, exports, exports_gone}; action is create, update,
            delete or none; a resource is {id, type, effect, holds_data, kept, properties}, a
            property {path, before, after, effect, because}; effect is none, create, in_place,
            rolling, interruption, release, replacement or delete
  refused   why it may not be deployed as it is
  drift     with --drift: what was changed by hand, a list of {stack, id, type, status, fate,
            properties}, a property {path, template, actual, fate}; fate is stays, agreed, perhaps,
            overwritten, lost or fails; null without --drift
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
    let (held, drifts) = match &asked.against {
        Some(folder) => (saved::read(folder).map_err(anyhow::Error::from)?, None),
        None => runtime()?.block_on(deployed(asked))?,
    };
    let difference = difference::between(&held, &templates);
    let refused = guard::refusals(&difference, &held, &asked.allow_replacement);
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
                "cost": cost::told::change_json(&before, &after),
            });
            say(&told.to_string());
        }
        Output::Text => {
            say(&told::text(&difference));
            drifted.iter().for_each(|it| say(&drifted::told(it)));
            if before.always != after.always || before.most != after.most {
                say(&cost::told::change(&before, &after));
            }
            refused.iter().for_each(|why| say(&format!("refused: {why}")));
        }
    }
    if difference.is_empty() { Ok(()) } else { Err(Failure::Told) }
}

/// What is deployed and, where it is asked for, what was changed beside it.
async fn deployed(asked: &Plan) -> Result<(Vec<Held>, Option<Vec<Drift>>), Failure> {
    let estate = OnAws::of(&asked.file).await?;
    let held = estate.held().await?;
    if !asked.drift {
        return Ok((held, None));
    }
    Ok((held, Some(drift::found(&estate, asked.look.every).await?)))
}
