//! Compression of responses, as a module of pingora's: whatever writes a response, pingora's proxying,
//! the cache, files or an answer made here, passes through it.
//!
//! Its stops: [`decide`] says, purely, what becomes of a response → [`encoder`] turns bytes into fewer. What is
//! encoded and larger than a few kilobytes goes on on the bulk runtime, whose threads run when nothing
//! else is ready: encoding never holds a thread up that others wait for. Only so many responses are
//! encoded at once; the others go out as they are.

pub mod decide;
pub mod encoder;

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, TRANSFER_ENCODING, VARY,
};
use http::{HeaderMap, Method, Version};
use pingora::http::ResponseHeader;
use pingora::modules::http::{HttpModule, HttpModuleBuilder, Module};
use pingora::proxy::Session;
use prometheus::{IntCounter, IntCounterVec};
use proxy_config::route_action::{Coding, Compression};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::compress::decide::{Verdict, coding_name, decide, preferred, suits_proxy, weak};
use crate::compress::encoder::Encoder;
use crate::failure::encoding_failed;
use crate::hop;
use crate::metrics::Metrics;
use crate::runtimes::Place;

/// Responses encoded at once: an encoder holds up to half a megabyte.
const AT_ONCE_MAX: usize = 256;
/// Bodies up to this size are encoded where they are: tens of microseconds.
const IN_PLACE_MAX: u64 = 8 * 1024;

/// What all listeners share: how many are encoded at once, and what is counted.
#[derive(Clone)]
pub struct Encoding {
    places: Arc<Semaphore>,
    responses: IntCounterVec,
    bytes: IntCounterVec,
    left_out: IntCounter,
}

impl Encoding {
    pub fn new(metrics: &Metrics) -> Encoding {
        for name in [Coding::Gzip, Coding::Brotli, Coding::Zstd].map(coding_name) {
            metrics.compression.responses.with_label_values(&[name]);
            for side in ["before", "after"] {
                metrics.compression.bytes.with_label_values(&[name, side]);
            }
        }
        Encoding {
            places: Arc::new(Semaphore::new(AT_ONCE_MAX)),
            responses: metrics.compression.responses.clone(),
            bytes: metrics.compression.bytes.clone(),
            left_out: metrics.compression.left_out.with_label_values::<&str>(&[]),
        }
    }
}

/// Makes a compressor for each request.
pub struct Compressors(pub Encoding);

impl HttpModuleBuilder for Compressors {
    fn init(&self) -> Module {
        Box::new(Compressor { encoding: self.0.clone(), offer: None, work: None })
    }
}

/// The compressor of one request. Without an offer it lets everything pass.
pub struct Compressor {
    encoding: Encoding,
    offer: Option<Offer>,
    work: Option<Work>,
}

/// What the route and the client agree on.
struct Offer {
    rules: Arc<Compression>,
    coding: Option<Coding>,
    /// Tags the client has, as sent.
    held: Vec<Vec<u8>>,
    is_http10: bool,
    has_body: bool,
    /// What of the request has a say where another proxy asks.
    request: Option<HeaderMap>,
}

struct Work {
    encoder: Encoder,
    /// A body of unknown length may be a slow one: what has come of it is sent at once.
    flushes: bool,
    read: IntCounter,
    written: IntCounter,
    _place: OwnedSemaphorePermit,
}

/// Says by which rules the request's response is compressed; `None`: by none.
pub fn offer(session: &mut Session, rules: Option<&Arc<Compression>>) {
    let head = session.req_header();
    let is_http10 = head.version == Version::HTTP_10;
    let offer = rules.map(|rules| Offer {
        rules: Arc::clone(rules),
        coding: preferred(&head.headers, &rules.codings),
        held: decide::tags(&head.headers),
        is_http10,
        has_body: head.method != Method::HEAD,
        request: rules.when_proxied.is_some().then(|| head.headers.clone()),
    });
    if is_http10 && rules.is_some_and(|rules| rules.http10) {
        // Where a response is compressed only the connection's end tells where it ends.
        session.set_keepalive(None);
    }
    if let Some(compressor) = session.downstream_modules_ctx.get_mut::<Compressor>() {
        compressor.offer = offer;
    }
}

impl Compressor {
    /// What becomes of this response; the head is changed accordingly.
    fn begin(&mut self, head: &mut ResponseHeader) -> pingora::Result<()> {
        let Some(offer) = &self.offer else { return Ok(()) };
        let rules = &offer.rules;
        let suits = offer.request.as_ref().is_none_or(|r| suits_proxy(rules, r, &head.headers));
        let coding = offer.coding.filter(|_| suits && (!offer.is_http10 || rules.http10));
        let vary = |head: &mut ResponseHeader| if rules.vary { vary(head) } else { Ok(()) };
        match decide(rules, coding, head) {
            Verdict::Untouched => Ok(()),
            Verdict::NotModified => {
                vary(head)?;
                // The client has what was encoded, whose tag is weak.
                let tag = head.headers.get(ETAG).and_then(weak);
                let weak = tag.filter(|tag| offer.held.iter().any(|held| held == tag.as_bytes()));
                weak.map_or(Ok(()), |tag| head.insert_header(ETAG, tag))
            }
            Verdict::Varies => vary(head),
            Verdict::Encode(coding) => {
                vary(head)?;
                let Ok(place) = Arc::clone(&self.encoding.places).try_acquire_owned() else {
                    self.encoding.left_out.inc();
                    return Ok(());
                };
                let work = offer.has_body.then(|| {
                    let level = offer.rules.levels.of(coding);
                    let count =
                        |side| self.encoding.bytes.with_label_values(&[coding_name(coding), side]);
                    Ok(Work {
                        encoder: Encoder::new(coding, level)?,
                        flushes: !head.headers.contains_key(CONTENT_LENGTH),
                        read: count("before"),
                        written: count("after"),
                        _place: place,
                    })
                });
                let work: Option<std::io::Result<Work>> = work;
                self.work = work.transpose().map_err(encoding_failed)?;
                self.encoding.responses.with_label_values(&[coding_name(coding)]).inc();
                encoded(head, coding, offer.is_http10)
            }
        }
    }

    fn encode(&mut self, body: &mut Option<Bytes>, ends: bool) -> std::io::Result<()> {
        let Some(work) = &mut self.work else { return Ok(()) };
        let part = body.take().unwrap_or_default();
        work.read.inc_by(part.len() as u64);
        let mut out = work.encoder.write(&part, work.flushes && !ends)?;
        if ends && let Some(mut work) = self.work.take() {
            out.extend(work.encoder.finish()?);
            work.written.inc_by(out.len() as u64);
        } else if let Some(work) = &self.work {
            work.written.inc_by(out.len() as u64);
        }
        *body = (!out.is_empty()).then(|| Bytes::from(out));
        Ok(())
    }
}

/// The head of a response whose body will be encoded.
fn encoded(head: &mut ResponseHeader, coding: Coding, is_http10: bool) -> pingora::Result<()> {
    head.remove_header(&CONTENT_LENGTH);
    head.remove_header(&ACCEPT_RANGES);
    if !is_http10 {
        head.insert_header(TRANSFER_ENCODING, "chunked")?;
    }
    head.insert_header(CONTENT_ENCODING, coding_name(coding))?;
    match head.headers.get(ETAG).and_then(weak) {
        Some(tag) => head.insert_header("ETag", tag),
        None => Ok(()),
    }
}

fn vary(head: &mut ResponseHeader) -> pingora::Result<()> {
    if !varies(&head.headers) {
        head.append_header("Vary", "Accept-Encoding")?;
    }
    Ok(())
}

fn varies(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(VARY).iter().filter_map(|field| field.to_str().ok());
    let mut members = fields.flat_map(|field| field.split(',').map(str::trim));
    members.any(|member| member == "*" || member.eq_ignore_ascii_case("accept-encoding"))
}

#[async_trait]
impl HttpModule for Compressor {
    async fn response_header_filter(
        &mut self,
        head: &mut ResponseHeader,
        _end_of_stream: bool,
    ) -> pingora::Result<()> {
        if head.status.is_informational() {
            return Ok(());
        }
        let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let length = length.and_then(|length| length.parse::<u64>().ok());
        self.begin(head)?;
        if self.work.is_some() && length.is_none_or(|length| length > IN_PLACE_MAX) {
            hop::to(Place::Bulk).await;
        }
        Ok(())
    }

    fn response_body_filter(
        &mut self,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
    ) -> pingora::Result<()> {
        self.encode(body, end_of_stream).map_err(encoding_failed)
    }

    fn response_trailer_filter(
        &mut self,
        _trailers: &mut Option<Box<HeaderMap>>,
    ) -> pingora::Result<Option<Bytes>> {
        self.response_done_filter()
    }

    fn response_done_filter(&mut self) -> pingora::Result<Option<Bytes>> {
        let mut rest = None;
        if self.work.is_some() {
            self.encode(&mut rest, true).map_err(encoding_failed)?;
        }
        Ok(rest)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}
