//! Answers in HTTP/1.1 whose body is delimited by its length (RFC 9112 section 6.2), read without a session of pingora's:
//! the head is looked at as it lies ([`Lines`]), and the body is lent from where it was read, or moved by
//! the kernel without coming here. What is anything else is given back to be read from its first byte by pingora, which
//! knows every form of an answer.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use pingora::time::timeout;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;

use crate::lent::socket::Lent;
use crate::splice::Splice;
use crate::upstream::connector::{Berth, Connector};
use crate::upstream::lines::Lines;
use crate::upstream::sips::Sips;

/// Bytes read at first. A head that does not come in one piece is pingora's.
const HEAD_BYTES: usize = 8 * 1024;
/// Bytes of a body read at once.
const READ_BYTES: usize = 64 * 1024;

/// Why an answer is not whole.
#[derive(Debug, Error)]
pub enum Fault {
    #[error("the request could not be sent in time")]
    SentLate,
    #[error("the request could not be sent: {0}")]
    Send(io::Error),
    #[error("nothing was read in time")]
    ReadLate,
    #[error("the answer could not be read: {0}")]
    Read(io::Error),
    #[error("the connection was closed before the body was whole")]
    CutOff,
}

/// What a server's first bytes begin.
pub enum Began {
    Delimited(Box<Answer>),
    /// Nothing of it is taken.
    Other(Box<Sips>),
}

/// An answer whose length is known.
pub struct Answer {
    pub lines: Lines,
    pub body: Body,
}

/// What is left of its body.
pub struct Body {
    stream: Box<Sips>,
    /// Read, and not lent yet.
    read: BytesMut,
    lent: BytesMut,
    /// Bytes of it that were not lent yet.
    left: u64,
    patience: Duration,
}

/// Sends a request.
///
/// Errors: `Send`, and `SentLate` after this time.
pub async fn send(stream: &mut Sips, request: &[u8], patience: Duration) -> Result<(), Fault> {
    let sending = async {
        stream.write_all(request).await?;
        stream.flush().await
    };
    let sent = timeout(patience, sending).await;
    sent.map_err(|_| Fault::SentLate)?.map_err(Fault::Send)
}

/// Reads what comes first of the answer to a request other than HEAD: within `of_head`. What follows has `of_body` for
/// each read.
///
/// Errors: `ReadLate`.
pub async fn read(
    mut stream: Box<Sips>,
    of_head: Duration,
    of_body: Duration,
) -> Result<Began, Fault> {
    let mut read = BytesMut::with_capacity(HEAD_BYTES);
    let came = timeout(of_head, stream.read_buf(&mut read)).await;
    let came = came.map_err(|_| Fault::ReadLate)?;
    // A fault is found again by who reads on, who knows what it means for the connection.
    let begun = came.ok().filter(|count| *count > 0).and_then(|_| Lines::read(&read));
    let Some(lines) = begun else {
        stream.put_back(read.freeze());
        return Ok(Began::Other(stream));
    };
    read.advance(lines.length());
    let (lent, left, patience) = (BytesMut::new(), lines.body_length(), of_body);
    let body = Body { stream, read, lent, left, patience };
    Ok(Began::Delimited(Box::new(Answer { lines, body })))
}

impl Body {
    /// The next bytes of the body; `None` when there are no more.
    ///
    /// Errors: `CutOff`, `Read`, `ReadLate`.
    pub async fn lend(&mut self) -> Result<Option<&[u8]>, Fault> {
        Ok(self.next().await?.map(|part| &**part))
    }

    /// The same, to keep.
    pub async fn part(&mut self) -> Result<Option<Bytes>, Fault> {
        if self.next().await?.is_none() {
            return Ok(None);
        }
        // What is kept for long keeps little beside it.
        let is_filled = self.lent.len() >= READ_BYTES / 2;
        let part =
            if is_filled { self.lent.split().freeze() } else { Bytes::copy_from_slice(&self.lent) };
        Ok(Some(part))
    }

    async fn next(&mut self) -> Result<Option<&BytesMut>, Fault> {
        if self.left == 0 {
            return Ok(None);
        }
        if self.read.is_empty() {
            self.lent.clear();
            let room = usize::try_from(self.left).unwrap_or(READ_BYTES);
            self.read.reserve(READ_BYTES.min(room));
            let mut rest = (&mut self.stream).take(self.left);
            let came = timeout(self.patience, rest.read_buf(&mut self.read)).await;
            if came.map_err(|_| Fault::ReadLate)?.map_err(Fault::Read)? == 0 {
                return Err(Fault::CutOff);
            }
        }
        self.lent = self.read.split();
        self.left -= self.lent.len() as u64;
        Ok(Some(&self.lent))
    }

    pub fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Takes out the socket that what is left comes from, when none of that waits here.
    pub fn lend_socket(&mut self) -> Option<Lent> {
        let is_clear = self.read.is_empty() && !self.is_done();
        is_clear.then(|| self.stream.lend())?
    }

    /// Puts it back, for the runtime `home`.
    ///
    /// Errors: as of [`lent::put_back`](crate::lent::put_back).
    pub fn put_back(&mut self, lent: Lent, home: &Handle) -> io::Result<()> {
        self.stream.give_back(lent, home)
    }

    /// Takes the next bytes from that socket without reading them; says how many. 0 is the end.
    ///
    /// Errors: as of [`lend`](Body::lend).
    pub async fn take_in(&mut self, splice: &Splice, bytes_max: usize) -> Result<usize, Fault> {
        if self.left == 0 {
            return Ok(0);
        }
        let most = usize::try_from(self.left).unwrap_or(bytes_max).min(bytes_max);
        let most = most.min(self.stream.bite());
        let taken = timeout(self.patience, splice.take_in(most)).await;
        let taken = taken.map_err(|_| Fault::ReadLate)?.map_err(Fault::Read)?;
        if taken == 0 {
            return Err(Fault::CutOff);
        }
        self.left -= taken as u64;
        self.stream.bitten(taken);
        Ok(taken)
    }

    /// Gives the connection back where its answer was read to the end, and closes it otherwise.
    pub async fn release(mut self, last: bool, berth: Berth, connector: &Connector) {
        match last || !self.is_done() {
            true => drop(self.stream.shutdown().await),
            false => connector.release(self.stream, berth).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use pingora::http::ResponseHeader;
    use pingora::protocols::http::v1::client;
    use proptest::prelude::*;
    use tokio::io::duplex;

    use super::*;
    use crate::front::head::write_lines;
    use crate::headers::HOP_BY_HOP;

    const SECOND: Duration = Duration::from_secs(1);

    async fn answered(text: &[u8]) -> Began {
        let (ours, mut theirs) = duplex(1 << 20);
        theirs.write_all(text).await.unwrap();
        drop(theirs);
        read(Box::new(Sips::of(Box::new(ours))), SECOND, SECOND).await.unwrap()
    }

    #[tokio::test]
    async fn an_answer_is_read_as_it_was_sent_but_for_what_is_the_connections() {
        let text = b"HTTP/1.1 404 Gone Away\r\nServer: s\r\nConnection: Keep-Alive\r\nKeep-Alive: timeout=5\r\n\
            X-Odd-CASE: a\r\nContent-Length: 5\r\nX-Odd-CASE: b\r\n\r\nhe";
        let Began::Delimited(answer) = answered(text).await else { panic!("not taken") };
        let Answer { lines: came, mut body } = *answer;
        let head = came.head().unwrap();
        assert_eq!((head.status.as_u16(), head.get_reason_phrase()), (404, Some("Gone Away")));
        let mut wire = BytesMut::new();
        head.header_to_h1_wire(&mut wire);
        let lines = "Server: s\r\nX-Odd-CASE: a\r\nX-Odd-CASE: b\r\nContent-Length: 5\r\n";
        assert_eq!(std::str::from_utf8(&wire).unwrap(), lines);
        assert_eq!(body.lend().await.unwrap(), Some(&b"he"[..]));
        assert!(!body.is_done());
        assert!(matches!(body.lend().await, Err(Fault::CutOff)));
    }

    #[tokio::test]
    async fn a_reason_that_is_not_said_is_not_made_up() {
        for line in ["HTTP/1.1 500\r\n", "HTTP/1.1 500 \r\n"] {
            let text = format!("{line}Content-Length: 0\r\n\r\n");
            let Began::Delimited(answer) = answered(text.as_bytes()).await else {
                panic!("{line}")
            };
            let (mut as_it_came, mut of_fields) = (BytesMut::new(), BytesMut::new());
            answer.lines.write(&mut as_it_came);
            write_lines(&answer.lines.head().unwrap(), &mut of_fields);
            assert_eq!(&as_it_came[..], b"HTTP/1.1 500 \r\nContent-Length: 0\r\n");
            assert_eq!(as_it_came, of_fields);
        }
    }

    #[tokio::test]
    async fn a_body_is_lent_until_its_end_and_no_further() {
        let (ours, mut theirs) = duplex(1 << 20);
        theirs.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n").await.unwrap();
        let stream = Box::new(Sips::of(Box::new(ours)));
        let Began::Delimited(answer) = read(stream, SECOND, SECOND).await.unwrap() else {
            panic!()
        };
        let mut body = answer.body;
        theirs.write_all(&[7; 20_003]).await.unwrap();
        let mut length = 0;
        while let Some(part) = body.part().await.unwrap() {
            assert!(part.iter().all(|byte| *byte == 7));
            length += part.len();
        }
        assert_eq!((length, body.is_done()), (20_000, true));
        let mut over = [0; 3];
        body.stream.read_exact(&mut over).await.unwrap();
    }

    #[tokio::test]
    async fn all_else_is_given_back_as_it_came() {
        for text in [
            "",
            "HTTP/1.1 200 OK\r\nContent-Le",
            "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\nuntil the end",
            "HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
            "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\na",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\na",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive, x\r\n\r\na",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nUpgrade: h2c\r\n\r\na",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTrailer: x\r\n\r\na",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX: a\r\n b\r\n\r\na",
            "nonsense\r\n\r\n",
        ] {
            let Began::Other(mut stream) = answered(text.as_bytes()).await else {
                panic!("{text:?}")
            };
            let mut again = String::new();
            stream.read_to_string(&mut again).await.unwrap();
            assert_eq!(again, text);
        }
    }

    /// What pingora reads: status, fields and body.
    async fn by_pingora(text: &[u8]) -> Option<(u16, Vec<(String, Vec<u8>)>, Vec<u8>)> {
        let (ours, mut theirs) = duplex(1 << 20);
        theirs.write_all(text).await.ok()?;
        drop(theirs);
        let mut session = client::HttpSession::new(Box::new(ours));
        session.read_response().await.ok()?;
        let head = session.resp_header()?.clone();
        let mut body = Vec::new();
        while let Some(part) = session.read_body_bytes().await.ok()? {
            body.extend_from_slice(&part);
        }
        Some((head.status.as_u16(), lasting(&head), body))
    }

    async fn by_us(text: &[u8]) -> Option<(u16, Vec<(String, Vec<u8>)>, Vec<u8>)> {
        let Began::Delimited(answer) = answered(text).await else { return None };
        let (head, mut rest, mut body) = (answer.lines.head()?, answer.body, Vec::new());
        let (mut as_it_came, mut of_fields) = (BytesMut::new(), BytesMut::new());
        answer.lines.write(&mut as_it_came);
        write_lines(&head, &mut of_fields);
        assert_eq!(sorted(&as_it_came), sorted(&of_fields));
        while let Some(part) = rest.part().await.ok()? {
            body.extend_from_slice(&part);
        }
        Some((head.status.as_u16(), lasting(&head), body))
    }

    /// The status line and the others, whatever their order: fields of one name stand together in a map.
    fn sorted(lines: &[u8]) -> Vec<&[u8]> {
        let mut lines: Vec<_> = lines.split(|byte| *byte == b'\n').collect();
        lines[1..].sort_unstable();
        lines
    }

    /// The fields that go further.
    fn lasting(head: &ResponseHeader) -> Vec<(String, Vec<u8>)> {
        let fields = head.headers.iter();
        let lasting = fields.filter(|(name, _)| !HOP_BY_HOP.contains(name));
        lasting.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
    }

    proptest! {
        #[test]
        fn what_is_read_here_is_what_pingora_reads(
            first in prop::sample::select(vec![
                "HTTP/1.1 200 OK", "HTTP/1.1 500", "HTTP/1.1 299 A b", "HTTP/1.0 200 OK", "HTTP/1.1 100 Continue", "HTTP/1.1 0200 OK",
            ]),
            fields in prop::collection::vec(prop::sample::select(vec![
                "Content-Length: 3", "content-length:3 ", "Content-Length: 03", "Content-Length: 3, 3", "Content-Length : 3",
                "Transfer-Encoding: chunked", "Connection: keep-alive", "Connection: close", "Keep-Alive: timeout=1",
                "X-A: b", "x-a: \tc ", "Set-Cookie: a=b", "Set-Cookie: c=d", "X-Bin: \u{e9}", "X\u{e9}: a", ": a", " folded", "",
            ]), 0..6),
            end in prop::sample::select(vec!["\r\n", "\n", "\r"]),
            body in prop::sample::select(vec!["", "ab", "abc", "abcd", "3\r\nabc\r\n0\r\n\r\n"]),
        ) {
            let mut text = format!("{first}\r\n");
            fields.iter().for_each(|field| text.push_str(&format!("{field}{end}")));
            text.push_str(&format!("\r\n{body}"));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                if let Some(ours) = by_us(text.as_bytes()).await {
                    prop_assert_eq!(Some(ours), by_pingora(text.as_bytes()).await);
                }
                Ok(())
            })?;
        }
    }
}
