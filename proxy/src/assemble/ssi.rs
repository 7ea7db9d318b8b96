//! Server side includes: a page as text and commands, `<!--#include virtual="/x" -->`. Pure; the page may come in parts.

/// Longest command that is read; a longer one is text.
const COMMAND_BYTES_MAX: usize = 8 * 1024;
const BEGINS: &[u8] = b"<!--#";
const ENDS: &[u8] = b"-->";

/// A piece of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(Vec<u8>),
    Command(Command),
}

/// `name key="value" ...`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub name: String,
    pub parameters: Vec<(String, String)>,
}

impl Command {
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(is, _)| is == name).map(|(_, value)| value.as_str())
    }
}

/// Reads a page as it comes.
#[derive(Debug, Default)]
pub struct Reader {
    held: Vec<u8>,
}

impl Reader {
    /// The pieces that are whole now.
    pub fn read(&mut self, part: &[u8]) -> Vec<Piece> {
        self.held.extend_from_slice(part);
        self.pieces(false)
    }

    /// What is left; a command that has no end is text.
    pub fn end(&mut self) -> Vec<Piece> {
        self.pieces(true)
    }

    fn pieces(&mut self, ends: bool) -> Vec<Piece> {
        let held = std::mem::take(&mut self.held);
        let (mut pieces, mut text, mut at) = (Vec::new(), Vec::new(), 0);
        while let Some(found) = find(&held[at..], BEGINS) {
            text.extend_from_slice(&held[at..at + found]);
            let inside = at + found + BEGINS.len();
            let Some(length) = end_of(&held[inside..]) else {
                at += found;
                if ends || held.len() - at > COMMAND_BYTES_MAX {
                    text.extend_from_slice(BEGINS);
                    at = inside;
                    continue;
                }
                push(&mut pieces, text);
                self.held = held[at..].to_vec();
                return pieces;
            };
            match parse(&held[inside..inside + length]) {
                Some(command) => {
                    push(&mut pieces, std::mem::take(&mut text));
                    pieces.push(Piece::Command(command));
                }
                None => push(&mut pieces, std::mem::take(&mut text)),
            }
            at = inside + length + ENDS.len();
        }
        // The beginning of a command may be cut.
        let rest = &held[at..];
        let cut = (1..BEGINS.len()).rev().find(|length| rest.ends_with(&BEGINS[..*length]));
        let kept = if ends { 0 } else { cut.unwrap_or(0) };
        text.extend_from_slice(&rest[..rest.len() - kept]);
        self.held = rest[rest.len() - kept..].to_vec();
        push(&mut pieces, text);
        pieces
    }
}

fn push(pieces: &mut Vec<Piece>, text: Vec<u8>) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// Where a command ends: at `-->` outside quotes.
fn end_of(text: &[u8]) -> Option<usize> {
    let (mut quote, mut escaped) = (None, false);
    for (at, byte) in text.iter().enumerate() {
        match (quote, byte) {
            _ if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(open), byte) if open == *byte => quote = None,
            (None, b'"' | b'\'') => quote = Some(*byte),
            (None, b'-') if text[at..].starts_with(ENDS) => return Some(at),
            _ => {}
        }
    }
    None
}

fn parse(text: &[u8]) -> Option<Command> {
    let text = String::from_utf8_lossy(text).into_owned();
    let text = text.trim();
    let split = text.find(char::is_whitespace).unwrap_or(text.len());
    let (name, mut rest) = (&text[..split], text[split..].trim_start());
    let mut parameters = Vec::new();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| *c == '"' || *c == '\'')?;
        let (mut value, mut escaped, mut end) = (String::new(), false, None);
        for (at, c) in after.char_indices().skip(1) {
            match c {
                _ if escaped => {
                    if c != quote && c != '\\' {
                        value.push('\\');
                    }
                    value.push(c);
                    escaped = false;
                }
                '\\' => escaped = true,
                c if c == quote => {
                    end = Some(at + 1);
                    break;
                }
                c => value.push(c),
            }
        }
        parameters.push((key.trim().to_ascii_lowercase(), value));
        rest = after[end?..].trim_start();
    }
    (!name.is_empty()).then(|| Command { name: name.to_ascii_lowercase(), parameters })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(parts: &[&[u8]]) -> Vec<Piece> {
        let mut reader = Reader::default();
        let mut all: Vec<Piece> = parts.iter().flat_map(|part| reader.read(part)).collect();
        all.extend(reader.end());
        // Texts side by side are one.
        let mut joined: Vec<Piece> = Vec::new();
        for piece in all {
            match (joined.last_mut(), piece) {
                (Some(Piece::Text(before)), Piece::Text(more)) => before.extend(more),
                (_, piece) => joined.push(piece),
            }
        }
        joined
    }

    fn command(name: &str, parameters: &[(&str, &str)]) -> Piece {
        let parameters = parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Piece::Command(Command { name: name.to_owned(), parameters: parameters.collect() })
    }

    #[test]
    fn commands_stand_between_texts() {
        let page =
            br#"a<!--#include virtual="/x?y=-->" --><!--#ELSE--><!--#if expr='$a = "b"' -->z<!--"#;
        assert_eq!(
            pieces(&[page]),
            [
                Piece::Text(b"a".to_vec()),
                command("include", &[("virtual", "/x?y=-->")]),
                command("else", &[]),
                command("if", &[("expr", "$a = \"b\"")]),
                Piece::Text(b"z<!--".to_vec()),
            ]
        );
        assert_eq!(pieces(&[b"<!--#echo var=\"x"]), [Piece::Text(b"<!--#echo var=\"x".to_vec())]);
        assert_eq!(pieces(&[b"a<!--#echo var=x -->b"]), [Piece::Text(b"ab".to_vec())]);
    }

    proptest! {
        #[test]
        fn where_a_page_is_cut_changes_nothing(
            text in "(<!--#e v=\"1\" -->|<!--|--|#|<!-|x|\"){0,12}",
            cut in 0_usize..60,
        ) {
            let bytes = text.as_bytes();
            let cut = cut.min(bytes.len());
            prop_assert_eq!(pieces(&[&bytes[..cut], &bytes[cut..]]), pieces(&[bytes]));
        }
    }
}
