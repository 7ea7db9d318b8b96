//! A FastCGI server for replays: reads what it is asked and told, and answers as the upstream does.

use std::io::{self, Read, Write};

use crate::replay::echo::Seen;

const BEGIN: u8 = 1;
const END: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
/// Longest request that is taken.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// One request with what it tells, and its number on the connection.
pub fn read(stream: &mut impl Read, pool: &str) -> io::Result<Option<(Seen, [u8; 2])>> {
    let (mut params, mut body, mut id) = (Vec::new(), Vec::new(), [0; 2]);
    loop {
        let mut head = [0; 8];
        stream.read_exact(&mut head)?;
        let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
        let mut content = vec![0; length + usize::from(head[6])];
        stream.read_exact(&mut content)?;
        content.truncate(length);
        match head[1] {
            BEGIN => id = [head[2], head[3]],
            PARAMS => params.extend(content),
            STDIN if content.is_empty() => break,
            STDIN => body.extend(content),
            _ => {}
        }
        if params.len() + body.len() > REQUEST_BYTES_MAX {
            return Ok(None);
        }
    }
    let mut told: Vec<(String, String)> = Vec::new();
    let mut rest = params.as_slice();
    while !rest.is_empty() {
        let Some((name, value, after)) = pair(rest) else { return Ok(None) };
        // What is told twice is what was told last.
        told.retain(|(known, _)| *known != name.to_ascii_lowercase());
        told.push((name.to_ascii_lowercase(), value));
        rest = after;
    }
    told.sort();
    let one = |name: &str| {
        let found = told.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let (method, target) = (one("request_method"), one("request_uri"));
    Ok(Some((Seen { pool: pool.to_owned(), method, target, headers: told, body }, id)))
}

/// A name and its value, and what follows (FastCGI specification section 3.4).
fn pair(bytes: &[u8]) -> Option<(String, String, &[u8])> {
    let (name, rest) = length(bytes)?;
    let (value, rest) = length(rest)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some((text(rest.get(..name)?), text(rest.get(name..name + value)?), &rest[name + value..]))
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((usize::from(first), &bytes[1..]));
    }
    let four: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    let length = usize::try_from(u32::from_be_bytes(four) & 0x7fff_ffff).ok()?;
    Some((length, &bytes[4..]))
}

/// Answers with these fields and this body.
pub fn answer(stream: &mut impl Write, id: [u8; 2], text: &str) -> io::Result<()> {
    let mut bytes = Vec::new();
    for part in text.as_bytes().chunks(usize::from(u16::MAX)) {
        record(&mut bytes, STDOUT, id, part);
    }
    record(&mut bytes, STDOUT, id, &[]);
    record(&mut bytes, END, id, &[0; 8]);
    stream.write_all(&bytes)
}

fn record(into: &mut Vec<u8>, kind: u8, id: [u8; 2], content: &[u8]) {
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    into.extend([1, kind, id[0], id[1], length[0], length[1], 0, 0]);
    into.extend(content);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_heard() {
        let mut bytes = Vec::new();
        record(&mut bytes, BEGIN, [0, 7], &[0, 1, 0, 0, 0, 0, 0, 0]);
        let long = "x".repeat(200);
        let mut params = vec![14, 3];
        params.extend(b"REQUEST_METHODGET");
        params.extend([1, 0x80, 0, 0, 200]);
        params.extend(format!("A{long}").bytes());
        params.extend(b"\x01\x01By\x01\x01Bz");
        record(&mut bytes, PARAMS, [0, 7], &params);
        record(&mut bytes, PARAMS, [0, 7], &[]);
        record(&mut bytes, STDIN, [0, 7], b"body");
        record(&mut bytes, STDIN, [0, 7], &[]);
        let (seen, id) = read(&mut bytes.as_slice(), "p").unwrap().unwrap();
        assert_eq!((seen.method.as_str(), seen.body.as_slice(), id), ("GET", &b"body"[..], [0, 7]));
        assert_eq!(seen.headers[0], ("a".to_owned(), long));
        let of_b: Vec<_> = seen.headers.iter().filter(|(name, _)| name == "b").collect();
        assert_eq!(of_b, [&("b".to_owned(), "z".to_owned())]);
        assert_eq!(pair(&[5, 0, b'a']), None);
    }
}
