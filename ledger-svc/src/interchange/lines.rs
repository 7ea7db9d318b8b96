//! Lines of plain-text accounting: a directive, and what is indented below it.

use std::collections::btree_map::Entry;

use super::fault::Found;
use super::own::OWN;
use crate::metadata::Metadata;

/// A line with its number, counted from 1, without what ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub number: usize,
    pub text: &'a str,
}

/// A line that begins at the margin, and the indented ones below it. Blank lines are in neither.
#[derive(Debug, PartialEq, Eq)]
pub struct Block<'a> {
    pub head: Line<'a>,
    pub below: Vec<Line<'a>>,
}

/// Cuts a text into blocks. What is indented below nothing is a block of its own.
pub fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut apart = true;
    for (number, text) in (1..).zip(text.lines()) {
        let line = Line { number, text: text.trim_end() };
        if line.text.is_empty() {
            apart = true;
            continue;
        }
        match blocks.last_mut() {
            Some(block) if line.text.starts_with([' ', '\t']) && !apart => block.below.push(line),
            _ => blocks.push(Block { head: line, below: Vec::new() }),
        }
        apart = false;
    }
    blocks
}

/// Names and values of a directive: an export's own apart from a person's.
#[derive(Debug, Default)]
pub struct Named {
    own: Vec<(String, String)>,
    pub metadata: Metadata,
}

impl Named {
    pub fn add(&mut self, line: usize, name: &str, value: String, found: &mut Found) {
        let name = name.to_ascii_lowercase();
        if let Some(own) = name.strip_prefix(OWN) {
            if self.own.iter().any(|(known, _)| known == own) {
                found.at(line, format!("{name} is given twice"));
            }
            self.own.push((own.to_owned(), value));
        } else {
            self.add_metadata(line, name, value, found);
        }
    }

    /// A person's, whatever its name begins with.
    pub fn add_metadata(&mut self, line: usize, name: String, value: String, found: &mut Found) {
        match self.metadata.0.entry(name) {
            Entry::Occupied(given) => {
                found.at(line, format!("the name {:?} is given twice", given.key()));
            }
            Entry::Vacant(free) => {
                free.insert(value);
            }
        }
    }

    /// Takes one of an export's own out.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let place = self.own.iter().position(|(known, _)| known == name)?;
        Some(self.own.remove(place).1)
    }

    /// A person's names and values; an export's own that nobody took are not known here.
    pub fn rest(self, line: usize, found: &mut Found) -> Metadata {
        for (name, _) in &self.own {
            found.at(line, format!("{OWN}{name} is not known here"));
        }
        found.or_note(line, self.metadata.validate());
        self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_indented_belongs_to_what_is_above() {
        let found = blocks("a\n  b\r\n\tc\n\n  d\ne\n");
        let told: Vec<(usize, &str, Vec<&str>)> = found
            .iter()
            .map(|b| (b.head.number, b.head.text, b.below.iter().map(|l| l.text).collect()))
            .collect();
        assert_eq!(told, [(1, "a", vec!["  b", "\tc"]), (5, "  d", vec![]), (6, "e", vec![])]);
    }
}
