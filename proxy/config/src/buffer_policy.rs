//! Buffer policies: how bodies are held between a fast side and a slow one.
//!
//! What is written is a preset and values beside it, all of which may be left out; what is meant is
//! [`BufferPolicy::resolved`], with every value in its place.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{ByteRate, ByteSize};

/// The most that is read from a socket at once: less memory holds no body.
pub const PART: ByteSize = ByteSize::kib(64);
const MEMORY_MAX: ByteSize = ByteSize::mib(1);
const SPILL_MAX: ByteSize = ByteSize::mib(1024);

/// How bodies are buffered, each way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BufferPolicy {
    /// Named values to start from; what is written beside it replaces them, key by key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<BufferPreset>,
    /// Bodies from upstreams to clients. Without it and a preset, they are handed on as they come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub responses: Option<BufferSide>,
    /// Bodies from clients to upstreams. Without it and a preset, they are handed on as they come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<BufferSide>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BufferPreset {
    /// Segments at the live edge: 512 KiB of memory each, sent as fast as clients take them.
    Live,
    /// Films: 1 MiB of memory each, and after the first 8 MiB no faster than 4 MiB a second.
    Vod,
    /// Money: bodies up to 256 KiB are whole before anybody on the other side sees a byte, and have their memory
    /// beforehand.
    Transactional,
    /// API answers: memory, so that the upstream is free at once; requests are whole before it is asked.
    Api,
    /// Large bodies from clients: streamed with flat memory.
    Upload,
}

/// How bodies are buffered in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BufferSide {
    /// Where bytes wait. Default: `memory`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<BufferMode>,
    /// Memory for one body, at least 64KiB; it counts against the lane's. Default: 1MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max: Option<ByteSize>,
    /// Disk for one body, with `mode: spill`; it counts against the lane's `spill`. Default: 1GiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spill_max: Option<ByteSize>,
    /// Bytes in memory from which on the source is not read, or what it sends goes to disk. Default: `memory_max`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high_water: Option<ByteSize>,
    /// Once the source was not read, bytes in memory down to which it stays so. Default: half of `high_water`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_water: Option<ByteSize>,
    /// How far the source may be ahead of who reads the body, disk included. In a fill that is stored it holds
    /// for the reader that is farthest. Default: all that memory and disk take; for what is stored, no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_ahead: Option<ByteSize>,
    /// Fastest sending of one body; without it, as fast as it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<ByteRate>,
    /// Bytes that are sent at once before `pace` begins to hold. Default: a second's worth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace_burst: Option<ByteSize>,
    /// Whether the whole body is taken before the other side sees any of it, as long as it fits. Default: for
    /// requests yes, for responses no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool: Option<bool>,
    /// What happens when the lane's memory is out. Default: `wait`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_full: Option<WhenFull>,
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
    /// A body has all of its memory before it begins; where that cannot be had, the request is shed with 503.
    Shed,
}

/// Both ways of a policy, every value in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Buffering {
    pub responses: Side,
    pub requests: Side,
}

/// One way of a policy, every value in its place. With mode `off` only the pace counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    pub mode: BufferMode,
    pub memory_max: ByteSize,
    /// 0 unless it spills.
    pub spill_max: ByteSize,
    pub high_water: ByteSize,
    pub low_water: ByteSize,
    /// At most what memory and disk take.
    pub read_ahead: ByteSize,
    /// What was written of it: it holds for what is stored too.
    pub read_ahead_stored: Option<ByteSize>,
    pub pace: Option<ByteRate>,
    pub pace_burst: ByteSize,
    pub spool: bool,
    pub when_full: WhenFull,
}

/// Which way bodies go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Responses,
    Requests,
}

impl Default for Buffering {
    /// Without a policy: bodies are handed on as they come.
    fn default() -> Buffering {
        BufferPolicy::default().resolved()
    }
}

impl BufferPolicy {
    pub fn resolved(&self) -> Buffering {
        let side = |way, written: &Option<BufferSide>| {
            let preset = self.preset.and_then(|preset| preset.side(way));
            match (preset, written) {
                (None, None) => BufferSide { mode: Some(BufferMode::Off), ..BufferSide::default() },
                (Some(preset), None) => preset,
                (None, Some(written)) => *written,
                (Some(preset), Some(written)) => written.over(preset),
            }
            .resolved(way)
        };
        Buffering {
            responses: side(Way::Responses, &self.responses),
            requests: side(Way::Requests, &self.requests),
        }
    }
}

impl BufferPreset {
    pub const ALL: [BufferPreset; 5] = [
        BufferPreset::Live,
        BufferPreset::Vod,
        BufferPreset::Transactional,
        BufferPreset::Api,
        BufferPreset::Upload,
    ];

    fn side(self, way: Way) -> Option<BufferSide> {
        let memory = |memory_max| BufferSide {
            mode: Some(BufferMode::Memory),
            memory_max: Some(memory_max),
            ..BufferSide::default()
        };
        let whole = BufferSide {
            spool: Some(true),
            when_full: Some(WhenFull::Shed),
            ..memory(ByteSize::kib(256))
        };
        match (self, way) {
            (BufferPreset::Live, Way::Responses) => Some(memory(ByteSize::kib(512))),
            (BufferPreset::Vod, Way::Responses) => Some(BufferSide {
                pace: Some(ByteRate(ByteSize::mib(4))),
                pace_burst: Some(ByteSize::mib(8)),
                ..memory(MEMORY_MAX)
            }),
            (BufferPreset::Transactional, _) => Some(whole),
            (BufferPreset::Api, _) => Some(memory(MEMORY_MAX)),
            (BufferPreset::Live | BufferPreset::Vod, Way::Requests) | (BufferPreset::Upload, _) => {
                None
            }
        }
    }
}

impl BufferSide {
    /// What is written here, and the preset's where nothing is.
    fn over(self, preset: BufferSide) -> BufferSide {
        BufferSide {
            mode: self.mode.or(preset.mode),
            memory_max: self.memory_max.or(preset.memory_max),
            spill_max: self.spill_max.or(preset.spill_max),
            high_water: self.high_water.or(preset.high_water),
            low_water: self.low_water.or(preset.low_water),
            read_ahead: self.read_ahead.or(preset.read_ahead),
            pace: self.pace.or(preset.pace),
            pace_burst: self.pace_burst.or(preset.pace_burst),
            spool: self.spool.or(preset.spool),
            when_full: self.when_full.or(preset.when_full),
        }
    }

    fn resolved(&self, way: Way) -> Side {
        let mode = self.mode.unwrap_or(BufferMode::Memory);
        let memory_max = self.memory_max.unwrap_or(MEMORY_MAX);
        let spill_max = match mode {
            BufferMode::Spill => self.spill_max.unwrap_or(SPILL_MAX),
            BufferMode::Off | BufferMode::Memory => ByteSize::bytes(0),
        };
        let high_water = self.high_water.unwrap_or(memory_max);
        let all = ByteSize::bytes(high_water.as_bytes().saturating_add(spill_max.as_bytes()));
        let second = self
            .pace
            .map_or(ByteSize::bytes(0), |pace| ByteSize::bytes(pace.as_bytes_per_second()));
        Side {
            mode,
            memory_max,
            spill_max,
            high_water,
            low_water: self.low_water.unwrap_or(ByteSize::bytes(high_water.as_bytes() / 2)),
            read_ahead: self.read_ahead.map_or(all, |ahead| ahead.min(all)),
            read_ahead_stored: self.read_ahead,
            pace: self.pace,
            pace_burst: self.pace_burst.unwrap_or(second),
            spool: mode != BufferMode::Off && self.spool.unwrap_or(way == Way::Requests),
            when_full: self.when_full.unwrap_or(WhenFull::Wait),
        }
    }
}

/// One line for people: `memory up to 1MiB, read on below 512KiB, whole first, 4MiB/s after 8MiB`.
impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mode {
            BufferMode::Off => f.write_str("handed on as they come")?,
            BufferMode::Memory => write!(f, "memory up to {}", self.memory_max)?,
            BufferMode::Spill => {
                let (memory, disk) = (self.memory_max, self.spill_max);
                write!(f, "memory up to {memory}, then {disk} of disk")?;
            }
        }
        if !self.is_off() {
            let (high, low) = (self.high_water, self.low_water);
            write!(f, "; full at {high}, read on at {low}, at most {} ahead", self.read_ahead)?;
            f.write_str(if self.spool { ", whole first" } else { "" })?;
            f.write_str(match self.when_full {
                WhenFull::Wait => "",
                WhenFull::Shed => ", shed when the lane is full",
            })?;
        }
        match self.pace {
            Some(pace) => write!(f, "; {pace} after {}", self.pace_burst),
            None => Ok(()),
        }
    }
}

impl Side {
    pub fn is_off(&self) -> bool {
        self.mode == BufferMode::Off
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_word_bodies_are_handed_on_as_they_come() {
        let Buffering { responses, requests } = Buffering::default();
        assert!(responses.is_off() && requests.is_off() && !requests.spool);
        assert_eq!(responses.pace, None);
    }

    #[test]
    fn what_is_written_replaces_the_presets_values_key_by_key() {
        let written =
            BufferSide { pace: Some(ByteRate(ByteSize::mib(1))), ..BufferSide::default() };
        let policy = BufferPolicy {
            preset: Some(BufferPreset::Vod),
            responses: Some(written),
            requests: Some(BufferSide::default()),
        };
        let Buffering { responses, requests } = policy.resolved();
        assert_eq!((responses.mode, responses.memory_max), (BufferMode::Memory, MEMORY_MAX));
        assert_eq!((responses.pace, responses.pace_burst), (written.pace, ByteSize::mib(8)));
        assert_eq!((requests.mode, requests.spool), (BufferMode::Memory, true));
    }

    #[test]
    fn marks_follow_the_memory_and_read_ahead_is_what_fits() {
        let side = BufferSide { memory_max: Some(ByteSize::mib(4)), ..BufferSide::default() };
        let spilling = BufferSide {
            mode: Some(BufferMode::Spill),
            spill_max: Some(ByteSize::mib(6)),
            read_ahead: Some(ByteSize::mib(100)),
            ..side
        };
        let (side, spilling) = (side.resolved(Way::Responses), spilling.resolved(Way::Responses));
        assert_eq!((side.high_water, side.low_water), (ByteSize::mib(4), ByteSize::mib(2)));
        assert_eq!((side.read_ahead, side.spill_max), (ByteSize::mib(4), ByteSize::bytes(0)));
        assert_eq!(spilling.read_ahead, ByteSize::mib(10));
        assert_eq!(spilling.read_ahead_stored, Some(ByteSize::mib(100)));
    }

    #[test]
    fn presets_keep_to_their_own_rules() {
        for preset in BufferPreset::ALL {
            let policy = BufferPolicy { preset: Some(preset), ..BufferPolicy::default() };
            let Buffering { responses, requests } = policy.resolved();
            for side in [responses, requests] {
                assert!(side.high_water <= side.memory_max && side.low_water <= side.high_water);
                assert!(side.memory_max >= PART && side.mode != BufferMode::Spill);
            }
        }
    }
}
