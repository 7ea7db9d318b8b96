//! Routes: the steps of each unit of hosts, in order.

use std::collections::HashSet;

use proxy_config::Route;
use proxy_config::pattern::Template;
use proxy_config::route::RouteMatch;
use proxy_config::shadowing::hidden;
use proxy_config::steps::{Action, SetVariable, Step};

use crate::translate::host::Unit;
use crate::translate::site::{ByName, Site};
use crate::translate::upstream::Pools;
use crate::translate::value::{slug, unique};
use crate::translate::variable::SERVER_NAME;

/// The routes, and for each the lines of the comment above it.
#[derive(Debug, Default)]
pub struct Routes {
    pub routes: Vec<Route>,
    pub origins: Vec<Vec<String>>,
    /// Ids of the directives they stand for.
    pub blocks: Vec<usize>,
    /// Which site each belongs to, as far as paths lead to it.
    sites: Vec<Option<usize>>,
}

/// Lets routes say the name of their server, for what several servers share.
pub fn say_server_names(routes: &mut Routes, sites: &[Site<'_>], is_asked_for: bool) {
    if !is_asked_for {
        return;
    }
    for (route, site) in routes.routes.iter_mut().zip(&routes.sites) {
        let Some(site) = site.and_then(|site| sites.get(site)) else { continue };
        let to = Template(site.told_name.replace('$', "$$"));
        let set = SetVariable { name: SERVER_NAME.to_owned(), to };
        route.steps.insert(0, Step { when: Vec::new(), then: vec![Action::Set(set)] });
    }
}

/// `listeners` is how many there are: what is open on all of them names none.
pub fn routes(
    sites: &[Site<'_>],
    units: &[Unit],
    listeners: usize,
    by_name: Vec<ByName>,
    taken: &mut HashSet<String>,
    pools: &mut Pools<'_>,
) -> Routes {
    let mut routes = Routes::default();
    for unit in units {
        let site = &sites[unit.site];
        let label = match site.name.as_str() {
            "" | "_" => "default",
            name => name.trim_start_matches('~'),
        };
        for step in &site.steps {
            let mut origin = step.origin.clone();
            let route = match &step.outcome {
                Ok(route) => route.clone(),
                Err(why) => {
                    origin.push_str(&format!(": NOT TRANSLATED, answers 502: {why}"));
                    Route::to("", pools.closed())
                }
            };
            let name = slug(&format!("{label}{}", step.label));
            let name = unique(&name, |name| taken.contains(name));
            taken.insert(name.clone());
            let all = unit.listeners.len() == listeners;
            let when = RouteMatch {
                listeners: unit.listeners.iter().filter(|_| !all).cloned().collect(),
                hosts: unit.hosts.clone(),
                paths: step.paths.clone(),
                within: step.within.clone(),
                ..RouteMatch::default()
            };
            routes.routes.push(Route { name, when, ..route });
            routes.origins.push(vec![origin]);
            routes.blocks.push(step.block);
            routes.sites.push(Some(unit.site));
        }
    }
    for (route, origin, block) in by_name {
        routes.routes.push(route);
        routes.origins.push(vec![origin]);
        routes.blocks.push(block);
        routes.sites.push(None);
    }
    // What an earlier route takes whole, nginx never comes to either.
    for index in hidden(&routes.routes).into_iter().rev() {
        routes.routes.remove(index);
        routes.origins.remove(index);
        routes.blocks.remove(index);
        routes.sites.remove(index);
    }
    routes
}
