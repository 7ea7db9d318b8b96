//! Who is told how a deployment goes: a line for each event, or a tree on a terminal, or both where the
//! lines go elsewhere.

use std::io::IsTerminal;

use super::progress::Progress;
use super::run::now;
use super::screen::Screen;
use super::told;
use crate::cloud::Event;

/// Where a deployment's events go.
pub struct Show {
    /// Prints a line on stdout.
    say: fn(&str),
    lines: bool,
    screen: Option<Screen>,
}

impl Show {
    /// A tree where stderr is a terminal that can move its cursor, lines where stdout is none, and lines
    /// where there is no tree.
    pub fn of(title: &str, stacks: &[String], say: fn(&str)) -> Self {
        let dumb = std::env::var("TERM").is_ok_and(|terminal| terminal == "dumb");
        let tree = std::io::stderr().is_terminal() && !dumb;
        let screen = tree.then(|| Screen::on_stderr(Progress::of(title, stacks, now())));
        let lines = !tree || !std::io::stdout().is_terminal();
        Self { say, lines, screen }
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        if self.lines {
            (self.say)(line);
        }
        // Where there are both, the lines go elsewhere.
        if let Some(screen) = &self.screen {
            screen.note(line);
        }
    }

    /// An event of an operation that began at `start`, in milliseconds since 1970.
    pub fn event(&self, event: &Event, start: i64) {
        if self.lines {
            (self.say)(&told::line(event, start));
        }
        self.change(|progress| progress.apply(event));
    }

    /// Something is asked of a stack.
    pub fn begin(&self, stack: &str, status: &str) {
        self.change(|progress| progress.begin(stack, now(), status));
    }

    /// For how many resources there is something to do.
    pub fn expect(&self, stack: &str, total: usize) {
        self.change(|progress| progress.expect(stack, total));
    }

    /// Nothing is done to a stack any more.
    pub fn end(&self, stack: &str, well: bool, status: &str) {
        self.change(|progress| progress.end(stack, now(), well, status));
    }

    fn change(&self, change: impl FnOnce(&mut Progress)) {
        if let Some(screen) = &self.screen {
            screen.change(change);
        }
    }
}
