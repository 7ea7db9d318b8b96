//! The tree into a configuration of the proxy, with a verdict on every directive.

pub mod accel;
pub mod access;
pub mod answer;
pub mod answer_map;
pub mod as_sent;
pub mod auth;
pub mod balance;
pub mod bodies;
pub mod buffers;
pub mod by_request;
pub mod cache;
pub mod cache_key;
pub mod cache_policy;
pub mod captured;
pub mod certificates;
pub mod client;
pub mod detour;
pub mod error_log;
pub mod except;
pub mod fastcgi;
pub mod files;
pub mod geo;
pub mod grpc;
pub mod guard;
pub mod gzip;
pub mod host;
pub mod identity;
pub mod limit;
pub mod link;
pub mod listen;
pub mod listener;
pub mod location;
pub mod log;
pub mod log_variable;
pub mod lookup;
pub mod mirror;
pub mod named;
pub mod note;
pub mod of_answer;
pub mod order;
pub mod patience;
pub mod proxy_pass;
pub mod rate;
pub mod redirected;
pub mod referer;
pub mod regex;
pub mod request_body;
pub mod request_header;
pub mod response_header;
pub mod returned;
pub mod rewrite;
pub mod route;
pub mod scope;
pub mod secure;
pub mod server_name;
pub mod sieve;
pub mod site;
pub mod slices;
pub mod status_page;
pub mod undecided;
pub mod unused;
pub mod upgrade;
pub mod upstream;
pub mod value;
pub mod variable;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use proxy_config::Config;
use proxy_config::access_log::AccessLog;
use proxy_config::address::ListenAddress;
use proxy_config::admin::Admin;
use proxy_config::error_answers::ErrorAnswers;
use proxy_config::lane::{Lane, Lanes, Spill};
use proxy_config::shutdown::Shutdown;

use crate::tree::{self, Directive, Document, flattened};
use crate::verdict::{Exactness, Verdict, Verdicts};
use buffers::Buffers;
use files::Types;
use limit::Limits;
use log::Logs;
use scope::Scope;
use site::{Site, Work};
use upstream::Pools;
use variable::Names;

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
    /// The directive that each route stands for, by its id.
    pub blocks: Vec<usize>,
}

pub fn translate(document: &Document) -> Translation {
    let mut verdicts = Verdicts::default();
    let outside = flattened(&document.directives);
    let http: Vec<&Directive> = outside.iter().copied().filter(|d| d.name == "http").collect();
    let blocks: Vec<&Directive> = http.iter().flat_map(|h| flattened(h.children())).collect();
    let mut pools = Pools::new(&named(&blocks, &["upstream"]));
    let mut caches = cache::Caches::new(&named(&blocks, &cache::PATHS), &mut verdicts);
    let mut limits = Limits::new(&named(&blocks, &["limit_req_zone", "limit_conn_zone"]));
    let (mut types, mut buffers) = (Types::default(), Buffers::default());
    let mut logs = Logs::new(&outside);
    let error_log = logs.errors.main(&mut verdicts);
    let mut sites = sites(&http, &mut verdicts);
    let mut names = Names::new(&document.directives);
    let (mut taken, mut by_name) = (HashSet::new(), Vec::new());
    for site in &mut sites {
        let mut work = Work {
            files: &document.files,
            verdicts: &mut verdicts,
            pools: &mut pools,
            caches: &mut caches,
            names: &mut names,
            taken: &mut taken,
            limits: &mut limits,
            types: &mut types,
            buffers: &mut buffers,
            by_name: &mut by_name,
            logs: &mut logs,
        };
        site::decide(site, &mut work);
    }
    let listeners = listener::open(&sites, &document.files, &mut verdicts);
    let units = host::units(&sites, &listeners.sites, &mut verdicts);
    let count = listeners.listeners.len();
    let mut routes = route::routes(&sites, &units, count, by_name, &mut taken, &mut pools);
    let access_log = logs.main(&mut names, &mut verdicts);
    route::say_server_names(&mut routes, &sites, names.needs_server_name);
    server_verdicts(&sites, &units, &mut verdicts);
    pools.keep_only(routes.routes.iter().filter_map(|route| route.upstream.as_ref()));
    let admin = admin(&listeners);
    let config =
        (sites.iter().any(Site::is_live) && !listeners.listeners.is_empty()).then(|| Config {
            listeners: listeners.listeners,
            upstreams: pools.upstreams,
            routes: routes.routes,
            cache_policies: caches.policies,
            caches: caches.caches,
            rate_limits: limits.limits,
            maps: names.maps,
            media_types: types.0,
            access_logs: logs.named,
            error_log,
            error_logs: logs.errors.named,
            buffer_policies: buffers.policies,
            lanes: lanes(buffers.spill),
            ..bare(admin, access_log)
        });
    let mut origins = Origins {
        listeners: listeners.origins,
        upstreams: pools.origins,
        caches: caches.cache_origins,
        cache_policies: caches.policy_origins,
        routes: routes.origins,
        blocks: routes.blocks,
    };
    let config =
        config.and_then(|made| sieved(made, &mut origins, document, (&http, &mut verdicts)));
    unused::say(&http, &mut verdicts);
    verdicts.complete(document);
    Translation { notes: note::notes(config.as_ref()), config, verdicts, origins }
}

/// What the proxy takes of it; nothing where it would take none, which the `http` blocks are told.
fn sieved(
    mut made: Config,
    origins: &mut Origins,
    document: &Document,
    (http, verdicts): (&[&Directive], &mut Verdicts),
) -> Option<Config> {
    let Err(why) = sieve::sieve(&mut made, origins, document, verdicts) else { return Some(made) };
    let why = format!("the proxy would refuse what it comes to: {why}");
    http.iter().for_each(|http| verdicts.add(http, Verdict::unsupported(why.clone())));
    None
}

fn named<'a>(blocks: &[&'a Directive], names: &[&str]) -> Vec<&'a Directive> {
    blocks.iter().copied().filter(|block| names.contains(&block.name.as_str())).collect()
}

fn sites<'a>(http: &[&'a Directive], verdicts: &mut Verdicts) -> Vec<Site<'a>> {
    let mut sites = Vec::new();
    for http in http {
        let scope = Scope::of(http, None);
        for server in scope.own("server") {
            sites.push(site::read(server, &scope, verdicts));
        }
    }
    sites
}

/// The lanes, of which all routes are in one.
fn lanes(spill: Option<Spill>) -> Lanes {
    let Lanes { interactive, .. } = Lanes::default();
    Lanes { interactive: Lane { spill, ..interactive }, ..Lanes::default() }
}

/// A configuration of which only these are known, and whatever else has a default.
fn bare(admin: Admin, access_log: AccessLog) -> Config {
    Config {
        version: 1,
        listeners: BTreeMap::new(),
        upstreams: BTreeMap::new(),
        routes: Vec::new(),
        lanes: Lanes::default(),
        buffer_policies: BTreeMap::new(),
        cache_policies: BTreeMap::new(),
        caches: BTreeMap::new(),
        rate_limits: BTreeMap::new(),
        maps: BTreeMap::new(),
        media_types: BTreeMap::new(),
        admin,
        access_log,
        access_logs: BTreeMap::new(),
        error_log: Vec::new(),
        error_logs: BTreeMap::new(),
        error_answers: ErrorAnswers::default(),
        shutdown: Shutdown::default(),
        telemetry: None,
        protected_paths: Vec::new(),
    }
}

fn server_verdicts(sites: &[Site<'_>], units: &[host::Unit], verdicts: &mut Verdicts) {
    for (index, site) in sites.iter().enumerate() {
        let reached = units.iter().any(|unit| unit.site == index);
        let verdict = match (site.is_live(), reached) {
            (false, _) => Verdict::unsupported("none of its locations can be opened"),
            (true, true) => Verdict::with_differences(&site.differences),
            (true, false) if site.listens.is_empty() => {
                Verdict::unsupported("none of its addresses can be listened on")
            }
            (true, false) => Verdict::ignored("no request reaches it in nginx either"),
        };
        if !reached && verdict.exactness != Exactness::Unsupported {
            tree::walk(site.directive.children(), &mut |line| verdicts.add(line, verdict.clone()));
        }
        verdicts.add(site.directive, verdict);
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
