//! The admin listener: health, readiness, metrics, purges; here and only here.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address::ListenAddress;

/// Where `/healthz`, `/readyz` and `/metrics` are answered, and caches are purged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Where to accept connections; keep it on loopback or a private network.
    pub address: ListenAddress,
    /// Who may change things; without it, the admin API only shows, which it does to everyone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<AdminToken>,
}

impl Default for Admin {
    fn default() -> Admin {
        Admin { address: ListenAddress::loopback(9090), tokens: Vec::new() }
    }
}

/// A bearer token of the admin API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminToken {
    /// Name shown in the log of changes.
    pub name: String,
    /// File that holds the token, on a line of its own; at least 16 characters.
    pub file: PathBuf,
    /// What it allows.
    pub role: AdminRole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdminRole {
    /// May see.
    Viewer,
    /// May also purge and change policies.
    Operator,
}
