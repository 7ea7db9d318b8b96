//! Which server answers for a host. nginx asks the servers of the address: an exact name, then the
//! longest wildcard, then the default server. Routes are asked one after another, on all listeners.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::translate::server_name::covers;
use crate::translate::site::Site;
use crate::verdict::{Verdict, Verdicts};

/// Consecutive routes: those of one site for these hosts, or, without hosts, for all others.
#[derive(Debug, PartialEq, Eq)]
pub struct Unit {
    pub site: usize,
    pub hosts: Vec<String>,
}

/// The units in the order of their routes. Says so where that differs from nginx.
pub fn units(sites: &mut [Site<'_>], verdicts: &mut Verdicts) -> Vec<Unit> {
    let live_addresses = live_addresses(sites);
    let owners = owners(sites, &live_addresses, verdicts);
    let default = default_site(sites, &live_addresses);
    say_foreign_addresses(sites, &live_addresses);
    let is_wildcard = |host: &str| host.starts_with('*');
    let mut first: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mut later: Vec<(usize, String)> = Vec::new();
    for (host, site) in &owners {
        // A wildcard may stand early when no host of another site lies below it.
        let free = !is_wildcard(host)
            || owners.iter().all(|(other, owner)| owner == site || !covers(host, other));
        if free {
            first.entry(*site).or_default().push(host.clone());
        } else {
            later.push((*site, host.clone()));
        }
    }
    later.sort_by_key(|(_, host)| std::cmp::Reverse(host.len()));
    let mut units: Vec<Unit> =
        first.into_iter().map(|(site, hosts)| Unit { site, hosts }).collect();
    units.extend(later.into_iter().map(|(site, host)| Unit { site, hosts: vec![host] }));
    if let Some(default) = default {
        // The default server's own names need no routes where its routes for all hosts do.
        let taken_by_others = |host: &String| {
            units.iter().any(|unit| {
                unit.site != default && unit.hosts.iter().any(|wide| covers(wide, host))
            })
        };
        let needed: Vec<bool> = units
            .iter()
            .map(|unit| unit.site != default || unit.hosts.iter().any(taken_by_others))
            .collect();
        let mut needed = needed.into_iter();
        units.retain(|_| needed.next().unwrap_or(true));
        units.push(Unit { site: default, hosts: Vec::new() });
    }
    units
}

fn live_addresses(sites: &[Site<'_>]) -> BTreeSet<SocketAddr> {
    let live = sites.iter().filter(|site| site.is_live());
    live.flat_map(|site| &site.listens).map(|listen| listen.address).collect()
}

/// Which site answers for each host: the first live one, else the first closed one that shares an
/// address with live ones.
fn owners(
    sites: &[Site<'_>],
    live: &BTreeSet<SocketAddr>,
    verdicts: &mut Verdicts,
) -> Vec<(String, usize)> {
    let mut owners: Vec<(String, usize)> = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let opened = |site: &Site<'_>| site.listens.iter().any(|l| live.contains(&l.address));
    for alive in [true, false] {
        for (index, site) in sites.iter().enumerate() {
            if site.is_live() != alive || !opened(site) {
                continue;
            }
            for host in &site.hosts {
                match seen.get(host) {
                    None => {
                        seen.insert(host.clone(), index);
                        owners.push((host.clone(), index));
                    }
                    Some(owner) if alive => clash(&sites[*owner], site, host, verdicts),
                    Some(_) => {}
                }
            }
        }
    }
    owners
}

fn clash(owner: &Site<'_>, site: &Site<'_>, host: &str, verdicts: &mut Verdicts) {
    let Some((line, _)) = site.name_lines.iter().find(|(_, hosts)| hosts.iter().any(|h| h == host))
    else {
        return;
    };
    let first = owner.directive.start.line;
    let same_address = site.listens.iter().all(|listen| owner.listens_on(listen.address));
    verdicts.add(line, match same_address {
        true => Verdict::ignored(format!(
            "nginx ignores {host} here too: the server of line {first} has it"
        )),
        false => Verdict::unsupported(format!(
            "routes do not tell listeners apart yet, and the server of line {first} answers for \
             {host}; put one of the two into a document of its own"
        )),
    });
}

/// The site that answers for all other hosts, and what is said of the others that do in nginx.
fn default_site(sites: &mut [Site<'_>], live: &BTreeSet<SocketAddr>) -> Option<usize> {
    let mut chosen: Option<usize> = None;
    for address in live {
        let here = |site: &Site<'_>| site.listens_on(*address);
        let marked = |site: &Site<'_>| {
            site.listens.iter().any(|l| l.address == *address && l.default_server)
        };
        let default = sites.iter().position(|site| here(site) && marked(site));
        let Some(default) = default.or_else(|| sites.iter().position(here)) else { continue };
        match chosen {
            None => chosen = Some(default),
            Some(first) if first == default => {}
            Some(first) if !sites[first].is_live() && sites[default].is_live() => {
                chosen = Some(default);
                not_default(sites, first, default, *address);
            }
            Some(first) => not_default(sites, default, first, *address),
        }
    }
    chosen
}

fn not_default(sites: &mut [Site<'_>], site: usize, instead: usize, address: SocketAddr) {
    let line = sites[instead].directive.start.line;
    // What is closed says nothing of itself; then the one that steps in does.
    let speaker = if sites[site].is_live() { site } else { instead };
    let name = sites[site].directive.start.line;
    sites[speaker].differences.push(format!(
        "the server of line {name} is nginx's default for {address}; as routes do not tell \
         listeners apart yet, hosts without a server of their own reach that of line {line}"
    ));
}

/// A site also answers on listeners it has no `listen` for.
fn say_foreign_addresses(sites: &mut [Site<'_>], live: &BTreeSet<SocketAddr>) {
    for site in sites.iter_mut().filter(|site| site.is_live() && !site.hosts.is_empty()) {
        let foreign: Vec<String> =
            live.iter().filter(|a| !site.listens_on(**a)).map(ToString::to_string).collect();
        if !foreign.is_empty() {
            site.differences.push(format!(
                "its hosts are answered on {} too, as routes do not tell listeners apart yet",
                foreign.join(", ")
            ));
        }
    }
}
