//! The one configuration model of the Forebay proxy: what the proxy runs, nginx-compat writes and
//! the stack ships. The way of a document:
//!
//! 1. [`source`]: a text with the name a person knows it by.
//! 2. [`document`]: YAML becomes a [`tree`], every key and value with its place; trees may be laid
//!    over one another. YAML is also written here.
//! 3. [`mod@read`]: a tree becomes typed values; every problem is reported, not only the first.
//! 4. [`support`]: what is acted on, which is every key.
//! 5. [`validate`]: what the types cannot say: names that exist, routes that can match, ...
//! 6. [`config`] and one file per section: what it all means, with every default.
//! 7. [`matching`]: which route takes a request; the proxy and [`explain`] ask the same function.
//! 8. [`template`], [`leads`], [`rewriting`], [`header_edits`], [`late`], [`detours`], [`route_rules`]: what a route makes of a request, from
//!    its [`facts`]; before that, its [`steps`], made ready as a [`program`] ([`link_check`] is one of them), along a [`way`].
//! 9. [`problem`], [`render`]: what is wrong, where, and what to do about it.
//! 10. [`schema`], [`mod@reference`]: JSON Schema and the Markdown page, from the same types.

pub mod access_log;
pub mod address;
pub mod admin;
pub mod buffer_policy;
pub mod by_request;
pub mod cache;
pub mod cache_policy;
pub mod captures;
pub mod config;
pub mod connection_variable;
pub mod detours;
mod dns_name;
pub mod document;
pub mod ending;
pub mod error_answers;
pub mod error_log;
pub mod explain;
pub mod facts;
mod fields;
pub mod file_rules;
mod findings;
pub mod header_edits;
pub mod host;
pub mod includes;
pub mod kept_body;
pub mod lane;
pub mod late;
pub mod leads;
pub mod link_check;
pub mod listener;
pub mod load;
pub mod log_line;
pub mod map;
pub mod matching;
pub mod pattern;
pub mod problem;
pub mod program;
pub mod proved;
pub mod rate_limit;
pub mod read;
mod read_error;
mod reader;
mod reader_access;
pub mod reference;
pub mod render;
pub mod rewriting;
pub mod route;
pub mod route_access;
pub mod route_action;
pub mod route_rules;
pub mod schema;
pub mod severity;
pub mod shadowing;
pub mod shutdown;
pub mod source;
mod stand_in;
pub mod status_match;
pub mod steps;
pub mod suggest;
pub mod support;
mod support_bodies;
mod support_buffers;
mod support_certificates;
mod support_lanes;
mod support_links;
mod support_naming;
mod support_values;
pub mod syslog;
pub mod target;
pub mod telemetry;
pub mod template;
mod text_match;
pub mod tree;
pub mod tried;
pub mod units;
pub mod upstream;
pub mod upstream_health;
pub mod validate;
mod validate_acme;
mod validate_buffers;
mod validate_by_request;
mod validate_compression;
mod validate_cors;
mod validate_detours;
mod validate_includes;
mod validate_kept_body;
mod validate_listeners;
mod validate_logs;
mod validate_policies;
mod validate_routes;
mod validate_steps;
mod validate_templates;
mod validate_upstreams;

pub mod variables;
pub mod way;
mod whole;
mod written;

pub use config::Config;
pub use lane::LaneName;
pub use problem::{Problem, Problems};
pub use read::read;
pub use route::Route;
pub use source::Source;
pub use tree::{Node, Span, Tree};
pub use upstream::Upstream;
