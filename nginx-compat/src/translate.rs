//! The tree into a configuration of the proxy, with a verdict on every directive.

pub mod cache;
pub mod cache_key;
pub mod cache_policy;
pub mod guard;
pub mod host;
pub mod listen;
pub mod listener;
pub mod location;
pub mod log;
pub mod proxy_pass;
pub mod request_header;
pub mod route;
pub mod scope;
pub mod server_name;
pub mod site;
pub mod upstream;
pub mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use proxy_config::Config;
use proxy_config::address::ListenAddress;
use proxy_config::admin::Admin;
use proxy_config::error_answers::ErrorAnswers;
use proxy_config::lane::Lanes;
use proxy_config::shutdown::Shutdown;

use crate::tree::{Directive, Document, flattened};
use crate::verdict::{Exactness, Verdict, Verdicts};
use scope::Scope;
use site::{Site, Work};
use upstream::Pools;

/// What became of a document.
#[derive(Debug)]
pub struct Translation {
    /// None when nothing of it can be translated.
    pub config: Option<Config>,
    /// One verdict for every directive of the document.
    pub verdicts: Verdicts,
    pub origins: Origins,
    /// What nginx does without being told and Forebay does otherwise.
    pub notes: Vec<String>,
}

/// Where the parts of the configuration come from: the lines of the comment above each.
#[derive(Debug, Default)]
pub struct Origins {
    pub listeners: BTreeMap<String, Vec<String>>,
    pub upstreams: BTreeMap<String, Vec<String>>,
    pub caches: BTreeMap<String, Vec<String>>,
    pub cache_policies: BTreeMap<String, Vec<String>>,
    /// By index.
    pub routes: Vec<Vec<String>>,
}

pub fn translate(document: &Document) -> Translation {
    let mut verdicts = Verdicts::default();
    let http: Vec<&Directive> =
        flattened(&document.directives).into_iter().filter(|d| d.name == "http").collect();
    let blocks: Vec<&Directive> = http.iter().flat_map(|h| flattened(h.children())).collect();
    let upstreams: Vec<&Directive> =
        blocks.iter().copied().filter(|block| block.name == "upstream").collect();
    let mut pools = Pools::new(&upstreams);
    let zones: Vec<&Directive> =
        blocks.iter().copied().filter(|line| line.name == "proxy_cache_path").collect();
    let mut caches = cache::Caches::new(&zones, &mut verdicts);
    let mut sites = Vec::new();
    for http in &http {
        let scope = Scope::of(http, None);
        for server in scope.own("server") {
            sites.push(site::read(server, &scope, &mut verdicts));
        }
    }
    let own_addresses: BTreeSet<SocketAddr> =
        sites.iter().flat_map(|site| &site.listens).map(|listen| listen.address).collect();
    for site in &mut sites {
        let mut work = Work {
            files: &document.files,
            verdicts: &mut verdicts,
            pools: &mut pools,
            caches: &mut caches,
            own_addresses: &own_addresses,
        };
        site::decide(site, &mut work);
    }
    let listeners = listener::open(&sites, &document.files, &mut verdicts);
    let units = host::units(&mut sites, &mut verdicts);
    let routes = route::routes(&mut sites, &units, &mut pools, &document.files);
    let access_log = log::access_log(&http, &mut verdicts);
    server_verdicts(&sites, &units, &mut verdicts);
    let used: BTreeSet<&str> =
        routes.routes.iter().filter_map(|route| route.upstream.as_deref()).collect();
    pools.upstreams.retain(|name, _| used.contains(name.as_str()));
    verdicts.complete(document);
    let admin = admin(&listeners);
    let config = (!routes.routes.is_empty() && !listeners.listeners.is_empty()).then(|| Config {
        version: 1,
        listeners: listeners.listeners,
        upstreams: pools.upstreams,
        routes: routes.routes,
        lanes: Lanes::default(),
        buffer_policies: BTreeMap::new(),
        cache_policies: caches.policies,
        caches: caches.caches,
        rate_limits: BTreeMap::new(),
        maps: BTreeMap::new(),
        admin,
        access_log,
        access_logs: BTreeMap::new(),
        error_answers: ErrorAnswers::default(),
        shutdown: Shutdown::default(),
        telemetry: None,
        protected_paths: Vec::new(),
    });
    let origins = Origins {
        listeners: listeners.origins,
        upstreams: pools.origins,
        caches: caches.cache_origins,
        cache_policies: caches.policy_origins,
        routes: routes.origins,
    };
    let notes = notes(config.is_some());
    Translation { config, verdicts, origins, notes }
}

fn server_verdicts(sites: &[Site<'_>], units: &[host::Unit], verdicts: &mut Verdicts) {
    for (index, site) in sites.iter().enumerate() {
        let reached = units.iter().any(|unit| unit.site == index);
        if site.is_live() && !reached {
            unreached(site, verdicts);
            continue;
        }
        let verdict = match (site.is_live(), site.steps.first()) {
            (true, _) => Verdict::with_differences(&site.differences),
            (false, None) => Verdict::unsupported("it passes nothing to an upstream over HTTP"),
            (false, Some(_)) => Verdict::unsupported("none of its locations can be opened"),
        };
        verdicts.add(site.directive, verdict);
        if !site.is_live() {
            for (line, _) in &site.name_lines {
                verdicts.add(line, Verdict::unsupported("its server is not translated"));
            }
        }
    }
}

/// A server that could be translated and that no route leads to.
fn unreached(site: &Site<'_>, verdicts: &mut Verdicts) {
    let lost = site.name_lines.iter().find_map(|(line, _)| match verdicts.get(line) {
        Some(verdict) if verdict.exactness == Exactness::Unsupported => Some(()),
        _ => None,
    });
    let verdict = match lost {
        Some(()) => Verdict::unsupported("none of its names can be told apart; see server_name"),
        None => Verdict::ignored("no request reaches it in nginx either"),
    };
    verdicts.add(site.directive, verdict.clone());
    for step in &site.steps {
        verdicts.add(step.directive, verdict.clone());
        step.pass.into_iter().for_each(|pass| verdicts.add(pass, verdict.clone()));
    }
}

/// The default, or the next port that no listener has.
fn admin(listeners: &listener::Listeners) -> Admin {
    let taken: BTreeSet<u16> = listeners
        .listeners
        .values()
        .filter_map(|listener| listener.address.socket())
        .map(|address| address.port())
        .collect();
    let default = Admin::default();
    let first = default.address.socket().map_or(9090, |address| address.port());
    let port = (first..=u16::MAX).find(|port| !taken.contains(port)).unwrap_or(first);
    Admin { address: ListenAddress::loopback(port), ..default }
}

fn notes(translated: bool) -> Vec<String> {
    if !translated {
        return Vec::new();
    }
    let notes = [
        "nginx refuses request bodies above 1 MiB (client_max_body_size); Forebay takes any unless its route has `request_body_max`",
        "Forebay passes paths on in their normal form (dot segments, // and needless escapes \
         resolved), as it matched them; nginx passes them on as they came",
        "Forebay adds Forwarded, X-Forwarded-For, -Proto, -Host and X-Request-Id to every request",
    ];
    notes.into_iter().map(str::to_owned).collect()
}
