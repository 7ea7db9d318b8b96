//! `forebay-proxy purge FILE`

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use proxy_config::admin::AdminRole;
use serde_json::Value;

use super::{Document, Fault, Output, OutputOption, load, print};
use crate::admin::purge::Order;
use crate::admin::tokens::read_token;

/// How long the proxy may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    document: Document,
    /// Purge all answers to this URL: http://, https://, or // for both.
    #[arg(long = "url", value_name = "URL")]
    urls: Vec<String>,
    /// Purge all answers whose URL begins so.
    #[arg(long = "prefix", value_name = "URL")]
    prefixes: Vec<String>,
    /// Purge all answers with this tag.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Purge everything.
    #[arg(long)]
    all: bool,
    /// Make answers stale instead of forgetting them.
    #[arg(long)]
    soft: bool,
    /// Only in this cache.
    #[arg(long, value_name = "NAME")]
    cache: Option<String>,
    /// The admin listener, where it is not the document's: HOST:PORT.
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// File that holds an operator's token, where it is not the document's first.
    #[arg(long, value_name = "PATH")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    output: OutputOption,
}

pub fn run(options: &Options) -> Result<(), Fault> {
    let Options { urls, prefixes, tags, all, soft, cache, .. } = options;
    if urls.len() + prefixes.len() + tags.len() == 0 && !all {
        return Err(Fault::Usage("give --url, --prefix, --tag or --all".to_owned()));
    }
    let config = load(&options.document.file)?;
    let operator = config.admin.tokens.iter().find(|token| token.role == AdminRole::Operator);
    let file = options.token_file.clone().or_else(|| operator.map(|token| token.file.clone()));
    let file = file.ok_or_else(|| {
        Fault::Usage("the document has no token of an operator; give --token-file".to_owned())
    })?;
    let token = read_token("operator", file).context("no token").map_err(Fault::Other)?;
    let address = options.admin.clone().unwrap_or_else(|| config.admin.address.to_string());
    let order = Order {
        cache: cache.clone(),
        urls: urls.clone(),
        prefixes: prefixes.clone(),
        tags: tags.clone(),
        all: *all,
        soft: *soft,
    };
    let answer = send(&address, &token, &order)?;
    let untold = answer["untold"].as_array().map_or(&[][..], Vec::as_slice);
    let told = match untold {
        [] => Ok(()),
        names => {
            let names = names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
            let what = "purged here, but other proxies could not be told (`purge_redis` of";
            Err(Fault::Other(anyhow!("{what} {names})")))
        }
    };
    match options.output.output {
        Output::Json => print(&format!("{answer}\n")),
        Output::Text => {
            let what = if *soft { "made stale" } else { "purged" };
            print(&format!("{what}: {}\n", answer["purged"]))
        }
    }?;
    told
}

/// Sends the order; returns what the proxy says it did.
fn send(address: &str, token: &str, order: &Order) -> Result<Value, Fault> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into();
    let url = format!("http://{address}/purge");
    let sent = agent.post(&url).header("Authorization", format!("Bearer {token}")).send_json(order);
    let mut response =
        sent.map_err(|error| Fault::Unreachable { url, error: error.to_string() })?;
    let text = response.body_mut().read_to_string().context("the answer cannot be read")?;
    let answer = serde_json::from_str::<Value>(&text).unwrap_or(Value::Null);
    if response.status().is_success() {
        return Ok(answer);
    }
    let detail = answer["detail"].as_str().unwrap_or(&text);
    Err(anyhow!("not purged: {} ({})", detail, response.status()).into())
}
