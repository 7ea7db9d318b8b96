//! What pingora would refuse is refused here: it would answer by itself, with no line in a log and no count. So each head of
//! HTTP/1 that is for it is read whole ahead of it, and [judged](judge). One that is refused goes on as a
//! [stand-in](stand_in), which pingora takes, and [`crate::edge`] answers as it answers all refusals
//! (decision 0110).

pub mod judge;
pub mod stand_in;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use pingora::protocols::Stream;
use proxy_config::listener::Listener;

use crate::connection::whole_seconds;
use crate::failure::Failure;
use crate::framing::Framing;
use crate::front::{Ended, Guest, Waiting};
use crate::vetting::judge::Verdict;

/// A head and what is read with it are less than the 1 MiB that pingora takes.
const HEAD_BYTES_MAX: usize = 1_000_000;
/// Bytes of empty lines ahead of a request.
const EMPTY_LINES_MAX: usize = 64;

/// The next request, as far as it has come.
pub struct Vetted {
    /// Its head, and all that was read with it: pingora hands on what comes behind an upgrade.
    pub request: BytesMut,
    /// What of that is behind it, where all of it is there.
    pub behind: Option<BytesMut>,
    /// What is wrong with it; `request` is then a stand-in.
    pub unfit: Option<Arc<Failure>>,
}

/// Whether something of the next request is there, or comes.
pub async fn begins<L: Future<Output = ()>>(
    stream: &mut Stream,
    guest: &mut Guest,
    idle: Duration,
    leaving: Pin<&mut L>,
) -> bool {
    !guest.read.is_empty() || Waiting { idle, stream, guest, leaving }.for_bytes().await
}

/// Reads the next head, as far as it may be read, and judges it; `None`
/// when there will be none.
pub async fn next<L: Future<Output = ()>>(
    stream: &mut Stream,
    guest: &mut Guest,
    listener: &Listener,
    mut leaving: Pin<&mut L>,
) -> Option<Vetted> {
    let idle = Duration::from_secs(whole_seconds(listener.timeouts.idle));
    let (mut searched, mut empty) = (0, 0);
    let length = loop {
        empty += skip_empty_lines(&mut guest.read, listener.bare_line_feeds);
        if let Some(length) = end_of_head(&guest.read, searched) {
            break Ok(length);
        }
        searched = guest.read.len();
        let early = || judge::early(&guest.read, listener);
        if let Some(failure) = too_much(&guest.read, empty, listener).or_else(early) {
            break Err(failure);
        }
        match guest.ended {
            None => {}
            Some(_) if guest.read.is_empty() => return None,
            Some(Ended::Told) => return None,
            Some(Ended::Late) => break Err(Failure::RequestTimeout),
            Some(Ended::Closed) => {
                break Err(Failure::BadRequest("the request ends before its head does"));
            }
        }
        let leaving = leaving.as_mut();
        Waiting { idle, stream: &mut *stream, guest: &mut *guest, leaving }.for_bytes().await;
    };
    let (length, verdict) = match length {
        Ok(length) => (length, judge::judge(&guest.read[..length], listener).await),
        Err(failure) => (guest.read.len(), Verdict::Unfit(failure)),
    };
    let mut request = std::mem::take(&mut guest.read);
    match verdict {
        Verdict::Fit => {}
        Verdict::As(head) => {
            let rest = request.split_off(length);
            request = BytesMut::from(&head[..]);
            request.unsplit(rest);
        }
        Verdict::Unfit(failure) => {
            let request = stand_in::of(&request[..length]);
            let behind = Some(BytesMut::new());
            return Some(Vetted { request, behind, unfit: Some(Arc::new(failure)) });
        }
    }
    // A piece of its own: what is served holds the rest no longer than it has to.
    let behind = Framing::end_of_first(&request).map(|end| BytesMut::from(&request[end..]));
    Some(Vetted { request, behind, unfit: None })
}

/// Drops empty lines ahead of a request (RFC 9112 section 2.2); says how many bytes they had.
fn skip_empty_lines(read: &mut BytesMut, bare_line_feeds: bool) -> usize {
    let mut skipped = 0;
    loop {
        let count = match &read[..] {
            [b'\r', b'\n', ..] => 2,
            [b'\n', ..] if bare_line_feeds => 1,
            _ => return skipped,
        };
        read.advance(count);
        skipped += count;
    }
}

/// Where the empty line behind a head ends; what ends in a bare LF is judged later. No line ended before `searched` that
/// was the last.
fn end_of_head(read: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(2).min(read.len());
    memchr::memchr_iter(b'\n', &read[from..]).find_map(|at| {
        let next = from + at + 1;
        match &read[next..] {
            [b'\n', ..] => Some(next + 1),
            [b'\r', b'\n', ..] => Some(next + 2),
            _ => None,
        }
    })
}

/// What a head that is still to come is refused for.
fn too_much(read: &[u8], empty: usize, listener: &Listener) -> Option<Failure> {
    if empty > EMPTY_LINES_MAX {
        return Some(Failure::BadRequest("there are too many empty lines ahead of the request"));
    }
    let bytes = |limit: proxy_config::units::ByteSize| {
        usize::try_from(limit.as_bytes()).unwrap_or(usize::MAX).min(HEAD_BYTES_MAX)
    };
    let is_line = memchr::memchr(b'\n', read).is_none();
    if is_line && read.len() > bytes(listener.request_head.uri_max) + judge::AROUND_TARGET {
        return Some(Failure::TargetTooLong);
    }
    (read.len() > bytes(listener.request_head.bytes_max)).then_some(Failure::HeadTooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_end_with_an_empty_line_however_they_come() {
        for text in
            ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\nHost: a\n\n", "GET /\n\r\n"]
        {
            let bytes = [text.as_bytes(), b"GET"].concat();
            for before in 0..text.len() {
                assert_eq!(end_of_head(&bytes, before), Some(text.len()), "{text:?} {before}");
                assert_eq!(end_of_head(&bytes[..before], 0), None, "{text:?} {before}");
            }
        }
    }

    #[test]
    fn empty_lines_ahead_are_no_part_of_it() {
        for (text, bare, rest) in [
            ("\r\n\r\nGET", false, "GET"),
            ("\n\r\nGET", true, "GET"),
            ("\nGET", false, "\nGET"),
            ("\r", true, "\r"),
            ("GET", true, "GET"),
        ] {
            let mut read = BytesMut::from(text);
            let skipped = skip_empty_lines(&mut read, bare);
            assert_eq!(
                (&read[..], skipped),
                (rest.as_bytes(), text.len() - rest.len()),
                "{text:?}"
            );
        }
    }
}
