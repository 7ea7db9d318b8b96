//! A picture of an environment, from the same model the templates are made of: what stands in which
//! tier and zone, who may talk to whom, and the way of a request. [`picture`] is what is drawn;
//! [`mod@svg`], [`mermaid`] and [`html`] draw it.

pub mod html;
pub mod mermaid;
pub mod svg;
mod ways;

use crate::environment::Environment;
use crate::environment::aws::Database;
use crate::estate::EstatePlan;
use crate::estate::flows::{Flow, Party};
use crate::estate::subnets::{Tier, letter};

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    pub title: String,
    /// `A`, `B`, …; empty where there are none.
    pub zones: Vec<char>,
    pub bands: Vec<Band>,
    pub arrows: Vec<Arrow>,
    pub ways: Vec<Way>,
}

/// A tier, and what stands in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    pub name: String,
    pub rows: Vec<Row>,
}

/// One party: a fleet, a balancer, a database.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub party: Party,
    pub name: String,
    pub detail: String,
    /// What of it is in each zone; empty where it is in none of ours.
    pub in_zones: Vec<String>,
}

/// Who may open connections to whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrow {
    pub from: Party,
    pub to: Party,
    pub ports: Vec<u16>,
    pub whys: Vec<&'static str>,
}

/// The way of the requests of one route.
#[derive(Clone, Debug, PartialEq)]
pub struct Way {
    pub route: String,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub name: String,
    pub detail: String,
}

/// What is drawn of an environment: its estate on AWS, or else its children on this machine.
pub fn picture(environment: &Environment, estate: Option<&EstatePlan>) -> Picture {
    let ways = ways::of(environment, estate);
    match estate {
        Some(plan) => of_estate(plan, ways),
        None => of_this_machine(environment, ways),
    }
}

fn of_estate(plan: &EstatePlan, ways: Vec<Way>) -> Picture {
    let mut beyond = vec![outside(plan)];
    if plan.is_isolated() {
        beyond.push(row(plan, Party::S3));
    }
    let mut bands = vec![Band { name: "internet".to_owned(), rows: beyond }];
    for tier in Tier::ALL {
        let stands_in = |party: Party| match party {
            Party::Balancer => Some(plan.balancer_tier()),
            party => party.tier(),
        };
        let parties = Party::ALL.into_iter().filter(|party| stands_in(*party) == Some(tier));
        let rows: Vec<Row> = parties
            .filter(|party| plan.flows.iter().any(|it| it.from == *party || it.to == *party))
            .map(|party| row(plan, party))
            .collect();
        if !rows.is_empty() {
            bands.push(Band { name: format!("{} subnets", tier.word().to_lowercase()), rows });
        }
    }
    Picture {
        title: format!("{}, {}", plan.name, plan.aws().region),
        zones: plan.zones().map(letter).collect(),
        bands,
        arrows: arrows(&plan.flows),
        ways,
    }
}

fn outside(plan: &EstatePlan) -> Row {
    let only_from = &plan.estate.edge.only_from;
    let detail = match &plan.estate.edge.origin {
        _ if !only_from.is_empty() => format!("clients in {}", only_from.join(", ")),
        None if plan.is_isolated() => "viewers, clients; nobody is called from inside".to_owned(),
        Some(origin) => format!("viewers, clients, AWS, the origin {origin}"),
        None => "viewers, clients, AWS".to_owned(),
    };
    Row { party: Party::Internet, name: "anyone".to_owned(), detail, in_zones: Vec::new() }
}

fn row(plan: &EstatePlan, party: Party) -> Row {
    let estate = &plan.estate;
    let each = |what: &str| plan.zones().map(|_| what.to_owned()).collect::<Vec<_>>();
    let spread = |count: u32, first: &str, others: &str| -> Vec<String> {
        let zones = u32::from(estate.network.zones);
        let in_zone = |zone: u32| {
            let here = count / zones + u32::from(zone < count % zones);
            match (zone, here) {
                (_, 0) => String::new(),
                (0, _) => first.to_owned(),
                _ => others.to_owned(),
            }
        };
        (0..zones).map(in_zone).collect()
    };
    let (detail, in_zones) = match party {
        Party::Balancer => (estate.edge.domain.clone(), each("node")),
        Party::Edge => {
            let fleet = &estate.edge.instances;
            let detail = format!("{} to {} × {}", fleet.min, fleet.max, fleet.kind);
            (detail, spread(fleet.min, "instances", "instances"))
        }
        Party::LedgerBalancer => (format!("ledger.{}", plan.private_zone()), each("node")),
        Party::Ledger => match &estate.ledger {
            Some((standby, _)) => {
                let detail = format!("{} × {}, one is active", standby.count, standby.kind);
                (detail, spread(standby.count, "instance", "instance"))
            }
            None => (String::new(), Vec::new()),
        },
        Party::Database | Party::AppDatabase => {
            let all: Vec<&Database> = match party {
                Party::Database => plan.database().into_iter().collect(),
                _ => estate.databases.values().collect(),
            };
            let detail = |it: &&Database| format!("{} {}", it.engine.word(), it.class);
            let details: Vec<String> = all.iter().map(detail).collect();
            let count = all.iter().map(|it| servers(it)).max().unwrap_or(0);
            (details.join(", "), spread(count, "primary", "standby"))
        }
        Party::DatabaseProxy => ("RDS Proxy".to_owned(), each("node")),
        Party::ServiceBalancer => (format!("services.{}", plan.private_zone()), each("node")),
        Party::Services | Party::Workers => {
            let of = estate.workers.iter();
            let of = of.filter(|(_, it)| it.port.is_some() == (party == Party::Services));
            let told: Vec<String> =
                of.map(|(name, it)| format!("{name} {} to {}", it.min(), it.max)).collect();
            (told.join(", "), each("tasks"))
        }
        Party::Machines => {
            let of = estate.capacity.iter();
            let told: Vec<String> =
                of.map(|(name, it)| format!("{name} {} to {}", it.min, it.max)).collect();
            (told.join(", "), each("machines"))
        }
        Party::Endpoints => {
            let names: Vec<&str> = plan.endpoints.iter().map(|it| it.service.as_str()).collect();
            (names.join(", "), each("endpoints"))
        }
        Party::S3 => ("releases, packages, buckets".to_owned(), Vec::new()),
        Party::Functions => {
            let names: Vec<&str> = estate.functions.keys().map(String::as_str).collect();
            (names.join(", "), each("calls"))
        }
        Party::Cache => match &estate.cache {
            Some(cache) => (cache.node.clone(), spread(cache.replicas + 1, "primary", "copy")),
            None => (String::new(), Vec::new()),
        },
        Party::Internet => (String::new(), Vec::new()),
    };
    Row { party, name: party.what().trim_start_matches("the ").to_owned(), detail, in_zones }
}

/// Servers of a database, in zones of their own as far as those go.
fn servers(database: &Database) -> u32 {
    match (database.engine.is_aurora(), database.multi_az) {
        (true, _) => database.readers + 1,
        (false, true) => 2,
        (false, false) => 1,
    }
}

/// Flows between the same two as one arrow.
fn arrows(flows: &[Flow]) -> Vec<Arrow> {
    let mut arrows: Vec<Arrow> = Vec::new();
    for flow in flows {
        let same = arrows.iter_mut().find(|it| it.from == flow.from && it.to == flow.to);
        if let Some(arrow) = same {
            // One port for both TCP and UDP is one port.
            if !arrow.ports.contains(&flow.port) {
                arrow.ports.push(flow.port);
                arrow.whys.push(flow.why);
            }
        } else {
            let (from, to) = (flow.from, flow.to);
            arrows.push(Arrow { from, to, ports: vec![flow.port], whys: vec![flow.why] });
        }
    }
    arrows
}

/// The children of `forebay up`, and who calls whom.
fn of_this_machine(environment: &Environment, ways: Vec<Way>) -> Picture {
    let row = |party: Party, name: &str, detail: String| Row {
        party,
        name: name.to_owned(),
        detail,
        in_zones: Vec::new(),
    };
    let listeners: Vec<String> =
        environment.proxy.listeners.values().map(|it| it.address.to_string()).collect();
    let mut rows = vec![row(Party::Edge, "proxy", listeners.join(", "))];
    let mut arrows = vec![Arrow {
        from: Party::Internet,
        to: Party::Edge,
        ports: Vec::new(),
        whys: vec!["requests"],
    }];
    if environment.ledger.is_some() {
        rows.push(row(Party::Ledger, "ledger", "embedded SQLite".to_owned()));
        arrows.push(Arrow {
            from: Party::Edge,
            to: Party::Ledger,
            ports: vec![crate::plan::LEDGER_PORT],
            whys: vec!["transfers"],
        });
    }
    let clients = row(Party::Internet, "clients", "browsers, players, programs".to_owned());
    Picture {
        title: format!("{}, on this machine", environment.name),
        zones: Vec::new(),
        bands: vec![
            Band { name: "outside".to_owned(), rows: vec![clients] },
            Band { name: "children".to_owned(), rows },
        ],
        arrows,
        ways,
    }
}

#[cfg(test)]
mod tests;
