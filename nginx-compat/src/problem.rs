//! What keeps nginx itself from accepting a file, said where nginx would say it.

use std::fmt::Write as _;

use crate::place::{Files, Place};

/// One fault of a configuration. `place.line` is the line nginx names in its own message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    pub message: String,
    /// What to do about it, where that is more than the message says.
    pub hint: Option<String>,
}

impl Problem {
    pub fn new(place: Place, message: impl Into<String>) -> Problem {
        Problem { place, message: message.into(), hint: None }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }
}

/// All problems as text, one per paragraph, in the order of their places.
pub fn render(problems: &[Problem], files: &Files) -> String {
    let mut text = String::new();
    for problem in problems {
        let Place { file, line, column } = problem.place;
        let _ = writeln!(text, "{}:{line}:{column}: {}", files.name(file), problem.message);
        if let Some(hint) = &problem.hint {
            let _ = writeln!(text, "    {hint}");
        }
    }
    text
}
