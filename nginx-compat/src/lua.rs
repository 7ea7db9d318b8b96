//! Where a block of Lua code ends: braces in strings, long brackets and comments do not count.

/// Byte offset of the `}` that closes a block whose `{` stands just before `text`.
pub fn block_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            quote @ (b'"' | b'\'') => at = string_end(bytes, at + 1, quote)?,
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                at = match long_bracket_end(bytes, at + 2) {
                    LongBracket::Ends(end) => end,
                    LongBracket::Open => return None,
                    LongBracket::None => line_end(bytes, at + 2)?,
                };
            }
            b'[' => match long_bracket_end(bytes, at) {
                LongBracket::Ends(end) => at = end,
                LongBracket::Open => return None,
                LongBracket::None => {}
            },
            _ => {}
        }
        at += 1;
    }
    None
}

fn string_end(bytes: &[u8], start: usize, quote: u8) -> Option<usize> {
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            byte if byte == quote => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

fn line_end(bytes: &[u8], start: usize) -> Option<usize> {
    bytes[start..].iter().position(|byte| *byte == b'\n').map(|length| start + length)
}

enum LongBracket {
    None,
    Open,
    Ends(usize),
}

/// `[[ ... ]]`, `[=[ ... ]=]` and so on, starting at `start`: offset of its last byte.
fn long_bracket_end(bytes: &[u8], start: usize) -> LongBracket {
    if bytes.get(start) != Some(&b'[') {
        return LongBracket::None;
    }
    let level = bytes[start + 1..].iter().take_while(|byte| **byte == b'=').count();
    let body = start + level + 2;
    if bytes.get(body - 1) != Some(&b'[') {
        return LongBracket::None;
    }
    let mut at = body;
    while let Some(found) = bytes[at..].iter().position(|byte| *byte == b']') {
        let close = at + found;
        let signs = bytes[close + 1..].iter().take_while(|byte| **byte == b'=').count();
        if signs == level && bytes.get(close + 1 + signs) == Some(&b']') {
            return LongBracket::Ends(close + 1 + signs);
        }
        at = close + 1;
    }
    LongBracket::Open
}

#[cfg(test)]
mod tests {
    use super::block_end;

    #[test]
    fn only_code_braces_count() {
        let cases = [
            " a = {1, {2}} }rest",
            " a = '}' b = \"\\\"}\" }rest",
            " -- }\n x }rest",
            " --[[ } ]] --[==[ } ]] } ]==] }rest",
            " a = [[ } ]] b = [=[ ]] } ]=] t[1] = 2 }rest",
        ];
        for case in cases {
            let end = block_end(case).unwrap();
            assert_eq!(&case[end..], "}rest", "{case}");
        }
        for open in ["", " { }", " '}", " -- }", " [[ }", " --[[ } "] {
            assert_eq!(block_end(open), None, "{open}");
        }
    }
}
