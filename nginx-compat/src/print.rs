//! The tree as nginx text again: four spaces per level, quotes only where they are needed.
//! An `include` is printed as it was written; what it brought in is not repeated.

use std::fmt::Write as _;

use crate::tree::{Body, Directive};

pub fn print(directives: &[Directive]) -> String {
    let mut text = String::new();
    print_block(directives, 0, &mut text);
    text
}

fn print_block(directives: &[Directive], depth: usize, text: &mut String) {
    for directive in directives {
        let _ = write!(text, "{:indent$}{}", "", directive.heading(), indent = depth * 4);
        match &directive.body {
            Body::Simple | Body::Include(_) => text.push_str(";\n"),
            Body::Block(inner) => {
                text.push_str(" {\n");
                print_block(inner, depth + 1, text);
                let _ = writeln!(text, "{:indent$}}}", "", indent = depth * 4);
            }
            Body::Lua(code) => {
                let _ = writeln!(text, " {{{code}}}");
            }
        }
    }
}

/// A word as it must be written to be read back the same.
pub fn word(text: &str) -> String {
    if stands_plain(text) {
        return text.to_owned();
    }
    // Fewer backslashes: take the quote that does not occur.
    let quote = if text.contains('"') && !text.contains('\'') { '\'' } else { '"' };
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(quote);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let follows = rest.peek();
        // Before any other character a backslash stands for itself.
        let protects = follows.is_none_or(|next| "\"'\\trn".contains(*next));
        if c == quote || (c == '\\' && protects) {
            quoted.push('\\');
        }
        quoted.push(c);
        if c == '\\' && !protects {
            quoted.extend(rest.next());
        }
    }
    quoted.push(quote);
    quoted
}

fn stands_plain(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    if matches!(first, '"' | '\'' | '#' | '}') {
        return false;
    }
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' | ';' | '{' => return false,
            // A backslash stays only before a character it does not change; a blank would end
            // nothing behind it, which reads badly.
            '\\' => match rest.next() {
                None => return false,
                Some(c) if "\"'\\trn \t\r\n;{".contains(c) => return false,
                Some(_) => {}
            },
            _ => {}
        }
    }
    true
}
