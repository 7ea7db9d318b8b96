//! `forebay-proxy purge FILE`

use anyhow::anyhow;
use clap::Args;
use serde_json::Value;

use super::admin_call::{AdminCall, AdminOptions};
use super::document::{Document, load};
use super::fault::Fault;
use super::output::{Output, OutputOption, print};
use crate::admin::purge::Order;

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
    #[command(flatten)]
    admin: AdminOptions,
    #[command(flatten)]
    output: OutputOption,
}

pub fn run(options: &Options) -> Result<(), Fault> {
    let Options { urls, prefixes, tags, all, soft, cache, .. } = options;
    if urls.len() + prefixes.len() + tags.len() == 0 && !all {
        return Err(Fault::Usage("give --url, --prefix, --tag or --all".to_owned()));
    }
    let config = load(&options.document.file)?;
    let call = AdminCall::new(&config, &options.admin)?;
    let order = Order {
        cache: cache.clone(),
        urls: urls.clone(),
        prefixes: prefixes.clone(),
        tags: tags.clone(),
        all: *all,
        soft: *soft,
    };
    let answer = call.post("/purge", &order, "not purged")?;
    let untold = answer["untold"].as_array().map_or(&[][..], Vec::as_slice);
    let told = match untold {
        [] => Ok(()),
        names => {
            let names = names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
            let what = "purged here, but other proxies could not be told (`purge_redis` of";
            Err(Fault::Other(anyhow!("{what} {names})")))
        }
    };
    for route in answer["not_followed"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        eprintln!(
            "forebay-proxy: route `{route}` rewrites what begins so, and a prefix does not tell to what: what it keeps is left; purge it by --url or --tag"
        );
    }
    match options.output.output {
        Output::Json => print(&format!("{answer}\n")),
        Output::Text => {
            let what = if *soft { "made stale" } else { "purged" };
            print(&format!("{what}: {}\n", answer["purged"]))
        }
    }?;
    told
}
