//! Routes: which requests, and what becomes of them. The first route that matches, in document
//! order, takes the request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::host::HostPattern;
use crate::includes::Includes;
use crate::kept_body::KeptBody;
use crate::lane::LaneName;
use crate::pattern::{FieldMatch, Regex, Template};
use crate::route_access::{Access, Auth, ClientRule, Cors};
use crate::route_action::{
    AskedAs, Compression, ErrorPage, Files, Gunzip, HeaderEdits, Mirror, Redirect, Respond,
    ResponseRate, Rewrite, RouteTimeouts, Split, Substitutions, TryStep,
};
use crate::steps::Step;
use crate::units::ByteSize;

/// One route. It has exactly one of `upstream`, `split`, `redirect`, `respond` and `files`; with `steps` it may
/// have none, and requests its steps do not answer go on to the routes after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Name shown in logs and metrics; unique.
    pub name: String,
    /// Which requests it takes; without it, all.
    #[serde(default, rename = "match")]
    pub when: RouteMatch,
    /// Only the proxy itself asks for it: `error_pages`, `try`, `steps`, `X-Accel-Redirect`. Clients are answered
    /// with 404; without `match` it is reached by its name alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub internal: bool,
    /// The upstream that answers; a name under `upstreams`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Which server is asked, where the upstream is one `by_request`: `$tenant.svc.internal:8080`, `unix:/run/$app.sock`
    /// or one of its `upstreams`. A path behind it takes the place of the request's, query included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Template>,
    /// Several upstreams that share the requests by weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// An answer that sends the client elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
    /// An answer written here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub respond: Option<Respond>,
    /// Files of a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Files>,
    /// The lane its requests travel in.
    #[serde(default)]
    pub lane: LaneName,
    /// How bodies are buffered; a name under `buffer_policies`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer_policy: Option<String>,
    /// How answers are cached; a name under `cache_policies`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_policy: Option<String>,
    /// Limits that all apply; names under `rate_limits`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rate_limits: Vec<String>,
    /// What is done before anything else is decided: variables, rewrites, answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// Changes the path or query before the request goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Rewrite>,
    /// Whether requests get `X-Forwarded-*`, `Forwarded` and `X-Request-Id` on their way.
    #[serde(default)]
    pub forwarded_headers: ForwardedHeaders,
    /// Changes to the request's headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_headers: Option<HeaderEdits>,
    /// Changes to the response's headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_headers: Option<HeaderEdits>,
    /// Other answers in place of errors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub error_pages: Vec<ErrorPage>,
    /// Tried in order until one exists, before the route's own action.
    #[serde(default, rename = "try", skip_serializing_if = "Vec::is_empty")]
    pub tries: Vec<TryStep>,
    /// A copy of each request sent to another upstream, whose answers are dropped or compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
    /// Who the client is, where that is not for the listener to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientRule>,
    /// Who may ask, by address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// Who may ask, by proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Compression of responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// What is compressed already, made plain for those who do not take it; to them it is sent whole, whatever `Range` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gunzip: Option<Gunzip>,
    /// Texts in bodies that others take the place of; what is changed is sent whole, whatever `Range` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub substitutions: Option<Substitutions>,
    /// Pages put together from parts that are asked for inside the proxy (server-side includes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub includes: Option<Includes>,
    /// Cross-origin requests (CORS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Largest body of a request; above it the answer is 413.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_body_max: Option<ByteSize>,
    /// The request's body is taken in whole first, and told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_body: Option<KeptBody>,
    /// How the upstream is asked, where that is not as the client asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<AskedAs>,
    /// How fast each response is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_rate: Option<ResponseRate>,
    /// Ranges are answered in parts although the upstream sends the whole and does not say that it has any.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force_ranges: bool,
    /// Whether responses with a body go to clients that speak HTTP/1.1 in chunks though their length is known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chunked: bool,
    /// Timeouts in place of the upstream's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<RouteTimeouts>,
    /// Protocols a client may go on in, once its upstream agrees (`Upgrade`); without it, `[websocket]`; `*` for
    /// any but those in which requests would pass unseen (h2c, TLS). Offers of others, or with a request that has a body, are passed over: the request goes on as any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrades: Option<Vec<String>>,
    /// Logs that have its requests in place of `access_log`; names under `access_logs`, `[]` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_logs: Option<Vec<String>>,
    /// Logs that say why its requests failed, in place of those of `error_log`; names under `error_logs`, `[]` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_logs: Option<Vec<String>>,
}

impl Route {
    /// A route that takes every request to an upstream, with every default.
    pub fn to(name: impl Into<String>, upstream: impl Into<String>) -> Route {
        Route {
            name: name.into(),
            when: RouteMatch::default(),
            internal: false,
            upstream: Some(upstream.into()),
            server: None,
            split: None,
            redirect: None,
            respond: None,
            files: None,
            lane: LaneName::default(),
            buffer_policy: None,
            cache_policy: None,
            rate_limits: Vec::new(),
            steps: Vec::new(),
            rewrite: None,
            forwarded_headers: ForwardedHeaders::default(),
            request_headers: None,
            response_headers: None,
            error_pages: Vec::new(),
            tries: Vec::new(),
            mirror: None,
            client: None,
            access: None,
            auth: None,
            compression: None,
            gunzip: None,
            substitutions: None,
            includes: None,
            cors: None,
            request_body_max: None,
            kept_body: None,
            ask: None,
            response_rate: None,
            force_ranges: false,
            chunked: false,
            timeouts: None,
            upgrades: None,
            access_logs: None,
            error_logs: None,
        }
    }
}

impl Route {
    /// Whether no path leads to it, only its name.
    pub fn is_by_name_only(&self) -> bool {
        self.internal && self.when == RouteMatch::default()
    }

    /// Whether it answers by itself or asks somebody, and does not only take requests a part of their way.
    pub fn has_action(&self) -> bool {
        self.upstream.is_some()
            || self.split.is_some()
            || self.redirect.is_some()
            || self.respond.is_some()
            || self.files.is_some()
    }
}

/// Which requests a route takes: all kinds of condition must hold, and of each kind with several
/// entries one is enough (of `headers` and `query`, all). A kind left out always holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteMatch {
    /// Listeners it answers on; names under `listeners`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<String>,
    /// Hosts: `ledger.example.com`, `*.example.com`, `{regex: ...}`. Case, port and a trailing
    /// dot of the request's `Host` do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostPattern>,
    /// Paths, compared without the query after `%`-escapes and dot segments are resolved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathMatch>,
    /// Paths that it must match as well, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<PathMatch>,
    /// Methods in capitals: `GET`, `POST`. `GET` takes `HEAD` too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Headers it must have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<FieldMatch>,
    /// Query parameters it must have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<FieldMatch>,
}

/// What becomes of the headers that say where a request came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForwardedHeaders {
    /// The proxy adds what it knows.
    #[default]
    Add,
    /// They go on as they came.
    PassOn,
}

/// A path, in one of three forms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PathMatch {
    /// This path and no other: `/openapi.json`.
    Exact(String),
    /// Whatever starts with this text: `/v1/`, which does not take `/v1` or `/v10`.
    Prefix(String),
    /// Whatever this regular expression finds a match in; captures are `$1` or `$name`.
    Regex(Regex),
}
