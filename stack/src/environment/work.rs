//! The sections of what works beside edge and ledger on AWS: queues, workers, functions.

use std::collections::BTreeMap;
use std::fmt;

use proxy_config::units::{ByteSize, Duration};
use schemars::JsonSchema;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

/// A queue of jobs, on SQS, with one beside it for those that failed again and again.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// How long a job belongs to whoever took it, `1s` to `12h`; then another may.
    pub visibility: Duration,
    /// How often a job is tried before it is set aside as a dead letter, 1 to 100.
    pub tries: u32,
    /// How long a job waits at most, `1m` to `14d`, its tries included: more than `visibility` times `tries`. Dead letters are
    /// kept for 14 days.
    pub retention: Duration,
}

impl Default for Queue {
    fn default() -> Self {
        Self { visibility: Duration::secs(5 * 60), tries: 3, retention: Duration::secs(4 * 86_400) }
    }
}

/// A type whose last keys say what it may reach. They are written here once: serde's `flatten` would
/// lose the places of faults.
macro_rules! reaching {
    ($(#[$about:meta])* pub struct $name:ident { $($own:tt)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($own)*
            /// What it may connect to: names of `databases`, `cache`, `ledger`.
            #[serde(default)]
            pub uses: Vec<String>,
            /// Buckets of `storage` it reads.
            #[serde(default)]
            pub reads: Vec<String>,
            /// Buckets of `storage` it writes, or signs uploads to.
            #[serde(default)]
            pub writes: Vec<String>,
            /// Queues it sends jobs to.
            #[serde(default)]
            pub sends: Vec<String>,
            /// Environment variables beside those that say where things are.
            #[serde(default)]
            pub environment: BTreeMap<String, String>,
        }

        impl<'a> From<&'a $name> for Wants<'a> {
            fn from(of: &'a $name) -> Self {
                let $name { uses, reads, writes, sends, .. } = of;
                Self { uses, reads, writes, sends, takes: of.takes() }
            }
        }
    };
}

reaching! {
    /// A container, on Fargate or on machines of `capacity`: either it takes jobs of a `queue`, or it answers requests on a `port`.
    pub struct Worker {
        /// The image, in a private registry of the account, with its tag or digest.
        pub image: String,
        /// What it runs, in place of the image's own command.
        #[serde(default)]
        pub command: Vec<String>,
        /// Shares of processors, 1024 each: 256, 512, 1024, 2048, 4096, 8192 or 16384; on machines of
        /// `capacity`, 128 or more.
        #[serde(default = "cpu")]
        pub cpu: u32,
        /// Memory, of those that Fargate has for `cpu`; on machines of `capacity`, what fits.
        #[serde(default = "memory")]
        pub memory: ByteSize,
        /// Room for files while it works, `21GiB` to `200GiB`; without it there are 20 GiB.
        #[serde(default)]
        pub disk: Option<ByteSize>,
        /// The queue whose jobs it takes; there are as many tasks as jobs ask for, and none for none.
        #[serde(default)]
        pub queue: Option<String>,
        /// The port it answers HTTP on; routes may name it as an upstream.
        #[serde(default, deserialize_with = "port")]
        #[schemars(range(min = 1))]
        pub port: Option<u16>,
        /// Where it says that it is well, with `port`.
        #[serde(default = "health")]
        pub health: String,
        /// Tasks there always are; 0 with `queue`, 2 with `port`.
        #[serde(default)]
        pub min: Option<u32>,
        /// Tasks there may be.
        pub max: u32,
        /// Jobs that may wait for each task before there is another, with `queue`.
        #[serde(default = "backlog_per_task")]
        pub backlog_per_task: u32,
        /// Whether spare capacity that AWS may take back is used first; a job taken back is tried again.
        #[serde(default)]
        pub spot: bool,
        /// The machines it runs on, a name of `capacity`; without it, Fargate.
        #[serde(default)]
        pub capacity: Option<String>,
        /// Whether it hands videos of its buckets to MediaConvert.
        #[serde(default)]
        pub media_convert: bool,
    }
}

/// A port that somebody can listen on: 0 is none.
fn port<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u16>, D::Error> {
    struct Port(u16);

    impl<'de> Deserialize<'de> for Port {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_i64(PortVisitor).map(Port)
        }
    }

    struct PortVisitor;

    impl Visitor<'_> for PortVisitor {
        type Value = u16;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a port")
        }

        fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<u16, E> {
            u16::try_from(number).ok().filter(|port| *port > 0).ok_or_else(|| {
                E::custom(format!("{number} is not a port\nhint: ports go from 1 to 65535"))
            })
        }

        fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<u16, E> {
            self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
        }
    }

    Option::<Port>::deserialize(from).map(|port| port.map(|Port(port)| port))
}

fn cpu() -> u32 {
    1024
}

fn memory() -> ByteSize {
    ByteSize::bytes(2 << 30)
}

fn health() -> String {
    "/healthz".to_owned()
}

fn backlog_per_task() -> u32 {
    1
}

impl Worker {
    pub fn min(&self) -> u32 {
        self.min.unwrap_or(if self.port.is_some() { 2 } else { 0 })
    }

    fn takes(&self) -> Option<&str> {
        self.queue.as_deref()
    }
}

/// Machines that tasks run on, on EC2: started when tasks wait for room, stopped when none is on them,
/// replaced after a week at the latest.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Capacity {
    /// EC2 instance types of one kind of processor, the best first: `[c7g.4xlarge, c6g.4xlarge]`. A
    /// task must fit on each.
    pub types: Vec<String>,
    /// Machines there always are, 0 to 100.
    #[serde(default)]
    pub min: u32,
    /// Machines there may be, at most 500.
    pub max: u32,
    /// The disk of each, `30GiB` to `16TiB`.
    #[serde(default = "machine_disk")]
    pub disk: ByteSize,
    /// Whether they are spare capacity that AWS may take back; it is taken from whichever of `types` there
    /// is most of.
    #[serde(default)]
    pub spot: bool,
}

fn machine_disk() -> ByteSize {
    ByteSize::bytes(50 << 30)
}

reaching! {
    /// A function, on Lambda, reached by the CDN.
    pub struct Function {
        /// Its archive, a key of the bucket of releases: `functions/api-1.4.zip`.
        pub code: String,
        /// What Lambda calls in it.
        pub handler: String,
        /// `nodejs22.x`, `python3.13`, `provided.al2023`, …
        pub runtime: String,
        /// Memory, `128MiB` to `10GiB`; processors come with it.
        #[serde(default = "function_memory")]
        pub memory: ByteSize,
        /// How long one call may take, `1s` to `15m`.
        #[serde(default = "function_timeout")]
        pub timeout: Duration,
        /// Calls at once, 1 to 1000: what is kept for it, and its limit.
        #[serde(default = "concurrency")]
        pub concurrency: u32,
    }
}

fn function_memory() -> ByteSize {
    ByteSize::bytes(512 << 20)
}

fn function_timeout() -> Duration {
    Duration::secs(10)
}

fn concurrency() -> u32 {
    100
}

impl Function {
    /// Functions answer; they take jobs of no queue.
    fn takes(&self) -> Option<&str> {
        None
    }
}

/// What a worker or a function may reach.
#[derive(Clone, Copy, Debug)]
pub struct Wants<'a> {
    pub uses: &'a [String],
    pub reads: &'a [String],
    pub writes: &'a [String],
    pub sends: &'a [String],
    pub takes: Option<&'a str>,
}
