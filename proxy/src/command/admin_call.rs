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
use ureq::unversioned::resolver::DefaultResolver;

use super::at_socket::AtSocket;
use super::fault::Fault;
use crate::admin::tokens::read_token;

/// How long the proxy may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What stands for a Unix socket in a URL; an address, so that nobody looks it up.
const HOST_OF_SOCKET: &str = "127.0.0.1";
/// Longest exposition that is read.
const EXPOSITION_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[derive(Debug, Args)]
pub struct AdminOptions {
    /// The admin listener, where it is not the document's: HOST:PORT or unix:/PATH.
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// File that holds a token, where it is not the document's first that will do.
    #[arg(long, value_name = "PATH")]
    token_file: Option<PathBuf>,
}

/// A proxy that can be asked.
pub struct AdminCall {
    /// What URLs begin with.
    base: String,
    /// The admin listener's Unix socket, where it has one.
    socket: Option<PathBuf>,
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
        Ok(AdminCall::at(&address(config, options), Some(token)))
    }

    /// For who only looks: any token will do, and some things are told to those without.
    pub fn as_viewer(config: &Config, options: &AdminOptions) -> Result<AdminCall, Fault> {
        let any = config.admin.tokens.first().map(|token| token.file.clone());
        let file = options.token_file.clone().or(any);
        let token = file.map(|file| read_token("viewer", file)).transpose();
        let token = token.context("no token").map_err(Fault::Other)?;
        Ok(AdminCall::at(&address(config, options), token))
    }

    fn at(address: &str, token: Option<String>) -> AdminCall {
        let socket = address.strip_prefix("unix:").map(PathBuf::from);
        let base = match &socket {
            Some(_) => format!("http://{HOST_OF_SOCKET}"),
            None => format!("http://{address}"),
        };
        AdminCall { base, socket, token }
    }

    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// What is told to everybody.
    pub fn get_text(&self, path: &str) -> Result<String, Fault> {
        let url = format!("{}{path}", self.base);
        let sent = self.agent().get(&url).call();
        let mut response = sent.map_err(|error| self.unreachable(path, &error))?;
        let limited = response.body_mut().with_config().limit(EXPOSITION_BYTES_MAX);
        Ok(limited.read_to_string().context("the answer cannot be read")?)
    }

    /// Sends an order; returns what the proxy says it did. `refused` begins the message when it did not.
    pub fn post(&self, path: &str, order: &impl Serialize, refused: &str) -> Result<Value, Fault> {
        let url = format!("{}{path}", self.base);
        let request = self.agent().post(&url).header("Authorization", self.bearer());
        let sent = request.send_json(order).map_err(|error| self.unreachable(path, &error));
        answered(sent?, refused)
    }

    pub fn get(&self, path: &str, refused: &str) -> Result<Value, Fault> {
        let url = format!("{}{path}", self.base);
        let request = self.agent().get(&url).header("Authorization", self.bearer());
        let sent = request.call().map_err(|error| self.unreachable(path, &error));
        answered(sent?, refused)
    }

    /// Names the place that was asked.
    fn unreachable(&self, path: &str, error: &ureq::Error) -> Fault {
        let url = match &self.socket {
            Some(socket) => format!("unix:{}", socket.display()),
            None => format!("{}{path}", self.base),
        };
        Fault::Unreachable { url, error: error.to_string() }
    }

    fn agent(&self) -> ureq::Agent {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .proxy(None)
            .build();
        match &self.socket {
            Some(path) => {
                let connector = AtSocket { path: path.clone(), patience: PATIENCE };
                ureq::Agent::with_parts(config, connector, DefaultResolver::default())
            }
            None => config.into(),
        }
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token.as_deref().unwrap_or_default())
    }
}

fn address(config: &Config, options: &AdminOptions) -> String {
    options.admin.clone().unwrap_or_else(|| config.admin.address.to_string())
}

fn answered(mut response: ureq::http::Response<ureq::Body>, refused: &str) -> Result<Value, Fault> {
    let text = response.body_mut().read_to_string().context("the answer cannot be read")?;
    let answer = serde_json::from_str::<Value>(&text).unwrap_or(Value::Null);
    if response.status().is_success() {
        return Ok(answer);
    }
    let detail = answer["detail"].as_str().unwrap_or(&text);
    Err(anyhow!("{refused}: {} ({})", detail, response.status()).into())
}
