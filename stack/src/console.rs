//! Lines for people, from a process that must not wait for them: a terminal that is held (Ctrl-S)
//! or a reader that stopped reading must not stop the healing of children.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Lines that may wait for a reader; what comes while so many wait is left out.
const LINES_MAX: usize = 1024;
/// What a slow reader gets for the last lines at the end.
const LAST_LINES_WAIT: Duration = Duration::from_secs(1);

/// Prints lines in order, each at once when somebody reads. Dropping it waits a moment for the rest.
#[derive(Debug)]
pub struct Console {
    lines: Option<SyncSender<String>>,
    printed: Receiver<()>,
}

impl Console {
    /// Prints on `out` from a thread of its own.
    pub fn on(mut out: impl Write + Send + 'static) -> Self {
        let (lines, waiting) = sync_channel::<String>(LINES_MAX);
        let (done, printed) = sync_channel(1);
        std::thread::spawn(move || {
            for line in waiting {
                // A reader that went away is no reason to stop what runs.
                let _ = writeln!(out, "{line}").and_then(|()| out.flush());
            }
            let _ = done.send(());
        });
        Self { lines: Some(lines), printed }
    }

    /// Prints a line, or leaves it out when nobody has read for long. Never blocks.
    pub fn say(&self, line: &str) {
        if let Some(lines) = &self.lines {
            let _ = lines.try_send(line.to_owned());
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.lines = None;
        let _ = self.printed.recv_timeout(LAST_LINES_WAIT);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_reader_that_does_not_read_holds_nobody_up() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let console = Console::on(writer);
        // Far more than the pipe and the queue hold together.
        for n in 0..4 * LINES_MAX {
            console.say(&format!("{n} {}", "x".repeat(200)));
        }
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text
        });
        drop(console);
        let text = reading.join().unwrap();
        let numbers: Vec<usize> =
            text.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
        assert!(numbers.len() >= LINES_MAX && numbers.len() < 4 * LINES_MAX);
        assert!(numbers.is_sorted() && numbers[0] == 0);
    }
}
