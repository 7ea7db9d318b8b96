//! The tree of directives: what was written, with every place, before anything is understood.

use crate::place::{Files, Place};

/// A configuration: the main file and all that it includes.
#[derive(Clone, Debug, Default)]
pub struct Document {
    pub files: Files,
    pub directives: Vec<Directive>,
    /// How many directives there are; ids run from 0 to this in the order they were read.
    pub count: usize,
}

#[derive(Clone, Debug)]
pub struct Directive {
    pub id: usize,
    pub name: String,
    pub arguments: Vec<Word>,
    pub body: Body,
    /// Where the name stands.
    pub start: Place,
    /// Where its `;` or `{` stands: the line nginx names in messages.
    pub end: Place,
}

/// An argument, with quotes and backslashes already taken away.
#[derive(Clone, Debug)]
pub struct Word {
    pub text: String,
    pub place: Place,
}

#[derive(Clone, Debug)]
pub enum Body {
    /// `name arguments;`
    Simple,
    /// `name arguments { ... }`
    Block(Vec<Directive>),
    /// `name_by_lua_block arguments { code }`
    Lua(String),
    /// `include pattern;` with what the files held, in order.
    Include(Vec<Directive>),
}

impl Directive {
    pub fn argument(&self, index: usize) -> Option<&str> {
        self.arguments.get(index).map(|word| word.text.as_str())
    }

    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.arguments.iter().map(|word| word.text.as_str())
    }

    pub fn has(&self, argument: &str) -> bool {
        self.texts().any(|text| text == argument)
    }

    /// What stands inside, or in the included files.
    pub fn children(&self) -> &[Directive] {
        match &self.body {
            Body::Block(inner) | Body::Include(inner) => inner,
            Body::Simple | Body::Lua(_) => &[],
        }
    }

    /// The same directive, wherever it was written. Included text counts, the `include` itself too.
    pub fn same_as(&self, other: &Directive) -> bool {
        let bodies = match (&self.body, &other.body) {
            (Body::Simple, Body::Simple) => true,
            (Body::Lua(a), Body::Lua(b)) => a == b,
            (Body::Block(a), Body::Block(b)) | (Body::Include(a), Body::Include(b)) => same(a, b),
            _ => false,
        };
        bodies && self.name == other.name && self.texts().eq(other.texts())
    }

    /// The directive as one line without its body: `location = /api`.
    pub fn heading(&self) -> String {
        let mut words = vec![crate::print::word(&self.name)];
        words.extend(self.texts().map(crate::print::word));
        words.join(" ")
    }
}

/// The same directives in the same order, wherever they were written.
pub fn same(a: &[Directive], b: &[Directive]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same_as(b))
}

/// The directives of a block as nginx sees them: each `include` replaced by what it brought in.
pub fn flattened(directives: &[Directive]) -> Vec<&Directive> {
    let mut found = Vec::new();
    flatten_into(directives, &mut found);
    found
}

fn flatten_into<'a>(directives: &'a [Directive], found: &mut Vec<&'a Directive>) {
    for directive in directives {
        match &directive.body {
            Body::Include(inner) => flatten_into(inner, found),
            _ => found.push(directive),
        }
    }
}

/// Every directive of the tree, `include` too, parents before children.
pub fn walk<'a>(directives: &'a [Directive], visit: &mut impl FnMut(&'a Directive)) {
    for directive in directives {
        visit(directive);
        walk(directive.children(), visit);
    }
}
