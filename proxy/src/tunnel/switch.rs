//! Takes the client's connection out of pingora, which ends a tunnel when either side has said all it has
//! to say, and copies through a queue and a large buffer each way. In its place stands a session that knows
//! the same request, reads nothing and writes to nobody, so that all that comes after finds what it expects.

use std::io::Cursor;

use bytes::Bytes;
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v1::server::HttpSession;
use pingora::proxy::Session;

use crate::failure::Failure;
use crate::prompt::Prompt;

/// The client's connection, and what it has sent already.
pub async fn client(session: &mut Session) -> Result<(Stream, Bytes), Failure> {
    let raw = session.as_http1().map(HttpSession::get_headers_raw_bytes);
    let raw = raw.ok_or(Failure::Internal)?;
    let mut stand_in = ServerSession::new_http1(Box::new(Cursor::new(raw.to_vec())));
    if !stand_in.read_request().await.unwrap_or(false) {
        return Err(Failure::Internal);
    }
    *stand_in.req_header_mut() = session.req_header().clone();
    stand_in.set_keepalive(None);
    // Pingora hands out only what it would read another request from.
    session.downstream_session.set_keepalive(Some(1));
    let taken = std::mem::replace(&mut *session.downstream_session, stand_in);
    let taken = taken.finish().await.ok().flatten().ok_or(Failure::ClientGone)?;
    let (stream, early) = taken.into_parts();
    let early = early.map(bytes::BytesMut::freeze).unwrap_or_default();
    match stream.into_any().downcast::<Prompt>() {
        Ok(prompt) => prompt.release().map(|stream| (stream, early)).ok_or(Failure::ClientGone),
        Err(_) => Err(Failure::Internal),
    }
}
