//! One request by HTTP/1.1 on a connection of its own, as raw as it was written, and its answer.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::replay::http2;
use crate::replay::log_lines::NUMBER;
use crate::replay::requests::Request;

/// Longest answer that is compared; what is behind it is not read.
pub const ANSWER_BYTES_MAX: u64 = 8 << 20;
pub const PATIENCE: Duration = Duration::from_secs(15);

/// An answer as a client sees it, its body with transfer codings taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case, in the order they came.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Asks by this number, and reads until the other side closes. The error is what a client would have seen.
pub fn ask(address: SocketAddr, request: &Request, number: usize) -> Result<Answer, String> {
    let mut answer = match request.http2 {
        true => http2::ask(address, request, number)?,
        false => by_http1(address, request, number)?,
    };
    one_boundary(&mut answer);
    Ok(answer)
}

/// What stands between the parts of ranges is drawn anew for each answer.
fn one_boundary(answer: &mut Answer) {
    const START: &str = "multipart/byteranges; boundary=";
    let fields = &mut answer.headers;
    let kind =
        fields.iter_mut().find(|(name, value)| name == "content-type" && value.starts_with(START));
    let Some((_, value)) = kind else { return };
    let drawn = value.split_off(START.len());
    value.push_str("between");
    if let Ok(text) = std::str::from_utf8(&answer.body) {
        answer.body = text.replace(&drawn, "between").into_bytes();
    }
}

fn by_http1(address: SocketAddr, request: &Request, number: usize) -> Result<Answer, String> {
    let mut stream = TcpStream::connect(address).map_err(|error| format!("connect: {error}"))?;
    let bytes = exchange(&mut stream, request, number).map_err(|error| error.to_string())?;
    answer(&bytes, request.method == "HEAD").ok_or_else(|| "no answer that is HTTP".to_owned())
}

fn exchange(stream: &mut TcpStream, request: &Request, number: usize) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let Request { method, target, host, body, .. } = request;
    let mut head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: replay\r\n{NUMBER}: {number}\r\n"
    );
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    // An answer may come, and the connection go, before the body has been taken.
    let _ = stream.write_all(body.as_bytes());
    let mut bytes = Vec::new();
    match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes) {
        Err(error) if bytes.is_empty() => Err(error),
        _ => Ok(bytes),
    }
}

fn answer(bytes: &[u8], is_head: bool) -> Option<Answer> {
    let (head, rest) = split(bytes)?;
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    if (100..200).contains(&status) && status != 101 {
        return answer(rest, is_head);
    }
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let chunked =
        headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = match (is_head, chunked) {
        (true, _) => Vec::new(),
        (false, true) => dechunked(rest)?,
        (false, false) => rest.to_vec(),
    };
    Some(Answer { status, headers, body })
}

/// The head as text, without its empty line, and what follows.
pub fn split(bytes: &[u8]) -> Option<(String, &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((String::from_utf8_lossy(&bytes[..end]).into_owned(), &bytes[end + 4..]))
}

/// A chunked body's bytes (RFC 9112 section 7.1); none when it is cut off.
pub fn dechunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whole_or_not_at_all() {
        let read = |text: &str, head| answer(text.as_bytes(), head);
        let plain = read("HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 2\r\n\r\nhi", false).unwrap();
        assert_eq!((plain.status, plain.body.as_slice()), (200, b"hi".as_slice()));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n1\r\n!\r\n0\r\n\r\n";
        assert_eq!(read(chunked, false).unwrap().body, b"hi!");
        assert_eq!(read(&chunked[..chunked.len() - 9], false), None);
        let early = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n";
        assert_eq!(read(early, false).unwrap().status, 204);
        assert_eq!(read("nonsense\r\n\r\n", false), None);
    }
}
