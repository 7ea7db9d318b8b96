//! How problems are shown: as text like a compiler's, and as JSON.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Value, json};

use crate::problem::{Problem, Problems};
use crate::source::Source;
use crate::tree::Span;

/// Longest source line that is shown with a problem, in bytes; of a longer one, the part around it.
const LINE_BYTES_MAX: usize = 4096;

/// Problems shown as text; beyond, only their number.
const SHOWN_MAX: usize = 100;

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl Problems {
    /// Every problem with file, line, column, the text around it, a caret and a hint.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for problem in self.iter().take(SHOWN_MAX) {
            let report = [self.group(problem)];
            text.push_str(&renderer.render(&report));
            text.push_str("\n\n");
        }
        match self.len() {
            1 => text.push_str("1 problem\n"),
            count if count > SHOWN_MAX => {
                text.push_str(&format!("{count} problems, of which the first {SHOWN_MAX}\n"));
            }
            count => text.push_str(&format!("{count} problems\n")),
        }
        text
    }

    fn group<'a>(&'a self, problem: &'a Problem) -> Group<'a> {
        let mut group = Level::ERROR.primary_title(clean(&problem.message)).elements(self.snippet(
            problem.span,
            AnnotationKind::Primary,
            None,
        ));
        if let Some((span, label)) = &problem.related {
            group = group.elements(self.snippet(Some(*span), AnnotationKind::Context, Some(label)));
        }
        if !problem.path.is_empty() {
            group = group.element(Level::NOTE.message(format!("at `{}`", clean(&problem.path))));
        }
        if let Some(hint) = &problem.hint {
            group = group.element(Level::HELP.message(clean(hint)));
        }
        group
    }

    /// The lines of a place, cut from its source so that a large file is not scanned per problem.
    fn snippet<'a>(
        &'a self,
        span: Option<Span>,
        kind: AnnotationKind,
        label: Option<&'a str>,
    ) -> Option<Snippet<'a, annotate_snippets::Annotation<'a>>> {
        let span = span?;
        let source = self.sources().get(span.source)?;
        let (window, marked) = window(source, span);
        Some(
            Snippet::source(&source.text[window])
                .path(source.name.as_str())
                .line_start(span.line)
                .annotation(kind.span(marked).label(label)),
        )
    }

    /// `{"problems": [{"file", "line", "column", "path", "message", "hint", "related"}]}`; what
    /// is not known is null.
    pub fn to_json(&self) -> Value {
        let place = |span: &Span| {
            let file = self.sources().get(span.source).map(|source| source.name.as_str());
            json!({ "file": file, "line": span.line, "column": span.column })
        };
        let problems: Vec<Value> = self
            .iter()
            .map(|problem| {
                let at = problem.span.as_ref().map(place).unwrap_or(json!({}));
                let related = problem.related.as_ref().map(|(span, label)| {
                    let mut at = place(span);
                    at["label"] = json!(label);
                    at
                });
                json!({
                    "file": at["file"], "line": at["line"], "column": at["column"],
                    "path": problem.path, "message": problem.message, "hint": problem.hint,
                    "related": related,
                })
            })
            .collect();
        json!({ "problems": problems })
    }
}

/// The first line of a place as bytes of the source, and the place within that line.
fn window(source: &Source, span: Span) -> (Range<usize>, Range<usize>) {
    let text = source.text.as_str();
    let at = floor(text, span.start);
    let mut start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let mut end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    if end - start > LINE_BYTES_MAX {
        start = floor(text, at.saturating_sub(LINE_BYTES_MAX / 2).max(start));
        end = floor(text, (at + LINE_BYTES_MAX / 2).min(end));
    }
    let first = at - start;
    let last = floor(text, span.end.clamp(at, end)) - start;
    let last = if last > first { last } else { (first + 1).min(end - start).max(first) };
    (start..end, first..floor(&text[start..end], last).max(first))
}

/// The nearest character boundary at or before a byte.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Control characters of a document must not reach a terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{FFFD}' } else { c }).collect()
}
