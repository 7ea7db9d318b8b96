//! Pages that are put together.

use crate::config::Config;
use crate::findings::{Findings, item};

/// Pages in pages: each is a task that waits for the next.
const DEPTH_MAX: u32 = 8;

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
