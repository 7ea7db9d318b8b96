//! Lanes: budgets that keep kinds of traffic from taking from one another.

use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::units::{ByteRate, ByteSize, Duration, unit_error};

/// What the bodies of a request that passes through hold at worst: the kernel's buffers on both sides and
/// what is between them.
pub const BODIES_AT_WORST: ByteSize = ByteSize::mib(1);

/// The four lanes. There are exactly these: threads, scheduling and the order in which load is
/// shed are built around them. Each exists whether or not the document names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Lanes {
    /// Requests that settle money: small, never shed before any other lane.
    #[serde(deserialize_with = "transactions")]
    pub transactions: Lane,
    /// Pages and API calls a person waits for; the lane of routes that name none.
    #[serde(deserialize_with = "interactive")]
    pub interactive: Lane,
    /// Large bodies to clients: video segments, downloads.
    #[serde(deserialize_with = "bulk")]
    pub bulk: Lane,
    /// Large bodies from clients.
    #[serde(deserialize_with = "upload")]
    pub upload: Lane,
}

impl Lanes {
    pub fn get(&self, name: LaneName) -> &Lane {
        match name {
            LaneName::Transactions => &self.transactions,
            LaneName::Interactive => &self.interactive,
            LaneName::Bulk => &self.bulk,
            LaneName::Upload => &self.upload,
        }
    }

    /// How a lane queues, its default where the document says nothing. A request that settles money
    /// waits before it is shed.
    pub fn waiting(&self, name: LaneName) -> Waiting {
        let default = match name {
            LaneName::Transactions => Waiting { max: 512, time_max: Duration::secs(1) },
            _ => Waiting { max: 0, time_max: Duration::secs(0) },
        };
        let lane = self.get(name);
        Waiting {
            max: lane.waiting_max.unwrap_or(default.max),
            time_max: lane.waiting_time_max.unwrap_or(default.time_max),
        }
    }

    /// The priority of a lane, its default where the document says nothing.
    pub fn priority(&self, name: LaneName) -> LanePriority {
        self.get(name).priority.unwrap_or(match name {
            LaneName::Transactions | LaneName::Interactive => LanePriority::Normal,
            LaneName::Bulk | LaneName::Upload => LanePriority::Low,
        })
    }

    /// All four, in the order of [`LaneName::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (LaneName, &Lane)> {
        LaneName::ALL.into_iter().map(|name| (name, self.get(name)))
    }
}

impl Default for Lanes {
    fn default() -> Lanes {
        Lanes {
            transactions: Lane::transactions(),
            interactive: Lane::interactive(),
            bulk: Lane::bulk(),
            upload: Lane::upload(),
        }
    }
}

fn transactions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Lane, D::Error> {
    lane_or(Lane::transactions().requests_max, deserializer)
}

fn interactive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Lane, D::Error> {
    lane_or(Lane::interactive().requests_max, deserializer)
}

fn bulk<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Lane, D::Error> {
    lane_or(Lane::bulk().requests_max, deserializer)
}

fn upload<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Lane, D::Error> {
    lane_or(Lane::upload().requests_max, deserializer)
}

/// What a document does not say about a lane is that lane's own default.
fn lane_or<'de, D: Deserializer<'de>>(
    requests_max: u32,
    deserializer: D,
) -> Result<Lane, D::Error> {
    let mut lane = Lane::deserialize(deserializer)?;
    if lane.requests_max == NOT_SAID {
        lane.requests_max = requests_max;
    }
    Ok(lane)
}

/// More requests at once than a process can hold.
const REQUESTS_MAX: u32 = 10_000_000;

/// Stands for a number that was not written; above what may be written.
const NOT_SAID: u32 = u32::MAX;

fn requests<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let requests = u32::deserialize(deserializer)?;
    if requests > REQUESTS_MAX {
        let message = format!("{requests} requests at once are more than any process can hold");
        return Err(D::Error::custom(unit_error(message, format!("at most {REQUESTS_MAX}"))));
    }
    Ok(requests)
}

fn not_said() -> u32 {
    NOT_SAID
}

/// Which lane a route's requests travel in.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LaneName {
    /// Requests that settle money.
    Transactions,
    /// Pages and API calls a person waits for.
    #[default]
    Interactive,
    /// Large bodies to clients.
    Bulk,
    /// Large bodies from clients.
    Upload,
}

impl LaneName {
    pub const ALL: [LaneName; 4] =
        [LaneName::Transactions, LaneName::Interactive, LaneName::Bulk, LaneName::Upload];

    pub const fn as_str(self) -> &'static str {
        match self {
            LaneName::Transactions => "transactions",
            LaneName::Interactive => "interactive",
            LaneName::Bulk => "bulk",
            LaneName::Upload => "upload",
        }
    }
}

impl fmt::Display for LaneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The budget of one lane. What is full here takes nothing from another lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lane {
    /// Requests in flight at once; above it a request is shed with 503 and `Retry-After`.
    /// Default: transactions 512, interactive 2048, bulk 4096, upload 256.
    #[serde(default = "not_said", deserialize_with = "requests")]
    #[schemars(transform = without_default)]
    pub requests_max: u32,
    /// Requests that may wait for their turn instead of being shed; as many again may wait to ask
    /// the origin. Default: transactions 512 for a second at most, others none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_max: Option<u32>,
    /// How long a request may wait for its turn; then it is shed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_time_max: Option<Duration>,
    /// Memory for bodies under way, kernel socket buffers included: each request reserves what its bodies
    /// hold at worst (1 MiB when it passes through, 128 KiB from a cache), and is shed when that does
    /// not fit. Default: no limit but that on requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max: Option<ByteSize>,
    /// Connections from clients at once: those that carry a request of the lane and those that wait for their next
    /// one and carried one of the lane last. A request on one more waits or is shed as above `requests_max`, its
    /// connection closed where it is HTTP/1. Default: no limit but that of listeners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections_max: Option<u32>,
    /// Connections to servers in use at once: by requests, fills, copies and tunnels. A WebSocket counts until it
    /// ends, a connection of HTTP/2 once however many requests of the lane it carries; idle ones belong to no lane.
    /// Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_connections_max: Option<u32>,
    /// Requests to origins at once: those that pass through and those of fills, until they are answered. Answers
    /// from a cache need none, tunnels none once they are open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin_concurrency_max: Option<u32>,
    /// Bytes per second of response bodies to clients in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth_max: Option<ByteRate>,
    /// Scheduling priority of the threads that move its bodies.
    /// Default: transactions and interactive normal, bulk and upload low.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<LanePriority>,
    /// Whether and where its bodies may spill to disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spill: Option<Spill>,
}

/// The default differs by lane, so the schema of one lane has none.
fn without_default(schema: &mut Schema) {
    schema.remove("default");
}

impl Lane {
    /// A lane that holds this many requests, with every other budget at its default.
    pub const fn of(requests_max: u32) -> Lane {
        Lane {
            requests_max,
            waiting_max: None,
            waiting_time_max: None,
            memory_max: None,
            connections_max: None,
            upstream_connections_max: None,
            origin_concurrency_max: None,
            bandwidth_max: None,
            priority: None,
            spill: None,
        }
    }

    pub const fn transactions() -> Lane {
        Lane::of(512)
    }

    pub const fn interactive() -> Lane {
        Lane::of(2048)
    }

    pub const fn bulk() -> Lane {
        Lane::of(4096)
    }

    pub const fn upload() -> Lane {
        Lane::of(256)
    }
}

/// How many requests may wait for their turn, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub max: u32,
    pub time_max: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LanePriority {
    /// With heads and transactions.
    Normal,
    /// Ten steps of nice below the rest of the process: what is ready to run there goes first.
    Low,
}

/// Where bodies go when memory is out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spill {
    /// Directory; must not be on a file system that holds one of `protected_paths`.
    pub path: PathBuf,
    /// Space used at most.
    pub bytes_max: ByteSize,
}
