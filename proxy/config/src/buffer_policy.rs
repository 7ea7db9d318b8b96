//! Buffer policies: how bodies are held between a fast side and a slow one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{ByteRate, ByteSize, Duration};

/// How bodies are buffered, each way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BufferPolicy {
    /// Named values to start from; what is written beside it replaces them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<BufferPreset>,
    /// Bodies from upstreams to clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub responses: Option<BufferSide>,
    /// Bodies from clients to upstreams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<BufferSide>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BufferPreset {
    /// Segments at the live edge: memory only, small, no pacing.
    Live,
    /// Films: read-ahead and pacing.
    Vod,
    /// Money: small bodies, held whole in memory.
    Transactional,
    /// API answers: memory, so that the upstream is free at once.
    Api,
    /// Large bodies from clients: streamed with flat memory.
    Upload,
}

/// How bodies are buffered in one direction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BufferSide {
    /// Where bytes wait.
    pub mode: BufferMode,
    /// Memory for one body.
    pub memory_max: ByteSize,
    /// Disk for one body, with `mode: spill`.
    pub spill_max: ByteSize,
    /// Buffered bytes below which reading goes on.
    pub low_water: ByteSize,
    /// Buffered bytes above which reading stops.
    pub high_water: ByteSize,
    /// Bytes read ahead of what the reader has taken.
    pub read_ahead: ByteSize,
    /// Fastest sending of one body; without it, as fast as it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pace: Option<ByteRate>,
    /// Whether the whole body is taken before the other side is asked.
    pub spool: bool,
    /// What happens when the lane's memory is out.
    pub when_full: WhenFull,
    /// How long a body may wait for memory, with `when_full: wait`.
    pub wait_max: Duration,
}

impl Default for BufferSide {
    fn default() -> BufferSide {
        BufferSide {
            mode: BufferMode::Memory,
            memory_max: ByteSize::mib(1),
            spill_max: ByteSize::mib(1024),
            low_water: ByteSize::kib(64),
            high_water: ByteSize::kib(256),
            read_ahead: ByteSize::kib(256),
            pace: None,
            spool: false,
            when_full: WhenFull::Wait,
            wait_max: Duration::secs(10),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BufferMode {
    /// Bytes are handed on as they come.
    Off,
    /// Bytes wait in memory.
    Memory,
    /// Bytes wait in memory, then in the lane's spill directory.
    Spill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The source is not read until there is room.
    Wait,
    /// The request is shed with 503.
    Shed,
    /// The body is handed on unbuffered.
    PassThrough,
}
