//! What the operator reads: JSON lines on standard error, pingora's `log` records included.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Starts logging. `level` is a level (`info`) or a list of directives (`info,h2=debug`). Pingora
/// logs what the access log has too, so it is kept at warnings unless a directive says otherwise; what it says of
/// connections that could not be taken again is no fault of anybody's, and kept silent.
pub fn start(level: &str) -> Result<(), ParseError> {
    let quiet = matches!(level, "info" | "INFO");
    let directives = if quiet {
        format!(
            "{level},pingora_core=warn,pingora_core::connectors=off,pingora_proxy=warn,pingora_pool=warn"
        )
    } else {
        level.to_owned()
    };
    let filter = EnvFilter::builder().parse(directives)?;
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}

/// Failed requests told per second. When an upstream is down, every request fails alike; the
/// others are in the access log and in the metrics.
const TOLD_PER_SECOND_MAX: u64 = 20;

/// Keeps repeated messages from filling a disk, or a pipe nobody reads.
pub struct Moderation {
    since: Instant,
    /// The second counted, in the upper half, and what was told in it.
    told: AtomicU64,
}

impl Default for Moderation {
    fn default() -> Self {
        Self { since: Instant::now(), told: AtomicU64::new(0) }
    }
}

impl Moderation {
    /// Whether one more message may be told now.
    pub fn may_tell(&self) -> bool {
        self.may_tell_at(self.since.elapsed().as_secs())
    }

    fn may_tell_at(&self, second: u64) -> bool {
        let before =
            self.told.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |told| {
                match told >> 32 == second {
                    true => Some(told + 1),
                    false => Some((second << 32) + 1),
                }
            });
        let told = before.unwrap_or_default();
        told >> 32 != second || told & 0xffff_ffff < TOLD_PER_SECOND_MAX
    }
}

/// A fault that goes on until something works again: it is told when it begins, each time.
#[derive(Default)]
pub struct Lasting(AtomicBool);

impl Lasting {
    /// Something failed; says whether it is to be told.
    pub fn begins(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }

    /// Something worked.
    pub fn is_over(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_share() {
        let moderation = Moderation::default();
        for second in [0, 1, 5] {
            let told = (0..100).filter(|_| moderation.may_tell_at(second)).count();
            assert_eq!(told as u64, TOLD_PER_SECOND_MAX, "second {second}");
        }
    }

    #[test]
    fn what_lasts_is_told_once_and_what_comes_back_again() {
        let fault = Lasting::default();
        assert_eq!([fault.begins(), fault.begins()], [true, false]);
        fault.is_over();
        assert_eq!([fault.begins(), fault.begins()], [true, false]);
    }
}
