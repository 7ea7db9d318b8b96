//! `forebay-ledger key`: API keys made, listed and revoked at the database itself, such as the first one.

use std::io::{self, Write};

use anyhow::bail;
use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::database::DatabaseArgs;
use super::offline::{Offline, runtime};
use super::output::print;
use super::sheet::{Align, Column, Format, Sheet};
use crate::act::{Act, Acted};
use crate::http;
use crate::key::rate::{BURST_MAX, PER_SECOND_MAX, Rate};
use crate::key::{ApiKey, KeyBody, NewKey, Role, Secret};
use crate::store::{self, DatabaseUrl};
use crate::when;

const SERVED: &str = "while the service runs, use its API: /v1/keys";
/// Keys read at once.
const PAGE: usize = 1000;

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key and print it, the only time it is shown
    Create(CreateArgs),
    /// List the keys, revoked and expired ones too; may run beside the service
    List(ListArgs),
    /// Revoke a key
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// What people call it, such as the service that uses it
    #[arg(long)]
    name: String,
    /// What it may do
    #[arg(long, value_enum)]
    role: Role,
    /// From when it is refused: RFC 3339, or a day, which begins at midnight UTC; never when left out
    #[arg(long, value_name = "TIME", value_parser = expiry)]
    expires: Option<Timestamp>,
    /// Requests a second in the long run; no limit when left out
    #[arg(long, value_name = "REQUESTS", requires = "burst", value_parser = clap::value_parser!(u32).range(1..=i64::from(PER_SECOND_MAX)))]
    per_second: Option<u32>,
    /// Requests at once
    #[arg(long, value_name = "REQUESTS", requires = "per_second", value_parser = clap::value_parser!(u32).range(1..=i64::from(BURST_MAX)))]
    burst: Option<u32>,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// How to write it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Args)]
pub struct RevokeArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// The key's number, as listed
    id: i64,
}

pub fn key(command: &KeyCommand) -> anyhow::Result<()> {
    match command {
        KeyCommand::Create(args) => create(args),
        KeyCommand::List(args) => list(args),
        KeyCommand::Revoke(args) => revoke(args),
    }
}

fn create(args: &CreateArgs) -> anyhow::Result<()> {
    let rate =
        args.per_second.zip(args.burst).map(|(per_second, burst)| Rate { per_second, burst });
    let (name, role, expires_at) = (args.name.clone(), args.role, args.expires);
    let body = KeyBody { name, role, expires_at, rate };
    body.validate()?;
    if let Some(why) = body.expired(Timestamp::now()) {
        bail!(why);
    }
    let secret = Secret::generate();
    let act = Act::CreateKey { key: NewKey::new(body, &secret), keys_max: http::KEYS_MAX_DEFAULT };
    match done(&args.database, act)? {
        Acted::Key(row) => {
            let (id, role) = (row.id, row.role.as_str());
            // Whoever cannot be told how it is called may still be told what it is.
            let _ = writeln!(io::stderr(), "key {id} of role {role}; it is not shown again:");
            let Err(error) = writeln!(io::stdout(), "{}", secret.reveal()) else { return Ok(()) };
            // Nobody has it, and nobody would know that it is in force.
            match done(&args.database, Act::RevokeKey { id, seen: None }) {
                Ok(_) => bail!("the key cannot be printed ({error}); it is revoked"),
                Err(failed) => bail!(
                    "the key cannot be printed ({error}), and not be revoked ({failed}): `forebay-ledger key revoke {id}`"
                ),
            }
        }
        Acted::TooManyKeys => bail!("{} keys are in force; revoke one", http::KEYS_MAX_DEFAULT),
        other => bail!("a key became {other:?}"),
    }
}

fn revoke(args: &RevokeArgs) -> anyhow::Result<()> {
    match done(&args.database, Act::RevokeKey { id: args.id, seen: None })? {
        Acted::Revoked(key) => print(&format!("key {} ({}) is revoked\n", key.id, key.name)),
        Acted::RevokedBefore(key) => {
            print(&format!("key {} ({}) was revoked before\n", key.id, key.name))
        }
        _ => bail!("there is no key {}; `forebay-ledger key list` has them", args.id),
    }
}

fn done(database: &DatabaseArgs, act: Act) -> anyhow::Result<Acted> {
    runtime()?.block_on(async {
        let offline = Offline::open(database, SERVED).await?;
        let acted = offline.act(act).await;
        offline.close().await?;
        acted
    })
}

const COLUMNS: &[Column] = &[
    Column { name: "id", align: Align::Right },
    Column { name: "name", align: Align::Left },
    Column { name: "role", align: Align::Left },
    Column { name: "prefix", align: Align::Left },
    Column { name: "rate", align: Align::Left },
    Column { name: "created", align: Align::Left },
    Column { name: "expires", align: Align::Left },
    Column { name: "revoked", align: Align::Left },
    Column { name: "last_used", align: Align::Left },
];

fn list(args: &ListArgs) -> anyhow::Result<()> {
    let database: DatabaseUrl = args.database.database.parse()?;
    runtime()?.block_on(async {
        let reader = store::read_only(&database).await?;
        let mut sheet = Sheet::begin(std::io::stdout().lock(), args.format, COLUMNS)?;
        let mut after = 0;
        loop {
            let page = reader.keys(after, PAGE).await?;
            after = page.items.last().map_or(after, |key| key.id);
            sheet.page(&page.items, cells)?;
            if page.next_cursor.is_none() {
                break;
            }
        }
        reader.close().await;
        sheet.end()
    })
}

fn cells(key: &ApiKey) -> Vec<String> {
    let second = |at: &Timestamp| format!("{at:.0}");
    let second_if_any = |at: &Option<Timestamp>| at.as_ref().map(second).unwrap_or_default();
    let rate = key.rate.map(|rate| format!("{}/s, {} at once", rate.per_second, rate.burst));
    vec![
        key.id.to_string(),
        key.name.clone(),
        key.role.as_str().to_owned(),
        key.prefix.clone(),
        rate.unwrap_or_default(),
        second(&key.created_at),
        second_if_any(&key.expires_at),
        second_if_any(&key.revoked_at),
        second_if_any(&key.last_used_at),
    ]
}

fn expiry(text: &str) -> Result<Timestamp, String> {
    when::time(text).ok_or_else(|| format!("{text:?} is no time; {}", when::TIME))
}
