//! What is in effect at a place: nginx takes a directive from the innermost level that has it.

use std::rc::Rc;

use crate::tree::{Directive, flattened};

/// The directives of one level (http, server, location) and the levels around it.
#[derive(Debug)]
pub struct Scope<'a> {
    block: &'a Directive,
    /// By name. There are few names in a block: looking through them is quicker than hashing one.
    own: Vec<(&'a str, Vec<&'a Directive>)>,
    outer: Option<Rc<Scope<'a>>>,
}

impl<'a> Scope<'a> {
    pub fn of(block: &'a Directive, outer: Option<&Rc<Scope<'a>>>) -> Rc<Scope<'a>> {
        let mut own: Vec<(&str, Vec<&Directive>)> = Vec::new();
        for directive in flattened(block.children()) {
            match own.iter_mut().find(|(name, _)| *name == directive.name) {
                Some((_, all)) => all.push(directive),
                None => own.push((&directive.name, vec![directive])),
            }
        }
        Rc::new(Scope { block, own, outer: outer.cloned() })
    }

    /// Those of this level only.
    pub fn own(&self, name: &str) -> &[&'a Directive] {
        let found = self.own.iter().find(|(own, _)| *own == name);
        found.map_or(&[], |(_, all)| all.as_slice())
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
        self.own.iter().map(|(name, _)| *name)
    }

    pub fn outer(&self) -> Option<&Rc<Scope<'a>>> {
        self.outer.as_ref()
    }
}
