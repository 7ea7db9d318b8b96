//! Typed reading of a tree that reports all problems at once.

use serde::de::DeserializeOwned;

use crate::problem::Problems;
use crate::tree::{Node, Tree};

/// Reads a node of a tree as a type; every problem at its place.
pub fn read<T: DeserializeOwned>(tree: &Tree, node: &Node) -> Result<T, Problems> {
    let _ = node;
    Err(Problems::new(tree, Vec::new()))
}
