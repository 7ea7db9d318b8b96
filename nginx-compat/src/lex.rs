//! Text into words, `;`, `{` and `}`, by the rules of nginx's own reader: a word may be quoted as a
//! whole, a backslash protects the next character, `#` starts a comment only where a word could
//! start, `}` and quotes inside an unquoted word are ordinary characters, and `${` opens no block.

use crate::place::Place;
use crate::problem::Problem;

/// Longest word in bytes, quotes and backslashes counted: nginx's read buffer.
pub const WORD_BYTES_MAX: usize = 4095;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenKind {
    Word(String),
    Semicolon,
    Open,
    Close,
    End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: TokenKind,
    pub place: Place,
}

/// Reads one file. After a problem the next call goes on behind it.
pub struct Lexer<'a> {
    text: &'a str,
    at: usize,
    place: Place,
    /// A quoted word has just ended: whitespace, `;`, `{` or `)` must follow.
    after_quoted: bool,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str, file: usize) -> Lexer<'a> {
        Lexer { text, at: 0, place: Place { file, line: 1, column: 1 }, after_quoted: false }
    }

    /// Where the next character stands.
    pub fn place(&self) -> Place {
        self.place
    }

    pub fn next_token(&mut self) -> Result<Token, Problem> {
        self.check_after_quoted()?;
        self.skip_blank();
        let place = self.place;
        let kind = match self.peek() {
            None => TokenKind::End,
            Some(';') => self.punctuation(TokenKind::Semicolon),
            Some('{') => self.punctuation(TokenKind::Open),
            Some('}') => self.punctuation(TokenKind::Close),
            Some(quote @ ('"' | '\'')) => TokenKind::Word(self.quoted(quote)?),
            Some(_) => TokenKind::Word(self.unquoted()?),
        };
        Ok(Token { kind, place })
    }

    /// The rest of a Lua block whose `{` was just read, without its closing `}`; `None` when the
    /// file ends first.
    pub fn lua_block(&mut self) -> Option<String> {
        let start = self.at;
        let end = start + crate::lua::block_end(&self.text[start..])?;
        while self.at < end {
            self.advance();
        }
        self.advance();
        Some(self.text[start..end].to_owned())
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn advance(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        if next == '\n' {
            self.place.line += 1;
            self.place.column = 1;
        } else {
            self.place.column += 1;
        }
        Some(next)
    }

    fn punctuation(&mut self, kind: TokenKind) -> TokenKind {
        self.advance();
        kind
    }

    fn check_after_quoted(&mut self) -> Result<(), Problem> {
        if !std::mem::take(&mut self.after_quoted) {
            return Ok(());
        }
        match self.peek() {
            None | Some(' ' | '\t' | '\r' | '\n' | ';' | '{' | ')') => Ok(()),
            Some(other) => Err(Problem::new(self.place, format!("unexpected \"{other}\""))
                .hint("a quoted word must be followed by a space, \";\" or \"{\"")),
        }
    }

    fn skip_blank(&mut self) {
        while let Some(next) = self.peek() {
            match next {
                ' ' | '\t' | '\r' | '\n' => {
                    self.advance();
                }
                '#' => while self.advance().is_some_and(|c| c != '\n') {},
                _ => return,
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, Problem> {
        let (start, place) = (self.at, self.place);
        self.advance();
        let fault = |message: String| Problem::new(place, message);
        loop {
            match self.advance() {
                None => {
                    let message = "unexpected end of file, expecting \";\" or \"}\"";
                    return Err(Problem::new(self.place, message)
                        .hint(format!("the quote opened in line {} is never closed", place.line)));
                }
                Some('\\') => {
                    self.advance();
                }
                Some(c) if c == quote => break,
                Some(_) => {}
            }
            if self.at - start > WORD_BYTES_MAX {
                self.skip_line();
                return Err(fault(format!(
                    "too long parameter, probably missing terminating \"{quote}\" character"
                )));
            }
        }
        self.after_quoted = true;
        Ok(unescape(&self.text[start + 1..self.at - 1]))
    }

    fn unquoted(&mut self) -> Result<String, Problem> {
        let (start, place) = (self.at, self.place);
        let mut after_dollar = false;
        while let Some(next) = self.peek() {
            match next {
                '{' if after_dollar => {
                    self.advance();
                    continue;
                }
                ' ' | '\t' | '\r' | '\n' | ';' | '{' => break,
                '\\' => {
                    self.advance();
                    self.advance();
                }
                _ => {
                    self.advance();
                }
            }
            after_dollar = next == '$';
            if self.at - start > WORD_BYTES_MAX {
                let beginning: String = self.text[start..].chars().take(10).collect();
                self.skip_line();
                let message = format!("too long parameter \"{beginning}...\" started");
                return Err(Problem::new(place, message));
            }
        }
        Ok(unescape(&self.text[start..self.at]))
    }

    fn skip_line(&mut self) {
        while self.advance().is_some_and(|c| c != '\n') {}
    }
}

/// `\"`, `\'` and `\\` lose the backslash, `\t`, `\r`, `\n` become what they name, and any other
/// backslash stays: that is what lets regular expressions be written plainly.
fn unescape(raw: &str) -> String {
    if !raw.contains('\\') {
        return raw.to_owned();
    }
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw.chars().peekable();
    while let Some(c) = rest.next() {
        let replaced = match (c, rest.peek()) {
            ('\\', Some(&quoted @ ('"' | '\'' | '\\'))) => Some(quoted),
            ('\\', Some('t')) => Some('\t'),
            ('\\', Some('r')) => Some('\r'),
            ('\\', Some('n')) => Some('\n'),
            _ => None,
        };
        text.push(replaced.unwrap_or(c));
        if replaced.is_some() {
            rest.next();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut lexer = Lexer::new(text, 0);
        let mut found = Vec::new();
        loop {
            match lexer.next_token().unwrap().kind {
                TokenKind::Word(word) => found.push(word),
                TokenKind::Semicolon => found.push("<;>".into()),
                TokenKind::Open => found.push("<{>".into()),
                TokenKind::Close => found.push("<}>".into()),
                TokenKind::End => return found,
            }
        }
    }

    #[test]
    fn reads_words_as_nginx_does() {
        let cases: &[(&str, &[&str])] = &[
            ("a b;", &["a", "b", "<;>"]),
            ("a\t\r\nb ;", &["a", "b", "<;>"]),
            ("a#b # c\nd;", &["a#b", "d", "<;>"]),
            ("a \"b c\" 'd;{}#';", &["a", "b c", "d;{}#", "<;>"]),
            ("a b\"c d;", &["a", "b\"c", "d", "<;>"]),
            (r#"a "\"b\\" '\'';"#, &["a", "\"b\\", "'", "<;>"]),
            (r"a \.php$ b\ c \;x;", &["a", r"\.php$", r"b\ c", r"\;x", "<;>"]),
            (r#"a "x\ty\nz";"#, &["a", "x\ty\nz", "<;>"]),
            ("a ${b}c {", &["a", "${b}c", "<{>"]),
            ("a b{", &["a", "b", "<{>"]),
            ("a b}c;}", &["a", "b}c", "<;>", "<}>"]),
            ("if ($a = \"x\") {", &["if", "($a", "=", "x", ")", "<{>"]),
            ("a \"\" '';", &["a", "", "", "<;>"]),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text), *expected, "{text}");
        }
    }

    #[test]
    fn places_count_characters() {
        let mut lexer = Lexer::new("é \"ü\"\n  x;", 3);
        let places: Vec<_> = (0..4).map(|_| lexer.next_token().unwrap().place).collect();
        let at = |line, column| Place { file: 3, line, column };
        assert_eq!(places, [at(1, 1), at(1, 3), at(2, 3), at(2, 4)]);
    }

    #[test]
    fn faults_are_said_once_and_reading_goes_on() {
        let mut lexer = Lexer::new("a \"b\"c;", 0);
        lexer.next_token().unwrap();
        lexer.next_token().unwrap();
        let fault = lexer.next_token().unwrap_err();
        assert_eq!(fault.message, "unexpected \"c\"");
        assert_eq!(fault.place.column, 6);
        assert_eq!(lexer.next_token().unwrap().kind, TokenKind::Word("c".into()));
    }

    #[test]
    fn a_missing_quote_is_found() {
        let open = format!("a \"{}", "x\n".repeat(5000));
        let mut lexer = Lexer::new(&open, 0);
        lexer.next_token().unwrap();
        let fault = lexer.next_token().unwrap_err();
        assert!(fault.message.contains("missing terminating"), "{}", fault.message);
        assert_eq!(fault.place.line, 1);
        let long = "y".repeat(WORD_BYTES_MAX + 1);
        let fault = Lexer::new(&long, 0).next_token().unwrap_err();
        assert_eq!(fault.message, "too long parameter \"yyyyyyyyyy...\" started");
    }
}
