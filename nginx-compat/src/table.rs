//! The report as text for people: one line per directive, then the shares and notes.

use std::fmt::Write as _;

use crate::report::{Item, Report, Share};

/// Longest directive shown in its column, in characters.
const DIRECTIVE_MAX: usize = 48;

pub fn table(report: &Report) -> String {
    let lines: Vec<[String; 4]> = lines(&report.items);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths = [width(0), width(1), width(2)].map(Option::unwrap_or_default);
    let mut text = String::new();
    for [place, exactness, directive, why] in &lines {
        let line = format!(
            "{place:<0$}  {exactness:<1$}  {directive:<2$}  {why}",
            widths[0], widths[1], widths[2]
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text.push('\n');
    let directives = report.directives;
    let _ = writeln!(text, "{directives} directives");
    shares(&mut text, &report.shares);
    if let Some(traffic) = &report.traffic {
        let _ = writeln!(text, "\n{} requests of the log", traffic.requests);
        shares(&mut text, &traffic.shares);
        for place in &traffic.places {
            let (count, name) = (place.requests, place.exactness.name());
            let _ = writeln!(text, "  {count:>7}  {name:<11}  {} {}", place.place, place.directive);
        }
    }
    if !report.notes.is_empty() {
        let _ = writeln!(text, "\nWithout a directive, nginx and Forebay differ in this:");
    }
    for note in &report.notes {
        let _ = writeln!(text, "  - {note}");
    }
    text
}

fn shares(text: &mut String, shares: &[Share]) {
    for share in shares {
        let (name, count) = (share.exactness.name(), share.count);
        let _ = writeln!(text, "  {name:<11}  {count:>5}  {:>5.1} %", share.percent);
    }
}

/// Rows of a table that share a verdict become one line; nothing else is folded.
fn lines(items: &[Item]) -> Vec<[String; 4]> {
    let mut lines = Vec::new();
    let mut rest = items;
    while let [first, ..] = rest {
        let alike = |item: &&Item| {
            item.row
                && item.file == first.file
                && item.context == first.context
                && item.exactness == first.exactness
                && item.text == first.text
        };
        let count = rest.iter().take_while(alike).count().max(1);
        let (place, directive) = match count {
            1 => (format!("{}:{}", first.file, first.line), indented(first, &first.directive)),
            _ => (
                format!("{}:{}-{}", first.file, first.line, rest[count - 1].line),
                indented(first, &format!("({count} rows)")),
            ),
        };
        lines.push([place, first.exactness.name().to_owned(), directive, first.text.clone()]);
        rest = &rest[count..];
    }
    lines
}

fn indented(item: &Item, text: &str) -> String {
    let line = format!("{}{}", "  ".repeat(item.context.len()), text.replace('\n', " "));
    if line.chars().count() <= DIRECTIVE_MAX {
        return line;
    }
    let start: String = line.chars().take(DIRECTIVE_MAX - 3).collect();
    format!("{start}...")
}
