//! `forebay-proxy check FILE`

use clap::Args;
use proxy_config::Config;
use serde_json::{Value, json};

use super::document::{Document, read};
use super::fault::Fault;
use super::output::{Output, OutputOption, print};
use crate::route::RouteFault;
use crate::tls;
use crate::tls::kept::Kept;
use crate::unfit::Unfit;
use crate::upstream::ServerFault;
use crate::upstream::transport::Transport;

#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    document: Document,
    #[command(flatten)]
    output: OutputOption,
}

pub fn run(options: &Options) -> Result<(), Fault> {
    let source = read(&options.document.file)?;
    let name = source.name.clone();
    let json = options.output.output == Output::Json;
    let config = match Config::load(source) {
        Ok(config) => config,
        Err(problems) if json => {
            print(&line(&json!({ "ok": false, "problems": problems.to_json() })))?;
            return Err(Fault::ToldBadDocument);
        }
        Err(problems) => return Err(Fault::Document(problems)),
    };
    // Certificates belong to what the document says; a proxy that could not serve them is wrong.
    if let Err(fault) = files(&config) {
        if json {
            print(&line(&json!({ "ok": false, "problems": [{ "message": fault.to_string() }] })))?;
            return Err(Fault::ToldBadDocument);
        }
        return Err(Fault::Start(fault.into()));
    }
    if json { print(&line(&counts(&config))) } else { print(&summary(&name, &config)) }
}

/// Whether the certificates and keys of TLS can be used, both ways.
fn files(config: &Config) -> Result<(), Unfit> {
    for (name, listener) in &config.listeners {
        tls::spoken(name, listener, &Kept::looking())?;
    }
    for (name, upstream) in &config.upstreams {
        if let Err(fault) = Transport::new(name, upstream) {
            let fault = ServerFault::File { upstream: name.clone(), fault };
            return Err(RouteFault::from(fault).into());
        }
    }
    Ok(())
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
