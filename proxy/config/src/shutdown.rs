//! How the proxy stops.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Duration;

/// A graceful stop (SIGQUIT): no new connections, requests under way are finished.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shutdown {
    /// How long requests under way may take; then their connections are closed.
    pub drain: Duration,
    /// How long tunnels (connections that were upgraded, such as WebSockets) may go on; then they are closed.
    pub tunnels: Duration,
}

impl Default for Shutdown {
    fn default() -> Shutdown {
        Shutdown { drain: Duration::secs(30), tunnels: Duration::secs(30) }
    }
}
