//! The signals that ask this process to stop.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// INT, TERM, QUIT, and HUP (the terminal is gone), one after another.
pub struct StopSignals {
    /// None under `nohup`, which asks to go on without a terminal.
    hang_up: Option<Signal>,
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
}

impl StopSignals {
    /// From here on none of the four ends the process by itself.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            hang_up: if ignores_hang_up() { None } else { Some(signal(SignalKind::hangup())?) },
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// The name of the next one. Cancel-safe.
    pub async fn next(&mut self) -> &'static str {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = hang_up => "HUP",
            _ = self.interrupt.recv() => "INT",
            _ = self.terminate.recv() => "TERM",
            _ = self.quit.recv() => "QUIT",
        }
    }
}

/// Whether whoever started this process has it ignore HUP. Without `/proc` it is taken not to.
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored_signals(&status) & 1 << (SignalKind::hangup().as_raw_value() - 1) != 0
}

/// The mask in the line `SigIgn:` of proc_pid_status(5); bit 0 is signal 1.
fn ignored_signals(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

/// Ends with the first of them.
pub fn stop_asked() -> io::Result<impl Future<Output = ()>> {
    let mut signals = StopSignals::listen()?;
    Ok(async move {
        signals.next().await;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        assert_eq!(
            ignored_signals("SigBlk:\t0000000000000004\nSigIgn:\t0000000000001001\n"),
            0x1001
        );
        assert_eq!(ignored_signals(""), 0);
    }
}
