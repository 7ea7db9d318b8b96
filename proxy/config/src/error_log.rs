//! Error logs: where it is said why requests failed, and how grave something must be to be said.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access_log::LogTarget;
use crate::severity::Severity;

/// One log of failures. Its lines have nginx's form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorLog {
    /// `stdout`, `stderr`, a file (reopened on SIGUSR1), or `syslog:server=...`.
    pub path: LogTarget,
    /// What is graver is said, too.
    #[serde(default)]
    pub level: Severity,
}
