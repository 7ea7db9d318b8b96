//! `-T`: every file of the configuration once, in the order they were opened, byte for byte.

use std::collections::BTreeSet;
use std::io::Write as _;

/// Prints the files. One that went away since it was read is left out.
pub fn print(files: &[String]) {
    let mut out = std::io::stdout().lock();
    let mut seen = BTreeSet::new();
    for name in files.iter().filter(|name| seen.insert(name.as_str())) {
        let Ok(content) = std::fs::read(name) else { continue };
        let head = format!("# configuration file {name}:\n");
        let parts: [&[u8]; 3] = [head.as_bytes(), &content, b"\n"];
        if parts.iter().any(|part| out.write_all(part).is_err()) {
            // The reader has seen enough.
            return;
        }
    }
}
