//! XML as a small tree that knows its lines. Names are without their prefixes; entities other than XML's own, and documents
//! nested deeper than any statement, are refused.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::interchange::Fault;

const DEPTH_MAX: usize = 40;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    pub line: usize,
    pub text: String,
    attributes: Vec<(String, String)>,
    children: Vec<Node>,
}

impl Node {
    /// The children of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The first node along a path, such as `Bal/Amt`.
    pub fn find(&self, path: &str) -> Option<&Self> {
        let mut node = self;
        for name in path.split('/') {
            node = node.children.iter().find(|child| child.name == name)?;
        }
        Some(node)
    }

    /// The text there.
    pub fn said(&self, path: &str) -> Option<&str> {
        Some(self.find(path)?.text.trim()).filter(|text| !text.is_empty())
    }

    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Every node of a name below this one.
    pub fn below<'a>(&'a self, name: &str, found: &mut Vec<&'a Self>) {
        for child in &self.children {
            if child.name == name {
                found.push(child);
            }
            child.below(name, found);
        }
    }
}

/// Reads a document; its root is below the node that is given.
pub fn read(text: &str) -> Result<Node, Fault> {
    let mut reader = Reader::from_str(text);
    let mut lines = Lines { text, at: 0, line: 1 };
    let mut open = vec![Node { line: 1, ..Node::default() }];
    loop {
        let event = reader.read_event();
        let line = lines.at(usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX));
        let fault = |message: String| Fault { line, message };
        match event.map_err(|error| fault(format!("it is no XML: {error}")))? {
            Event::Start(_) | Event::Empty(_) if is_second(&open) => {
                return Err(fault("there is a second element behind the document's own".into()));
            }
            Event::Start(start) => {
                if open.len() > DEPTH_MAX {
                    return Err(fault(format!("it is nested deeper than {DEPTH_MAX}")));
                }
                open.push(node(&start, line).map_err(fault)?);
            }
            Event::Empty(start) => {
                let empty = node(&start, line).map_err(fault)?;
                last(&mut open).children.push(empty);
            }
            Event::End(_) => {
                if let Some(closed) = open.pop() {
                    last(&mut open).children.push(closed);
                }
            }
            Event::Text(text) => {
                let text = text.decode().map_err(|error| fault(error.to_string()))?;
                last(&mut open).text.push_str(&text);
            }
            Event::CData(text) => {
                let text = text.decode().map_err(|error| fault(error.to_string()))?;
                last(&mut open).text.push_str(&text);
            }
            Event::GeneralRef(name) => {
                let resolved = name.resolve_char_ref().ok().flatten().map(String::from);
                let named = name.decode().map_err(|error| fault(error.to_string()))?;
                let known = quick_xml::escape::resolve_predefined_entity(&named);
                let text = resolved.or_else(|| known.map(str::to_owned));
                let text = text.ok_or_else(|| fault(format!("there is no entity &{named};")))?;
                last(&mut open).text.push_str(&text);
            }
            Event::DocType(_) => return Err(fault("a statement has no DOCTYPE".into())),
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
        if open.len() == 1 && !open[0].text.trim().is_empty() {
            return Err(fault("there is text outside of the document's element".into()));
        }
    }
    match open.pop() {
        Some(root) if open.is_empty() => Ok(root),
        unclosed => {
            let (name, line) = unclosed.map(|node| (node.name, node.line)).unwrap_or_default();
            Err(Fault { line: line.max(1), message: format!("<{name}> has no end") })
        }
    }
}

/// Whether an element would be the second of a document.
fn is_second(open: &[Node]) -> bool {
    matches!(open, [root] if !root.children.is_empty())
}

/// The node that is open. The outermost one always is.
fn last(open: &mut Vec<Node>) -> &mut Node {
    if open.is_empty() {
        open.push(Node::default());
    }
    let place = open.len() - 1;
    &mut open[place]
}

fn node(start: &BytesStart<'_>, line: usize) -> Result<Node, String> {
    let name = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| format!("it is no XML: {error}"))?;
        let value = attribute.unescape_value().map_err(|error| error.to_string())?;
        let name = String::from_utf8_lossy(attribute.key.local_name().as_ref()).into_owned();
        attributes.push((name, value.into_owned()));
    }
    Ok(Node { name, line, attributes, ..Node::default() })
}

/// Lines by position, counted as reading goes on.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl Lines<'_> {
    fn at(&mut self, position: usize) -> usize {
        let position = position.min(self.text.len());
        let passed = &self.text.as_bytes()[self.at.min(position)..position];
        self.line += passed.iter().filter(|byte| **byte == b'\n').count();
        self.at = position;
        self.line
    }
}
