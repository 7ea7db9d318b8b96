//! `forebay-ledger close`: seals a period at the database itself.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use jiff::Timestamp;
use jiff::civil::Date;

use super::database::DatabaseArgs;
use super::offline::{Offline, runtime};
use super::output::print;
use super::values::day;
use crate::act::{Act, Acted, Actor};
use crate::close::{CloseBody, Closing, NewClose, is_over};
use crate::naming::validate_text;
use crate::signature::SigningKey;
use crate::signing::sign;
use crate::transfer::DESCRIPTION_CHARS_MAX;

const SERVED: &str = "while the service runs, use its API: POST /v1/closes";

#[derive(Debug, Args)]
pub struct CloseArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// The last day of the period, which must be over (UTC). It cannot be opened again
    #[arg(long, value_name = "DAY", value_parser = day)]
    through: Date,
    /// One line for people
    #[arg(long, default_value = "", value_name = "TEXT")]
    description: String,
    /// Sign the head of the chain with this key afterwards
    #[arg(long, env = "FOREBAY_LEDGER_SIGNING_KEY_FILE", value_name = "PATH")]
    signing_key_file: Option<PathBuf>,
}

pub fn close(args: &CloseArgs) -> anyhow::Result<()> {
    validate_text("description", &args.description, DESCRIPTION_CHARS_MAX)?;
    let key = args.signing_key_file.as_deref().map(SigningKey::read).transpose()?;
    let body = CloseBody { through: args.through, description: args.description.clone() };
    let acted = runtime()?.block_on(async {
        let offline = Offline::open(&args.database, SERVED).await?;
        let mut acted = closed(&offline, body).await;
        if let (Ok(Acted::Closing(Closing::Closed(_))), Some(key)) = (&acted, &key) {
            let signed = sign(key, &offline.reader, &offline.writer, Actor::Command).await;
            if let Err(error) = signed {
                acted = Err(error).context("the period is closed, and its head is not signed");
            }
        }
        offline.close().await?;
        acted
    })?;
    let through = args.through;
    match acted {
        Acted::Closing(Closing::Closed(close)) => {
            print(&format!("closed through {through} (close {})\n", close.id))
        }
        Acted::Closing(Closing::Existing(close)) => {
            print(&format!("it was closed through {through} before (close {})\n", close.id))
        }
        Acted::Closing(Closing::Behind(last)) => {
            bail!("it is closed through {} already; close a later day", last.through)
        }
        Acted::Closing(Closing::NotOver) => {
            bail!("{through} is not over yet (UTC); close through yesterday or before")
        }
        other => bail!("a close became {other:?}"),
    }
}

async fn closed(offline: &Offline, body: CloseBody) -> anyhow::Result<Acted> {
    if !is_over(body.through, Timestamp::now()) {
        return Ok(Acted::Closing(Closing::NotOver));
    }
    let (totals, last_entry) = offline.reader.totals_through(body.through).await?;
    offline.act(Act::Close(NewClose { body, totals, last_entry })).await
}
