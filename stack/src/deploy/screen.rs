//! The tree of a deployment on a terminal, drawn again in place. A thread of its own draws, so that a
//! terminal that is held (Ctrl-S) holds up nothing but what is seen.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::progress::Progress;
use super::run::now;
use super::tree::{self, Size};

/// Between two looks whether there is something to draw.
const LOOK: Duration = Duration::from_millis(200);
/// Lines above the tree that may wait for a terminal that is held; the oldest go.
const NOTES_MAX: usize = 1024;
/// What a slow terminal gets for the last picture.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// The terminal's size where it does not tell it.
const UNTOLD: Size = Size { columns: 80, rows: 24 };

#[derive(Default)]
struct Shared {
    progress: Progress,
    /// Lines that stay, above the tree.
    notes: VecDeque<String>,
}

/// A tree on stderr. Dropping it leaves its last picture.
pub struct Screen {
    shared: Arc<Mutex<Shared>>,
    stop: Option<SyncSender<()>>,
    ended: Receiver<()>,
}

impl Screen {
    /// Draws on stderr, which is a terminal.
    pub fn on_stderr(progress: Progress) -> Self {
        let shared = Arc::new(Mutex::new(Shared { progress, notes: VecDeque::new() }));
        let (stop, stopped) = sync_channel(0);
        let (end, ended) = sync_channel(1);
        let seen = Arc::clone(&shared);
        std::thread::spawn(move || {
            draw(&seen, &stopped);
            let _ = end.send(());
        });
        Self { shared, stop: Some(stop), ended }
    }

    /// A line that stays, above the tree.
    pub fn note(&self, line: &str) {
        let mut shared = locked(&self.shared);
        if shared.notes.len() == NOTES_MAX {
            shared.notes.pop_front();
        }
        shared.notes.push_back(line.to_owned());
    }

    pub fn change(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut locked(&self.shared).progress);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.stop = None;
        let _ = self.ended.recv_timeout(LAST_WAIT);
    }
}

fn locked(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn draw(shared: &Mutex<Shared>, stopped: &Receiver<()>) {
    let mut before: Vec<String> = Vec::new();
    loop {
        let last = stopped.recv_timeout(LOOK) != Err(std::sync::mpsc::RecvTimeoutError::Timeout);
        let size = size();
        let (notes, lines) = {
            let mut shared = locked(shared);
            let notes: Vec<String> = shared.notes.drain(..).collect();
            (notes, tree::lines(&shared.progress, now(), size))
        };
        if !notes.is_empty() || lines != before {
            let frame = frame(before.len(), &notes, &lines);
            let mut terminal = std::io::stderr().lock();
            // A terminal that went away is no reason to stop what is followed.
            let _ = terminal.write_all(frame.as_bytes()).and_then(|()| terminal.flush());
            before = lines;
        }
        if last {
            return;
        }
    }
}

/// What replaces a picture of `before` lines: the notes, which stay, and a new picture under them.
fn frame(before: usize, notes: &[String], lines: &[String]) -> String {
    let mut frame = String::from("\r");
    if before > 0 {
        let _ = write!(frame, "\x1b[{before}A");
    }
    frame.push_str("\x1b[J");
    for line in notes.iter().chain(lines) {
        frame.push_str(line);
        frame.push('\n');
    }
    frame
}

/// The terminal's size, without the line that the cursor stands on.
fn size() -> Size {
    let told = rustix::termios::tcgetwinsize(rustix::stdio::stderr());
    let size = told.ok().filter(|told| told.ws_col > 0 && told.ws_row > 0);
    let size = size.map_or(UNTOLD, |told| Size {
        columns: usize::from(told.ws_col),
        rows: usize::from(told.ws_row),
    });
    Size { rows: size.rows.saturating_sub(1), ..size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_takes_the_place_of_the_one_before_and_notes_stay_above() {
        let lines = ["a".to_owned(), "b".to_owned()];
        assert_eq!(frame(0, &[], &lines), "\r\x1b[Ja\nb\n");
        assert_eq!(frame(2, &["note".to_owned()], &lines[..1]), "\r\x1b[2A\x1b[Jnote\na\n");
    }
}
