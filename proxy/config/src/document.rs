//! YAML in and out. The only file that names the YAML library.
//!
//! The tree is built from the parser's events rather than through serde, because only events have
//! the place of keys, of both of two duplicate keys, and the text of scalars as written.

use std::collections::HashMap;

use serde::Serialize;
use serde_saphyr::granit_parser::{self, ErrorKind, Event, Parser, ScalarStyle, ScanError};

use crate::problem::{Problem, Problems};
use crate::source::{SOURCE_BYTES_MAX, Source};
use crate::tree::{Entry, Key, Node, Scalar, Span, Tree, Value, push_index, push_key};

/// Deepest nesting of lists and maps.
const DEPTH_MAX: usize = 48;

/// Most values in a document once aliases are replaced by what they stand for.
const NODES_MAX: usize = 100_000;

impl Tree {
    /// Parses YAML: a syntax error, and all duplicate keys, each at its place.
    pub fn parse(source: Source) -> Result<Tree, Problems> {
        if source.text.len() as u64 > SOURCE_BYTES_MAX {
            let message = format!("the document is larger than {SOURCE_BYTES_MAX} bytes");
            let problem = Problem::new("", Some(start_of_document()), message)
                .hint("split it; a document of this size cannot be right");
            let cut = Source { name: source.name, text: String::new() };
            return Err(Problems::in_sources(vec![cut], vec![problem]));
        }
        let mut builder = Builder::new(&source.text);
        let root = builder.document();
        let problems = builder.problems;
        match root {
            Ok(root) if problems.is_empty() => Ok(Tree { sources: vec![source], root }),
            _ => Err(Problems::in_sources(vec![source], problems)),
        }
    }
}

/// Any value as a YAML document. The values of this workspace hold only what YAML can say.
pub fn to_yaml<T: Serialize>(value: &T) -> String {
    serde_saphyr::to_string(value).expect("a model of maps, lists and scalars is YAML")
}

fn start_of_document() -> Span {
    Span { source: 0, line: 1, column: 1, start: 0, end: 0 }
}

struct Builder<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    text: &'a str,
    anchors: HashMap<usize, Node>,
    problems: Vec<Problem>,
    nodes: usize,
    path: String,
}

/// Nothing can be read after this; why is among the problems.
struct Stop;

impl<'a> Builder<'a> {
    fn stop(&mut self, problem: Problem) -> Stop {
        self.problems.push(problem);
        Stop
    }

    fn new(text: &'a str) -> Builder<'a> {
        let mut options = granit_parser::options! { emit_unresolved_aliases: true };
        options.set_emit_comments(false);
        Builder {
            parser: Parser::new_from_str_with_options(text, options),
            text,
            anchors: HashMap::new(),
            problems: Vec::new(),
            nodes: 0,
            path: String::new(),
        }
    }

    /// The one document of the text.
    fn document(&mut self) -> Result<Node, Stop> {
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(..), _) => {}
                (Event::StreamEnd, _) => {
                    let problem =
                        Problem::new("", Some(start_of_document()), "the document is empty");
                    return Err(self.stop(problem.hint("begin with `version: 1`")));
                }
                (event, span) => {
                    let root = self.node(event, span, 0)?;
                    self.end_of_stream()?;
                    return Ok(root);
                }
            }
        }
    }

    fn end_of_stream(&mut self) -> Result<(), Stop> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(()),
                (Event::DocumentEnd, _) => {}
                (_, span) => {
                    let problem = Problem::new("", Some(span), "a second document starts here");
                    return Err(
                        self.stop(problem.hint("a file holds one document: remove the `---`"))
                    );
                }
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Stop> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, self.span(span.start, span.end))),
            Some(Err(error)) => {
                let problem = self.syntax_problem(&error);
                Err(self.stop(problem))
            }
            None => Ok((Event::StreamEnd, start_of_document())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Stop> {
        self.count(1, span)?;
        if depth > DEPTH_MAX {
            let message = format!("values are nested deeper than {DEPTH_MAX} levels");
            let problem = Problem::new(self.path.clone(), Some(span), message);
            return Err(self.stop(problem));
        }
        let (node, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, span),
            Event::UnresolvedAlias(name) => {
                let message = format!("`*{name}` refers to an anchor that is not there");
                let problem = Problem::new(self.path.clone(), Some(span), message)
                    .hint(format!("if text is meant, quote it: `\"*{name}\"`"));
                self.problems.push(problem);
                let scalar = Scalar { text: format!("*{name}"), quoted: true };
                return Ok(Node { span, value: Value::Scalar(scalar) });
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span);
                let quoted = style != ScalarStyle::Plain;
                let scalar = Scalar { text: text.into_owned(), quoted };
                (Node { span, value: Value::Scalar(scalar) }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span);
                (Node { span, value: Value::List(self.list(depth)?) }, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span);
                (Node { span, value: Value::Map(self.map(depth)?) }, anchor)
            }
            _ => {
                let message = "a value is missing here";
                let problem = Problem::new(self.path.clone(), Some(span), message);
                return Err(self.stop(problem));
            }
        };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Stop> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(items);
            }
            let above = self.path.len();
            push_index(&mut self.path, items.len());
            items.push(self.node(event, span, depth + 1)?);
            self.path.truncate(above);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>, Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut places: HashMap<String, Span> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let key = self.key(event, span, depth)?;
            let above = self.path.len();
            push_key(&mut self.path, &key.text);
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            match places.get(&key.text) {
                Some(first) => {
                    let message = format!("`{}` is written twice", key.text);
                    let problem = Problem::new(self.path.clone(), Some(key.span), message)
                        .related(*first, "first written here")
                        .hint("keep one of the two");
                    self.problems.push(problem);
                }
                None => {
                    places.insert(key.text.clone(), key.span);
                    entries.push(Entry { key, value });
                }
            }
            self.path.truncate(above);
        }
    }

    fn key(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Key, Stop> {
        if let Event::Scalar(text, _, _, tag) = event {
            self.refuse_tag(tag.is_some(), span);
            if text == "<<" {
                let problem =
                    Problem::new(self.path.clone(), Some(span), "merge keys are not read");
                self.problems.push(problem.hint("write the keys out"));
            }
            return Ok(Key { text: text.into_owned(), span });
        }
        let problem = Problem::new(self.path.clone(), Some(span), "a key must be plain text");
        self.problems.push(problem.hint("text that starts with `*`, `[` or `{` needs quotes"));
        let place = format!("?{}", span.start);
        self.node(event, span, depth + 1)?;
        Ok(Key { text: place, span })
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<Node, Stop> {
        let Some(node) = self.anchors.get(&anchor) else {
            let problem =
                Problem::new(self.path.clone(), Some(span), "this alias stands inside its anchor");
            return Err(self.stop(problem.hint("a value cannot contain itself")));
        };
        let node = node.clone();
        self.count(nodes_in(&node), span)?;
        Ok(node)
    }

    fn count(&mut self, nodes: usize, span: Span) -> Result<(), Stop> {
        self.nodes += nodes;
        if self.nodes > NODES_MAX {
            let message = format!("the document has more than {NODES_MAX} values");
            let problem = Problem::new(self.path.clone(), Some(span), message);
            return Err(self.stop(problem.hint("aliases count as often as they are used")));
        }
        Ok(())
    }

    fn refuse_tag(&mut self, tagged: bool, span: Span) {
        if tagged {
            let problem = Problem::new(self.path.clone(), Some(span), "tags are not used here");
            self.problems.push(problem.hint("remove the word that starts with `!`"));
        }
    }

    fn syntax_problem(&self, error: &ScanError) -> Problem {
        let mark = error.marker();
        let span = self.span(*mark, *mark);
        let message = format!("this is not YAML: {}", error.info());
        let problem = Problem::new(self.path.clone(), Some(span), message);
        match syntax_hint(error.kind()) {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }

    fn span(&self, start: granit_parser::Marker, end: granit_parser::Marker) -> Span {
        let last = self.text.len();
        let from = start.byte_offset().unwrap_or(last).min(last);
        let to = end.byte_offset().unwrap_or(from).clamp(from, last);
        Span { source: 0, line: start.line().max(1), column: start.col() + 1, start: from, end: to }
    }
}

fn nodes_in(node: &Node) -> usize {
    1 + match &node.value {
        Value::Scalar(_) => 0,
        Value::List(items) => items.iter().map(nodes_in).sum::<usize>(),
        Value::Map(entries) => entries.iter().map(|entry| nodes_in(&entry.value)).sum::<usize>(),
    }
}

fn syntax_hint(kind: &ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabInPlainScalar => Some("indent with spaces"),
        ErrorKind::MappingValueNotAllowed => {
            Some("check the indentation, and quote text that holds `: `")
        }
        ErrorKind::InvalidIndentation
        | ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::SimpleKeyExpected => Some("check the indentation and the `:` after each key"),
        ErrorKind::UnclosedQuotedScalar | ErrorKind::InvalidQuotedScalarIndent => {
            Some("close the quotes of the text that begins above")
        }
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::ExpectedFlowMappingSeparator
        | ErrorKind::ExpectedFlowSequenceSeparator => Some("close the bracket, or add a comma"),
        ErrorKind::UnknownQuotedScalarEscape => {
            Some("write `\\\\` for a backslash, or use single quotes")
        }
        _ => None,
    }
}
