//! HTTP/2 frames as a test writes them: no library checks what is sent.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::harness::PATIENCE;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

pub type Field = (Vec<u8>, Vec<u8>);

/// How a request ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A response with this body.
    Answered(Vec<u8>),
    /// The stream was reset.
    Reset,
    /// The connection was given up.
    Closed,
}

/// Sends one request on a connection of its own.
pub fn ask(to: SocketAddr, head: &[Field], body: Option<&[u8]>, trailers: &[Field]) -> Outcome {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sent.extend(frame(SETTINGS, 0, 0, &[]));
    let ends = |last: bool| if last { END_STREAM } else { 0 };
    let only_head = body.is_none() && trailers.is_empty();
    sent.extend(frame(HEADERS, END_HEADERS | ends(only_head), 1, &block(head)));
    if let Some(body) = body {
        sent.extend(frame(DATA, ends(trailers.is_empty()), 1, body));
    }
    if !trailers.is_empty() {
        sent.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(trailers)));
    }
    if stream.write_all(&sent).is_err() {
        return Outcome::Closed;
    }
    outcome(&mut stream)
}

fn outcome(stream: &mut TcpStream) -> Outcome {
    let mut body = Vec::new();
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).is_err() {
            return Outcome::Closed;
        }
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        if stream.read_exact(&mut payload).is_err() {
            return Outcome::Closed;
        }
        let (kind, flags, on) =
            (head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
        match kind {
            SETTINGS if flags & ACK == 0 => {
                let _ = stream.write_all(&frame(SETTINGS, ACK, 0, &[]));
            }
            GOAWAY if payload[4..8] != [0; 4] => return Outcome::Closed,
            RST_STREAM if on == 1 => return Outcome::Reset,
            DATA if on == 1 => body.extend(payload),
            _ => {}
        }
        if on == 1 && matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            return Outcome::Answered(body);
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Each field as a literal that is not indexed, without Huffman coding (RFC 7541 section 6.2.2).
fn block(fields: &[Field]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // Lengths of less than 127 fit into one byte.
            block.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap());
            block.extend(text);
        }
    }
    block
}
