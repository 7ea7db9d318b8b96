//! `forebay explain KEY`: where a value comes from, and why.

use clap::Args;

use super::templates::Made;
use super::{EnvironmentFile, Failure, Output, say};
use crate::explain::{self, Explanation, Origin};

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// A key (`database.storage`, `database.parameters.max_connections`, or a whole section) or
    /// a resource (`Database`, `data/Database`)
    key: String,
    #[command(flatten)]
    file: EnvironmentFile,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn run(asked: &Explain) -> Result<(), Failure> {
    let made = Made::of(&asked.file.path()?)?;
    let estate = made.plan.as_ref().map(|plan| (plan, made.templates.as_slice()));
    let found = explain::explain(&made.loaded, estate, &asked.key)
        .map_err(|message| Failure::Failed(anyhow::anyhow!(message)))?;
    match asked.output {
        Output::Json => say(&serde_json::json!(found).to_string()),
        Output::Text => found.iter().for_each(|it| say(&text(it))),
    }
    Ok(())
}

fn text(it: &Explanation) -> String {
    let mut text = match it.origin {
        Origin::Unset => format!("{}: {}", it.key, it.value),
        _ => format!("{} = {}", it.key, it.value),
    };
    match &it.origin {
        Origin::Written { place, over } => {
            text.push_str(&format!("\n    written at {place}"));
            over.iter().for_each(|below| text.push_str(&format!("\n    over {below}")));
        }
        Origin::Default => text.push_str("\n    the default"),
        Origin::Decided => text.push_str("\n    decided by Forebay"),
        Origin::Unset => {}
    }
    for line in it.why.lines() {
        text.push_str(&format!("\n    {line}"));
    }
    text
}
