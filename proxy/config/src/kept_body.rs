//! Request bodies that are taken in whole before anybody is asked, so that they can be told of.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::route::Route;
use crate::units::ByteSize;
use crate::validate::Findings;

/// Largest body that may be told of: it is held until its request has ended.
const MEMORY_MOST: ByteSize = ByteSize::mib(1);

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

pub(crate) fn check(route: &Route, path: &str, findings: &mut Findings<'_>) {
    let Some(kept) = &route.kept_body else { return };
    let path = format!("{path}.kept_body");
    if kept.memory_max > MEMORY_MOST {
        let message = format!("{} of a request would be held in memory", kept.memory_max);
        let hint = format!("write at most `{MEMORY_MOST}`, and a `folder` for what is larger");
        findings.add(format!("{path}.memory_max"), message, hint);
    }
    findings.not_zero(format!("{path}.memory_max"), kept.memory_max.as_bytes());
    findings.not_zero(format!("{path}.bytes_max"), kept.bytes_max.as_bytes());
    match &kept.folder {
        Some(folder) if folder.is_relative() => {
            let message = format!("`{}` depends on where the proxy is started", folder.display());
            findings.add(format!("{path}.folder"), message, "write a path that begins with `/`");
        }
        Some(_) => {}
        None => {
            for (key, is) in [("all_in_files", kept.all_in_files), ("files_stay", kept.files_stay)]
            {
                if is {
                    let hint = "add `folder: /var/lib/forebay/bodies`, or remove it";
                    findings.add(format!("{path}.{key}"), "there is no folder for files", hint);
                }
            }
        }
    }
}
