//! The words of a line of beancount.

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// Between quotes, without them.
    Text(String),
    Word(String),
}

/// The words of a line up to a comment.
pub fn tokens(line: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        match first {
            ';' => break,
            '"' => {
                let (text, behind) = text(&rest[1..])?;
                tokens.push(Token::Text(text));
                rest = behind;
            }
            _ => {
                let end = rest.find([' ', '\t', '"', ';']).unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..end].to_owned()));
                rest = &rest[end..];
            }
        }
        rest = rest.trim_start();
    }
    Ok(tokens)
}

/// A text up to its closing quote, and what is behind that.
fn text(line: &str) -> Result<(String, &str), String> {
    let mut text = String::new();
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((text, &line[at + 1..])),
            '\\' => match chars.next() {
                Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                Some((_, other)) => {
                    return Err(format!("\\{other} is no character; only \\\" and \\\\ are"));
                }
                None => break,
            },
            c => text.push(c),
        }
    }
    Err("a text has no end on this line".into())
}

/// A text between quotes.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_texts() {
        let word = |text: &str| Token::Word(text.into());
        let text = |text: &str| Token::Text(text.into());
        assert_eq!(tokens(" a \"b ; c\"d ; e"), Ok(vec![word("a"), text("b ; c"), word("d")]));
        assert_eq!(tokens(&quoted("a\\\"b")), Ok(vec![text("a\\\"b")]));
        assert!(tokens("\"a").is_err() && tokens("\"\\n\"").is_err());
    }
}
