//! Request bodies that are taken in whole before anybody is asked, so that they can be told of.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::ByteSize;

/// A request's body, taken in whole before an upstream is asked. Headers of answers and lines of logs may tell it
/// (`$request_body`), or the file it lies in (`$request_body_file`). What is in memory counts against the lane's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeptBody {
    /// Largest body that is kept in memory; at most `1MiB`. A larger one goes into a file of `folder`, or is passed on
    /// without being told of.
    pub memory_max: ByteSize,
    /// Where bodies become files, each named by a number of ten digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// All that lies in `folder`, those files included that stay. A request whose body would lead above it is
    /// answered 503.
    pub bytes_max: ByteSize,
    /// Every body becomes a file, however small.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all_in_files: bool,
    /// Files stay when their requests have ended: somebody else removes them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub files_stay: bool,
}

impl Default for KeptBody {
    fn default() -> KeptBody {
        KeptBody {
            memory_max: ByteSize::kib(16),
            folder: None,
            bytes_max: ByteSize::mib(10 * 1024),
            all_in_files: false,
            files_stay: false,
        }
    }
}

/// What is told of a body that was kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Bytes that are not UTF-8 are U+FFFD; empty where it lies in a file.
    pub text: String,
    /// Its file's path, where it has one.
    pub file: String,
}
