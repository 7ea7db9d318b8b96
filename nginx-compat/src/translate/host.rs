//! Which server answers for a host. nginx asks the servers of the address: an exact name, then the
//! longest wildcard, then the first expression, then the default server.

use std::collections::{BTreeMap, BTreeSet, HashMap};

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

/// A pattern at one site, and the listeners it is for.
type Named = (HostPattern, usize, BTreeSet<String>);

/// What tells patterns apart.
fn key(host: &HostPattern) -> String {
    match host {
        HostPattern::Name(name) => name.as_written().to_owned(),
        HostPattern::Regex(pattern) => format!("~{}", pattern.regex),
    }
}

/// The units in the order of their routes.
pub fn units(sites: &[Site<'_>], open: &Open, verdicts: &mut Verdicts) -> Vec<Unit> {
    let mut named: Vec<Named> = Vec::new();
    let mut known: HashMap<(String, usize), usize> = HashMap::new();
    let mut defaults: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for (listener, here) in open {
        let mut owners: HashMap<String, usize> = HashMap::new();
        for (site, _) in here {
            for host in &sites[*site].hosts {
                let key = key(host);
                let owner = *owners.entry(key.clone()).or_insert(*site);
                if owner != *site {
                    clash(&sites[owner], &sites[*site], verdicts);
                    continue;
                }
                let at = *known.entry((key, *site)).or_insert_with(|| {
                    named.push((host.clone(), *site, BTreeSet::new()));
                    named.len() - 1
                });
                named[at].2.insert(listener.clone());
            }
        }
        let default = here.iter().find(|(_, marked)| *marked).or_else(|| here.first());
        if let Some((site, _)) = default {
            defaults.entry(*site).or_default().insert(listener.clone());
        }
    }
    let mut units = ordered(named);
    // The default server's own names need no routes where its routes for all hosts take them.
    let wide: Vec<(usize, BTreeSet<String>, HostPattern)> = units
        .iter()
        .flat_map(|unit| unit.hosts.iter().map(move |host| (unit, host)))
        .filter(|(_, host)| is_wide(host))
        .map(|(unit, host)| (unit.site, unit.listeners.clone(), host.clone()))
        .collect();
    let needed = |unit: &Unit| {
        let default = defaults.get(&unit.site).is_some_and(|own| unit.listeners.is_subset(own));
        let taken = |host: &HostPattern| {
            wide.iter().any(|(site, listeners, wide)| {
                *site != unit.site
                    && !listeners.is_disjoint(&unit.listeners)
                    && may_cover(wide, host)
            })
        };
        // Names in an expression may be asked for.
        let named = unit.hosts.iter().any(|host| matches!(host, HostPattern::Regex(_)));
        !default || named || unit.hosts.iter().any(taken)
    };
    units.retain(needed);
    let rest = defaults.into_iter();
    units.extend(rest.map(|(site, listeners)| Unit { site, hosts: Vec::new(), listeners }));
    units
}

/// Whether a pattern may take hosts that another says.
fn is_wide(host: &HostPattern) -> bool {
    match host {
        HostPattern::Name(name) => name.as_written().contains('*'),
        HostPattern::Regex(_) => true,
    }
}

/// Who may lie below a wildcard: comparing each with all others would take seconds for thousands.
struct Below<'n> {
    named: &'n [Named],
    /// By each `.example.com` that names end in.
    by_end: HashMap<String, Vec<usize>>,
    /// Those whose end is open.
    open: Vec<usize>,
}

impl<'n> Below<'n> {
    fn new(named: &'n [Named]) -> Below<'n> {
        let (mut by_end, mut open) = (HashMap::<String, Vec<usize>>::new(), Vec::new());
        for (at, (host, ..)) in named.iter().enumerate() {
            let HostPattern::Name(name) = host else {
                open.push(at);
                continue;
            };
            let name = name.canonical();
            if name.ends_with('*') {
                open.push(at);
            }
            for (dot, _) in name.match_indices('.') {
                by_end.entry(name[dot..].to_owned()).or_default().push(at);
            }
        }
        Below { named, by_end, open }
    }

    /// Whether a pattern of another site may lie below this one.
    fn has(&self, (host, site, listeners): &Named) -> bool {
        let covers = |at: &usize| {
            let (other, owner, there) = &self.named[*at];
            owner != site && !there.is_disjoint(listeners) && may_cover(host, other)
        };
        let HostPattern::Name(name) = host else { return true };
        match name.canonical().strip_prefix('*') {
            Some(end) => {
                let ending = self.by_end.get(end).map_or(&[][..], Vec::as_slice);
                ending.iter().chain(&self.open).any(covers)
            }
            None => (0..self.named.len()).any(|at| covers(&at)),
        }
    }
}

/// Exact names first, those of a site together; wildcards with them where nothing else lies below.
fn ordered(mut named: Vec<Named>) -> Vec<Unit> {
    named.sort_by_key(|(host, _, _)| rank(host));
    let below = Below::new(&named);
    let mut units: Vec<Unit> = Vec::new();
    let mut later: Vec<Unit> = Vec::new();
    let mut places: HashMap<(usize, &BTreeSet<String>), usize> = HashMap::new();
    for one in &named {
        let (host, site, listeners) = one;
        let unit = || Unit { site: *site, hosts: vec![host.clone()], listeners: listeners.clone() };
        let free = rank(host).0 == 0 || (rank(host).0 < 3 && !below.has(one));
        match places.get(&(*site, listeners)).filter(|_| free) {
            Some(at) => units[*at].hosts.push(host.clone()),
            None if free => {
                places.insert((*site, listeners), units.len());
                units.push(unit());
            }
            None => later.push(unit()),
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
