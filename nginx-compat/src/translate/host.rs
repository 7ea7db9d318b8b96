//! Which server answers for a host. nginx asks the servers of the address: an exact name, then the
//! longest wildcard, then the first expression, then the default server.

use std::collections::{BTreeMap, BTreeSet};

use proxy_config::host::HostPattern;

use crate::translate::server_name::{may_cover, rank};
use crate::translate::site::Site;
use crate::verdict::{Verdict, Verdicts};

/// Consecutive routes: those of one site for these hosts, or, without hosts, for all others.
#[derive(Debug, PartialEq)]
pub struct Unit {
    pub site: usize,
    pub hosts: Vec<HostPattern>,
    /// Names of listeners.
    pub listeners: BTreeSet<String>,
}

/// The sites of each listener, by the listener's name; each with whether it is marked as default.
pub type Open = BTreeMap<String, Vec<(usize, bool)>>;

/// The units in the order of their routes.
pub fn units(sites: &[Site<'_>], open: &Open, verdicts: &mut Verdicts) -> Vec<Unit> {
    let mut named: Vec<(HostPattern, usize, BTreeSet<String>)> = Vec::new();
    let mut defaults: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for (listener, here) in open {
        let mut owners: Vec<(HostPattern, usize)> = Vec::new();
        for (site, _) in here {
            for host in &sites[*site].hosts {
                match owners.iter().find(|(known, _)| known == host) {
                    None => owners.push((host.clone(), *site)),
                    Some((_, owner)) if owner == site => {}
                    Some((_, owner)) => clash(&sites[*owner], &sites[*site], verdicts),
                }
            }
        }
        for (host, site) in owners {
            match named.iter_mut().find(|(known, owner, _)| *known == host && *owner == site) {
                Some((_, _, listeners)) => {
                    listeners.insert(listener.clone());
                }
                None => named.push((host, site, BTreeSet::from([listener.clone()]))),
            }
        }
        let default = here.iter().find(|(_, marked)| *marked).or_else(|| here.first());
        if let Some((site, _)) = default {
            defaults.entry(*site).or_default().insert(listener.clone());
        }
    }
    let mut units = ordered(named);
    // The default server's own names need no routes where its routes for all hosts take them.
    let needed = |unit: &Unit, units: &[Unit]| {
        let default = defaults.get(&unit.site).is_some_and(|own| unit.listeners.is_subset(own));
        let taken = |host: &HostPattern| {
            units.iter().any(|other| {
                other.site != unit.site
                    && !other.listeners.is_disjoint(&unit.listeners)
                    && other.hosts.iter().any(|wide| may_cover(wide, host))
            })
        };
        // Names in an expression may be asked for.
        let named = unit.hosts.iter().any(|host| matches!(host, HostPattern::Regex(_)));
        !default || named || unit.hosts.iter().any(taken)
    };
    let keep: Vec<bool> = units.iter().map(|unit| needed(unit, &units)).collect();
    let mut keep = keep.into_iter();
    units.retain(|_| keep.next().unwrap_or(true));
    let rest = defaults.into_iter();
    units.extend(rest.map(|(site, listeners)| Unit { site, hosts: Vec::new(), listeners }));
    units
}

/// Exact names first, those of a site together; wildcards with them where nothing else lies below.
fn ordered(mut named: Vec<(HostPattern, usize, BTreeSet<String>)>) -> Vec<Unit> {
    named.sort_by_key(|(host, _, _)| rank(host));
    let all = named.clone();
    let mut units: Vec<Unit> = Vec::new();
    let mut later: Vec<Unit> = Vec::new();
    for (host, site, listeners) in named {
        let covers = |(other, owner, where_): &(HostPattern, usize, BTreeSet<String>)| {
            *owner != site && !where_.is_disjoint(&listeners) && may_cover(&host, other)
        };
        let free = rank(&host).0 == 0 || (rank(&host).0 < 3 && !all.iter().any(covers));
        let same = |unit: &&mut Unit| unit.site == site && unit.listeners == listeners;
        match units.iter_mut().find(same).filter(|_| free) {
            Some(unit) => unit.hosts.push(host),
            None if free => units.push(Unit { site, hosts: vec![host], listeners }),
            None => later.push(Unit { site, hosts: vec![host], listeners }),
        }
    }
    units.extend(later);
    units
}

fn clash(owner: &Site<'_>, site: &Site<'_>, verdicts: &mut Verdicts) {
    let first = owner.directive.start.line;
    for line in &site.name_lines {
        let why = format!("nginx ignores a name here too: the server of line {first} has it");
        verdicts.add(line, Verdict::ignored(why));
    }
}
