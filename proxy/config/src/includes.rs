//! Server-side includes: pages that are put together from parts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::ByteSize;

/// Pages that are put together from parts, as their server-side includes say (`<!--#include virtual="/x" -->`,
/// `set`, `echo`, `if`, `config`, `block`). An answer to a request with a body is sent as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Includes {
    /// Media types of pages that are read for commands; `*` for all.
    pub types: Vec<String>,
    /// Whether `Last-Modified` stays.
    pub keep_last_modified: bool,
    /// Whether a command that makes no sense leaves nothing, not even nginx's words for it.
    pub silent_errors: bool,
    /// Parts of one page, those of pages in it among them; more are left out.
    pub parts_max: u32,
    /// Pages in pages, from 1 to 8; what lies deeper is left out.
    pub depth_max: u32,
    /// Bytes of all parts of one page; a page that comes to more breaks off.
    pub bytes_max: ByteSize,
    /// Bytes of a part that is kept, in a variable or as a block that stands in for another; the rest is left out.
    pub kept_max: ByteSize,
}

impl Default for Includes {
    fn default() -> Includes {
        Includes {
            types: vec!["text/html".to_owned()],
            keep_last_modified: false,
            silent_errors: false,
            parts_max: 256,
            depth_max: 4,
            bytes_max: ByteSize::mib(64),
            kept_max: ByteSize::kib(256),
        }
    }
}
