//! Commands that ask a running proxy: its admin listener and an operator's token, both from the
//! document unless they are given.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use proxy_config::Config;
use proxy_config::admin::AdminRole;
use serde::Serialize;
use serde_json::Value;

use super::Fault;
use crate::admin::tokens::read_token;

/// How long the proxy may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest exposition that is read.
const EXPOSITION_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[derive(Debug, Args)]
pub struct AdminOptions {
    /// The admin listener, where it is not the document's: HOST:PORT.
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// File that holds a token, where it is not the document's first that will do.
    #[arg(long, value_name = "PATH")]
    token_file: Option<PathBuf>,
}

/// A proxy that can be asked.
pub struct AdminCall {
    address: String,
    /// Nothing where whoever asks has none.
    token: Option<String>,
}

impl AdminCall {
    pub fn new(config: &Config, options: &AdminOptions) -> Result<AdminCall, Fault> {
        let operator = config.admin.tokens.iter().find(|token| token.role == AdminRole::Operator);
        let file = options.token_file.clone().or_else(|| operator.map(|token| token.file.clone()));
        let file = file.ok_or_else(|| {
            Fault::Usage("the document has no token of an operator; give --token-file".to_owned())
        })?;
        let token = read_token("operator", file).context("no token").map_err(Fault::Other)?;
        Ok(AdminCall { address: address(config, options), token: Some(token) })
    }

    /// For who only looks: any token will do, and some things are told to those without.
    pub fn as_viewer(config: &Config, options: &AdminOptions) -> Result<AdminCall, Fault> {
        let any = config.admin.tokens.first().map(|token| token.file.clone());
        let file = options.token_file.clone().or(any);
        let token = file.map(|file| read_token("viewer", file)).transpose();
        let token = token.context("no token").map_err(Fault::Other)?;
        Ok(AdminCall { address: address(config, options), token })
    }

    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// What is told to everybody.
    pub fn get_text(&self, path: &str) -> Result<String, Fault> {
        let url = format!("http://{}{path}", self.address);
        let unreachable =
            |error: ureq::Error| Fault::Unreachable { url: url.clone(), error: error.to_string() };
        let mut response = agent().get(&url).call().map_err(unreachable)?;
        let limited = response.body_mut().with_config().limit(EXPOSITION_BYTES_MAX);
        Ok(limited.read_to_string().context("the answer cannot be read")?)
    }

    /// Sends an order; returns what the proxy says it did. `refused` begins the message when it did not.
    pub fn post(&self, path: &str, order: &impl Serialize, refused: &str) -> Result<Value, Fault> {
        let url = format!("http://{}{path}", self.address);
        let request = agent().post(&url).header("Authorization", self.bearer());
        answered(url, request.send_json(order), refused)
    }

    pub fn get(&self, path: &str, refused: &str) -> Result<Value, Fault> {
        let url = format!("http://{}{path}", self.address);
        let request = agent().get(&url).header("Authorization", self.bearer());
        answered(url, request.call(), refused)
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token.as_deref().unwrap_or_default())
    }
}

fn address(config: &Config, options: &AdminOptions) -> String {
    options.admin.clone().unwrap_or_else(|| config.admin.address.to_string())
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into()
}

fn answered(
    url: String,
    sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    refused: &str,
) -> Result<Value, Fault> {
    let mut response =
        sent.map_err(|error| Fault::Unreachable { url, error: error.to_string() })?;
    let text = response.body_mut().read_to_string().context("the answer cannot be read")?;
    let answer = serde_json::from_str::<Value>(&text).unwrap_or(Value::Null);
    if response.status().is_success() {
        return Ok(answer);
    }
    let detail = answer["detail"].as_str().unwrap_or(&text);
    Err(anyhow!("{refused}: {} ({})", detail, response.status()).into())
}
