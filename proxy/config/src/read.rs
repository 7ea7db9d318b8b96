//! Typed reading of a tree that reports all problems at once.
//!
//! serde stops at the first error. So a value that cannot be read is recorded and pruned, and the
//! whole is read again, until it succeeds or the root itself is wrong. A missing key is given a
//! stand-in, so that the next missing one is found. What goes wrong only because something was
//! pruned is not reported.

use serde::de::DeserializeOwned;

use crate::problem::{Problem, Problems};
use crate::read_error::{At, Fault, ReadError};
use crate::reader::{Found, Reader, identity};
use crate::tree::{Node, Tree, push_key};

/// Problems after which reading stops: more would not be read by anyone.
const PROBLEMS_MAX: usize = 100;

/// Reads a node of a tree as a type; every problem at its place.
///
/// A type's own message (`serde::de::Error::custom`) may carry a hint on a second line that begins
/// with `hint: `, as [`crate::units::UnitError`] does.
pub fn read<T: DeserializeOwned>(tree: &Tree, node: &Node) -> Result<T, Problems> {
    match read_all(tree, node) {
        Reading { value: Some(value), problems, .. } if problems.is_empty() => Ok(value),
        reading => Err(Problems::new(tree, reading.problems)),
    }
}

/// What could be read, and what was wrong with the rest.
pub(crate) struct Reading<T> {
    /// `None` when the root itself cannot be read.
    pub(crate) value: Option<T>,
    pub(crate) problems: Vec<Problem>,
    /// Paths that are left out of `value` or have stand-ins in it.
    pub(crate) pruned: Vec<String>,
}

pub(crate) fn read_all<T: DeserializeOwned>(tree: &Tree, node: &Node) -> Reading<T> {
    let base = tree.path_of(node).unwrap_or_default();
    let mut found = Found::default();
    let mut reading = Reading { value: None, problems: Vec::new(), pruned: Vec::new() };
    loop {
        let reader = Reader::root(node, &base, &found);
        let error = match T::deserialize(reader) {
            Ok(value) => {
                reading.value = Some(value);
                return reading;
            }
            Err(error) => error,
        };
        let ReadError { fault, at } = error;
        let at = at.unwrap_or_else(|| reader.at());
        let goes_on = match fault {
            Fault::Missing(key) | Fault::MissingAsReported(key) => {
                let missing = found.missing.entry(at.node).or_default();
                let is_new = !missing.contains(&key);
                missing.push(key);
                is_new
            }
            _ => found.left_out.insert(at.node) && at.node != identity(node),
        };
        reading.pruned.push(path_of(&fault, &at));
        reading.problems.extend(problem(fault, &at));
        if reading.problems.len() == PROBLEMS_MAX {
            let message = format!("reading stopped after {PROBLEMS_MAX} problems");
            let stopped = Problem::new(base, Some(at.span), message);
            reading.problems.push(stopped.hint("correct these first; there may be more"));
            return reading;
        }
        if !goes_on {
            return reading;
        }
    }
}

fn path_of(fault: &Fault, at: &At) -> String {
    let mut path = at.path.clone();
    if let Fault::Missing(key) | Fault::MissingAsReported(key) = fault {
        push_key(&mut path, key);
    }
    path
}

fn problem(fault: Fault, at: &At) -> Option<Problem> {
    match fault {
        Fault::Consequence | Fault::MissingAsReported(_) => None,
        Fault::Wrong { message, hint } => {
            let mut problem = Problem::new(at.path.clone(), Some(at.span), message);
            problem.hint = hint;
            Some(problem)
        }
        Fault::Missing(key) => {
            let path = path_of(&fault, at);
            Some(Problem::new(path, Some(at.span), format!("`{key}` is missing")))
        }
    }
}
