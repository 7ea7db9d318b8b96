//! Server-side includes: pages that are put together from parts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::units::ByteSize;
use crate::validate::{Findings, item};

/// Pages in pages: each is a task that waits for the next.
const DEPTH_MAX: u32 = 8;

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

pub(crate) fn check(config: &Config, findings: &mut Findings<'_>) {
    for (index, route) in config.routes.iter().enumerate() {
        let Some(includes) = &route.includes else { continue };
        let path = format!("{}.includes", item("routes", index));
        if includes.types.is_empty() {
            let hint = "name some: `[text/html]`, or remove `types`";
            findings.add(format!("{path}.types"), "no page would be read", hint);
        }
        if !(1..=DEPTH_MAX).contains(&includes.depth_max) {
            let message = format!("pages cannot be {} deep", includes.depth_max);
            let hint = format!("write a number from 1 to {DEPTH_MAX}");
            findings.add(format!("{path}.depth_max"), message, hint);
        }
        if includes.parts_max == 0 {
            let hint = "remove `includes`, or write 1 or more";
            findings.add(format!("{path}.parts_max"), "nothing would be included", hint);
        }
    }
}
