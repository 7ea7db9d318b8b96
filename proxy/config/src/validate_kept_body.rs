//! Bodies that are kept.

use crate::findings::Findings;
use crate::route::Route;
use crate::units::ByteSize;

/// Largest body that may be told of: it is held until its request has ended.
const MEMORY_MOST: ByteSize = ByteSize::mib(1);

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
