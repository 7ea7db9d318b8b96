//! What is wrong with a text, at its lines.

use std::fmt;

use serde::Serialize;
use thiserror::Error;
use utoipa::ToSchema;

/// Faults told at once.
pub const FAULTS_MAX: usize = 100;

/// Something that cannot be read, or cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
pub struct Fault {
    /// Counted from 1.
    pub line: usize,
    pub message: String,
}

/// All that is wrong with a text, by line; the first hundred.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}", told(.0))]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

fn told(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Faults as they are found.
#[derive(Debug, Default)]
pub struct Found(Vec<Fault>);

impl Found {
    pub fn at(&mut self, line: usize, message: impl Into<String>) {
        self.0.push(Fault { line, message: message.into() });
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value, or a fault and nothing.
    pub fn or_note<T>(&mut self, line: usize, read: Result<T, impl ToString>) -> Option<T> {
        read.map_err(|error| self.at(line, error.to_string())).ok()
    }

    pub fn end<T>(mut self, read: T) -> Result<T, Faults> {
        if self.0.is_empty() {
            return Ok(read);
        }
        self.0.sort();
        self.0.truncate(FAULTS_MAX);
        Err(Faults(self.0))
    }
}
