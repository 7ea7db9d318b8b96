//! What is wrong with a document: every problem at once, each at its place.

use crate::source::Source;
use crate::tree::{Span, Tree};

/// One thing that is wrong: where, what, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the value, such as `routes[2].match.paths`; empty for the document as a whole.
    pub path: String,
    pub span: Option<Span>,
    pub message: String,
    pub hint: Option<String>,
    /// Another place that belongs to the problem, with what is there ("first written here").
    pub related: Option<(Span, String)>,
}

impl Problem {
    pub fn new(path: impl Into<String>, span: Option<Span>, message: impl Into<String>) -> Problem {
        Problem { path: path.into(), span, message: message.into(), hint: None, related: None }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    pub fn related(mut self, span: Span, label: impl Into<String>) -> Problem {
        self.related = Some((span, label.into()));
        self
    }
}

/// All problems of a document with the sources their places point into, sorted by place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Problems {
    pub(crate) problems: Vec<Problem>,
    pub(crate) sources: Vec<Source>,
}

impl Problems {
    pub fn new(tree: &Tree, problems: Vec<Problem>) -> Problems {
        Problems::in_sources(tree.sources().to_vec(), problems)
    }

    /// For problems found before there is a tree.
    pub fn in_sources(sources: Vec<Source>, mut problems: Vec<Problem>) -> Problems {
        problems.sort_by(|a, b| {
            (a.span.is_none(), a.span, &a.path).cmp(&(b.span.is_none(), b.span, &b.path))
        });
        problems.dedup();
        Problems { problems, sources }
    }

    pub fn len(&self) -> usize {
        self.problems.len()
    }

    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.problems.iter()
    }

    pub fn sources(&self) -> &[Source] {
        &self.sources
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl std::error::Error for Problems {}
