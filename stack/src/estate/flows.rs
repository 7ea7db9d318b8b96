//! Who may talk to whom: one table, from which security groups are made and pictures drawn.

use proxy_config::address::ServerAddress;

use super::subnets::Tier;
use super::{CACHE_PORT, LEDGER_ADMIN_PORT, LEDGER_PORT, PROXY_ADMIN_PORT, PROXY_PORT};
use crate::environment::Estate;

/// One end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    Internet,
    Balancer,
    Edge,
    LedgerBalancer,
    Ledger,
    Database,
    Cache,
}

impl Party {
    /// From the outside inwards.
    pub const ALL: [Self; 7] = [
        Self::Internet,
        Self::Balancer,
        Self::Edge,
        Self::LedgerBalancer,
        Self::Ledger,
        Self::Database,
        Self::Cache,
    ];

    /// The subnets it stands in; none of ours for the internet.
    pub fn tier(self) -> Option<Tier> {
        match self {
            Self::Internet => None,
            Self::Balancer => Some(Tier::Public),
            Self::Edge => Some(Tier::Edge),
            Self::LedgerBalancer | Self::Ledger => Some(Tier::App),
            Self::Database | Self::Cache => Some(Tier::Data),
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
            Self::Database => "Database",
            Self::Cache => "Cache",
        }
    }

    /// The logical id of its security group; none for the internet.
    pub fn group(self) -> Option<String> {
        (self != Self::Internet).then(|| format!("{}Group", self.word()))
    }

    /// What it is, in the description of its group.
    pub fn what(self) -> &'static str {
        match self {
            Self::Internet => "anyone",
            Self::Balancer => "the public balancer",
            Self::Edge => "instances of the proxy",
            Self::LedgerBalancer => "the internal balancer before the ledger",
            Self::Ledger => "instances of the ledger",
            Self::Database => "the database of the ledger",
            Self::Cache => "the cache",
        }
    }
}

/// TCP from one party to a port of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    pub from: Party,
    pub to: Party,
    pub port: u16,
    pub why: &'static str,
}

/// The flows of an estate. What is not here is refused by every security group.
pub fn of(estate: &Estate) -> Vec<Flow> {
    use Party::{Balancer, Cache, Database, Edge, Internet, Ledger, LedgerBalancer};
    let flow = |from, to, port, why| Flow { from, to, port, why };
    let mut flows = vec![
        flow(Internet, Balancer, 443, "viewers and clients over TLS"),
        flow(Internet, Balancer, 80, "redirected to TLS"),
        flow(Balancer, Edge, PROXY_PORT, "requests"),
        flow(Balancer, Edge, PROXY_ADMIN_PORT, "is it ready"),
        flow(Edge, Internet, 443, "releases, logs and metrics of AWS"),
    ];
    if let Some(origin) = &estate.edge.origin {
        let port = port_of(origin);
        if port != 443 {
            flows.push(flow(Edge, Internet, port, "the origin of live streams"));
        }
    }
    if let Some((_, database)) = &estate.ledger {
        flows.extend([
            flow(Edge, LedgerBalancer, LEDGER_PORT, "transfers"),
            flow(LedgerBalancer, Ledger, LEDGER_PORT, "transfers"),
            flow(LedgerBalancer, Ledger, LEDGER_ADMIN_PORT, "which one is active"),
            flow(Ledger, Internet, 443, "releases, secrets, logs and metrics of AWS"),
            flow(Ledger, Database, database.engine.port(), "entries"),
        ]);
    }
    if estate.cache.is_some() {
        flows.push(flow(Edge, Cache, CACHE_PORT, "counters shared by all instances"));
    }
    flows
}

fn port_of(address: &ServerAddress) -> u16 {
    let text = address.to_string();
    text.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(80)
}
