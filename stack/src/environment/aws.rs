//! The sections that only the AWS target reads: account, network, fleets, database, cache, alarms.

use std::collections::BTreeMap;

use proxy_config::units::{ByteSize, Duration, Percent};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where an environment is deployed, and under which rules.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Aws {
    /// The account's twelve digits, in quotes.
    pub account: String,
    /// The region: `eu-central-1`.
    pub region: String,
    /// The bucket that holds releases, as `forebay/VERSION/forebay-proxy` and `forebay-ledger`.
    pub releases: String,
    /// Put on every stack, and by CloudFormation on every resource that takes tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Whether everything must go on when one zone is lost.
    #[serde(default)]
    pub zone_loss: ZoneLoss,
    /// The regions in which anything may be: an environment elsewhere is refused, and no role of the
    /// estate may act elsewhere. Without it, no region is ruled out.
    #[serde(default)]
    pub regions: Vec<String>,
    /// A folder, relative to this file, whose files take the place of those of the same name in
    /// Forebay's `templates/instance/`: `boot.sh`, `forebay-proxy.service`, …
    #[serde(default)]
    pub templates: Option<std::path::PathBuf>,
}

/// What the loss of one availability zone may take away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ZoneLoss {
    /// Nothing: an estate in which one zone carries something alone is refused.
    #[default]
    Survive,
    /// Something: what is lost is stated.
    Accept,
}

/// The private network.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// The range of addresses, a private one, `/16` to `/22`; divided evenly over tiers and zones.
    pub cidr: String,
    /// Availability zones, 2 or 3.
    pub zones: u8,
    /// How private instances reach the internet.
    pub nat: Nat,
    /// How long records of connections are kept.
    pub flow_logs: Duration,
    /// Services of AWS that are reached without leaving the network, by the names AWS has for their
    /// endpoints: `sqs`, `ecr.api`. With `nat: none`, those that the estate itself needs are there
    /// unasked.
    pub endpoints: Vec<String>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            cidr: "10.20.0.0/16".to_owned(),
            zones: 3,
            nat: Nat::PerZone,
            flow_logs: Duration::secs(30 * 86_400),
            endpoints: Vec::new(),
        }
    }
}

/// How private instances reach the internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Nat {
    /// A gateway in each zone: a zone that is lost takes only its own with it.
    PerZone,
    /// One gateway for all: cheaper, and lost with its zone.
    One,
    /// Not at all: services of AWS have endpoints within the network, and nothing else is reached.
    None,
}

/// What stands before the proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balancer {
    /// A balancer of requests: TLS ends there, and a firewall may stand before it.
    #[default]
    Application,
    /// A balancer of connections, with addresses that never change: TLS ends there, and the proxy is
    /// told who the client is (PROXY protocol, version 2).
    Network,
    /// The same, but TLS ends at the proxy, with `edge.certificate`.
    Passthrough,
}

/// The instances that run the proxy.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    /// The EC2 instance type: `c7g.large`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Instances there always are, 1 to 100.
    pub min: u32,
    /// Instances there may be; more than `min`, because an update starts the new before it stops
    /// the old.
    pub max: u32,
    /// Average use of the processors that is aimed at, `20%` to `90%`.
    #[serde(default = "cpu_target")]
    pub cpu_target: Percent,
}

fn cpu_target() -> Percent {
    Percent::whole(60)
}

/// The instances that run the ledger: one is active, the others take over.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Standby {
    /// The EC2 instance type: `m7g.large`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The active one and those that take over, 1 to 3.
    #[serde(default = "standby_count")]
    pub count: u32,
}

fn standby_count() -> u32 {
    2
}

/// A database, on RDS.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Which server.
    pub engine: Engine,
    /// Its version in full, in quotes; the default is a long-term one of the engine. Nothing but
    /// this file changes it.
    #[serde(default)]
    pub version: Option<String>,
    /// Whether `version` may go to another major version (`8.0` to `8.4`, `16` to `17`), which nobody goes back from: the
    /// server is down for longer, and what was written since is lost with a return to a snapshot.
    #[serde(default)]
    pub major_upgrade: bool,
    /// The instance class: `db.r7g.large`.
    pub class: String,
    /// Room for data at first, `20GiB` to `16TiB`; it grows by itself to ten times that. Aurora has
    /// none: its room is what is used.
    #[serde(default)]
    pub storage: Option<ByteSize>,
    /// A second instance in another zone that takes over within about a minute. Aurora has `readers`
    /// for that.
    #[serde(default = "yes")]
    pub multi_az: bool,
    /// How far back a point in time can be restored, `1d` to `35d`.
    #[serde(default = "backups")]
    pub backups: Duration,
    /// Aurora: instances beside the writer that answer what reads and take over, 0 to 15.
    #[serde(default = "readers")]
    pub readers: u32,
    /// Whether RDS Proxy stands before it: many short connections become few long ones.
    #[serde(default)]
    pub proxy: bool,
    /// Server parameters beside or instead of the tuned ones. Those that durability rests on
    /// cannot be changed.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
}

fn readers() -> u32 {
    1
}

fn backups() -> Duration {
    Duration::secs(14 * 86_400)
}

/// A database server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    Mysql,
    Mariadb,
    Postgres,
    /// Aurora that speaks MySQL.
    AuroraMysql,
    /// Aurora that speaks PostgreSQL.
    AuroraPostgresql,
}

impl Engine {
    /// Whether it is a cluster whose storage is apart from its servers.
    pub fn is_aurora(self) -> bool {
        matches!(self, Self::AuroraMysql | Self::AuroraPostgresql)
    }

    /// Whether it speaks MySQL's protocol; otherwise PostgreSQL's.
    pub fn is_mysql(self) -> bool {
        matches!(self, Self::Mysql | Self::Mariadb | Self::AuroraMysql)
    }

    /// The word RDS has for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
            Self::Postgres => "postgres",
            Self::AuroraMysql => "aurora-mysql",
            Self::AuroraPostgresql => "aurora-postgresql",
        }
    }

    /// What is taken when the file names no version: the long-term one.
    pub fn version(self) -> &'static str {
        match self {
            Self::Mysql => "8.4.8",
            Self::Mariadb => "11.4.8",
            Self::Postgres => "17.8",
            Self::AuroraMysql => "8.0.mysql_aurora.3.10.0",
            Self::AuroraPostgresql => "17.5",
        }
    }

    pub fn port(self) -> u16 {
        if self.is_mysql() { 3306 } else { 5432 }
    }
}

/// A cache beside the database, on ElastiCache; encrypted, with a password.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// Which server.
    #[serde(default)]
    pub engine: CacheEngine,
    /// The node type: `cache.r7g.large`.
    pub node: String,
    /// Copies that take over, 0 to 5.
    #[serde(default = "replicas")]
    pub replicas: u32,
    /// How often its password is another, `7d` to `365d`; the one before is taken until the next time.
    /// Without it, it stays.
    #[serde(default)]
    pub rotate: Option<Duration>,
}

fn replicas() -> u32 {
    1
}

/// A cache server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CacheEngine {
    #[default]
    Valkey,
    Redis,
}

/// Snapshots of all databases in a vault, beside the backups that each server keeps and loses with
/// itself.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Backup {
    /// How long the snapshot of each night is kept, `1d` to `365d`.
    pub daily: Duration,
    /// How long that of each month's first night is kept, `90d` to `3650d`; without it there is none.
    pub monthly: Option<Duration>,
    /// A vault in another region that gets a copy of each: its ARN.
    pub copy_to: Option<String>,
    /// Whether a snapshot cannot be deleted before its time, by nobody; for good after three days.
    pub lock: bool,
}

impl Default for Backup {
    fn default() -> Self {
        Self { daily: Duration::secs(35 * 86_400), monthly: None, copy_to: None, lock: false }
    }
}

/// Who is told when something is wrong.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Alarms {
    /// Gets every alarm, once the subscription is confirmed.
    pub email: Option<String>,
    /// Answers with 5xx, of all answers, above which the edge is in trouble.
    pub errors_max: Option<Percent>,
}

/// What the account may spend.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// US dollars a month; told at 80 % and when the forecast passes it.
    pub monthly: u32,
    /// Who is told.
    pub email: String,
}
