//! Caches: the stores behind cache policies, memory over disk.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, Percent};

/// A store bounded in bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// Memory for bodies and their metadata.
    pub memory_max: ByteSize,
    /// Second tier on disk; without it, memory only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<CacheDisk>,
    /// Largest object kept in memory. Nothing larger is stored on disk either, but in `slices`.
    #[serde(default = "object_memory_max")]
    pub object_memory_max: ByteSize,
    /// Part of the memory that objects above `large_object_min` may hold together, so that one
    /// film never flushes the live window.
    #[serde(default = "large_objects_max")]
    pub large_objects_max: Percent,
    /// Size from which an object counts as large.
    #[serde(default = "large_object_min")]
    pub large_object_min: ByteSize,
    /// Redis that carries purges to other proxies: `redis://host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge_redis: Option<String>,
}

impl Cache {
    /// A cache in memory alone, everything else by default.
    pub fn in_memory(memory_max: ByteSize) -> Cache {
        Cache {
            memory_max,
            disk: None,
            object_memory_max: object_memory_max(),
            large_objects_max: large_objects_max(),
            large_object_min: large_object_min(),
            purge_redis: None,
        }
    }
}

fn object_memory_max() -> ByteSize {
    ByteSize::mib(16)
}

fn large_objects_max() -> Percent {
    Percent::whole(50)
}

fn large_object_min() -> ByteSize {
    ByteSize::mib(1)
}

/// The tier on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheDisk {
    /// Directory; must not be on a file system that holds one of `protected_paths`.
    pub path: PathBuf,
    /// Space used at most.
    pub bytes_max: ByteSize,
}
