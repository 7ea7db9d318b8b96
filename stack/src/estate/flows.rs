//! Who may talk to whom: one table, from which security groups are made and pictures drawn.

use proxy_config::address::ServerAddress;

use super::subnets::Tier;
use super::{
    CACHE_PORT, LEDGER_ADMIN_PORT, LEDGER_PORT, PROXY_ADMIN_PORT, PROXY_PLAIN_PORT, PROXY_PORT,
};
use crate::environment::Estate;
use crate::environment::aws::Balancer::{Application, Network, Passthrough};
use crate::environment::aws::Nat;

/// One end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    Internet,
    Balancer,
    Edge,
    LedgerBalancer,
    Ledger,
    ServiceBalancer,
    Services,
    Workers,
    Machines,
    Functions,
    Endpoints,
    DatabaseProxy,
    Database,
    AppDatabase,
    Cache,
    S3,
}

impl Party {
    /// From the outside inwards.
    pub const ALL: [Self; 16] = [
        Self::Internet,
        Self::Balancer,
        Self::Edge,
        Self::LedgerBalancer,
        Self::Ledger,
        Self::ServiceBalancer,
        Self::Services,
        Self::Workers,
        Self::Machines,
        Self::Functions,
        Self::Endpoints,
        Self::DatabaseProxy,
        Self::Database,
        Self::AppDatabase,
        Self::Cache,
        Self::S3,
    ];

    /// The subnets it stands in; none of ours for the internet and for S3.
    pub fn tier(self) -> Option<Tier> {
        match self {
            Self::Internet | Self::S3 => None,
            Self::Balancer => Some(Tier::Public),
            Self::Edge => Some(Tier::Edge),
            Self::LedgerBalancer
            | Self::Ledger
            | Self::ServiceBalancer
            | Self::Services
            | Self::Workers
            | Self::Machines
            | Self::Functions
            | Self::Endpoints => Some(Tier::App),
            Self::DatabaseProxy | Self::Database | Self::AppDatabase | Self::Cache => {
                Some(Tier::Data)
            }
        }
    }

    /// As part of logical ids.
    pub fn word(self) -> &'static str {
        match self {
            Self::Internet => "Internet",
            Self::Balancer => "Balancer",
            Self::Edge => "Edge",
            Self::LedgerBalancer => "LedgerBalancer",
            Self::Ledger => "Ledger",
            Self::ServiceBalancer => "ServiceBalancer",
            Self::Services => "Services",
            Self::Workers => "Workers",
            Self::Machines => "Machines",
            Self::Functions => "Functions",
            Self::Endpoints => "Endpoints",
            Self::DatabaseProxy => "DatabaseProxy",
            Self::Database => "Database",
            Self::AppDatabase => "AppDatabase",
            Self::Cache => "Cache",
            Self::S3 => "S3",
        }
    }

    /// The logical id of its security group; none for what stands in no subnet of ours.
    pub fn group(self) -> Option<String> {
        self.tier().map(|_| format!("{}Group", self.word()))
    }

    /// What it is, in the description of its group.
    pub fn what(self) -> &'static str {
        match self {
            Self::Internet => "anyone",
            Self::Balancer => "the public balancer",
            Self::Edge => "instances of the proxy",
            Self::LedgerBalancer => "the internal balancer before the ledger",
            Self::Ledger => "instances of the ledger",
            Self::ServiceBalancer => "the internal balancer before services",
            Self::Services => "tasks that answer requests",
            Self::Workers => "tasks that take jobs",
            Self::Machines => "machines that tasks run on",
            Self::Functions => "functions",
            Self::Endpoints => "endpoints of services of AWS",
            Self::DatabaseProxy => "the proxy before databases",
            Self::Database => "the database of the ledger",
            Self::AppDatabase => "databases of workers and functions",
            Self::Cache => "the cache",
            Self::S3 => "S3, through its gateway",
        }
    }
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    /// As security groups call it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// From one party to a port of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    pub from: Party,
    pub to: Party,
    pub protocol: Protocol,
    pub port: u16,
    pub why: &'static str,
}

/// The flows of an estate. What is not here is refused by every security group. `outside` are ports of
/// what the proxy document names beyond the network.
pub fn of(estate: &Estate, edge_uses_cache: bool, outside: &[(Protocol, u16)]) -> Vec<Flow> {
    use Party::{Balancer, Cache, Database, DatabaseProxy, Edge, Internet, Ledger, LedgerBalancer};
    let mut flows = vec![
        flow(Internet, Balancer, 443, "viewers and clients over TLS"),
        flow(Internet, Balancer, 80, "redirected to TLS"),
        flow(Balancer, Edge, PROXY_PORT, "requests"),
    ];
    flows.push(match estate.edge.balancer {
        Application => flow(Balancer, Edge, PROXY_ADMIN_PORT, "is it ready"),
        Network | Passthrough => flow(Balancer, Edge, PROXY_PLAIN_PORT, "redirected to TLS"),
    });
    flows.extend(outwards(estate, Edge, "releases, logs and metrics of AWS"));
    let ports = estate.edge.origin.iter().map(port_of);
    let mut ports: Vec<u16> = ports.filter(|port| *port != 443).collect();
    let why = "the origin of live streams";
    flows.extend(ports.iter().map(|port| flow(Edge, Internet, *port, why)));
    ports.push(443);
    for (protocol, port) in outside {
        if *protocol == Protocol::Udp || !ports.contains(port) {
            let why = "servers that the proxy document names";
            flows.push(Flow { protocol: *protocol, ..flow(Edge, Internet, *port, why) });
        }
    }
    if let Some((_, database)) = &estate.ledger {
        flows.extend([
            flow(Edge, LedgerBalancer, LEDGER_PORT, "transfers"),
            flow(LedgerBalancer, Ledger, LEDGER_PORT, "transfers"),
            flow(LedgerBalancer, Ledger, LEDGER_ADMIN_PORT, "which one is active"),
        ]);
        flows.extend(outwards(estate, Ledger, "releases, secrets, logs and metrics of AWS"));
        let port = database.engine.port();
        if database.proxy {
            flows.push(flow(Ledger, DatabaseProxy, port, "entries"));
            flows.push(flow(DatabaseProxy, Database, port, "entries"));
        } else {
            flows.push(flow(Ledger, Database, port, "entries"));
        }
    }
    if edge_uses_cache {
        flows.push(flow(Edge, Cache, CACHE_PORT, "counters shared by all instances"));
    }
    flows.extend(of_work(estate));
    flows
}

/// How a party reaches services of AWS: over the internet, or within the network.
fn outwards(estate: &Estate, party: Party, why: &'static str) -> Vec<Flow> {
    let isolated = estate.network.nat == Nat::None;
    let mut flows = vec![match isolated {
        true => flow(party, Party::S3, 443, "buckets, packages and layers of images"),
        false => flow(party, Party::Internet, 443, why),
    }];
    if isolated || !estate.network.endpoints.is_empty() {
        flows.push(flow(party, Party::Endpoints, 443, "services of AWS, within the network"));
    }
    flows
}

fn flow(from: Party, to: Party, port: u16, why: &'static str) -> Flow {
    Flow { from, to, protocol: Protocol::Tcp, port, why }
}

/// What workers and functions reach, each kind as much as any of its kind asks for.
fn of_work(estate: &Estate) -> Vec<Flow> {
    use Party::{
        AppDatabase, Cache, DatabaseProxy, Edge, Functions, LedgerBalancer, Machines,
        ServiceBalancer, Services, Workers,
    };
    let mut flows = Vec::new();
    let mut add = |from: Party, to: Party, port: u16, why: &'static str| {
        let known = |other: &Flow| (other.from, other.to, other.port) == (from, to, port);
        if !flows.iter().any(known) {
            flows.push(flow(from, to, port, why));
        }
    };
    let out =
        |party: Party, why: &'static str, add: &mut dyn FnMut(Party, Party, u16, &'static str)| {
            outwards(estate, party, why).iter().for_each(|it| add(it.from, it.to, it.port, it.why));
        };
    let workers = estate
        .workers
        .values()
        .map(|worker| (if worker.port.is_some() { Services } else { Workers }, &worker.uses));
    let functions = estate.functions.values().map(|function| (Functions, &function.uses));
    for (party, uses) in workers.chain(functions) {
        out(party, "images, queues, buckets, secrets and logs of AWS", &mut add);
        for name in uses {
            match (name.as_str(), estate.databases.get(name)) {
                ("cache", _) => add(party, Cache, CACHE_PORT, "what may be forgotten"),
                ("ledger", _) => add(party, LedgerBalancer, LEDGER_PORT, "transfers"),
                (_, Some(database)) if database.proxy => {
                    let port = database.engine.port();
                    add(party, DatabaseProxy, port, "queries");
                    add(DatabaseProxy, AppDatabase, port, "queries");
                }
                (_, Some(database)) => add(party, AppDatabase, database.engine.port(), "queries"),
                _ => {}
            }
        }
    }
    if !estate.capacity.is_empty() {
        out(Machines, "which tasks to run", &mut add);
    }
    for port in estate.workers.values().filter_map(|worker| worker.port) {
        add(Edge, ServiceBalancer, port, "requests");
        add(ServiceBalancer, Services, port, "requests");
    }
    flows
}

pub(super) fn port_of(address: &ServerAddress) -> u16 {
    let text = address.to_string();
    text.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(80)
}
