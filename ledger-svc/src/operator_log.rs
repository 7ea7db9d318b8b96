//! What the operator reads: JSON lines on standard error. One that cannot be written (a full disk, a pipe nobody reads any
//! more) is counted, and what it was about goes on.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::EnvFilter;

static LOST: AtomicU64 = AtomicU64::new(0);

/// Starts logging. `filter` is a level (`info`) or a list of directives.
pub fn start(filter: &str) {
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(|| Lines)
        // It would say on standard error that standard error cannot be written, and end the process when that fails.
        .log_internal_errors(false)
        .init();
}

/// How many lines could not be written since this was last asked.
pub fn lost() -> u64 {
    LOST.swap(0, Ordering::Relaxed)
}

/// Says why a command ends.
pub fn say(what: &str) {
    let _ = writeln!(io::stderr(), "{what}");
}

struct Lines;

impl Write for Lines {
    /// Takes a line, whatever becomes of it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if io::stderr().write_all(line).is_err() {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
