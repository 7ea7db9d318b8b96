//! `forebay destroy`: deletes an environment's stacks. What holds data stays unless it is named.

use std::collections::BTreeMap;

use clap::Args;

use super::deploy::agreed;
use super::estate::{OnAws, failed};
use super::look::Look;
use super::{EnvironmentFile, Failure, runtime, say};
use crate::deploy::order;
use crate::deploy::run::Deployment;
use crate::deploy::show::Show;
use crate::difference;
use crate::signals::StopSignals;
use crate::template::Stack;

#[derive(Debug, Args)]
pub(super) struct Destroy {
    #[command(flatten)]
    file: EnvironmentFile,
    /// Delete the stacks that hold data too, and the network under them; repeat the environment's
    /// name. Snapshots of databases stay, and so do buckets, queues, secrets and the key
    #[arg(long, value_name = "NAME")]
    with_data_of: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    look: Look,
}

pub(super) fn run(asked: &Destroy) -> Result<(), Failure> {
    runtime()?.block_on(destroy(asked))
}

async fn destroy(asked: &Destroy) -> Result<(), Failure> {
    let estate = OnAws::of(&asked.file).await?;
    let name = &estate.plan.name;
    let with_data = match &asked.with_data_of {
        Some(wanted) if wanted == name => true,
        Some(wanted) => {
            let message =
                format!("the environment is called {name}, not {wanted}; nothing was done");
            return Err(Failure::Failed(anyhow::anyhow!(message)));
        }
        None => false,
    };
    let stays = |stack: &str| {
        let kept = [Stack::Network, Stack::Data].map(|kept| format!("{name}-{}", kept.word()));
        !with_data && kept.iter().any(|kept| kept == stack)
    };
    let held = estate.held().await?;
    let going: Vec<_> = held.iter().filter(|stack| !stays(&stack.name)).cloned().collect();
    let staying: Vec<&str> =
        held.iter().map(|stack| stack.name.as_str()).filter(|name| stays(name)).collect();
    if going.is_empty() {
        say("there is nothing to delete");
        return Ok(());
    }
    let waves = order::waves(&difference::between(&going, &[]), &going, &[])
        .map_err(|message| Failure::Failed(anyhow::anyhow!(message)))?;
    for stack in waves.iter().flatten() {
        say(&format!("{stack} is deleted"));
    }
    if !staying.is_empty() {
        say(&format!(
            "{} stay, because they hold data: --with-data-of {name}",
            staying.join(" and ")
        ));
    }
    let question = format!("Delete these stacks of {}?", estate.plan.aws().account);
    if !asked.yes && !agreed(&question)? {
        return Err(Failure::Failed(anyhow::anyhow!("nothing was done")));
    }
    let deployment = Deployment {
        cloud: &estate.cloud,
        templates: &[],
        tags: &estate.plan.aws().tags,
        bucket: &estate.plan.aws().releases,
        parameters: &BTreeMap::new(),
        allowed: &[],
        look: asked.look.every,
    };
    let mut signals = StopSignals::listen()?;
    let show = Show::of(name, &waves.concat(), say);
    let done = deployment.run(&waves, &mut signals, &show).await;
    drop(show);
    done.map_err(failed)
}
