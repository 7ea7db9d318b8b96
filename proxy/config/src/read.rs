//! Typed reading of a tree that reports all problems at once.
//!
//! serde stops at the first error. So a value that cannot be read is recorded and pruned, and the
//! whole is read again, until it succeeds or the root itself is wrong. What goes wrong only
//! because something was pruned is not reported.

use std::collections::HashSet;

use serde::de::DeserializeOwned;

use crate::problem::{Problem, Problems};
use crate::read_error::{At, Fault, ReadError};
use crate::reader::{Reader, identity};
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
    /// Paths that are left out of `value`.
    pub(crate) pruned: Vec<String>,
}

pub(crate) fn read_all<T: DeserializeOwned>(tree: &Tree, node: &Node) -> Reading<T> {
    let base = tree.path_of(node).unwrap_or_default();
    let mut left_out = HashSet::new();
    let mut reading = Reading { value: None, problems: Vec::new(), pruned: Vec::new() };
    loop {
        let reader = Reader::root(node, &base, &left_out);
        let error = match T::deserialize(reader) {
            Ok(value) => {
                reading.value = Some(value);
                return reading;
            }
            Err(error) => error,
        };
        let ReadError { fault, at } = error;
        let at = at.unwrap_or_else(|| reader.at());
        let progress = left_out.insert(at.node);
        reading.problems.extend(problem(fault, &at));
        reading.pruned.push(at.path);
        if at.node == identity(node) || !progress || reading.problems.len() >= PROBLEMS_MAX {
            return reading;
        }
    }
}

fn problem(fault: Fault, at: &At) -> Option<Problem> {
    match fault {
        Fault::Consequence => None,
        Fault::Wrong { message, hint } => {
            let mut problem = Problem::new(at.path.clone(), Some(at.span), message);
            problem.hint = hint;
            Some(problem)
        }
        Fault::Missing(key) => {
            let mut path = at.path.clone();
            push_key(&mut path, key);
            Some(Problem::new(path, Some(at.span), format!("`{key}` is missing")))
        }
    }
}
