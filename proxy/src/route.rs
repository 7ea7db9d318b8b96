//! Which route takes a request, and the running things behind it: lane, upstream, metric series.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use prometheus::{Histogram, IntCounter};
use proxy_config::Config;
use proxy_config::buffer_policy::Way;
use proxy_config::facts::Maps;
use proxy_config::includes::Includes;
use proxy_config::leads::Leads;
use proxy_config::matching::{Mismatch, Router, Target};
use proxy_config::route::ForwardedHeaders;
use proxy_config::route_access::{Auth, ClientRule, Cors};
use proxy_config::route_action::{
    AskedAs, Compression, Gunzip, ResponseRate, RouteTimeouts, SplitPart, Substitutions,
};
use proxy_config::route_rules::RouteRules;
use proxy_config::units::Percent;
use thiserror::Error;

use crate::auth_request::AuthRequest;
use crate::buffer;
use crate::buffer::tempo::Tempo;
use crate::cache::policy::Policy;
use crate::disguise::other_reading;
use crate::failure::Failure;
use crate::files::Files;
use crate::gate::Gate;
use crate::guard::Guard;
use crate::guard::fault::GuardFault;
use crate::lane::Lane;
use crate::metrics::Metrics;
use crate::mirror::Mirror;
use crate::mirror::compare::Report;
use crate::rate_limit::{Limit, LimitFault, Limits};
use crate::split::{Destination, Split};
use crate::standing::Standing;
use crate::upstream::probe::Watch;
use crate::upstream::resolve::Name;
use crate::upstream::server::Servers;
use crate::upstream::{ServerFault, Upstream};

/// The route and lane label of requests that matched none.
pub const NO_ROUTE: &str = "none";
/// The metric series of one route and lane.
pub struct Series {
    pub seconds: Histogram,
    pub first_byte_seconds: Histogram,
    pub bytes_in: IntCounter,
    pub bytes_out: IntCounter,
    pub aborted: IntCounter,
}

impl Series {
    fn new(metrics: &Metrics, route: &str, lane: &str) -> Self {
        let labels = &[route, lane];
        Self {
            seconds: metrics.request_seconds.with_label_values(labels),
            first_byte_seconds: metrics.first_byte_seconds.with_label_values(labels),
            bytes_in: metrics.request_bytes.with_label_values(labels),
            bytes_out: metrics.response_bytes.with_label_values(labels),
            aborted: metrics.requests_aborted.with_label_values(labels),
        }
    }
}

/// One route with what it needs at hand.
pub struct Route {
    pub name: String,
    pub lane: Arc<Lane>,
    /// Its place in the document.
    pub index: usize,
    pub split: Split,
    /// How its bodies are buffered.
    pub buffering: Arc<buffer::Policy>,
    has_buffer_policy: bool,
    pub forwarded: ForwardedHeaders,
    pub rules: RouteRules,
    /// Who the client is, where that is not for the listener to say.
    pub client: Option<ClientRule>,
    pub gate: Gate,
    pub guard: Option<Guard>,
    /// Not everybody may ask, or nobody is let through to an upstream.
    pub guarded: bool,
    pub auth_request: Option<AuthRequest>,
    pub mirror: Option<Mirror>,
    /// Clients cannot ask for it.
    pub internal: bool,
    /// Its requests are answered by its cache or its upstream, and nobody else has a say.
    pub plain: bool,
    pub cors: Option<Cors>,
    pub compression: Option<Arc<Compression>>,
    pub gunzip: Option<Gunzip>,
    pub substitutions: Option<Substitutions>,
    pub includes: Option<Includes>,
    /// How fast each response is sent.
    pub response_rate: Option<ResponseRate>,
    /// How the upstream is asked, where that is not as the client asks.
    pub ask: Option<AskedAs>,
    pub force_ranges: bool,
    pub chunked: bool,
    pub files: Option<Arc<Files>>,
    /// Protocols its clients may go on in, in lower case.
    pub upgrades: Vec<String>,
    pub timeouts: Option<RouteTimeouts>,
    /// Those that are shared by Redis come last.
    pub rate_limits: Vec<Arc<Limit>>,
    pub series: Series,
}

impl Route {
    /// The paces of a response and of a request's body, on a route with a buffer policy.
    pub fn tempo(&self) -> Option<(Arc<Tempo>, Tempo)> {
        let tempo = |way| Tempo::new(&self.buffering, way);
        self.has_buffer_policy.then(|| (Arc::new(tempo(Way::Responses)), tempo(Way::Requests)))
    }
}

/// Why routes cannot be made ready.
#[derive(Debug, Error)]
pub enum RouteFault {
    #[error(transparent)]
    Server(#[from] ServerFault),
    #[error(transparent)]
    Limit(#[from] LimitFault),
    #[error("routes: `{route}`: auth: {fault}")]
    Guard { route: String, fault: GuardFault },
}

/// The routes of one configuration.
pub struct Routes {
    pub router: Router,
    pub maps: Maps,
    routes: Vec<Arc<Route>>,
    by_name: HashMap<String, usize>,
    /// Methods each route takes; empty for all.
    methods: Vec<Vec<String>>,
    pub unmatched: Series,
    upstreams: Vec<Arc<Upstream>>,
}

impl Routes {
    /// Blocks while names of servers are looked up.
    pub fn new(
        config: &Config,
        standing: &Standing,
        metrics: &Metrics,
    ) -> Result<Self, RouteFault> {
        let Standing { lanes, caches, limits, servers, buffers } = standing;
        let upstreams = upstreams_by_name(config, servers, metrics)?;
        let policy = |route: &str, name: &String| {
            let policy = config.cache_policies.get(name)?;
            let cache = caches.named(&policy.cache, metrics);
            Some(Arc::new(Policy::new(name, policy, route, cache)))
        };
        let (limits, leads) = (limits_by_name(config, limits, metrics)?, Leads::new(config));
        let routes: Vec<Arc<Route>> = config
            .routes
            .iter()
            .enumerate()
            .map(|(index, route)| {
                let destination = |part: String, upstream: Option<&String>| Destination {
                    upstream: upstream.and_then(|name| upstreams.get(name.as_str())).cloned(),
                    cache_policy: route.cache_policy.as_ref().and_then(|name| policy(&part, name)),
                };
                let split = split(route, destination);
                let lane = lanes.named(route.lane.as_str(), metrics);
                let guard = Guard::new(route.auth.as_ref(), servers, metrics)
                    .map_err(|fault| RouteFault::Guard { route: route.name.clone(), fault })?;
                let (auth_request, mirror) = others(route, &upstreams, servers, metrics);
                let rules = RouteRules::new(&leads, route)
                    .expect("validation refuses templates that cannot be rendered");
                Ok(Arc::new(Route {
                    name: route.name.clone(),
                    series: Series::new(metrics, &route.name, lane.name()),
                    rate_limits: limits_of(&route.rate_limits, &limits),
                    index,
                    split,
                    has_buffer_policy: route.buffer_policy.is_some(),
                    buffering: buffers.named(route.buffer_policy.as_deref(), metrics),
                    forwarded: route.forwarded_headers,
                    client: route.client.clone(),
                    gate: Gate::new(route),
                    guard,
                    guarded: is_guarded(route),
                    auth_request,
                    mirror,
                    internal: route.internal,
                    cors: route.cors.clone(),
                    compression: route.compression.clone().map(Arc::new),
                    upgrades: upgrades(route),
                    timeouts: route.timeouts.clone(),
                    gunzip: route.gunzip.clone(),
                    substitutions: route.substitutions.clone(),
                    includes: route.includes.clone(),
                    response_rate: route.response_rate,
                    ask: route.ask.clone(),
                    force_ranges: route.force_ranges,
                    chunked: route.chunked,
                    files: route
                        .files
                        .as_ref()
                        .map(|files| Arc::new(Files::new(files, &config.media_types))),
                    plain: is_plain(route, config, &rules),
                    rules,
                    lane,
                }))
            })
            .collect::<Result<_, RouteFault>>()?;
        Ok(Self {
            router: Router::new(config),
            maps: Maps::new(config),
            by_name: routes.iter().map(|route| (route.name.clone(), route.index)).collect(),
            routes,
            methods: config.routes.iter().map(|route| route.when.methods.clone()).collect(),
            unmatched: Series::new(metrics, NO_ROUTE, NO_ROUTE),
            upstreams: upstreams.into_values().collect(),
        })
    }

    /// What is to be probed.
    pub fn watches(&self) -> impl Iterator<Item = Watch> {
        self.upstreams.iter().flat_map(|upstream| upstream.watches())
    }

    /// Names of servers that are looked up again.
    pub fn names(&self) -> impl Iterator<Item = Name> {
        self.upstreams.iter().flat_map(|upstream| upstream.names())
    }

    /// What was found where answers are compared, by route.
    pub fn reports(&self) -> impl Iterator<Item = (&str, &Arc<Report>)> {
        let mirrors = self.routes.iter().filter_map(|route| Some((route, route.mirror.as_ref()?)));
        mirrors.filter_map(|(route, mirror)| Some((route.name.as_str(), mirror.report()?)))
    }

    /// The cache policy of each route that has one, and of each part of its split.
    pub fn cache_policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.routes.iter().flat_map(|route| route.split.cache_policies())
    }

    /// Whether any route is [`Route::plain`].
    pub fn has_plain(&self) -> bool {
        self.routes.iter().any(|route| route.plain)
    }

    pub fn at(&self, index: usize) -> &Arc<Route> {
        &self.routes[index]
    }

    pub fn named(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// What is answered to a request that no route takes: `NoRoute`, or `MethodNotAllowed` when a
    /// route would take it with another method.
    pub fn refusal(&self, target: &Target<'_>) -> Failure {
        refusal(&self.router, &self.methods, target)
    }
}

impl Routes {
    /// Whether a server behind this route might take the path for one that another route guards.
    pub fn is_disguised(&self, target: &Target<'_>, route: &Route) -> bool {
        let Some(path) = other_reading(target.path) else { return false };
        let other = self.router.find(&Target { path: &path, ..*target });
        other.is_some_and(|other| other != route.index && self.routes[other].guarded)
    }
}

fn upstreams_by_name<'a>(
    config: &'a Config,
    servers: &Servers,
    metrics: &Metrics,
) -> Result<BTreeMap<&'a str, Arc<Upstream>>, ServerFault> {
    let leads = Leads::new(config);
    let scope = leads.scope();
    let named = config.upstreams.iter().map(|(name, upstream)| {
        Ok((name.as_str(), Arc::new(Upstream::new(name, upstream, &scope, servers, metrics)?)))
    });
    let all: BTreeMap<_, _> = named.collect::<Result<_, ServerFault>>()?;
    let directories = all.values().filter_map(|upstream| upstream.directory.as_ref());
    directories.for_each(|directory| directory.introduce(&all));
    Ok(all)
}

fn split(
    route: &proxy_config::Route,
    destination: impl Fn(String, Option<&String>) -> Destination,
) -> Split {
    let Some(split) = &route.split else {
        let only = destination(route.name.clone(), route.upstream.as_ref());
        return Split::new(vec![(Percent::WHOLE, only)], Vec::new());
    };
    let part = |part: &SplitPart| {
        let name = format!("{}/{}", route.name, part.upstream);
        (part.share.hundredths(), destination(name, Some(&part.upstream)))
    };
    Split::new(split.parts.iter().map(part).collect(), split.sticky_by.clone())
}

fn upgrades(route: &proxy_config::Route) -> Vec<String> {
    match &route.upgrades {
        Some(names) => names.iter().map(|name| name.to_ascii_lowercase()).collect(),
        None => vec!["websocket".to_owned()],
    }
}

fn is_guarded(route: &proxy_config::Route) -> bool {
    route.access.is_some() || route.auth.is_some() || route.respond.is_some() || route.internal
}

/// Whether there is nobody to ask, to send a copy to or to read a body first, no step that may lead elsewhere, and no
/// pace but the lane's.
fn is_plain(route: &proxy_config::Route, config: &Config, rules: &RouteRules) -> bool {
    let is_told = route.auth.is_some() || route.mirror.is_some() || route.internal;
    let is_changed = route.compression.is_some() || rules.rewrite.is_some();
    let has_own = route.files.is_some() || rules.reply.is_some() || !rules.tries.is_empty();
    let limits = route.rate_limits.iter().filter_map(|name| config.rate_limits.get(name));
    let is_held = route.buffer_policy.is_some()
        || route.response_rate.is_some()
        || limits.into_iter().any(|limit| limit.bandwidth_max.is_some());
    let is_edited = route.gunzip.is_some()
        || route.substitutions.is_some()
        || route.includes.is_some()
        || route.force_ranges
        || route.chunked;
    let is_asked_otherwise =
        route.ask.is_some() || route.client.is_some() || route.kept_body.is_some();
    let is_worded = !rules.texts.is_a_key_at_most();
    !(is_worded
        || is_edited
        || is_asked_otherwise
        || is_held
        || is_told
        || is_changed
        || has_own
        || !rules.steps.is_empty())
}

/// Who else is asked about a route's requests, and who gets copies of them.
fn others(
    route: &proxy_config::Route,
    upstreams: &BTreeMap<&str, Arc<Upstream>>,
    servers: &Servers,
    metrics: &Metrics,
) -> (Option<AuthRequest>, Option<Mirror>) {
    let named = |name: &String| upstreams.get(name.as_str()).cloned();
    let auth_request = match &route.auth {
        Some(Auth::Subrequest(auth)) => named(&auth.upstream)
            .map(|upstream| AuthRequest::new(auth, upstream, &route.name, metrics)),
        _ => None,
    };
    let mirror = route.mirror.as_ref().and_then(|mirror| {
        let others = mirror.others.iter().filter_map(|other| named(&other.upstream));
        let upstreams = std::iter::once(named(&mirror.upstream)?).chain(others).collect();
        Some(Mirror::new(mirror, upstreams, &route.name, servers, metrics))
    });
    (auth_request, mirror)
}

fn limits_by_name<'a>(
    config: &'a Config,
    limits: &Limits,
    metrics: &Metrics,
) -> Result<BTreeMap<&'a str, Arc<Limit>>, LimitFault> {
    let leads = Leads::new(config);
    let scope = leads.scope();
    let named = config.rate_limits.iter();
    named
        .map(|(name, limit)| {
            Ok((name.as_str(), Arc::new(Limit::new(name, limit, &scope, limits, metrics)?)))
        })
        .collect()
}

fn limits_of(names: &[String], limits: &BTreeMap<&str, Arc<Limit>>) -> Vec<Arc<Limit>> {
    let mut of_route: Vec<_> =
        names.iter().filter_map(|name| limits.get(name.as_str()).cloned()).collect();
    of_route.sort_by_key(|limit| limit.is_shared());
    of_route
}

fn refusal(router: &Router, methods: &[Vec<String>], target: &Target<'_>) -> Failure {
    let mut allow: Vec<&str> = (0..methods.len())
        .filter(|index| router.mismatch(*index, target) == Some(Mismatch::Method))
        .flat_map(|index| methods[index].iter().map(String::as_str))
        .collect();
    if allow.is_empty() {
        return Failure::NoRoute;
    }
    if allow.contains(&"GET") {
        allow.push("HEAD");
    }
    allow.sort_unstable();
    allow.dedup();
    Failure::MethodNotAllowed { allow: allow.join(", ") }
}

/// What the proxy would answer to a request no route takes; for `explain`.
pub fn refusal_in(config: &Config, target: &Target<'_>) -> Failure {
    let methods: Vec<_> = config.routes.iter().map(|route| route.when.methods.clone()).collect();
    refusal(&Router::new(config), &methods, target)
}
