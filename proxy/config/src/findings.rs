//! The problems found in a document, each at the place of the value it is about.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use crate::problem::Problem;
use crate::suggest;
use crate::tree::{Node, Span, Step, steps};
use crate::units::Duration;

/// The path of something in a document that stands at `base`.
pub(crate) fn full_path(base: &str, path: &str) -> String {
    match (base, path) {
        (base, "") => base.to_owned(),
        ("", path) => path.to_owned(),
        (base, path) => format!("{base}.{path}"),
    }
}

/// Longest time that can be meant.
const TIME_MAX: Duration = Duration::secs(366 * 86_400);

/// The problems found so far, and where things stand in the document.
pub(crate) struct Findings<'a> {
    root: &'a Node,
    base: &'a str,
    problems: Vec<Problem>,
}

impl<'a> Findings<'a> {
    pub(crate) fn none(root: &'a Node, base: &'a str) -> Findings<'a> {
        Findings { root, base, problems: Vec::new() }
    }

    pub(crate) fn problems(self) -> Vec<Problem> {
        self.problems
    }
}

impl Findings<'_> {
    /// A problem with the value at `path` (relative to the document).
    pub(crate) fn add(
        &mut self,
        path: impl AsRef<str>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let problem = self.problem(path.as_ref(), message.into());
        self.problems.push(problem.hint(hint));
    }

    pub(crate) fn is_written(&self, path: &str) -> bool {
        self.root.get(path).is_some()
    }

    /// A problem between two values.
    pub(crate) fn add_related(
        &mut self,
        path: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
        related: (&str, &str),
    ) {
        let mut problem = self.problem(path, message.into()).hint(hint);
        if let Some(span) = self.place(related.0) {
            problem = problem.related(span, related.1);
        }
        self.problems.push(problem);
    }

    fn problem(&self, path: &str, message: String) -> Problem {
        let full = full_path(self.base, path);
        let span = self.place(path).or_else(|| self.nearest(path));
        Problem::new(full, span, message)
    }

    /// The place of a value: a scalar itself; of a list or map its key.
    fn place(&self, path: &str) -> Option<Span> {
        let mut node = self.root;
        let mut key = None;
        for step in steps(path) {
            (node, key) = match step {
                Step::Key(name) => {
                    let entry = node.entry(name)?;
                    (&entry.value, Some(entry.key.span))
                }
                Step::Index(index) => (node.as_list()?.get(index)?, None),
            };
        }
        let first = || node.as_map()?.first().map(|entry| entry.key.span);
        match node.as_text() {
            Some(text) if !text.is_empty() => Some(node.span),
            _ => key.or_else(first).or(Some(node.span)),
        }
    }

    /// The place of the closest thing around a value that was not written.
    fn nearest(&self, path: &str) -> Option<Span> {
        let mut path = path;
        while let Some(at) = path.rfind(['.', '[']) {
            path = &path[..at];
            if let Some(span) = self.place(path) {
                return Some(span);
            }
        }
        self.place("")
    }

    /// A reference to a name that must stand in a section. Names that are written count even when
    /// what they name could not be read.
    pub(crate) fn must_exist<T>(
        &mut self,
        path: impl AsRef<str>,
        name: &str,
        section: &str,
        known: &BTreeMap<String, T>,
    ) {
        if known.contains_key(name) {
            return;
        }
        let written = self.root.child(section).and_then(Node::as_map).unwrap_or(&[]);
        let written = written.iter().map(|entry| entry.key.text.as_str());
        let names: BTreeSet<&str> = known.keys().map(String::as_str).chain(written).collect();
        if !names.contains(name) {
            let names: Vec<&str> = names.into_iter().collect();
            let hint = suggest::hint(name, &names, section);
            self.add(path, format!("there is no `{name}` under `{section}`"), hint);
        }
    }

    pub(crate) fn not_zero(&mut self, path: impl AsRef<str>, value: impl Into<u64>) {
        if value.into() == 0 {
            self.add(path, "0 would let nothing through", "write at least 1, or remove the key");
        }
    }

    pub(crate) fn time_not_zero(&mut self, path: impl AsRef<str>, value: Duration) {
        if value.is_zero() {
            let hint = "write a time above zero, or remove the key for the default";
            self.add(path, "a time of 0 would make every request fail", hint);
        } else {
            self.time(path, value);
        }
    }

    pub(crate) fn time(&mut self, path: impl AsRef<str>, value: Duration) {
        if value > TIME_MAX {
            let message = format!("{value} is longer than {TIME_MAX}");
            self.add(path, message, "is the unit right? `ms`, `s`, `m`, `h`, `d`");
        }
    }

    /// Names become labels of metrics and parts of paths.
    pub(crate) fn name(&mut self, path: impl AsRef<str>, name: &str, what: &str) {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        if starts_well && name.len() <= 63 && name.chars().all(legal) {
            return;
        }
        let better: String =
            name.to_lowercase().chars().map(|c| if legal(c) { c } else { '-' }).take(63).collect();
        let better = better.trim_matches(['-', '_']);
        let rule = "1 to 63 of `a-z`, `0-9`, `-`, `_`, not starting with `-` or `_`";
        let hint = match better {
            "" => rule.to_owned(),
            better => format!("write `{better}`: {rule}"),
        };
        self.add(path, format!("`{name}` cannot be the name of {what}"), hint);
    }

    pub(crate) fn names<T>(&mut self, section: &str, map: &BTreeMap<String, T>, what: &str) {
        for name in map.keys() {
            self.name(child(section, name), name, what);
        }
    }

    pub(crate) fn status(&mut self, path: impl AsRef<str>, status: u16, from: u16, to: u16) {
        if status < from || status > to {
            let message = format!("{status} is not a status that can stand here");
            self.add(path, message, format!("write a status from {from} to {to}"));
        }
    }
}

/// `upstreams` and `ledger` → `upstreams.ledger`.
pub(crate) fn child(section: &str, name: &str) -> String {
    let mut path = section.to_owned();
    crate::tree::push_key(&mut path, name);
    path
}

/// `routes` and 2 → `routes[2]`.
pub(crate) fn item(section: impl Display, index: usize) -> String {
    format!("{section}[{index}]")
}
