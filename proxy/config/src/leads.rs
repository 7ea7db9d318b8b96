//! What the routes of a document have to do with one another: which leads to which, and which variables their steps set.
//! Made once for a document: asking every route about every other would take seconds where there are thousands.

use std::collections::{HashMap, HashSet};

use crate::config::Config;
use crate::host::HostPattern;
use crate::pattern::{Regex, ValueMatch};
use crate::route::{PathMatch, Route, RouteMatch};
use crate::route_access::Auth;
use crate::route_action::TryStep;
use crate::steps::{Action, ConditionTest};
use crate::template::Scope;

/// The routes of one document, as templates need to know them.
#[derive(Debug)]
pub struct Leads<'a> {
    pub(crate) config: &'a Config,
    maps: Vec<&'a str>,
    names: HashSet<&'a str>,
    set: HashSet<&'a str>,
    /// Routes that lead to one by its name.
    by_name: HashMap<&'a str, Vec<&'a Route>>,
    /// Routes that take requests a part of their way, by where those come in.
    passages: HashMap<String, Vec<&'a Route>>,
}

impl<'a> Leads<'a> {
    pub fn new(config: &'a Config) -> Leads<'a> {
        let mut leads = Leads {
            config,
            maps: config.maps.keys().map(String::as_str).collect(),
            names: config.routes.iter().map(|route| route.name.as_str()).collect(),
            set: HashSet::new(),
            by_name: HashMap::new(),
            passages: HashMap::new(),
        };
        for route in &config.routes {
            let actions = route.steps.iter().flat_map(|step| &step.then);
            leads.set.extend(actions.flat_map(Action::variables));
            if let Some(Auth::Subrequest(auth)) = &route.auth {
                leads.set.extend(auth.set.keys().map(String::as_str));
            }
            for name in named(route) {
                leads.by_name.entry(name).or_default().push(route);
            }
            if !route.has_action() {
                leads.passages.entry(entrance(&route.when)).or_default().push(route);
            }
        }
        leads
    }

    /// Whether a route has this name.
    pub fn has_route(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// What templates of no route may name.
    pub fn scope(&self) -> Scope<'_> {
        Scope { maps: self.maps.clone(), set: Some(&self.set), ..Scope::default() }
    }

    /// What the templates of a route may name: also what was captured on the way to it.
    pub fn scope_of(&self, route: &Route) -> Scope<'_> {
        let mut scope = self.scope();
        let others = match route.is_by_name_only() {
            true => self.by_name.get(route.name.as_str()),
            false => self.passages.get(&entrance(&route.when)),
        };
        let elsewhere = others.into_iter().flatten().flat_map(|other| expressions(other));
        for regex in expressions(route).chain(elsewhere) {
            if let Ok(regex) = regex.compile() {
                scope.add(&regex);
            }
        }
        scope
    }
}

/// The routes that a route leads to by their names.
fn named(route: &Route) -> HashSet<&str> {
    let actions = route.steps.iter().flat_map(|step| &step.then);
    let by_steps = actions.filter_map(|action| match action {
        Action::Route(name) => Some(name.as_str()),
        _ => None,
    });
    let by_tries = route.tries.iter().filter_map(|step| match step {
        TryStep::Route(name) => Some(name.as_str()),
        _ => None,
    });
    let by_pages = route.error_pages.iter().filter_map(|page| page.route.as_deref());
    by_steps.chain(by_tries).chain(by_pages).collect()
}

/// Where requests come in: a passage lies before the routes with the same listeners and hosts.
fn entrance(when: &RouteMatch) -> String {
    let hosts = when.hosts.iter().map(|host| match host {
        HostPattern::Name(name) => name.as_written().to_owned(),
        HostPattern::Regex(host) => format!("~{}", host.regex),
    });
    format!("{}\n\n{}", when.listeners.join("\n"), hosts.collect::<Vec<_>>().join("\n"))
}

/// The expressions that may have captured something of a request on a route.
fn expressions(route: &Route) -> impl Iterator<Item = &Regex> {
    let when = &route.when;
    let paths = when.paths.iter().chain(&when.within).filter_map(|path| match path {
        PathMatch::Regex(regex) => Some(regex),
        _ => None,
    });
    let hosts = when.hosts.iter().filter_map(|host| match host {
        HostPattern::Regex(host) => Some(&host.regex),
        HostPattern::Name(_) => None,
    });
    let headers = when.headers.iter().filter_map(|field| match &field.value {
        Some(ValueMatch::Regex(regex)) => Some(regex),
        _ => None,
    });
    let conditions = route.steps.iter().flat_map(|step| &step.when);
    let tests = conditions.filter_map(|condition| match &condition.is {
        Some(ConditionTest::Regex(regex)) => Some(regex),
        _ => None,
    });
    let actions = route.steps.iter().flat_map(|step| &step.then);
    let finds = actions.filter_map(|action| match action {
        Action::Rewrite(rewrite) => Some(&rewrite.find),
        _ => None,
    });
    paths.chain(hosts).chain(headers).chain(tests).chain(finds)
}
