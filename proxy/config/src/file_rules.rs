//! What is made of files beyond sending them: films that are cut, dates that are judged.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::ByteSize;

/// How films in MP4 are cut. One whose tables cannot be read, or of which nothing lies between the times, is answered
/// with 500.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mp4 {
    /// Largest tables (`moov`) that are read, into memory, for a request that asks for a part.
    pub tables_max: ByteSize,
}

impl Default for Mp4 {
    fn default() -> Mp4 {
        Mp4 { tables_max: ByteSize::mib(10) }
    }
}

/// How a date that the client knows a file by is held against the file's own (RFC 9110 section 13.1.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModifiedSince {
    /// Not at all: the file is sent.
    Off,
    /// The file is as old or older.
    #[default]
    Before,
    /// It is the very date.
    Exact,
}

impl ModifiedSince {
    pub(crate) fn is_default(&self) -> bool {
        *self == ModifiedSince::default()
    }
}
