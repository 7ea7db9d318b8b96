//! The environment: what one `NAME.yaml` says, after `extends`, before it is resolved to a target.

use std::collections::BTreeMap;

use proxy_config::Config;
use proxy_config::address::ServerAddress;
use proxy_config::schema::KeyDoc;
use proxy_config::units::Duration;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

pub mod aws;
pub mod by_hand;
pub mod delivery;
pub mod work;

use aws::{Alarms, Aws, Backup, Balancer, Budget, Cache, Database, Fleet, Network, Standby};
use by_hand::{Patches, Resources};
use delivery::{Bucket, Cdn};
use work::{Capacity, Function, Queue, Worker};

/// The upstreams an environment gives to its proxy document.
pub const LEDGER: &str = "ledger";
/// The live origin of this machine: segments and the stream page.
pub const ORIGIN: &str = "origin";

/// Where a proxy document finds the environment's cache: an address only AWS knows.
pub const CACHE_URL: &str = "redis://cache:6379";

/// An environment that was read and found sound.
#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    /// Names the state folder, and later the deployed stacks.
    pub name: String,
    /// What the proxy runs; its provided upstreams hold placeholder addresses.
    pub proxy: Config,
    /// Absent: no ledger is started.
    pub ledger: Option<Ledger>,
    /// Live streams by name; each is served at `/live/NAME/index.m3u8`.
    pub streams: BTreeMap<String, Stream>,
    /// What AWS is to hold; absent without an `aws` section.
    pub estate: Option<Estate>,
    /// Keys the file has for AWS, which mean nothing on this machine: `database`, `edge.domain`.
    pub for_aws: Vec<String>,
}

/// Everything the AWS target needs beside the proxy document, whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Estate {
    pub aws: Aws,
    pub network: Network,
    pub edge: Edge,
    /// The ledger's instances and database, where the environment has a ledger.
    pub ledger: Option<(Standby, Database)>,
    pub cache: Option<Cache>,
    /// Databases of workers and functions, by name.
    pub databases: BTreeMap<String, Database>,
    pub storage: BTreeMap<String, Bucket>,
    pub queues: BTreeMap<String, Queue>,
    pub workers: BTreeMap<String, Worker>,
    pub capacity: BTreeMap<String, Capacity>,
    pub functions: BTreeMap<String, Function>,
    pub cdn: Option<Cdn>,
    /// The text of `cdn.signing_key`.
    pub signing_key: Option<String>,
    /// Templates of the files instances hold, by name, in place of Forebay's own.
    pub templates: BTreeMap<String, Override>,
    pub backup: Option<Backup>,
    pub alarms: Alarms,
    pub budget: Option<Budget>,
    /// Raw CloudFormation beside what Forebay makes.
    pub resources: Resources,
    /// Changes of what Forebay makes.
    pub patches: Patches,
}

/// A template that a team has put in the place of one of Forebay's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    pub path: std::path::PathBuf,
    pub text: String,
}

/// The edge on AWS.
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    pub domain: String,
    pub hosted_zone: String,
    /// Where the upstream `origin` is, when a route passes requests to it.
    pub origin: Option<ServerAddress>,
    pub instances: Fleet,
    pub balancer: Balancer,
    /// The private networks whose clients reach it; empty where everybody may.
    pub only_from: Vec<String>,
    /// The secret with the certificate, where TLS ends at the proxy: its ARN.
    pub certificate: Option<String>,
    pub waf: bool,
}

/// An environment: a proxy, a ledger and live streams, and where they listen.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "A Forebay environment")]
pub struct Document {
    /// Version of this format: 1.
    pub version: u32,
    /// Small letters, digits and `-`; at most 40.
    #[schemars(regex(pattern = "^[a-z][a-z0-9-]{0,39}$"))]
    pub name: String,
    /// Another environment file, relative to this one; this file is laid over it.
    #[serde(default)]
    #[expect(dead_code, reason = "read by document::load before the typed reading")]
    extends: Option<String>,
    /// The edge: the proxy and what it does.
    pub edge: EdgeSection,
    /// The ledger; without this section none is started.
    #[serde(default)]
    pub ledger: Option<Ledger>,
    /// Live streams that ffmpeg makes on this machine, by name.
    #[serde(default)]
    pub streams: BTreeMap<String, Stream>,
    /// The AWS target: `forebay synth`. Without this section there is none, and the other sections
    /// for AWS are for files that extend this one.
    #[serde(default)]
    pub aws: Option<Aws>,
    /// AWS: the private network.
    #[serde(default)]
    pub network: Option<Network>,
    /// AWS: the ledger's database.
    #[serde(default)]
    pub database: Option<Database>,
    /// AWS: databases of workers and functions, by name.
    #[serde(default)]
    pub databases: BTreeMap<String, Database>,
    /// AWS: a cache. The proxy document calls it `redis://cache:6379`.
    #[serde(default)]
    pub cache: Option<Cache>,
    /// AWS: buckets, by name.
    #[serde(default)]
    pub storage: BTreeMap<String, Bucket>,
    /// AWS: queues of jobs, by name.
    #[serde(default)]
    pub queues: BTreeMap<String, Queue>,
    /// AWS: containers, by name. One with a `port` is an upstream that routes may name.
    #[serde(default)]
    pub workers: BTreeMap<String, Worker>,
    /// AWS: machines that workers may run on in place of Fargate, by name.
    #[serde(default)]
    pub capacity: BTreeMap<String, Capacity>,
    /// AWS: functions, by name.
    #[serde(default)]
    pub functions: BTreeMap<String, Function>,
    /// AWS: a CDN before all of it.
    #[serde(default)]
    pub cdn: Option<Cdn>,
    /// AWS: snapshots of databases in a vault, beside the backups each server keeps.
    #[serde(default)]
    pub backup: Option<Backup>,
    /// AWS: who is told when something is wrong.
    #[serde(default)]
    pub alarms: Option<Alarms>,
    /// AWS: what the account may spend.
    #[serde(default)]
    pub budget: Option<Budget>,
    /// AWS: raw CloudFormation, by stack and logical id; it is checked like the rest.
    #[serde(default)]
    pub resources: Resources,
    /// AWS: JSON Patch on what Forebay makes, by stack and logical id.
    #[serde(default)]
    pub patches: Patches,
}

/// The edge of an environment.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EdgeSection {
    /// A proxy document, or the path of one relative to this file. Its routes may name the
    /// upstreams `ledger` and `origin`, which the environment provides. Relative paths in it start
    /// at the folder of the file they are written in.
    #[expect(dead_code, reason = "read by proxy-config, from the same tree")]
    proxy: AnyProxy,
    /// AWS: the name people reach it by; its certificate is made and renewed by ACM.
    #[serde(default)]
    pub domain: Option<String>,
    /// AWS: the Route 53 zone that holds the domain.
    #[serde(default)]
    pub hosted_zone: Option<String>,
    /// AWS: where the upstream `origin` is, `packager.example.com:80`.
    #[serde(default)]
    pub origin: Option<ServerAddress>,
    /// AWS: the instances that run the proxy.
    #[serde(default)]
    pub instances: Option<Fleet>,
    /// AWS: what stands before it.
    #[serde(default)]
    pub balancer: Balancer,
    /// AWS: private networks whose clients reach it, by peering or a VPN: `[10.0.0.0/8]`. With it the
    /// balancer has private addresses, and nothing of the estate is reached from the internet.
    #[serde(default)]
    pub only_from: Vec<String>,
    /// AWS: with `balancer: passthrough`, the secret of Secrets Manager whose JSON has `certificate` (the
    /// chain, leaf first) and `key`, both PEM: its ARN. Instances look every hour whether it changed.
    #[serde(default)]
    pub certificate: Option<String>,
    /// AWS: a web application firewall before it [default: true with an application balancer; others
    /// take none].
    #[serde(default)]
    pub waf: Option<bool>,
}

/// Accepts anything here: [`Config::from_node`] reads this part and reports its problems.
#[derive(Clone, Debug)]
struct AnyProxy;

impl<'de> Deserialize<'de> for AnyProxy {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl JsonSchema for AnyProxy {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ProxyDocumentOrPath".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let document = generator.subschema_for::<Config>();
        schemars::json_schema!({ "anyOf": [document, { "type": "string" }] })
    }
}

/// What the ledger holds from the start.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Currencies beside those of ISO 4217, which every ledger has.
    #[serde(default)]
    pub currencies: Vec<Currency>,
    /// Accounts created through the ledger's API where they are missing.
    #[serde(default)]
    pub accounts: Vec<Account>,
    /// AWS: the instances that run it.
    #[serde(default)]
    pub instances: Option<Standby>,
}

/// A currency of one's own.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Currency {
    /// 3 to 12 capital letters and digits, a letter first.
    pub code: String,
    /// Number of decimals, 0 to 12; it never changes.
    pub scale: u8,
}

/// An account of the chart.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Parts of small letters, digits, `-` and `_`, joined by colons: `assets:cash:eur`.
    pub code: String,
    /// What people call it.
    pub name: String,
    /// The one currency it holds.
    pub currency: String,
    /// The side on which it grows.
    pub normal_balance: NormalBalance,
}

/// The side on which a balance counts as positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NormalBalance {
    /// Assets and expenses.
    Debit,
    /// Liabilities, equity and income.
    Credit,
}

impl NormalBalance {
    /// The word in the ledger's API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Debit => "debit",
            Self::Credit => "credit",
        }
    }
}

/// A live stream made by ffmpeg: a test picture with a clock, and a tone.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Stream {
    /// Length of a segment, `1s` to `10s`; each starts with a key frame.
    pub segment: Duration,
    /// Segments in the playlist, 3 to 60.
    pub window: u32,
    /// Width of the picture in pixels, even, 160 to 1920.
    pub width: u32,
    /// Height of the picture in pixels, even, 90 to 1080.
    pub height: u32,
    /// Frames per second, 5 to 60.
    pub frames_per_second: u32,
    /// Bits of video per second, in thousands, 100 to 8000.
    pub bitrate_kbit: u32,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            segment: Duration::secs(1),
            window: 10,
            width: 640,
            height: 360,
            frames_per_second: 25,
            bitrate_kbit: 800,
        }
    }
}

/// The JSON Schema of an environment file, for editors.
pub fn schema() -> Schema {
    schemars::schema_for!(Document)
}

/// Every key of an environment file, from the same types.
pub fn keys() -> Vec<KeyDoc> {
    proxy_config::schema::keys_of(schema().to_value())
}

/// Where a proxy document calls the environment's cache.
pub fn cache_uses(proxy: &Config) -> Vec<String> {
    let counts = proxy.rate_limits.iter().filter_map(|(name, limit)| {
        let cluster = limit.cluster.as_ref()?;
        Some((format!("rate_limits.{name}.cluster.redis"), &cluster.redis))
    });
    let purges = proxy.caches.iter().filter_map(|(name, cache)| {
        Some((format!("caches.{name}.purge_redis"), cache.purge_redis.as_ref()?))
    });
    let uses = counts.chain(purges).filter(|(_, url)| *url == CACHE_URL);
    uses.map(|(path, _)| path).collect()
}

/// Whether a proxy document calls the environment's cache.
pub fn uses_cache(proxy: &Config) -> bool {
    !cache_uses(proxy).is_empty()
}
