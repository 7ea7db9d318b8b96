//! Where something stands in the files that were read.

use serde::Serialize;

/// A place in a file: index of the file in [`Files`], line and column from 1, column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: usize,
    pub line: usize,
    pub column: usize,
}

/// The names of the files that were read, in the order they were opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Files(Vec<String>);

impl Files {
    pub fn add(&mut self, name: String) -> usize {
        self.0.push(name);
        self.0.len() - 1
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn name(&self, file: usize) -> &str {
        self.0.get(file).map_or("", String::as_str)
    }

    /// `site.conf:12`, as nginx writes places.
    pub fn line(&self, place: Place) -> String {
        format!("{}:{}", self.name(place.file), place.line)
    }
}
