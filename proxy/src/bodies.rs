//! Bodies of responses changed on their way: decompressed, texts in them replaced. As a module of pingora's it stands
//! before [`crate::compress`], so whatever writes a response passes through it, and what it has changed is compressed.
//!
//! What is changed loses what was said of its bytes: length, ranges, a strong tag. A part of it is none of the whole's that
//! clients know: whoever has the whole sends it whole ([`changes`]), and an upstream is not asked for less ([`asks_whole`]).

pub mod change;
pub mod gunzip;
pub mod substitute;

use std::any::Any;
use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, ETAG, IF_RANGE, LAST_MODIFIED, RANGE, TRANSFER_ENCODING,
};
use http::{HeaderMap, Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::{HttpModule, HttpModuleBuilder, Module};
use pingora::proxy::Session;

use crate::assemble;
use crate::bodies::change::Change;
use crate::bodies::gunzip::Gunzip;
use crate::bodies::substitute::Substitute;
use crate::compress::decide::weak;
use crate::exchange::Exchange;
use crate::failure::encoding_failed;

/// Makes the chain of each request.
pub struct Changers;

impl HttpModuleBuilder for Changers {
    fn order(&self) -> i16 {
        // Higher comes earlier.
        1
    }

    fn init(&self) -> Module {
        Box::new(Bodies::default())
    }
}

/// What changes the response of one request; without any, everything passes.
#[derive(Default)]
pub struct Bodies {
    gunzip: Option<Gunzip>,
    substitute: Option<Substitute>,
    has_body: bool,
    is_http10: bool,
    /// Those that have begun, in their order.
    active: Vec<Box<dyn Change>>,
}

/// Says how the request's response is changed, once its route is known.
pub fn offer(session: &mut Session, exchange: &Exchange) {
    // A page that is put together was changed in its parts.
    let is_assembled = assemble::is_due(session, exchange);
    let route = exchange.route.as_ref().filter(|_| !is_assembled);
    let head = session.req_header();
    let has_body = head.method != Method::HEAD;
    let gunzip = route.and_then(|route| route.gunzip.as_ref()).map(|rules| Gunzip::of(rules, head));
    let substitute = route
        .and_then(|route| route.substitutions.as_ref())
        .and_then(|rules| Substitute::of(rules, &exchange.ruled.texts.substitutions));
    let is_http10 = head.version == Version::HTTP_10;
    if is_http10 && (gunzip.is_some() || substitute.is_some()) {
        // Its length may be known only at its end, which is then that of the connection.
        session.set_keepalive(None);
    }
    if let Some(bodies) = session.downstream_modules_ctx.get_mut::<Bodies>() {
        (bodies.gunzip, bodies.substitute) = (gunzip, substitute);
        (bodies.has_body, bodies.is_http10) = (has_body, is_http10);
    }
}

/// Whether the body of this response is changed on its way to the client.
pub fn changes(session: &Session, head: &ResponseHeader) -> bool {
    session.downstream_modules_ctx.get::<Bodies>().is_some_and(|bodies| bodies.changes(head))
}

/// Whether the request's upstream is asked for the whole, whatever the client asks for: which of it would be changed is known
/// only when it comes.
pub fn asks_whole(head: &RequestHeader, exchange: &Exchange) -> bool {
    let Some(route) = &exchange.route else { return false };
    let decodes = route.gunzip.as_ref().is_some_and(|rules| Gunzip::of(rules, head).decodes());
    let pairs = &exchange.ruled.texts.substitutions;
    decodes || (route.substitutions.is_some() && pairs.iter().any(|(find, _)| !find.is_empty()))
}

/// Leaves out of a request to an upstream what would have it answer in part.
pub fn ask_whole(head: &mut RequestHeader) {
    for name in [RANGE, IF_RANGE] {
        head.remove_header(&name);
    }
}

impl Bodies {
    fn changes(&self, head: &ResponseHeader) -> bool {
        let decodes = self.gunzip.as_ref().is_some_and(|gunzip| gunzip.takes_on(head));
        let substitutes = |substitute: &Substitute| substitute.takes_on(head, decodes);
        is_whole(head.status) && (decodes || self.substitute.as_ref().is_some_and(substitutes))
    }

    fn begin(&mut self, head: &mut ResponseHeader) -> pingora::Result<()> {
        self.active.clear();
        if let Some(gunzip) = &self.gunzip
            && gunzip.begins(head)?
        {
            changed(head, self.is_http10)?;
            self.active.push(Box::new(gunzip::Decoder::default()));
        }
        if let Some(substitute) = &self.substitute
            && substitute.takes_on(head, false)
        {
            changed(head, self.is_http10)?;
            if !substitute.keeps_last_modified {
                head.remove_header(&LAST_MODIFIED);
                head.remove_header(&ETAG);
            }
            self.active.push(Box::new(substitute.replacing()));
        }
        if !self.has_body {
            self.active.clear();
        }
        Ok(())
    }

    fn change(&mut self, body: &mut Option<Bytes>, ends: bool) -> io::Result<()> {
        if self.active.is_empty() {
            return Ok(());
        }
        let mut part = body.take().unwrap_or_default().to_vec();
        for change in &mut self.active {
            let mut out = change.part(&part)?;
            if ends {
                out.extend(change.end()?);
            }
            part = out;
        }
        if ends {
            self.active.clear();
        }
        *body = (!part.is_empty()).then(|| Bytes::from(part));
        Ok(())
    }
}

/// The head of a response whose bytes will be others.
fn changed(head: &mut ResponseHeader, is_http10: bool) -> pingora::Result<()> {
    head.remove_header(&ACCEPT_RANGES);
    if head.remove_header(&CONTENT_LENGTH).is_some() && !is_http10 {
        head.insert_header(TRANSFER_ENCODING, "chunked")?;
    }
    match head.headers.get(ETAG).and_then(weak) {
        Some(tag) => head.insert_header("ETag", tag),
        None => Ok(()),
    }
}

/// Whether a response of this status has a body that may be changed as a whole.
fn is_whole(status: StatusCode) -> bool {
    !status.is_informational()
        && !matches!(
            status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT
        )
}

#[async_trait]
impl HttpModule for Bodies {
    async fn response_header_filter(
        &mut self,
        head: &mut ResponseHeader,
        _end_of_stream: bool,
    ) -> pingora::Result<()> {
        if is_whole(head.status) { self.begin(head) } else { Ok(()) }
    }

    fn response_body_filter(
        &mut self,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
    ) -> pingora::Result<()> {
        self.change(body, end_of_stream).map_err(encoding_failed)
    }

    fn response_trailer_filter(
        &mut self,
        _trailers: &mut Option<Box<HeaderMap>>,
    ) -> pingora::Result<Option<Bytes>> {
        self.response_done_filter()
    }

    fn response_done_filter(&mut self) -> pingora::Result<Option<Bytes>> {
        let mut rest = None;
        self.change(&mut rest, true).map_err(encoding_failed)?;
        Ok(rest)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}
