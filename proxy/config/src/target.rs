//! One reading of a request target. What routes match is what is forwarded: a target that two
//! parsers could read differently is either rewritten to the one form both read alike
//! (RFC 3986 section 6.2.2) or refused.

use std::borrow::Cow;

use thiserror::Error;

/// Why a target is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TargetFault {
    #[error("the request target does not start with a slash")]
    NotAbsolute,
    #[error("the request target holds a control character")]
    Control,
    #[error("the request target holds a fragment")]
    Fragment,
    #[error("the path holds a backslash or an encoded slash, backslash or control character")]
    Ambiguous,
    #[error("the path holds a percent sign that encodes nothing")]
    Percent,
    #[error("the path leads above the root")]
    AboveRoot,
    #[error("servers that drop parameters or decode twice read the path as one that is guarded")]
    Disguised,
}

/// The target (path and query) in its one form. Borrows when it already is.
pub fn normalize_target(target: &[u8]) -> Result<Cow<'_, [u8]>, TargetFault> {
    let at = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    let (path, query) = target.split_at(at);
    if path.first() != Some(&b'/') {
        return Err(TargetFault::NotAbsolute);
    }
    if is_plain(path) && query.iter().all(|byte| is_plain_in_query(*byte)) {
        return Ok(Cow::Borrowed(target));
    }
    let mut whole = resolve_segments(&decode_path(path)?)?;
    for byte in query {
        match byte {
            0..=0x20 | 0x7f => return Err(TargetFault::Control),
            b'#' => return Err(TargetFault::Fragment),
            byte if is_plain_in_query(*byte) => whole.push(*byte),
            byte => percent_encode(*byte, &mut whole),
        }
    }
    if whole == target { Ok(Cow::Borrowed(target)) } else { Ok(Cow::Owned(whole)) }
}

/// The target that a server behind the proxy names, in its one form. Applications write names of files there as they are,
/// or escaped: `%XX` is the byte that it spells, a slash included, a percent sign that spells none is one, and what no
/// URI has (a space, `#`, bytes above ASCII) is itself. A `?` that is written so begins the query.
///
/// Errors: as of [`normalize_target`]; nothing is resolved here, a path with `..` is refused.
pub fn target_of_server(said: &[u8]) -> Result<Vec<u8>, TargetFault> {
    let at = said.iter().position(|byte| *byte == b'?').unwrap_or(said.len());
    let (path, query) = said.split_at(at);
    let path = unescaped(path);
    if path.split(|byte| *byte == b'/').any(|segment| segment == b"..") {
        return Err(TargetFault::AboveRoot);
    }
    let mut whole = Vec::with_capacity(said.len());
    for byte in path {
        let is_plain = is_unreserved(byte) || b"/!$&'()*+,;=:@".contains(&byte);
        if is_plain { whole.push(byte) } else { percent_encode(byte, &mut whole) }
    }
    for byte in query {
        if is_plain_in_query(*byte) { whole.push(*byte) } else { percent_encode(*byte, &mut whole) }
    }
    normalize_target(&whole).map(Cow::into_owned)
}

/// Escapes that spell a byte become it; all else stays.
pub fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        let spelt = match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => u8::try_from(high * 16 + low).ok(),
            _ => None,
        };
        bytes.push(spelt.unwrap_or(*byte));
        rest = if spelt.is_some() { &after[2..] } else { after };
    }
    bytes
}

/// Whether the path is in its one form without looking closely: nearly every request.
fn is_plain(path: &[u8]) -> bool {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-_~!$&'()*+,=:@".contains(byte);
    let mut before = 0;
    path.iter().all(|byte| {
        // A dot is harmless inside a name; at the start of a segment it needs a closer look.
        let fine = match byte {
            b'/' | b'.' => before != b'/',
            byte => legal(byte),
        };
        before = *byte;
        fine
    })
}

/// What stays as it is in a query: all that browsers leave as it is there, or encode in none but some.
fn is_plain_in_query(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'`')
}

/// Decodes what needs no encoding, encodes what does, and refuses what can be read in two ways.
fn decode_path(path: &[u8]) -> Result<Vec<u8>, TargetFault> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|byte| char::from(*byte).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return Err(TargetFault::Percent);
                };
                let byte = u8::try_from(high * 16 + low).expect("two hex digits are a byte");
                match byte {
                    b'/' | b'\\' | 0..=0x1f | 0x7f => return Err(TargetFault::Ambiguous),
                    byte if is_unreserved(byte) => decoded.push(byte),
                    byte => percent_encode(byte, &mut decoded),
                }
            }
            b'\\' => return Err(TargetFault::Ambiguous),
            b'#' => return Err(TargetFault::Fragment),
            0..=0x20 | 0x7f => return Err(TargetFault::Control),
            b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' | b'[' | b']' | 0x80.. => {
                percent_encode(*byte, &mut decoded);
            }
            byte => decoded.push(*byte),
        }
    }
    match holds_overlong(&decoded) {
        true => Err(TargetFault::Ambiguous),
        false => Ok(decoded),
    }
}

/// Whether escapes spell a character longer than UTF-8 allows (`%C0%AE` for a dot): decoders that
/// do not mind would see another path. Nothing else is asked of bytes above ASCII.
fn holds_overlong(path: &[u8]) -> bool {
    path.windows(6).any(|six| {
        let pair = (six[0], &six[1..3], six[3], six[4]);
        matches!(
            pair,
            (b'%', b"C0" | b"C1", b'%', b'8'..=b'9' | b'A'..=b'B')
                | (b'%', b"E0", b'%', b'8'..=b'9')
                | (b'%', b"F0", b'%', b'8')
        )
    })
}

/// RFC 3986 section 5.2.4, with empty segments merged as servers that map paths to files do.
fn resolve_segments(path: &[u8]) -> Result<Vec<u8>, TargetFault> {
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut ends_in_slash = true;
    for segment in path[1..].split(|byte| *byte == b'/') {
        let parameter = segment.iter().position(|byte| *byte == b';');
        let escaped = segment.windows(3).position(|three| three == b"%3B");
        let end = parameter.into_iter().chain(escaped).min().unwrap_or(segment.len());
        let name = &segment[..end];
        ends_in_slash = matches!(segment, b"" | b"." | b"..");
        match name {
            // Servlet containers cut `;...` off a segment before they resolve dots, some after
            // they decoded it.
            b"." | b".." if name.len() != segment.len() => return Err(TargetFault::Ambiguous),
            b"" if segment.is_empty() => {}
            b"." => {}
            b".." => {
                segments.pop().ok_or(TargetFault::AboveRoot)?;
            }
            _ => segments.push(segment),
        }
    }
    let mut whole = Vec::with_capacity(path.len());
    for segment in &segments {
        whole.push(b'/');
        whole.extend_from_slice(segment);
    }
    if ends_in_slash {
        whole.push(b'/');
    }
    Ok(whole)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

pub fn percent_encode(byte: u8, into: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    into.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_for_all_that_reads_alike() {
        let cases: &[(&str, Result<&str, TargetFault>)] = &[
            ("/", Ok("/")),
            ("/v1/transfers?limit=5&x=%2F", Ok("/v1/transfers?limit=5&x=%2F")),
            ("/a.b/c..d/.well-known/x", Ok("/a.b/c..d/.well-known/x")),
            ("/%70rivate/x", Ok("/private/x")),
            ("/caf%c3%a9", Ok("/caf%C3%A9")),
            ("/a%20b", Ok("/a%20b")),
            ("/a/./b/../c", Ok("/a/c")),
            ("/a/%2e%2E/private", Ok("/private")),
            ("//private//x", Ok("/private/x")),
            ("/private/.", Ok("/private/")),
            ("/private/..", Ok("/")),
            ("/a;v=1/b", Ok("/a;v=1/b")),
            ("/;/b", Ok("/;/b")),
            ("/x{y}|z", Ok("/x%7By%7D%7Cz")),
            ("/x?", Ok("/x?")),
            ("/<\"`>", Ok("/%3C%22%60%3E")),
            ("/x?a[]={b}|\\'", Ok("/x?a[]={b}|\\'")),
            ("/x?<\"`>%3c", Ok("/x?%3C%22%60%3E%3c")),
            ("/..;/private", Err(TargetFault::Ambiguous)),
            ("/%2e%2e;x/private", Err(TargetFault::Ambiguous)),
            ("/x/..%3b/private", Err(TargetFault::Ambiguous)),
            ("/x/%C0%ae%c0%ae/private", Err(TargetFault::Ambiguous)),
            ("/x/%e0%80%ae/private", Err(TargetFault::Ambiguous)),
            ("/%C3%80%e0%a4%80%80%ff", Ok("/%C3%80%E0%A4%80%80%FF")),
            ("/a%2fb", Err(TargetFault::Ambiguous)),
            ("/a%5Cb", Err(TargetFault::Ambiguous)),
            ("/a\\b", Err(TargetFault::Ambiguous)),
            ("/a%00", Err(TargetFault::Ambiguous)),
            ("/a%0d%0ab", Err(TargetFault::Ambiguous)),
            ("/a%zz", Err(TargetFault::Percent)),
            ("/a%4", Err(TargetFault::Percent)),
            ("/../x", Err(TargetFault::AboveRoot)),
            ("/a#b", Err(TargetFault::Fragment)),
            ("/a?b#c", Err(TargetFault::Fragment)),
            ("/a b", Err(TargetFault::Control)),
            ("/a?b\tc", Err(TargetFault::Control)),
            ("x", Err(TargetFault::NotAbsolute)),
            ("", Err(TargetFault::NotAbsolute)),
        ];
        for (sent, expected) in cases {
            let expected = expected.map(|form| form.as_bytes().to_vec());
            let got = normalize_target(sent.as_bytes()).map(Cow::into_owned);
            assert_eq!(got, expected, "{sent}");
        }
    }

    #[test]
    fn servers_name_files_as_they_are_or_escaped() {
        let cases: &[(&[u8], Result<&str, TargetFault>)] = &[
            (b"/int/a b.txt", Ok("/int/a%20b.txt")),
            (b"/int/a%20b.txt", Ok("/int/a%20b.txt")),
            (b"%2Fint%2Fa%20b.txt", Ok("/int/a%20b.txt")),
            (b"/int/100% of #1 %zz%2", Ok("/int/100%25%20of%20%231%20%25zz%252")),
            (b"/int/\xe9\xc3\xa9<\">", Ok("/int/%E9%C3%A9%3C%22%3E")),
            (b"/int/why%3f?a=b c#d%20", Ok("/int/why%3F?a=b%20c%23d%20")),
            (b"/a;b=1/..c/d..", Ok("/a;b=1/..c/d..")),
            (b"//a/./b", Ok("/a/b")),
            (b"/int/../x", Err(TargetFault::AboveRoot)),
            (b"/int/%2e%2E/x", Err(TargetFault::AboveRoot)),
            (b"/int%2f..", Err(TargetFault::AboveRoot)),
            (b"..", Err(TargetFault::AboveRoot)),
            (b"/int/..;/x", Err(TargetFault::Ambiguous)),
            (b"/int/a%00", Err(TargetFault::Ambiguous)),
            (b"/int/a%0d%0ab", Err(TargetFault::Ambiguous)),
            (b"no path", Err(TargetFault::NotAbsolute)),
            (b"", Err(TargetFault::NotAbsolute)),
        ];
        for (said, expected) in cases {
            let expected = expected.map(|form| form.as_bytes().to_vec());
            assert_eq!(target_of_server(said), expected, "{}", String::from_utf8_lossy(said));
        }
    }

    #[test]
    fn the_form_of_a_form_is_itself() {
        for sent in ["/a/./b//c", "/%41%2c%7e", "/x{y}", "/\u{e9}?\u{e9}", "/.", "/a/b/"] {
            let once = normalize_target(sent.as_bytes()).unwrap().into_owned();
            assert_eq!(normalize_target(&once).unwrap(), once, "{sent}");
        }
    }
}
