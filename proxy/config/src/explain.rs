//! What a request would meet: listener, route, lane, upstream and policies, and why each earlier
//! route does not take it. Pure; asks the same [`Router`] as the proxy.

use std::fmt;

use http::HeaderMap;
use serde::Serialize;

use crate::buffer_policy::{BufferPolicy, Buffering};
use crate::by_request::{ByRequest, Decision};
use crate::captures::Captures;
use crate::config::Config;
use crate::facts::{Facts, Maps};
use crate::host::normalize_host;
use crate::lane::LaneName;
use crate::leads::Leads;
use crate::listener::Listener;
use crate::matching::{Mismatch, Router, Target, normalize_path};
use crate::program::Walk;
use crate::route::Route;
use crate::route_rules::{RenderedReply, RouteRules};
use crate::way::{self, End};

/// Why there is nothing to explain.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ExplainError {
    #[error("`{0}` is not a URL; write scheme, host and path: `http://ledger.example.com/v1/x`")]
    Url(String),
    #[error("`{0}` is not a method; write it in capitals, such as `GET`")]
    Method(String),
    #[error("there is no listener `{0}`; the document has {1}")]
    Listener(String, String),
}

/// What a request would meet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    pub method: String,
    pub url: String,
    pub listener: Option<ListenerMet>,
    /// The host that routes are compared with.
    pub host: String,
    /// The path that routes are compared with; bytes that are not UTF-8 are shown as U+FFFD.
    pub path: String,
    /// Path and query that steps have made of it, where they have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub became: Option<String>,
    pub route: Option<RouteMet>,
    /// The routes before it, each with why it does not take the request.
    pub passed_over: Vec<PassedOver>,
    /// No route takes it, and none led it in a circle.
    #[serde(skip)]
    pub is_unrouted: bool,
    /// What happens, in a sentence.
    pub outcome: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ListenerMet {
    pub name: String,
    pub address: String,
    pub tls: bool,
    /// How it was chosen.
    pub because: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RouteMet {
    pub name: String,
    pub index: usize,
    pub lane: LaneName,
    pub lane_requests_max: u32,
    pub upstream: Option<String>,
    pub servers: Vec<String>,
    /// The upstreams that share the route's requests, each with its share.
    pub split: Vec<String>,
    pub buffer_policy: Option<String>,
    /// Its values, those of its preset and the defaults in their places.
    pub buffering: Option<Buffering>,
    pub cache_policy: Option<String>,
    pub rate_limits: Vec<String>,
    /// Path and query after the route's rewrite, where it has one.
    pub rewritten: Option<String>,
    /// What the route answers by itself: status, and where a redirect leads.
    pub reply: Option<(u16, Option<String>)>,
    /// Only the proxy itself may ask for it.
    pub internal: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PassedOver {
    pub route: String,
    pub reason: String,
}

/// Explains one request. `listener` names the listener it comes in on; without it, the URL's
/// scheme and port decide.
pub fn explain(
    config: &Config,
    method: &str,
    url: &str,
    listener: Option<&str>,
    headers: &HeaderMap,
) -> Result<Explanation, ExplainError> {
    let uri: http::Uri = url.parse().map_err(|_| ExplainError::Url(url.to_owned()))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(ExplainError::Url(url.to_owned()));
    };
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(ExplainError::Method(method.to_owned()));
    }
    let https = scheme == "https";
    let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
    let listener = choose_listener(config, listener, https, port)?;

    let host = authority.as_str().rsplit('@').next().unwrap_or("");
    let name = listener.as_ref().map_or("", |met| met.name.as_str());
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    let target = Target { listener: name, host, path, query, method, headers: Some(headers) };
    let router = Router::new(config);
    let request_uri = match query {
        "" => path.to_owned(),
        query => format!("{path}?{query}"),
    };
    let request = Request { config, router: &router, scheme, request_uri: &request_uri };
    let (end, walk) = request.way(&target);
    let found = match &end {
        End::Route(index, _) | End::Close(index) => Some(*index),
        End::NoRoute | End::Circle => None,
    };
    let passed_over = (0..found.unwrap_or(config.routes.len()))
        .filter_map(|index| {
            let mismatch = router.mismatch(index, &target)?;
            let route = &config.routes[index];
            Some(PassedOver { route: route.name.clone(), reason: reason(mismatch, route, &target) })
        })
        .collect();
    let replied = match &end {
        End::Route(_, Some(reply)) => Some(reply.clone()),
        _ => None,
    };
    let became = walk.rewritten.then(|| match walk.query.as_str() {
        "" => walk.path.clone(),
        query => format!("{}?{query}", walk.path),
    });
    let walked = Target { path: &walk.path, query: &walk.query, ..target };
    let route = found.map(|index| request.met(index, (&walked, &walk), replied));
    let outcome = match (&route, &listener) {
        (_, None) => "no listener takes it: the connection is refused".to_owned(),
        _ if end == End::Circle => {
            "the steps of routes lead it in a circle: it is answered with 500".to_owned()
        }
        _ if matches!(end, End::Close(_)) => {
            "its connection is closed without an answer".to_owned()
        }
        (None, _) => "no route takes it: it is answered with 404".to_owned(),
        (Some(met), _) => outcome(met),
    };
    Ok(Explanation {
        method: method.to_owned(),
        url: url.to_owned(),
        listener,
        host: normalize_host(host).into_owned(),
        path: String::from_utf8_lossy(&normalize_path(uri.path())).into_owned(),
        became,
        route,
        passed_over,
        is_unrouted: end == End::NoRoute,
        outcome,
    })
}

fn outcome(met: &RouteMet) -> String {
    if met.internal {
        return format!("it is answered with 404: route `{}` is internal", met.name);
    }
    match (&met.upstream, &met.reply) {
        (_, Some((status, Some(to)))) => format!("it is answered with {status} to {to}"),
        (_, Some((status, None))) => format!("it is answered with {status} by the route itself"),
        (Some(upstream), None) => {
            let lane = met.lane;
            let target = met.rewritten.as_ref().map(|to| format!(" as {to}")).unwrap_or_default();
            format!("it goes to upstream `{upstream}` in lane `{lane}`{target}")
        }
        (None, None) if !met.split.is_empty() => {
            format!("it goes to one of {} in lane `{}`", met.split.join(", "), met.lane)
        }
        (None, None) => format!("route `{}` answers it itself", met.name),
    }
}

fn choose_listener(
    config: &Config,
    wanted: Option<&str>,
    https: bool,
    port: u16,
) -> Result<Option<ListenerMet>, ExplainError> {
    let met = |name: &str, listener: &Listener, because: String| ListenerMet {
        name: name.to_owned(),
        address: listener.address.to_string(),
        tls: listener.tls.is_some(),
        because,
    };
    if let Some(wanted) = wanted {
        return match config.listeners.get(wanted) {
            Some(listener) => Ok(Some(met(wanted, listener, "it was named".to_owned()))),
            None => {
                let names: Vec<_> = config.listeners.keys().map(|n| format!("`{n}`")).collect();
                Err(ExplainError::Listener(wanted.to_owned(), names.join(", ")))
            }
        };
    }
    let scheme = if https { "https" } else { "http" };
    let fits = |listener: &Listener| {
        listener.tls.is_some() == https
            && listener.address.socket().is_some_and(|address| address.port() == port)
    };
    if let Some((name, listener)) = config.listeners.iter().find(|(_, l)| fits(l)) {
        let because = format!("it speaks {scheme} on port {port}");
        return Ok(Some(met(name, listener, because)));
    }
    match config.listeners.iter().next() {
        Some((name, listener)) if config.listeners.len() == 1 => {
            let because = format!("it is the only one, although not {scheme} on port {port}");
            Ok(Some(met(name, listener, because)))
        }
        _ => Ok(None),
    }
}

/// A request and the document it is explained by.
struct Request<'a> {
    config: &'a Config,
    router: &'a Router,
    scheme: &'a str,
    request_uri: &'a str,
}

impl Request<'_> {
    /// Where its way ends, and what has become of it there. Nothing on this machine is looked at:
    /// steps that ask for a file find none.
    fn way(&self, target: &Target<'_>) -> (End, Walk) {
        let config = self.config;
        let leads = Leads::new(config);
        let rules = config.routes.iter().map(|route| RouteRules::new(&leads, route));
        let rules: Vec<RouteRules> =
            rules.map(|rules| rules.expect("templates are validated")).collect();
        let map = way::Map {
            router: self.router,
            program: &|index| &rules[index].steps,
            named: &|name| config.routes.iter().position(|route| route.name == name),
            leads_to: &|_| None,
        };
        let mut walk = Walk::of(target.path, target.query);
        let (captures, maps) = (Captures::default(), Maps::new(config));
        let facts = Facts::of(*target, &captures, &maps);
        let facts = Facts { request_uri: self.request_uri, scheme: self.scheme, ..facts };
        (way::find(&map, &facts, &mut walk, None), walk)
    }

    fn met(
        &self,
        index: usize,
        (target, walk): (&Target<'_>, &Walk),
        replied: Option<RenderedReply>,
    ) -> RouteMet {
        let (config, route) = (self.config, &self.config.routes[index]);
        let maps = Maps::new(config);
        let facts = Facts {
            request_uri: self.request_uri,
            scheme: self.scheme,
            set: &walk.variables,
            ..Facts::of(*target, &walk.captures, &maps)
        };
        let rules = RouteRules::new(&Leads::new(config), route).expect("templates are validated");
        let own = || rules.reply.as_ref().map(|reply| reply.render(&facts));
        let reply = replied.or_else(own).map(|reply| {
            let to = reply.headers.iter().find(|(name, _)| name == http::header::LOCATION);
            // As the proxy answers what it cannot say the place of.
            let status = if reply.leads_nowhere() { 500 } else { reply.status };
            (status, to.and_then(|(_, to)| Some(to.to_str().ok()?.to_owned())))
        });
        let (path, rest) = self.router.rest(index, target);
        let now = || {
            let now = match target.query {
                "" => target.path.to_owned(),
                query => format!("{}?{query}", target.path),
            };
            walk.rewritten.then_some(now)
        };
        let rewrite = rules.rewrite.as_ref();
        let rewrite = rewrite.filter(|rewrite| !(walk.stayed && rewrite.is_of_prefix()));
        let rewritten = rewrite.map(|rewrite| rewrite.target(&facts, &path, &rest)).or_else(now);
        let upstream = route.upstream.as_ref().and_then(|name| config.upstreams.get(name));
        let servers = upstream.map_or_else(Vec::new, |upstream| match &upstream.by_request {
            Some(by_request) => {
                let text = rules.texts.server.as_ref().map(|server| server.render(&facts));
                let text = text.unwrap_or_default();
                vec![named(by_request, &text, upstream.tls.is_some())]
            }
            None => upstream.servers.iter().map(|server| server.address.to_string()).collect(),
        });
        let parts = route.split.iter().flat_map(|split| &split.parts);
        let split = parts.map(|part| format!("`{}` ({})", part.upstream, part.share)).collect();
        let buffer_policy = route.buffer_policy.as_ref();
        let buffer_policy = buffer_policy.and_then(|name| config.buffer_policies.get(name));
        RouteMet {
            name: route.name.clone(),
            index,
            lane: route.lane,
            lane_requests_max: config.lanes.get(route.lane).requests_max,
            upstream: route.upstream.clone(),
            servers,
            split,
            buffer_policy: route.buffer_policy.clone(),
            buffering: buffer_policy.map(BufferPolicy::resolved),
            cache_policy: route.cache_policy.clone(),
            rate_limits: route.rate_limits.clone(),
            rewritten,
            reply,
            internal: route.internal && !walk.rewritten && !walk.led_by_name,
        }
    }
}

/// What a request names as its server, and what becomes of that.
fn named(rules: &ByRequest, text: &str, tls: bool) -> String {
    match rules.decide(text, tls) {
        Decision::Upstream(upstream, _) => format!("the request's own: upstream {upstream}"),
        Decision::Server(named) => format!("the request's own: {}", named.authority),
        Decision::Refused => format!("none: {text:?} may not be asked"),
        Decision::Malformed => format!("none: {text:?} names no server"),
    }
}

fn reason(mismatch: Mismatch, route: &Route, target: &Target<'_>) -> String {
    match mismatch {
        Mismatch::ByName => "it is reached by its name alone".to_owned(),
        Mismatch::Listener => format!("listener `{}` is not one of its listeners", target.listener),
        Mismatch::Host => {
            format!("host `{}` is not one of its hosts", normalize_host(target.host))
        }
        Mismatch::Path => format!(
            "path `{}` is not one of its paths",
            String::from_utf8_lossy(&normalize_path(target.path))
        ),
        Mismatch::Header => "it does not have the headers it asks for".to_owned(),
        Mismatch::Query => "it does not have the query parameters it asks for".to_owned(),
        Mismatch::Method => {
            let methods = route.when.methods.join(", ");
            format!("method {} is not one of its methods ({methods})", target.method)
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.method, self.url)?;
        match &self.listener {
            Some(met) => {
                let tls = if met.tls { ", TLS" } else { "" };
                let (name, address, because) = (&met.name, &met.address, &met.because);
                writeln!(f, "  listener  {name} ({address}{tls}): {because}")?;
            }
            None => writeln!(f, "  listener  none speaks this scheme on this port")?,
        }
        writeln!(f, "  host      {}", self.host)?;
        writeln!(f, "  path      {}", self.path)?;
        if let Some(became) = &self.became {
            writeln!(f, "  became    {became} by steps")?;
        }
        for passed in &self.passed_over {
            writeln!(f, "  not       {}: {}", passed.route, passed.reason)?;
        }
        if let Some(met) = &self.route {
            writeln!(f, "  route     {}", met.name)?;
            writeln!(f, "  lane      {} (at most {} at once)", met.lane, met.lane_requests_max)?;
            if let Some(upstream) = &met.upstream {
                writeln!(f, "  upstream  {upstream} ({})", met.servers.join(", "))?;
            }
            if let (Some(policy), Some(buffering)) = (&met.buffer_policy, &met.buffering) {
                writeln!(f, "  buffering {policy}")?;
                writeln!(f, "            responses {}", buffering.responses)?;
                writeln!(f, "            requests  {}", buffering.requests)?;
            }
            if let Some(policy) = &met.cache_policy {
                writeln!(f, "  caching   {policy}")?;
            }
            if !met.rate_limits.is_empty() {
                writeln!(f, "  limits    {}", met.rate_limits.join(", "))?;
            }
        }
        writeln!(f, "  outcome   {}", self.outcome)
    }
}
