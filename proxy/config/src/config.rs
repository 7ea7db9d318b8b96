//! The whole document.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access_log::AccessLog;
use crate::admin::Admin;
use crate::buffer_policy::BufferPolicy;
use crate::cache::Cache;
use crate::cache_policy::CachePolicy;
use crate::error_answers::ErrorAnswers;
use crate::error_log::ErrorLog;
use crate::lane::Lanes;
use crate::listener::Listener;
use crate::map::Map;
use crate::rate_limit::RateLimit;
use crate::route::Route;
use crate::route_action::MediaTypes;
use crate::shutdown::Shutdown;
use crate::telemetry::Telemetry;
use crate::upstream::Upstream;

/// The configuration of a Forebay proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Version of this format: 1.
    pub version: u32,
    /// Where requests come in, by name.
    pub listeners: BTreeMap<String, Listener>,
    /// The servers behind the proxy, by name.
    #[serde(default)]
    pub upstreams: BTreeMap<String, Upstream>,
    /// What becomes of a request: the first route that matches, in this order, takes it.
    pub routes: Vec<Route>,
    /// Budgets that keep kinds of traffic from taking from one another.
    #[serde(default)]
    pub lanes: Lanes,
    /// How bodies are buffered, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub buffer_policies: BTreeMap<String, BufferPolicy>,
    /// How answers are cached, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cache_policies: BTreeMap<String, CachePolicy>,
    /// Stores behind cache policies, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub caches: BTreeMap<String, Cache>,
    /// How often one key may ask, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rate_limits: BTreeMap<String, RateLimit>,
    /// Variables that are looked up, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub maps: BTreeMap<String, Map>,
    /// Types of files, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub media_types: BTreeMap<String, MediaTypes>,
    /// Where `/healthz`, `/readyz` and `/metrics` are answered, and nowhere else.
    #[serde(default)]
    pub admin: Admin,
    /// One line per request whose head can be read.
    #[serde(default)]
    pub access_log: AccessLog,
    /// Further logs, by name, for routes that say `access_logs`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub access_logs: BTreeMap<String, AccessLog>,
    /// Names under `error_logs`: where it is said why requests failed whose route says nothing of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub error_log: Vec<String>,
    /// Logs of failures, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub error_logs: BTreeMap<String, ErrorLog>,
    /// What the proxy's own answers look like when something is wrong.
    #[serde(default, skip_serializing_if = "crate::written::is_default")]
    pub error_answers: ErrorAnswers,
    /// How the proxy stops.
    #[serde(default)]
    pub shutdown: Shutdown,
    /// OpenTelemetry traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<Telemetry>,
    /// Paths of a ledger's data: no cache and no spill may share a file system with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protected_paths: Vec<PathBuf>,
}
