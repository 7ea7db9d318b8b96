//! What an environment becomes on AWS, every value decided and nothing built yet. Pure.
//!
//! [`resolve`] is the counterpart of [`crate::plan::resolve`] for this machine;
//! [`crate::template`] turns its result into CloudFormation.

pub mod document;
pub mod endpoints;
pub mod flows;
pub mod instance;
pub mod outside;
pub mod parameters;
pub mod subnets;
pub mod unknown;

use crate::check::properties;
use crate::environment::aws::{Aws, Database, Nat};
use crate::environment::{self, Environment, Estate};
use endpoints::Endpoint;
use flows::Flow;
use instance::{InstanceFile, RenderError};
use parameters::Parameter;
use subnets::{Subnet, Tier};

/// How many days CloudWatch can keep logs, of those that make sense here.
pub const RETENTION_DAYS: [u64; 12] = [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365];

/// Where the proxy listens on its instances, and where it answers for its health.
pub const PROXY_PORT: u16 = 8080;
pub const PROXY_ADMIN_PORT: u16 = 9090;
/// Where it sends those to TLS whom a network balancer cannot send there.
pub const PROXY_PLAIN_PORT: u16 = 8082;
/// The same of the ledger.
pub const LEDGER_PORT: u16 = 8081;
pub const LEDGER_ADMIN_PORT: u16 = 9091;
pub const CACHE_PORT: u16 = 6379;

/// An environment resolved to AWS.
#[derive(Clone, Debug)]
pub struct EstatePlan {
    /// Begins the name of every stack and export.
    pub name: String,
    pub estate: Estate,
    pub subnets: Vec<Subnet>,
    pub flows: Vec<Flow>,
    /// Services of AWS that are reached without leaving the network.
    pub endpoints: Vec<Endpoint>,
    /// The database's parameters, tuned, each with its reason; empty without a database.
    pub parameters: Vec<Parameter>,
    /// The lanes, where the edge's log tells of all requests in the proxy's own form; else none.
    pub logged_lanes: Vec<String>,
    /// Whether the edge counts in the cache.
    pub edge_uses_cache: bool,
    /// What the edge's instances hold.
    pub edge_files: Vec<InstanceFile>,
    /// What the ledger's instances hold; empty without a ledger.
    pub ledger_files: Vec<InstanceFile>,
    /// How instances of the edge begin.
    pub edge_boot: String,
    /// How instances of the ledger begin.
    pub ledger_boot: String,
    /// How machines that tasks run on begin; empty without them.
    pub machine_boot: String,
    /// What the file asks for that AWS does not do, or that nobody is told of.
    pub notes: Vec<String>,
    /// What the file names and Forebay does not know; it may be new.
    pub unknown: Vec<String>,
}

impl EstatePlan {
    pub fn aws(&self) -> &Aws {
        &self.estate.aws
    }

    /// The zones by number: 0, 1, ….
    pub fn zones(&self) -> std::ops::Range<u8> {
        0..self.estate.network.zones
    }

    /// The zone of the NAT gateway that serves a zone; none where nothing goes out.
    pub fn nat_of(&self, zone: u8) -> Option<u8> {
        match self.estate.network.nat {
            Nat::PerZone => Some(zone),
            Nat::One => Some(0),
            Nat::None => None,
        }
    }

    /// The subnets that the balancer before the edge stands in.
    pub fn balancer_tier(&self) -> Tier {
        if self.estate.edge.only_from.is_empty() { Tier::Public } else { Tier::Edge }
    }

    /// Whether private instances reach nothing but AWS's own services.
    pub fn is_isolated(&self) -> bool {
        self.estate.network.nat == Nat::None
    }

    pub fn database(&self) -> Option<&Database> {
        self.estate.ledger.as_ref().map(|(_, database)| database)
    }

    /// Workers that answer requests, and their ports.
    pub fn services(&self) -> impl Iterator<Item = (&str, u16)> {
        services(&self.estate)
    }

    /// The private zone's name: what instances call one another by.
    pub fn private_zone(&self) -> String {
        format!("{}.internal", self.name)
    }
}

fn services(estate: &Estate) -> impl Iterator<Item = (&str, u16)> {
    estate.workers.iter().filter_map(|(name, worker)| Some((name.as_str(), worker.port?)))
}

/// Resolves `environment` to AWS; none when it has no `aws` section. The error is a template of
/// `templates/instance/` that cannot be rendered.
pub fn resolve(environment: &Environment) -> Result<Option<EstatePlan>, RenderError> {
    let Some(estate) = environment.estate.clone() else { return Ok(None) };
    let subnets = subnets::divide(&estate.network);
    let parameters = match &estate.ledger {
        Some((_, database)) => parameters::tuned(database),
        None => Vec::new(),
    };
    let document = document::of(environment, &estate);
    let edge_uses_cache = estate.cache.is_some() && environment::uses_cache(&environment.proxy);
    let outside = outside::ports(environment);
    let mut plan = EstatePlan {
        name: environment.name.clone(),
        flows: flows::of(&estate, edge_uses_cache, &outside),
        endpoints: endpoints::of(&estate, edge_uses_cache),
        logged_lanes: logged_lanes(environment),
        edge_uses_cache,
        subnets,
        parameters,
        edge_files: Vec::new(),
        ledger_files: Vec::new(),
        edge_boot: String::new(),
        ledger_boot: String::new(),
        machine_boot: String::new(),
        notes: notes(environment),
        unknown: unknown::of(&estate),
        estate,
    };
    plan.edge_files = instance::edge(&plan, document)?;
    plan.ledger_files = instance::ledger(&plan)?;
    plan.edge_boot = instance::user_data(&plan, false)?;
    plan.ledger_boot = instance::user_data(&plan, true)?;
    plan.machine_boot = instance::machine_boot(&plan)?;
    Ok(Some(plan))
}

fn logged_lanes(environment: &Environment) -> Vec<String> {
    let log = &environment.proxy.access_log;
    if log.format.is_some() || log.when.is_some() || log.sample.is_some() {
        return Vec::new();
    }
    environment.proxy.lanes.iter().map(|(lane, _)| lane.to_string()).collect()
}

fn notes(environment: &Environment) -> Vec<String> {
    let mut notes = Vec::new();
    if !environment.streams.is_empty() {
        let names: Vec<&str> = environment.streams.keys().map(String::as_str).collect();
        notes.push(format!(
            "streams {}: ffmpeg makes them on a machine of one's own; AWS gets none.",
            names.join(", ")
        ));
    }
    let ledger = environment.ledger.as_ref();
    let accounts = ledger.map_or(0, |ledger| ledger.accounts.len() + ledger.currencies.len());
    if accounts > 0 {
        notes.push(format!(
            "{accounts} accounts and currencies of `ledger`: templates create none; post them to the \
             ledger's API once it runs."
        ));
    }
    let Some(estate) = &environment.estate else { return notes };
    if logged_lanes(environment).is_empty() {
        notes.push(
            "edge.proxy.access_log: with `format`, `when` or `sample`, no metrics are \
             made of it, and there is no dashboard."
                .to_owned(),
        );
    }
    if estate.alarms.email.is_none() {
        notes.push("alarms: nobody is told; name `alarms.email`.".to_owned());
    }
    for (stack, resources) in &estate.resources {
        for (id, raw) in resources.iter().filter(|(_, raw)| !properties::is_known(&raw.kind)) {
            notes.push(format!(
                "resources.{}.{id}: there is no schema of {} here; CloudFormation is the first to \
                 look at its properties.",
                stack.word(),
                raw.kind
            ));
        }
    }
    notes
}
