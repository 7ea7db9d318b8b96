//! Routes: the locations of each unit of hosts, in order.

use proxy_config::Route;
use proxy_config::host::HostPattern;
use proxy_config::route::{PathMatch, RouteMatch};

use crate::place::Files;
use crate::translate::host::Unit;
use crate::translate::site::{Answer, Site, Step};
use crate::translate::upstream::Pools;
use crate::translate::value::{slug, unique};

/// The routes, and for each the lines of the comment above it.
#[derive(Debug, Default)]
pub struct Routes {
    pub routes: Vec<Route>,
    pub origins: Vec<Vec<String>>,
    names: std::collections::HashSet<String>,
}

impl Routes {
    fn add(&mut self, name: &str, when: RouteMatch, answer: Answer, origin: Vec<String>) {
        let name = unique(&slug(name), |name| self.names.contains(name));
        self.names.insert(name.clone());
        let Answer { upstream, cache_policy } = answer;
        self.routes.push(Route { when, cache_policy, ..Route::to(name, upstream) });
        self.origins.push(origin);
    }
}

pub fn routes(
    sites: &mut [Site<'_>],
    units: &[Unit],
    pools: &mut Pools<'_>,
    files: &Files,
) -> Routes {
    let mut routes = Routes::default();
    for (index, unit) in units.iter().enumerate() {
        let site = &mut sites[unit.site];
        let label = site.hosts.first().map_or("default", String::as_str).replace('*', "any");
        if !site.is_live() {
            // Without hosts, what is left finds no route and gets 404.
            if !unit.hosts.is_empty() {
                let origin = files.line(site.directive.start);
                let why = format!("{origin}: server: NOT TRANSLATED, answers 502");
                routes.add(&format!("{label}-closed"), when(unit, None), closed(pools), vec![why]);
            }
            continue;
        }
        for step in &site.steps {
            let what = if step.exact { "exact" } else { "" };
            let name = format!("{label}{}-{what}", step.path);
            let (answer, origin) = match &step.outcome {
                Ok(answer) => {
                    (answer.clone(), format!("{}: {}", step.origin, step.directive.heading()))
                }
                Err(why) => (
                    closed(pools),
                    format!(
                        "{}: {}: NOT TRANSLATED, answers 502: {why}",
                        step.origin,
                        step.directive.heading()
                    ),
                ),
            };
            routes.add(&name, when(unit, Some(path(step))), answer, vec![origin]);
        }
        let falls_through = !unit.hosts.is_empty() && index + 1 < units.len();
        if !site.is_total() && falls_through {
            let origin = files.line(site.directive.start);
            let why = format!("{origin}: server: paths without a location answer 502");
            routes.add(&format!("{label}-rest"), when(unit, None), closed(pools), vec![why]);
        }
        if !site.is_total() {
            let status = if falls_through { 502 } else { 404 };
            let text = format!(
                "paths without a location get {status}; nginx looks for files under its root"
            );
            if !site.differences.contains(&text) {
                site.differences.push(text);
            }
        }
    }
    routes
}

fn closed(pools: &mut Pools<'_>) -> Answer {
    Answer { upstream: pools.closed(), cache_policy: None }
}

fn when(unit: &Unit, path: Option<PathMatch>) -> RouteMatch {
    let hosts = unit.hosts.iter().filter_map(|host| host.parse().ok().map(HostPattern::Name));
    RouteMatch {
        hosts: hosts.collect(),
        paths: path.into_iter().collect(),
        ..RouteMatch::default()
    }
}

fn path(step: &Step<'_>) -> PathMatch {
    match step.exact {
        true => PathMatch::Exact(step.path.clone()),
        false => PathMatch::Prefix(step.path.clone()),
    }
}
