//! `X-Accel-Redirect`: whose servers may name what is answered in place of what they said.

use std::collections::HashMap;

use crate::translate::scope::Scope;
use crate::tree::walk;
use crate::verdict::{Verdict, Verdicts};

/// Which servers have an `internal` location, by their blocks.
#[derive(Debug, Default)]
pub struct Internals(HashMap<usize, bool>);

impl Internals {
    /// Whether upstreams of a place are obeyed. What may lead elsewhere is asked in a slower way: without an `internal`
    /// location there is hardly anything to lead to. What is cached goes by `X-Accel-Expires` instead.
    pub fn is_obeyed(&mut self, scope: &Scope<'_>, family: &str, verdicts: &mut Verdicts) -> bool {
        let mut ignored = false;
        for line in scope.effective(&format!("{family}_ignore_headers")) {
            ignored |= line.texts().any(|name| name.eq_ignore_ascii_case("x-accel-redirect"));
            verdicts.add(line, Verdict::exact());
        }
        let cache = scope.one(&format!("{family}_cache"));
        !ignored && cache.is_none_or(|line| line.has("off")) && self.is_in(scope)
    }

    fn is_in(&mut self, scope: &Scope<'_>) -> bool {
        let mut level = scope;
        while level.block().name != "server" {
            let Some(outer) = level.outer() else { return false };
            level = outer;
        }
        let server = level.block();
        *self.0.entry(server.id).or_insert_with(|| {
            let mut found = false;
            walk(server.children(), &mut |line| found |= line.name == "internal");
            found
        })
    }
}
