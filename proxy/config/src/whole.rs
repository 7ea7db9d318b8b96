//! A whole document read, held against itself, and written.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::problem::Problems;
use crate::read::read_all;
use crate::source::Source;
use crate::tree::{Node, Tree};
use crate::upstream::Upstream;
use crate::validate::validate;

impl Config {
    /// Reads a document: syntax, types and meaning; every problem at once.
    pub fn load(source: Source) -> Result<Config, Problems> {
        let tree = Tree::parse(source)?;
        Config::from_node(&tree, tree.root(), &BTreeMap::new())
    }

    /// Reads a document that is part of a larger one. `provided` are upstreams its routes may
    /// name without the document defining them; they become part of the result.
    pub fn from_node(
        tree: &Tree,
        node: &Node,
        provided: &BTreeMap<String, Upstream>,
    ) -> Result<Config, Problems> {
        let base = tree.path_of(node).unwrap_or_default();
        let mut reading = read_all::<Config>(tree, node);
        let mut problems = reading.problems;
        if let Some(config) = &mut reading.value {
            for (name, upstream) in provided {
                config.upstreams.entry(name.clone()).or_insert_with(|| upstream.clone());
            }
            problems.extend(validate(config, node, &base, &reading.pruned));
        }
        match reading.value {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(Problems::new(tree, problems)),
        }
    }

    /// The document with every default written out; loads back equal.
    pub fn to_yaml(&self) -> String {
        crate::document::to_yaml(self)
    }
}
