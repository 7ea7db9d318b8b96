//! A `server` block: where it listens, the hosts it answers for, and what becomes of each location.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::place::Files;
use crate::translate::cache::Caches;
use crate::translate::location::{self, Kind, Location};
use crate::translate::scope::Scope;
use crate::translate::upstream::{Pools, timeouts};
use crate::translate::{guard, listen, proxy_pass, server_name};
use crate::tree::Directive;
use crate::verdict::{Verdict, Verdicts};

/// A location in the order of its routes, and what answers, or why nothing does.
#[derive(Debug)]
pub struct Step<'a> {
    pub path: String,
    pub exact: bool,
    pub directive: &'a Directive,
    pub pass: Option<&'a Directive>,
    /// `file:line` of the location.
    pub origin: String,
    pub outcome: Result<Answer, String>,
}

/// What answers for a location.
#[derive(Clone, Debug)]
pub struct Answer {
    pub upstream: String,
    pub cache_policy: Option<String>,
}

#[derive(Debug)]
pub struct Site<'a> {
    pub directive: &'a Directive,
    pub scope: Rc<Scope<'a>>,
    pub listens: Vec<listen::Listen<'a>>,
    pub hosts: Vec<String>,
    /// The `server_name` that brought a host, for verdicts.
    pub name_lines: Vec<(&'a Directive, Vec<String>)>,
    pub steps: Vec<Step<'a>>,
    pub differences: Vec<String>,
}

impl Site<'_> {
    /// Whether anything of it is answered by an upstream.
    pub fn is_live(&self) -> bool {
        self.steps.iter().any(|step| step.outcome.is_ok())
    }

    /// Whether every path finds a location.
    pub fn is_total(&self) -> bool {
        self.steps.iter().any(|step| !step.exact && step.path == "/")
    }

    pub fn listens_on(&self, address: SocketAddr) -> bool {
        self.listens.iter().any(|listen| listen.address == address)
    }
}

/// What translating a server needs to know and adds to.
pub struct Work<'w, 'a> {
    pub files: &'w Files,
    pub verdicts: &'w mut Verdicts,
    pub pools: &'w mut Pools<'a>,
    pub caches: &'w mut Caches<'a>,
    /// Addresses this configuration listens on: passing requests there would go in a circle.
    pub own_addresses: &'w BTreeSet<SocketAddr>,
}

/// Reads where a server listens and what it is called.
pub fn read<'a>(
    directive: &'a Directive,
    http: &Rc<Scope<'a>>,
    verdicts: &mut Verdicts,
) -> Site<'a> {
    let scope = Scope::of(directive, Some(http));
    let mut listens = Vec::new();
    for line in scope.own("listen") {
        match listen::parse(line) {
            Ok(listen) => listens.push(listen),
            Err(why) => verdicts.add(line, Verdict::unsupported(why)),
        }
    }
    if scope.own("listen").is_empty() {
        listens.push(listen::assumed());
    }
    let mut hosts = Vec::new();
    let mut name_lines = Vec::new();
    for line in scope.own("server_name") {
        let names = server_name::parse(line);
        verdicts.add(line, names.verdict());
        let new: Vec<String> = names.hosts.into_iter().filter(|h| !hosts.contains(h)).collect();
        hosts.extend(new.iter().cloned());
        name_lines.push((*line, new));
    }
    let (steps, differences) = (Vec::new(), Vec::new());
    Site { directive, scope, listens, hosts, name_lines, steps, differences }
}

/// Decides what becomes of each location of a server.
pub fn decide<'a>(site: &mut Site<'a>, work: &mut Work<'_, 'a>) {
    let locations = location::locations(site.directive, &site.scope);
    let ordered = location::in_order(&locations);
    let mut decided = BTreeSet::new();
    for location in ordered {
        decided.insert(location.directive.id);
        let path = location.path().unwrap_or_default();
        if never_matches(path) {
            let why = format!("{path:?} is not in normal form and never matches in nginx either");
            work.verdicts.add(location.directive, Verdict::ignored(why));
            continue;
        }
        if let Some(c) = foreign_character(path) {
            let why = format!(
                "routes read {c:?} in {path:?} differently; its requests go to shorter prefixes"
            );
            work.verdicts.add(location.directive, Verdict::unsupported(why));
            continue;
        }
        let outcome = open(location, site, work);
        let verdict = match &outcome {
            Err(why) => Verdict::unsupported(format!("stays closed: {why}")),
            Ok(_) => Verdict::with_differences(&differences(location, &locations)),
        };
        work.verdicts.add(location.directive, verdict);
        site.steps.push(Step {
            path: location.path().unwrap_or_default().to_owned(),
            exact: location.is_exact(),
            directive: location.directive,
            pass: location.scope.own("proxy_pass").first().copied(),
            origin: work.files.line(location.directive.start),
            outcome,
        });
    }
    undecided(&locations, &locations, site, &decided, work);
}

/// What answers for a location, or why it stays closed.
fn open<'a>(
    location: &Location<'a>,
    site: &Site<'a>,
    work: &mut Work<'_, 'a>,
) -> Result<Answer, String> {
    if let Some(directive) = guard::closes(&location.scope, &site.scope) {
        let place = work.files.line(directive.start);
        return Err(format!("{} ({place}) is not translated", directive.name));
    }
    let Some(pass) = location.scope.own("proxy_pass").first() else {
        return Err("it serves files, or passes nothing to an upstream over HTTP".to_owned());
    };
    let result = proxy_pass::target(pass, location).and_then(|mut target| {
        if leads_back(target.authority, work) {
            return Err("it leads back to an address this configuration listens on".to_owned());
        }
        let timeouts = timeouts(&location.scope, work.verdicts);
        let upstream = work.pools.name_of(target.authority, timeouts, work.verdicts, work.files)?;
        proxy_pass::settings(&location.scope, &mut target.differences, work.verdicts);
        work.verdicts.add(pass, Verdict::with_differences(&target.differences));
        let cache_policy = work.caches.policy(&location.scope, work.verdicts, work.files);
        Ok(Answer { upstream, cache_policy })
    });
    result.inspect_err(|why| work.verdicts.add(pass, Verdict::unsupported(why.clone())))
}

fn leads_back(authority: &str, work: &Work<'_, '_>) -> bool {
    let servers = match work.pools.block(authority) {
        Some(block) => crate::tree::flattened(block.children())
            .into_iter()
            .filter(|directive| directive.name == "server")
            .filter_map(|directive| directive.argument(0))
            .collect(),
        None => vec![authority],
    };
    let own = |server: SocketAddr| {
        work.own_addresses.iter().any(|own| {
            let here = own.ip().is_unspecified() && server.ip().is_loopback();
            own.port() == server.port() && (own.ip() == server.ip() || here)
        })
    };
    servers.iter().any(|server| match crate::translate::upstream::server_address(server) {
        Ok(proxy_config::address::ServerAddress::Socket(address)) => own(address),
        _ => false,
    })
}

/// nginx compares paths in normal form, so a location in another form takes no request.
fn never_matches(path: &str) -> bool {
    let normal = || proxy_config::matching::normalize_path(path);
    !path.starts_with('/') || (foreign_character(path).is_none() && normal() != path.as_bytes())
}

/// A character that stands for itself in a location and for something else in a route.
fn foreign_character(path: &str) -> Option<char> {
    path.chars().find(|c| "%*?#\\".contains(*c) || c.is_whitespace())
}

fn differences(location: &Location<'_>, all: &[Location<'_>]) -> Vec<String> {
    let Some(path) = location.path().filter(|_| !location.is_exact()) else { return Vec::new() };
    let Some(bare) = path.strip_suffix('/').filter(|bare| !bare.is_empty()) else {
        return Vec::new();
    };
    // nginx redirects /api to /api/ when a location /api/ passes requests on and none is for /api.
    if all.iter().any(|other| other.path() == Some(bare)) {
        return Vec::new();
    }
    vec![format!(
        "nginx redirects {bare} to {path} (301); Forebay sends it where paths outside {path} go"
    )]
}

/// Verdicts for the locations that have no route: regular expressions, named ones, and those nginx
/// never takes.
fn undecided(
    level: &[Location<'_>],
    top: &[Location<'_>],
    site: &Site<'_>,
    decided: &BTreeSet<usize>,
    work: &mut Work<'_, '_>,
) {
    for location in level {
        if !decided.contains(&location.directive.id) {
            let verdict = match &location.kind {
                Kind::Regex => {
                    let mut effect = regex_effect(top);
                    if let Some(guard) = guard::closes(&location.scope, &site.scope) {
                        effect.push_str(&format!(", without its {}", guard.name));
                    }
                    Verdict::unsupported(effect)
                }
                Kind::Named => Verdict::unsupported(
                    "only internal redirects come here, and there are none yet",
                ),
                Kind::Invalid(fault) => Verdict::unsupported(fault.clone()),
                Kind::Exact(_) | Kind::Prefix { .. } => {
                    Verdict::ignored("nginx never comes here either: other locations take it all")
                }
            };
            work.verdicts.add(location.directive, verdict);
        }
        undecided(&location.nested, top, site, decided, work);
    }
}

fn regex_effect(top: &[Location<'_>]) -> String {
    let after = |location: &&Location<'_>| {
        matches!(location.kind, Kind::Prefix { before_regexes: false, .. })
    };
    let mut later: Vec<&str> = top.iter().filter(after).filter_map(Location::path).collect();
    later.truncate(5);
    let effect = match later.as_slice() {
        [] => "its requests find no other location".to_owned(),
        later => format!(
            "nginx tries it before the prefix locations ({}), Forebay sends its requests to those",
            later.join(", ")
        ),
    };
    format!("locations with a regular expression are not translated yet; {effect}")
}
