//! `forebay-proxy check FILE`

use std::collections::BTreeMap;

use clap::Args;
use proxy_config::{Config, Problems, Source, Tree};
use serde_json::{Value, json};

use super::document::{Document, read};
use super::fault::Fault;
use super::named;
use super::output::{Output, OutputOption, print};

#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    document: Document,
    /// The document is for another machine: files, directories and logs that it names are not looked at.
    #[arg(long)]
    elsewhere: bool,
    #[command(flatten)]
    output: OutputOption,
}

pub fn run(options: &Options) -> Result<(), Fault> {
    let source = read(&options.document.file)?;
    let name = source.name.clone();
    let json = options.output.output == Output::Json;
    let config = match checked(source, options.elsewhere) {
        Ok(config) => config,
        Err(problems) if json => {
            print(&line(&json!({ "ok": false, "problems": problems.to_json()["problems"] })))?;
            return Err(Fault::ToldBadDocument);
        }
        Err(problems) => return Err(Fault::Document(problems)),
    };
    if json { print(&line(&counts(&config))) } else { print(&summary(&name, &config)) }
}

/// The configuration, if a proxy could start on it here: files that it could not use are wrong, too. Of another machine
/// nothing is known.
fn checked(source: Source, elsewhere: bool) -> Result<Config, Problems> {
    let tree = Tree::parse(source)?;
    let config = Config::from_node(&tree, tree.root(), &BTreeMap::new())?;
    let problems = if elsewhere { Problems::default() } else { named::problems(&config, &tree) };
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

fn counts(config: &Config) -> Value {
    json!({
        "ok": true,
        "problems": [],
        "listeners": config.listeners.len(),
        "upstreams": config.upstreams.len(),
        "routes": config.routes.len(),
    })
}

fn summary(name: &str, config: &Config) -> String {
    let count =
        |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    format!(
        "{name}: ok, {}, {}, {}\n",
        count(config.listeners.len(), "listener"),
        count(config.upstreams.len(), "upstream"),
        count(config.routes.len(), "route"),
    )
}

fn line(value: &Value) -> String {
    format!("{value}\n")
}
