//! How exactly each directive is translated. Translation says so where it understands a directive;
//! for all others the table verdicts.tsv does, by the directive's name or its `@group`.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Serialize;

use crate::directive::{self, Context};
use crate::tree::{Body, Directive, Document};

/// From best to worst; `report` and `convert` fail on the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exactness {
    Exact,
    /// Without effect on what clients and upstreams see; the text says why.
    Ignored,
    /// Translated, with a difference that the text states.
    Approximate,
    /// Not translated; the text says what to do.
    Unsupported,
}

impl Exactness {
    pub const ALL: [Exactness; 4] =
        [Exactness::Exact, Exactness::Approximate, Exactness::Ignored, Exactness::Unsupported];

    pub fn name(self) -> &'static str {
        match self {
            Exactness::Exact => "exact",
            Exactness::Approximate => "approximate",
            Exactness::Ignored => "ignored",
            Exactness::Unsupported => "unsupported",
        }
    }

    fn named(name: &str) -> Option<Exactness> {
        Exactness::ALL.into_iter().find(|exactness| exactness.name() == name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub exactness: Exactness,
    /// The difference, the reason, or what to do; empty only when exact needs no word.
    pub text: String,
}

impl Verdict {
    pub fn exact() -> Verdict {
        Verdict { exactness: Exactness::Exact, text: String::new() }
    }

    pub fn approximate(text: impl Into<String>) -> Verdict {
        Verdict { exactness: Exactness::Approximate, text: text.into() }
    }

    pub fn ignored(text: impl Into<String>) -> Verdict {
        Verdict { exactness: Exactness::Ignored, text: text.into() }
    }

    pub fn unsupported(text: impl Into<String>) -> Verdict {
        Verdict { exactness: Exactness::Unsupported, text: text.into() }
    }

    /// Exact when there is nothing to say, otherwise approximate with all of it.
    pub fn with_differences(differences: &[String]) -> Verdict {
        if differences.is_empty() {
            return Verdict::exact();
        }
        Verdict::approximate(differences.join("; "))
    }
}

/// The verdicts found so far, by the ids of directives.
#[derive(Debug, Default)]
pub struct Verdicts(Vec<Option<Verdict>>);

impl Verdicts {
    /// Adds a verdict. A directive that is in effect at several places keeps the worst, and all
    /// differences of that rank.
    pub fn add(&mut self, directive: &Directive, verdict: Verdict) {
        if self.0.len() <= directive.id {
            self.0.resize(directive.id + 1, None);
        }
        let Some(known) = &mut self.0[directive.id] else {
            self.0[directive.id] = Some(verdict);
            return;
        };
        if verdict.exactness > known.exactness {
            *known = verdict;
        } else if verdict.exactness == known.exactness && !known.text.contains(&verdict.text) {
            known.text = format!("{}; {}", known.text, verdict.text);
        }
    }

    pub fn get(&self, directive: &Directive) -> Option<&Verdict> {
        self.0.get(directive.id)?.as_ref()
    }

    /// Gives every directive that has none yet its verdict by the table, so that none is left out.
    pub fn complete(&mut self, document: &Document) {
        self.complete_block(&document.directives, Context::Main, None);
    }

    fn complete_block(&mut self, block: &[Directive], context: Context, outer: Option<&Verdict>) {
        for directive in block {
            let verdict = match (self.get(directive), context, outer) {
                (Some(known), _, _) => known.clone(),
                (None, Context::Rows | Context::Opaque, Some(outer)) => outer.clone(),
                _ => said_by_table(directive, context, outer),
            };
            let inside = match directive.body {
                Body::Include(_) => context,
                _ => context.inside(&directive.name),
            };
            let outer = match directive.body {
                Body::Include(_) => outer.cloned(),
                _ => Some(verdict.clone()),
            };
            if self.get(directive).is_none() {
                self.add(directive, verdict);
            }
            self.complete_block(directive.children(), inside, outer.as_ref());
        }
    }
}

/// What the table says of lines that are translated where what is around them is.
const VAGUE: [&str; 3] = ["not translated", "no translated location", "paths and answers"];

struct Line {
    exactness: Exactness,
    /// The value that asks for nothing: with it the directive is exact.
    neutral: &'static str,
    text: &'static str,
}

static TABLE: LazyLock<HashMap<&'static str, Line>> =
    LazyLock::new(|| include_str!("verdicts.tsv").lines().filter_map(line).collect());

fn line(text: &'static str) -> Option<(&'static str, Line)> {
    if text.starts_with("# ") {
        return None;
    }
    let mut cells = text.split('\t');
    let (name, exactness) = (cells.next()?, Exactness::named(cells.next()?)?);
    Some((name, Line { exactness, neutral: cells.next()?, text: cells.next()? }))
}

/// Whether a directive has the value that asks for nothing, such as `gzip off`.
pub fn is_neutral(directive: &Directive) -> bool {
    let specs = directive::named(&directive.name);
    line_of(&directive.name, specs).is_some_and(|line| has_neutral(directive, line))
}

fn has_neutral(directive: &Directive, line: &Line) -> bool {
    let single = directive.arguments.len() == 1;
    single && !line.neutral.is_empty() && directive.argument(0) == Some(line.neutral)
}

fn line_of(name: &str, specs: &[directive::Spec]) -> Option<&'static Line> {
    TABLE.get(name).or_else(|| TABLE.get(format!("@{}", specs.first()?.group).as_str()))
}

/// What the table says; of a line that is translated elsewhere, that its location is not looked into.
fn said_by_table(directive: &Directive, context: Context, outer: Option<&Verdict>) -> Verdict {
    let verdict = by_table(directive, context);
    let is_closed = outer.is_some_and(|outer| outer.exactness == Exactness::Unsupported);
    let says = |start: &&str| verdict.text.starts_with(start);
    let is_vague = verdict.exactness == Exactness::Unsupported && VAGUE.iter().any(says);
    match is_closed && context != Context::Upstream && is_vague {
        true => Verdict::unsupported(
            "nothing is known to be wrong with it itself: what is around it is not translated",
        ),
        false => verdict,
    }
}

fn by_table(directive: &Directive, context: Context) -> Verdict {
    let specs = directive::named(&directive.name);
    let fitting: Vec<_> = specs.iter().filter(|spec| spec.allows(context)).cloned().collect();
    let specs = if fitting.is_empty() { specs } else { &fitting };
    // `server` is one thing in http and another in an upstream.
    let line = match context {
        Context::Upstream => TABLE.get("@upstream"),
        _ => line_of(&directive.name, specs),
    };
    match line {
        Some(line) if has_neutral(directive, line) => Verdict::exact(),
        Some(line) => Verdict { exactness: line.exactness, text: line.text.to_owned() },
        None => Verdict::unsupported("nginx does not know it either; is it misspelt?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_for_every_directive_and_no_other() {
        let lines = include_str!("verdicts.tsv").lines().filter(|l| !l.starts_with("# "));
        assert_eq!(lines.count(), TABLE.len(), "a line is wrong or stands twice");
        for text in include_str!("directives.tsv").lines().filter(|l| !l.starts_with('#')) {
            let name = text.split('\t').nth(1).unwrap();
            let specs = directive::named(name);
            assert!(line_of(name, specs).is_some(), "{name}");
        }
        for (name, line) in TABLE.iter() {
            let known = name.starts_with('@') || !directive::named(name).is_empty();
            assert!(known, "{name}");
            assert!(line.exactness == Exactness::Exact || !line.text.is_empty(), "{name}");
        }
    }

    #[test]
    fn the_worst_verdict_stays_with_all_differences_of_its_rank() {
        let parsed = crate::parse::parse_bytes("t", b"a;", crate::include::Includes::Unfollowed);
        let directive = &parsed.document.directives[0];
        let mut verdicts = Verdicts::default();
        verdicts.add(directive, Verdict::exact());
        verdicts.add(directive, Verdict::approximate("x"));
        verdicts.add(directive, Verdict::exact());
        verdicts.add(directive, Verdict::approximate("y"));
        verdicts.add(directive, Verdict::approximate("x"));
        assert_eq!(verdicts.get(directive), Some(&Verdict::approximate("x; y")));
    }
}
