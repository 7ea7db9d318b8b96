//! The admin listener: health, readiness, metrics, purges; here and only here.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address::ListenAddress;

/// Where `/healthz`, `/readyz` and `/metrics` are answered, and caches are purged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Where to accept connections; keep it on loopback, a private network, or at a Unix socket
    /// (`unix:/run/forebay/admin.sock`).
    pub address: ListenAddress,
    /// Who may connect to a Unix socket, by the mode of its file. Default: its owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket_access: Option<SocketAccess>,
    /// Who may change things; without it, the admin API only shows, which it does to everyone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<AdminToken>,
}

impl Default for Admin {
    fn default() -> Admin {
        Admin { address: ListenAddress::loopback(9090), socket_access: None, tokens: Vec::new() }
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

/// Whom the file of a Unix socket is open to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SocketAccess {
    /// The user the proxy runs as (mode 0600).
    #[default]
    Owner,
    /// His group, too (mode 0660).
    Group,
    /// All who can reach it: its directory says who can (mode 0666).
    Everyone,
}

impl SocketAccess {
    pub const fn mode(self) -> u32 {
        match self {
            SocketAccess::Owner => 0o600,
            SocketAccess::Group => 0o660,
            SocketAccess::Everyone => 0o666,
        }
    }
}
