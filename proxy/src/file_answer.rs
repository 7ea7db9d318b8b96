//! The response to a request for a file: whole, in part, or as "you have it".

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
};
use http::{HeaderMap, Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use proxy_config::file_rules::ModifiedSince;
use proxy_config::matching::normalize_path;

use crate::buffer::tempo::Pacing;
use crate::cache::conditional::{is_not_modified, range_counts};
use crate::cache::range::{Wanted, wanted};
use crate::detour;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::files::{Files, Found, OpenFile};
use crate::flv::Opening;
use crate::headers::titled;
use crate::listing::{self, Entry};
use crate::prompt::quantum::QUANTUM_BYTES;
use crate::rules::edits::edit_response;
use crate::{bodies, hop, local, mp4};

/// Bytes read from a file at once.
const PART_BYTES_MAX: u64 = 128 * 1024;

/// Looks for a file without holding a thread of the runtime.
pub async fn find(
    files: &Arc<Files>,
    path: &str,
    request: &RequestHeader,
) -> Result<Found, Failure> {
    let request = readable(files, request);
    let (files, path) = (Arc::clone(files), path.to_owned());
    let found = tokio::task::spawn_blocking(move || files.find(&path, &request)).await;
    let found = found.map_err(|_| Failure::Internal)?;
    found.map_err(|error| {
        tracing::warn!(%error, "a file could not be opened");
        Failure::Internal
    })
}

/// The index that a directory has, without holding a thread of the runtime.
pub async fn index(
    files: &Arc<Files>,
    path: &str,
    request: &RequestHeader,
) -> Result<Option<String>, Failure> {
    let request = readable(files, request);
    let (files, path) = (Arc::clone(files), path.to_owned());
    let found = tokio::task::spawn_blocking(move || files.index_of(&path, &request)).await;
    found.map_err(|_| Failure::Internal)?.map_err(|_| Failure::Internal)
}

/// The headers of a request as files look at them: an old client is not taken to read what is compressed.
fn readable(files: &Files, request: &RequestHeader) -> HeaderMap {
    let mut headers = request.headers.clone();
    let is_old = request.version == Version::HTTP_10;
    if is_old && files.gzipped.as_ref().is_some_and(|gzipped| !gzipped.http10) {
        headers.remove(ACCEPT_ENCODING);
    }
    headers
}

/// Answers with the file the request's path names.
pub async fn answer(
    session: &mut Session,
    exchange: &mut Exchange,
    files: &Arc<Files>,
) -> Result<(), Failure> {
    let head = session.req_header();
    let reads = head.method == Method::GET || head.method == Method::HEAD;
    if !reads && head.method != Method::POST {
        return Err(only_to_be_read());
    }
    let found = find(files, head.uri.path(), head).await?;
    self::found(session, exchange, files, found).await
}

/// Answers with what was found at a path.
pub async fn found(
    session: &mut Session,
    exchange: &mut Exchange,
    files: &Arc<Files>,
    found: Found,
) -> Result<(), Failure> {
    let head = session.req_header();
    let reads = head.method == Method::GET || head.method == Method::HEAD;
    match found {
        // What is not there takes no method.
        Found::File(_) if !reads => Err(only_to_be_read()),
        Found::File(file) => send(session, exchange, *file, files).await,
        Found::Directory => to_directory(session, exchange).await,
        Found::Entries(entries) => show(session, exchange, files, &entries).await,
        Found::Missing => Err(Failure::NoFile),
        Found::Forbidden => Err(Failure::Forbidden("this file cannot be read")),
    }
}

/// Shows what is in a directory.
async fn show(
    session: &mut Session,
    exchange: &mut Exchange,
    files: &Files,
    entries: &[Entry],
) -> Result<(), Failure> {
    let Some(how) = &files.listing else { return Err(Failure::Internal) };
    let uri = &session.req_header().uri;
    let path = normalize_path(uri.path());
    let path = String::from_utf8_lossy(&path).replace("%25", "%");
    let (kind, text) = listing::show(entries, how, &path, uri.query().unwrap_or_default());
    let mut head = built(StatusCode::OK)?;
    head.insert_header(CONTENT_TYPE, kind).map_err(|_| Failure::Internal)?;
    local::send(session, exchange, head, Bytes::from(text)).await
}

pub fn only_to_be_read() -> Failure {
    Failure::MethodNotAllowed { allow: "GET, HEAD".to_owned() }
}

/// Relative links on a directory's page need the slash.
pub async fn to_directory(session: &mut Session, exchange: &mut Exchange) -> Result<(), Failure> {
    let own = || String::from_utf8_lossy(session.req_header().raw_path()).into_owned();
    let asked = exchange.ruled.asked.clone().unwrap_or_else(own);
    let (path, query) = asked.split_once('?').map_or((&*asked, None), |(p, q)| (p, Some(q)));
    let origin = exchange.ruled.texts.directory_origin.take().unwrap_or_default();
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let to = format!("{origin}{path}/{query}");
    detour::speaks_for_itself(exchange, 301);
    let mut head = built(StatusCode::MOVED_PERMANENTLY)?;
    head.insert_header("Location", to).map_err(|_| Failure::Internal)?;
    local::send(session, exchange, head, Bytes::new()).await
}

fn built(status: StatusCode) -> Result<ResponseHeader, Failure> {
    ResponseHeader::build(status, Some(10)).map_err(|_| Failure::Internal)
}

/// Sends a file that was found.
pub async fn send(
    session: &mut Session,
    exchange: &mut Exchange,
    file: OpenFile,
    files: &Files,
) -> Result<(), Failure> {
    send_with(session, exchange, file, files, &HeaderMap::new()).await
}

/// Sends a file that was found with these fields, which count in place of its own: for conditions too.
pub async fn send_with(
    session: &mut Session,
    exchange: &mut Exchange,
    file: OpenFile,
    files: &Files,
    fields: &HeaderMap,
) -> Result<(), Failure> {
    let request = session.req_header();
    let has_body = request.method == Method::GET;
    let head = head_of(&file, files).and_then(|head| dressed(head, fields));
    let mut head = head.map_err(|_| Failure::Internal)?;
    if !holds(&request.headers, &head.headers) {
        let head = built(StatusCode::PRECONDITION_FAILED)?;
        return local::send(session, exchange, head, Bytes::new()).await;
    }
    if is_had(&request.headers, &head.headers, files.if_modified_since) {
        head.set_status(StatusCode::NOT_MODIFIED).map_err(|_| Failure::Internal)?;
        head.remove_header(&CONTENT_TYPE);
        return local::send(session, exchange, head, Bytes::new()).await;
    }
    let query = request.uri.query().unwrap_or_default().to_owned();
    let opening = opening(&file, files, query).await?;
    let request = session.req_header();
    let length = opening.length();
    let range = match has_body
        && files.ranges_max != Some(0)
        && range_counts(&request.headers, &head.headers)
        && !bodies::changes(session, &head)
    {
        true => wanted(&request.headers, length),
        false => Wanted::Whole,
    };
    let (first, end) = match range {
        Wanted::Whole => (0, length),
        Wanted::Part { first, end } => {
            let place = format!("bytes {first}-{}/{length}", end - 1);
            in_part(&mut head, StatusCode::PARTIAL_CONTENT, &place)?;
            (first, end)
        }
        Wanted::Nothing => {
            let place = format!("bytes */{length}");
            in_part(&mut head, StatusCode::RANGE_NOT_SATISFIABLE, &place)?;
            return local::send(session, exchange, head, Bytes::new()).await;
        }
    };
    head.insert_header(CONTENT_LENGTH, end - first).map_err(|_| Failure::Internal)?;
    edit_response(&mut head, &exchange.ruled.to_client).map_err(|_| Failure::Internal)?;
    let has_body = has_body && first < end;
    let pacing = exchange.pacing().ok_or(Failure::Internal)?;
    if has_body && end - first > QUANTUM_BYTES as u64 {
        hop::to(pacing.lane.place()).await;
    }
    let written = session.write_response_header(Box::new(head), !has_body).await;
    written.map_err(|_| Failure::ClientGone)?;
    exchange.first_byte = Some(exchange.begun.elapsed());
    match has_body {
        true => stream(session, (file.file, opening), (first, end), &pacing).await,
        false => Ok(()),
    }
}

/// Where a film begins and ends.
async fn opening(file: &OpenFile, files: &Files, query: String) -> Result<Opening, Failure> {
    if let (Some(mp4), Some(wanted)) = (&files.mp4, mp4::asked_for(&query)) {
        let (length, tables_max) = (file.length, mp4.tables_max.as_bytes());
        let film = file.file.try_clone().map_err(|_| Failure::Internal)?;
        let cut = move || mp4::cut(&film, length, wanted, tables_max);
        let cut = tokio::task::spawn_blocking(cut).await.map_err(|_| Failure::Internal)?;
        return cut.map_err(|fault| {
            tracing::warn!(film = file.name, "{fault}");
            Failure::Internal
        });
    }
    Ok(match files.flv {
        true => Opening::asked_for(&query, file.length),
        false => Opening::whole(file.length),
    })
}

fn in_part(head: &mut ResponseHeader, status: StatusCode, place: &str) -> Result<(), Failure> {
    let set = head.set_status(status).and_then(|()| head.insert_header("Content-Range", place));
    set.map_err(|_| Failure::Internal)
}

fn head_of(file: &OpenFile, files: &Files) -> pingora::Result<ResponseHeader> {
    let mut head = ResponseHeader::build(StatusCode::OK, Some(10))?;
    head.insert_header(CONTENT_TYPE, files.media_type(&file.name))?;
    if files.etag {
        head.insert_header("ETag", format!("\"{}\"", file.version))?;
    }
    head.insert_header("Last-Modified", httpdate::fmt_http_date(file.modified))?;
    if files.ranges_max != Some(0) {
        head.insert_header(ACCEPT_RANGES, "bytes")?;
    }
    if let Some(coding) = file.coding {
        head.insert_header(CONTENT_ENCODING, coding)?;
    }
    let gzipped = files.gzipped.as_ref().is_some_and(|gzipped| gzipped.vary);
    if files.precompressed || (gzipped && file.coding.is_some()) {
        head.insert_header("Vary", "Accept-Encoding")?;
    }
    Ok(head)
}

fn dressed(mut head: ResponseHeader, fields: &HeaderMap) -> pingora::Result<ResponseHeader> {
    for name in fields.keys() {
        head.remove_header(name);
    }
    for (name, value) in fields {
        head.append_header(titled(name), value.clone())?;
    }
    Ok(head)
}

/// Whether the client has the file already.
fn is_had(request: &HeaderMap, response: &HeaderMap, by_date: ModifiedSince) -> bool {
    let is_by_tag = request.contains_key(IF_NONE_MATCH);
    is_not_modified(request, response)
        && (is_by_tag
            || match by_date {
                ModifiedSince::Off => false,
                ModifiedSince::Before => true,
                ModifiedSince::Exact => {
                    request.get(IF_MODIFIED_SINCE) == response.get(LAST_MODIFIED)
                }
            })
}

/// Whether the request's preconditions hold (RFC 9110 sections 13.1.1 and 13.1.4).
fn holds(request: &HeaderMap, response: &HeaderMap) -> bool {
    let date = |headers: &HeaderMap, name| {
        let text = headers.get(name)?.to_str().ok()?;
        httpdate::parse_http_date(text).ok()
    };
    if request.contains_key(IF_MATCH) {
        let tag = response.get(ETAG).map_or(&b""[..], |tag| tag.as_bytes());
        let fields = request.get_all(IF_MATCH).iter();
        let mut members = fields.flat_map(|f| f.as_bytes().split(|b| *b == b','));
        return members.any(|member| matches!(member.trim_ascii(), is if is == b"*" || is == tag));
    }
    match (date(request, IF_UNMODIFIED_SINCE), date(response, LAST_MODIFIED)) {
        (Some(since), Some(changed)) => changed <= since,
        _ => true,
    }
}

/// Sends bytes of a file, as the lane's bandwidth lets them go. One that was made shorter meanwhile breaks the transfer.
async fn stream(
    session: &mut Session,
    (file, opening): (File, Opening),
    (first, end): (u64, u64),
    pacing: &Pacing,
) -> Result<(), Failure> {
    let file = Arc::new(file);
    let mut at = first;
    if let Some(lead) = opening.lead_between(at, end) {
        at += lead.len() as u64;
        let written = session.write_response_body(Some(lead), at == end).await;
        written.map_err(|_| Failure::ClientGone)?;
    }
    while at < end {
        let wanted = usize::try_from((end - at).min(PART_BYTES_MAX)).unwrap_or(usize::MAX);
        let wanted = wanted.min(pacing.piece());
        let (reading, place) = (Arc::clone(&file), opening.in_file(at));
        let part = tokio::task::spawn_blocking(move || read(&reading, place, wanted)).await;
        let part = part.ok().and_then(Result::ok).ok_or(Failure::Internal)?;
        at += part.len() as u64;
        pacing.wait(part.len()).await;
        let written = session.write_response_body(Some(part), at == end).await;
        written.map_err(|_| Failure::ClientGone)?;
    }
    Ok(())
}

fn read(file: &File, at: u64, wanted: usize) -> io::Result<Bytes> {
    let mut part = vec![0; wanted];
    file.read_exact_at(&mut part, at)?;
    Ok(Bytes::from(part))
}
