//! A parsed document: every value with the place it was written at. Trees may be laid over one
//! another (an environment's `extends`), so a place names its source too.

use crate::source::Source;

/// A place in one of a tree's sources. Lines and columns count from 1, columns in characters;
/// `start..end` are bytes of the source's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub source: usize,
    pub line: usize,
    pub column: usize,
    pub start: usize,
    pub end: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub span: Span,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    /// Entries in document order; keys are unique.
    Map(Vec<Entry>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: Key,
    pub value: Node,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    pub text: String,
    pub span: Span,
}

/// A scalar keeps its text, so that `1.10` is not confused with `1.1` and messages can quote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    pub text: String,
    /// Written in quotes or as a block: text whatever it looks like.
    pub quoted: bool,
}

/// What a scalar means by the core schema of YAML 1.2 (section 10.3): `yes` and `no` are text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Meaning<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'a str),
}

impl Scalar {
    pub fn meaning(&self) -> Meaning<'_> {
        let text = self.text.as_str();
        if self.quoted {
            return Meaning::Text(text);
        }
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Meaning::Null,
            "true" | "True" | "TRUE" => return Meaning::Bool(true),
            "false" | "False" | "FALSE" => return Meaning::Bool(false),
            _ => {}
        }
        let numeric = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
        let starts = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
        if !starts || !text.chars().all(numeric) || !text.contains(|c: char| c.is_ascii_digit()) {
            return Meaning::Text(text);
        }
        if let Ok(number) = text.parse::<u64>() {
            return Meaning::Unsigned(number);
        }
        if let Ok(number) = text.parse::<i64>() {
            return Meaning::Signed(number);
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Meaning::Float(number),
            _ => Meaning::Text(text),
        }
    }
}

impl Node {
    /// The text of a scalar as written, whatever its meaning.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_map(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.as_map()?.iter().find(|entry| entry.key.text == key)
    }

    pub fn child(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The node at a path such as `edge.proxy` or `routes[2].match`; an empty path is the node.
    pub fn get(&self, path: &str) -> Option<&Node> {
        let mut node = self;
        for step in steps(path) {
            node = match step {
                Step::Key(key) => node.child(key)?,
                Step::Index(index) => node.as_list()?.get(index)?,
            };
        }
        Some(node)
    }

    /// What to call this node in a message: `a list`, `a map`, `text`, `nothing`, ...
    pub fn kind_name(&self) -> &'static str {
        match &self.value {
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Scalar(scalar) => match scalar.meaning() {
                Meaning::Null => "nothing",
                Meaning::Bool(_) => "true or false",
                Meaning::Unsigned(_) | Meaning::Signed(_) | Meaning::Float(_) => "a number",
                Meaning::Text(_) => "text",
            },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// Splits `routes[2].match` into its steps. Keys that hold dots or brackets are written
/// `["a.b"]`, see [`push_key`].
pub(crate) fn steps(path: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if let Some(quoted) = rest.strip_prefix("[\"") {
            let end = quoted.find("\"]").unwrap_or(quoted.len());
            steps.push(Step::Key(&quoted[..end]));
            rest = quoted.get(end + 2..).unwrap_or("");
        } else if let Some(index) = rest.strip_prefix('[') {
            let end = index.find(']').unwrap_or(index.len());
            steps.push(Step::Index(index[..end].parse().unwrap_or(usize::MAX)));
            rest = index.get(end + 1..).unwrap_or("");
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            if end > 0 {
                steps.push(Step::Key(&rest[..end]));
            }
            rest = &rest[end..];
        }
    }
    steps
}

/// Appends a key to a path: `routes[2]` and `match` give `routes[2].match`.
pub(crate) fn push_key(path: &mut String, key: &str) {
    if key.is_empty() || key.contains(['.', '[', ']', '"']) {
        path.push_str("[\"");
        path.push_str(key);
        path.push_str("\"]");
    } else {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key);
    }
}

pub(crate) fn push_index(path: &mut String, index: usize) {
    path.push_str(&format!("[{index}]"));
}

/// A document, or several laid over one another, with the sources its places point into.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    pub(crate) sources: Vec<Source>,
    pub(crate) root: Node,
}

impl Tree {
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The node at a path such as `edge.proxy` or `routes[2]`.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.root.get(path)
    }

    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Lays `over` on top: maps merge key by key, scalars and lists of `over` replace. Every node
    /// keeps the place it was written at.
    pub fn overlaid_by(mut self, over: Tree) -> Tree {
        let shift = self.sources.len();
        let mut top = over.root;
        shift_sources(&mut top, shift);
        self.sources.extend(over.sources);
        overlay(&mut self.root, top);
        self
    }

    /// The path of a node of this tree; `None` for a node of another.
    pub fn path_of(&self, node: &Node) -> Option<String> {
        path_to(&self.root, node, String::new())
    }

    /// Where a node stands: its key when it has one, else itself. For messages about the whole.
    pub fn place_of(&self, path: &str) -> Option<Span> {
        let mut node = &self.root;
        let mut place = node.span;
        for step in steps(path) {
            match step {
                Step::Key(key) => {
                    let entry = node.entry(key)?;
                    place = entry.key.span;
                    node = &entry.value;
                }
                Step::Index(index) => {
                    node = node.as_list()?.get(index)?;
                    place = node.span;
                }
            }
        }
        Some(place)
    }
}

/// Whether a path is one of those a pattern stands for: in a pattern `*` is any key and `[]` any
/// item.
pub fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, path) = (steps(pattern), steps(path));
    pattern.len() == path.len()
        && pattern.iter().zip(&path).all(|steps| match steps {
            (Step::Key("*"), Step::Key(_)) | (Step::Index(usize::MAX), Step::Index(_)) => true,
            (wanted, step) => wanted == step,
        })
}

impl Node {
    /// Every node within, itself first, each with its path from here.
    pub fn all(&self) -> Vec<(String, &Node)> {
        let mut found = Vec::new();
        collect(self, "", &mut found);
        found
    }
}

fn collect<'a>(node: &'a Node, path: &str, found: &mut Vec<(String, &'a Node)>) {
    found.push((path.to_owned(), node));
    match &node.value {
        Value::Scalar(_) => {}
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                let mut path = path.to_owned();
                push_index(&mut path, index);
                collect(item, &path, found);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                let mut path = path.to_owned();
                push_key(&mut path, &entry.key.text);
                collect(&entry.value, &path, found);
            }
        }
    }
}

fn path_to(from: &Node, wanted: &Node, path: String) -> Option<String> {
    if std::ptr::eq(from, wanted) {
        return Some(path);
    }
    match &from.value {
        Value::Scalar(_) => None,
        Value::List(items) => items.iter().enumerate().find_map(|(index, item)| {
            let mut path = path.clone();
            push_index(&mut path, index);
            path_to(item, wanted, path)
        }),
        Value::Map(entries) => entries.iter().find_map(|entry| {
            let mut path = path.clone();
            push_key(&mut path, &entry.key.text);
            path_to(&entry.value, wanted, path)
        }),
    }
}

fn overlay(base: &mut Node, over: Node) {
    match (&mut base.value, over) {
        (Value::Map(below), Node { value: Value::Map(above), .. }) => {
            for entry in above {
                match below.iter_mut().find(|existing| existing.key.text == entry.key.text) {
                    Some(existing) => {
                        let both_maps =
                            existing.value.as_map().is_some() && entry.value.as_map().is_some();
                        if !both_maps {
                            existing.key = entry.key;
                        }
                        overlay(&mut existing.value, entry.value);
                    }
                    None => below.push(entry),
                }
            }
        }
        (_, over) => *base = over,
    }
}

fn shift_sources(node: &mut Node, by: usize) {
    node.span.source += by;
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::List(items) => items.iter_mut().for_each(|item| shift_sources(item, by)),
        Value::Map(entries) => {
            for entry in entries {
                entry.key.span.source += by;
                shift_sources(&mut entry.value, by);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_mean_what_yaml_1_2_says() {
        let plain = |text: &str| Scalar { text: text.to_owned(), quoted: false };
        let cases = [
            ("", Meaning::Null),
            ("~", Meaning::Null),
            ("null", Meaning::Null),
            ("true", Meaning::Bool(true)),
            ("False", Meaning::Bool(false)),
            ("yes", Meaning::Text("yes")),
            ("8080", Meaning::Unsigned(8080)),
            ("-1", Meaning::Signed(-1)),
            ("1.10", Meaning::Float(1.1)),
            ("1e3", Meaning::Float(1000.0)),
            ("64MiB", Meaning::Text("64MiB")),
            ("127.0.0.1", Meaning::Text("127.0.0.1")),
            ("127.0.0.1:80", Meaning::Text("127.0.0.1:80")),
            ("1-2", Meaning::Text("1-2")),
            ("-", Meaning::Text("-")),
            (".", Meaning::Text(".")),
            ("1e999", Meaning::Text("1e999")),
            ("18446744073709551615", Meaning::Unsigned(u64::MAX)),
        ];
        for (text, expected) in cases {
            assert_eq!(plain(text).meaning(), expected, "{text}");
        }
        let quoted = Scalar { text: "8080".to_owned(), quoted: true };
        assert_eq!(quoted.meaning(), Meaning::Text("8080"));
    }

    #[test]
    fn paths_name_keys_and_items() {
        let text = "a:\n  b.c: [1, { d: 2 }]\n  \"\": 3\n";
        let tree = Tree::parse(Source::new("paths.yaml", text)).expect("YAML");
        let node = tree.get("a[\"b.c\"][1].d").expect("a node");
        assert_eq!(node.as_text(), Some("2"));
        assert_eq!(tree.path_of(node).as_deref(), Some("a[\"b.c\"][1].d"));
        assert_eq!(tree.get("a[\"\"]").and_then(Node::as_text), Some("3"));
        let span = tree.place_of("a[\"b.c\"][1].d").expect("a place");
        assert_eq!((span.line, span.column), (2, 14));
        assert!(fits("a.*[].d", "a[\"b.c\"][1].d") && !fits("a.*[].d", "a[\"b.c\"][1].e"));
        let paths: Vec<String> = tree.root().all().into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths[1..4], ["a", "a[\"b.c\"]", "a[\"b.c\"][0]"]);
        for missing in ["x", "a[0]", "a[\"b.c\"][2]", "a[\"b.c\"][1].d.e", "a[\"b.c\"][x]"] {
            assert_eq!(tree.get(missing), None, "{missing}");
        }
    }
}
