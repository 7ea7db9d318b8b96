//! Sends a stored answer, or one on its way, to a client: whole, in part, or as "you have it".

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, DATE, ETAG, EXPIRES,
    HeaderName, LAST_MODIFIED, TRANSFER_ENCODING, VARY,
};
use http::{HeaderValue, Method, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;

use crate::buffer::tempo::Pacing;
use crate::cache::conditional::{is_not_modified, range_counts};
use crate::cache::freshness::Times;
use crate::cache::object::{Head, Stored};
use crate::cache::range::{Wanted, wanted};
use crate::cache::sliced::{Sliced, send_sliced};
use crate::failure::Failure;
use crate::fill::flow::{Flow, Reader};
use crate::fill::passing::{Passing, Read};
use crate::rate_limit::quota::Quota;
use crate::respond;
use crate::rules::edits::edit_response;
use crate::rules::ruled::ToClient;
use crate::{bodies, dating};

pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// What a 304 carries of the answer it stands for (RFC 9110 section 15.4.5).
const KEPT_WHEN_NOT_MODIFIED: [HeaderName; 8] =
    [AGE, CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, LAST_MODIFIED, VARY];
/// Bytes of a stored body written at once, so that one client does not hold a thread for long.
const PART_BYTES_MAX: usize = 256 * 1024;

/// Where an answer's bytes are.
pub enum Source {
    Stored(Arc<Stored>),
    Flow(Arc<Head>, Arc<Flow>),
    Passing(Box<Passing>),
    Sliced(Box<Sliced>),
}

impl Source {
    pub fn head(&self) -> &Head {
        match self {
            Source::Stored(stored) => &stored.head,
            Source::Flow(head, _) => head,
            Source::Passing(passing) => &passing.head,
            Source::Sliced(sliced) => &sliced.of.head,
        }
    }

    fn times(&self) -> Option<Times> {
        match self {
            Source::Stored(stored) => Some(stored.times()),
            Source::Flow(head, _) => head.times,
            Source::Passing(passing) => passing.head.times,
            Source::Sliced(sliced) => Some(sliced.of.times()),
        }
    }

    /// Bytes of the whole body, as far as they are known.
    pub fn length(&self) -> Option<u64> {
        match self {
            Source::Stored(stored) => Some(stored.length()),
            Source::Flow(head, flow) => head.length.or_else(|| flow.whole_length()),
            Source::Passing(passing) => passing.head.length,
            Source::Sliced(sliced) => sliced.of.head.length,
        }
    }

    /// Whether its bytes come from the origin now.
    fn is_on_its_way(&self) -> bool {
        matches!(self, Source::Flow(..) | Source::Passing(_))
    }
}

/// The response to one request: its head, and which bytes follow.
pub struct Response {
    pub head: ResponseHeader,
    pub first: u64,
    pub end: u64,
    pub has_body: bool,
}

/// Sends the answer. `cache_status` is this cache's member of `Cache-Status`, `edits` are the route's, `pacing` its lane's and its own.
///
/// Errors: the failure that cut it short; when a head was sent, the connection must be broken off.
pub async fn send(
    session: &mut Session,
    source: &Source,
    cache_status: &str,
    (edits, quota, pacing): (&ToClient, Option<&Quota>, &Pacing),
    now_ms: u64,
    head_sent: impl FnOnce(),
) -> Result<(), Failure> {
    let has_parts = !bodies::changes(session, &source.head().response);
    let response = respond_to(session.req_header(), source, cache_status, now_ms, has_parts);
    let Response { mut head, first, end, has_body } = response.ok_or(Failure::Internal)?;
    for (name, value) in quota.into_iter().flat_map(Quota::fields) {
        head.append_header(name, value).map_err(|_| Failure::Internal)?;
    }
    // Made before the head is written: what is to be read must not be forgotten meanwhile.
    let mut reader = match source {
        Source::Flow(_, flow) if has_body => Some((flow.reader(first), None)),
        Source::Passing(passing) if has_body => Some(passing.reader(first).await?),
        _ => None,
    };
    edit_response(&mut head, edits).map_err(|_| Failure::Internal)?;
    respond::fit_protocol(session, &mut head);
    dating::keep_date(session, &head);
    let written = session.write_response_header(Box::new(head), !has_body).await;
    written.map_err(|_| Failure::ClientGone)?;
    head_sent();
    match (&mut reader, source) {
        _ if !has_body => {}
        (Some(read), Source::Passing(passing)) => {
            relay_passing(session, passing, read, end, pacing).await?;
        }
        (Some((reader, _)), _) => relay(session, reader, end, pacing).await?,
        (None, Source::Stored(stored)) => {
            send_stored(session, stored, (first, end), pacing).await?;
        }
        (None, Source::Sliced(sliced)) => {
            send_sliced(session, sliced, (first, end), pacing).await?;
        }
        (None, Source::Flow(..) | Source::Passing(_)) => return Err(Failure::Internal),
    }
    session.write_response_body(None, true).await.map_err(|_| Failure::ClientGone)
}

/// Sends a part of a stored body.
pub async fn send_stored(
    session: &mut Session,
    stored: &Stored,
    (first, end): (u64, u64),
    pacing: &Pacing,
) -> Result<(), Failure> {
    let mut at = first;
    while at < end {
        let mut part = part(stored, at, end);
        part.truncate(pacing.piece());
        if part.is_empty() {
            return Err(Failure::Internal);
        }
        at += part.len() as u64;
        pacing.wait(part.len()).await;
        write(session, part).await?;
    }
    Ok(())
}

/// The next bytes of a stored body; none when they are missing.
pub fn part(stored: &Stored, at: u64, end: u64) -> Bytes {
    let mut part = stored.body.blocks.from(at);
    part.truncate(usize::try_from(end - at).unwrap_or(usize::MAX).min(PART_BYTES_MAX));
    part
}

async fn write(session: &mut Session, bytes: Bytes) -> Result<(), Failure> {
    session.write_response_body(Some(bytes), false).await.map_err(|_| Failure::ClientGone)
}

/// Hands bytes on as they arrive. Waiting for more means watching the client too, which also
/// flushes what it is owed.
pub async fn relay(
    session: &mut Session,
    reader: &mut Reader,
    end: u64,
    pacing: &Pacing,
) -> Result<(), Failure> {
    loop {
        let next = tokio::select! {
            biased;
            next = reader.next(end) => next,
            _ = session.downstream_session.read_body_or_idle(true) => {
                return Err(Failure::ClientGone);
            }
        };
        match next {
            Some(Ok(mut bytes)) => {
                while !bytes.is_empty() {
                    let part = bytes.split_to(bytes.len().min(pacing.piece()));
                    pacing.wait(part.len()).await;
                    write(session, part).await?;
                }
            }
            Some(Err(failure)) => return Err(failure),
            None => return Ok(()),
        }
    }
}

/// The same; who is left behind by the others goes on by himself.
async fn relay_passing(
    session: &mut Session,
    passing: &Passing,
    read: &mut Read,
    end: u64,
    pacing: &Pacing,
) -> Result<(), Failure> {
    loop {
        match relay(session, &mut read.0, end, pacing).await {
            Err(_) if read.0.is_behind() => *read = passing.rest(read.0.at()).await?,
            done => return done,
        }
    }
}

/// What a request gets of an answer: all of it, unless it `has_parts`. `None` when its head cannot be made.
pub fn respond_to(
    request: &RequestHeader,
    source: &Source,
    cache_status: &str,
    now_ms: u64,
    has_parts: bool,
) -> Option<Response> {
    let stored = source.head();
    let mut head = stored.response.clone();
    // Of a body that is on its way chunked, the length may be known by now.
    head.remove_header(&CONTENT_LENGTH);
    if let Some(times) = source.times() {
        let age = times.age_ms(now_ms) / 1000;
        if age > 0 || !source.is_on_its_way() || head.headers.contains_key(AGE) {
            head.insert_header(AGE, HeaderValue::from(age)).ok()?;
        }
    }
    head.append_header(CACHE_STATUS, cache_status).ok()?;
    let is_get = request.method == Method::GET;
    let is_ok = head.status == StatusCode::OK;
    if is_ok && is_not_modified(&request.headers, &head.headers) {
        return Some(Response { head: not_modified(&head)?, first: 0, end: 0, has_body: false });
    }
    let length = source.length();
    let range = match length {
        Some(length)
            if has_parts && is_ok && is_get && range_counts(&request.headers, &head.headers) =>
        {
            wanted(&request.headers, length)
        }
        _ => Wanted::Whole,
    };
    let (first, end) = match (range, length) {
        (Wanted::Part { first, end }, Some(length)) => {
            head.set_status(StatusCode::PARTIAL_CONTENT).ok()?;
            head.set_reason_phrase(None).ok()?;
            let place = format!("bytes {first}-{}/{length}", end - 1);
            head.insert_header(CONTENT_RANGE, place).ok()?;
            (first, end)
        }
        (Wanted::Nothing, Some(length)) => {
            head.set_status(StatusCode::RANGE_NOT_SATISFIABLE).ok()?;
            head.set_reason_phrase(None).ok()?;
            head.insert_header(CONTENT_RANGE, format!("bytes */{length}")).ok()?;
            (0, 0)
        }
        (_, length) => (0, length.unwrap_or(u64::MAX)),
    };
    let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    match length {
        _ if bodiless => {}
        Some(_) => head.insert_header(CONTENT_LENGTH, HeaderValue::from(end - first)).ok()?,
        None => head.insert_header(TRANSFER_ENCODING, "chunked").ok()?,
    }
    let has_body = is_get && !bodiless && first < end;
    Some(Response { head, first, end, has_body })
}

fn not_modified(head: &ResponseHeader) -> Option<ResponseHeader> {
    let mut kept = ResponseHeader::build(StatusCode::NOT_MODIFIED, Some(8)).ok()?;
    for (name, value) in &head.headers {
        if KEPT_WHEN_NOT_MODIFIED.contains(name) || *name == CACHE_STATUS {
            kept.append_header(name.clone(), value.clone()).ok()?;
        }
    }
    Some(kept)
}
