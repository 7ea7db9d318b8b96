//! `forebay cost`: what an environment costs a month, and what a change of its file would.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::estate::OnAws;
use super::{EnvironmentFile, Failure, Output, runtime, say, synth};
use crate::cost::{self, Estimate, told};
use crate::difference::{Held, saved};
use crate::template::Template;

pub(super) const COST_JSON: &str = "\
The JSON of `-o json` is one object; keys are added to it, never renamed:
  name       the environment
  always     US dollars a month, as text: what runs whatever happens
  most       the same with everything that scales at its largest
  items      a list of {stack, id, what, always, most}
  by_use     what is charged by use, and so is not in the sums
  unknown    what has no price in the table, and why
  change     with --against or --deployed: {before, after, prices_of}";

#[derive(Debug, Args)]
pub(super) struct Cost {
    #[command(flatten)]
    file: EnvironmentFile,
    /// Tell the difference to the templates of this folder, which `forebay synth` wrote
    #[arg(long, value_name = "DIR", conflicts_with = "deployed")]
    against: Option<PathBuf>,
    /// Tell the difference to what is deployed
    #[arg(long)]
    deployed: bool,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn run(asked: &Cost) -> Result<(), Failure> {
    let (plan, templates) = synth::checked(&asked.file.path()?)?;
    let region = &plan.aws().region;
    let estimate = of_templates(region, &templates);
    let held = match &asked.against {
        Some(folder) => Some(saved::read(folder).map_err(anyhow::Error::from)?),
        None if asked.deployed => {
            Some(runtime()?.block_on(async { OnAws::of(&asked.file).await?.held().await })?)
        }
        None => None,
    };
    let before = held.map(|held| of_held(region, &held));
    match asked.output {
        Output::Json => {
            let mut all = json!(estimate);
            all["name"] = plan.name.as_str().into();
            if let Some(before) = &before {
                all["change"] = told::change_json(before, &estimate);
            }
            say(&all.to_string());
        }
        Output::Text => {
            let budget = plan.estate.budget.as_ref().map(|budget| budget.monthly);
            say(&told::text(&estimate, budget));
            before.iter().for_each(|before| say(&told::change(before, &estimate)));
        }
    }
    Ok(())
}

/// What templates cost.
pub(super) fn of_templates(region: &str, templates: &[Template]) -> Estimate {
    let values: Vec<(&str, Value)> =
        templates.iter().map(|it| (it.stack.word(), it.to_value())).collect();
    cost::of(region, values.iter().map(|(name, value)| (*name, value)))
}

/// What stacks cost that are there or were saved.
pub(super) fn of_held(region: &str, held: &[Held]) -> Estimate {
    cost::of(region, held.iter().map(|it| (it.name.as_str(), &it.template)))
}
