//! What is in effect at a place: nginx takes a directive from the innermost level that has it.

use std::collections::HashMap;
use std::rc::Rc;

use crate::tree::{Directive, flattened};

/// The directives of one level (http, server, location) and the levels around it.
#[derive(Debug)]
pub struct Scope<'a> {
    block: &'a Directive,
    own: HashMap<&'a str, Vec<&'a Directive>>,
    outer: Option<Rc<Scope<'a>>>,
}

impl<'a> Scope<'a> {
    pub fn of(block: &'a Directive, outer: Option<&Rc<Scope<'a>>>) -> Rc<Scope<'a>> {
        let mut own: HashMap<&str, Vec<&Directive>> = HashMap::new();
        for directive in flattened(block.children()) {
            own.entry(&directive.name).or_default().push(directive);
        }
        Rc::new(Scope { block, own, outer: outer.cloned() })
    }

    /// Those of this level only.
    pub fn own(&self, name: &str) -> &[&'a Directive] {
        self.own.get(name).map_or(&[], Vec::as_slice)
    }

    /// Those of the innermost level that has any.
    pub fn effective(&self, name: &str) -> &[&'a Directive] {
        match (self.own(name), &self.outer) {
            ([], Some(outer)) => outer.effective(name),
            (own, _) => own,
        }
    }

    /// Those of the innermost level that has any of these, in no order.
    pub fn effective_of(&self, names: &[&str]) -> Vec<&'a Directive> {
        let own: Vec<_> = names.iter().flat_map(|name| self.own(name)).copied().collect();
        match (own.is_empty(), &self.outer) {
            (true, Some(outer)) => outer.effective_of(names),
            _ => own,
        }
    }

    /// The one in effect, where only one makes sense.
    pub fn one(&self, name: &str) -> Option<&'a Directive> {
        self.effective(name).first().copied()
    }

    /// The innermost level that has any of these.
    pub fn holder(&self, names: &[&str]) -> Option<&Scope<'a>> {
        if names.iter().any(|name| !self.own(name).is_empty()) {
            return Some(self);
        }
        self.outer.as_ref()?.holder(names)
    }

    /// The block it is of.
    pub fn block(&self) -> &'a Directive {
        self.block
    }

    pub fn own_names(&self) -> impl Iterator<Item = &'a str> {
        self.own.keys().copied()
    }

    pub fn outer(&self) -> Option<&Rc<Scope<'a>>> {
        self.outer.as_ref()
    }
}
