//! Pages put together from parts: the page is asked for inside, as it would be answered, and what it includes is asked
//! for there too ([`crate::inside`]), one after the other, each handed on as it comes.
//!
//! Its stops: [`ssi`] reads the page → [`page`] knows what its commands come to → [`known`] what is known of the request.

pub mod known;
pub mod page;
pub mod ssi;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, LAST_MODIFIED, TRANSFER_ENCODING,
};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use proxy_config::detours::To;
use proxy_config::includes::Includes;

use crate::assemble::known::known;
use crate::assemble::page::{Order, Page};
use crate::assemble::ssi::{Piece, Reader};
use crate::buffer::tempo::Pacing;
use crate::compress::decide::weak;
use crate::detour::trail::Next;
use crate::edge::Edge;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::headers::media_type;
use crate::inside::bounds::Bounds;
use crate::inside::{self, Ask, Inside};
use crate::rate_limit::quota::Quota;
use crate::relay::{self, unless_gone};
use crate::respond;
use crate::rules::edits;
use crate::rules::ruled::ToClient;

/// Whether the request's page is put together here.
pub fn is_due(session: &mut Session, exchange: &Exchange) -> bool {
    let wanted = exchange.route.as_ref().is_some_and(|route| route.includes.is_some());
    let head = session.req_header();
    let reads = head.method == Method::GET || head.method == Method::HEAD;
    wanted && reads && !exchange.trail.is_raw && session.is_body_empty()
}

/// Answers with the page and all that it includes.
pub async fn answer(
    edge: &Edge,
    session: &mut Session,
    exchange: &mut Exchange,
) -> Result<Next, Failure> {
    let Some(includes) = exchange.route.as_ref().and_then(|route| route.includes.clone()) else {
        return Ok(Next::PassOn);
    };
    let bounds = Arc::clone(
        exchange
            .trail
            .bounds
            .get_or_insert_with(|| Arc::new(Bounds::new(includes.parts_max, includes.bytes_max))),
    );
    let mut whole = inside::begin(edge, session, exchange, Ask::Itself)?;
    let mut head = unless_gone(session, whole.head()).await??;
    let assembles = is_page(&includes, &head);
    if assembles {
        open(&mut head, &includes).map_err(|_| Failure::Internal)?;
    }
    let has_body = relay::has_body(&session.req_header().method, &head);
    settle(&mut head, exchange, has_body).map_err(|_| Failure::Internal)?;
    respond::fit_protocol(session, &mut head);
    let written = session.write_response_header(Box::new(head), !has_body).await;
    written.map_err(|_| Failure::ClientGone)?;
    exchange.first_byte = Some(exchange.begun.elapsed());
    if has_body {
        let pacing = exchange.pacing().ok_or(Failure::Internal)?;
        if assembles {
            let page = Page::new(includes.silent_errors);
            let (blocks, block) = (HashMap::new(), None);
            let mut putting = Putting { edge, includes, bounds, pacing, page, blocks, block };
            putting.all(session, exchange, &mut whole).await?;
        } else {
            while let Some(part) = unless_gone(session, whole.part()).await?? {
                relay::write(session, &pacing, part).await?;
            }
        }
    }
    relay::close(session).await?;
    Ok(Next::Sent)
}

fn is_page(includes: &Includes, head: &ResponseHeader) -> bool {
    let kind = media_type(&head.headers);
    let named = |is: &String| is == "*" || is.eq_ignore_ascii_case(kind);
    let is_plain = !head.headers.contains_key(CONTENT_ENCODING);
    is_plain && includes.types.iter().any(named)
}

/// What was said of the page is not said of what comes of it.
fn open(head: &mut ResponseHeader, includes: &Includes) -> pingora::Result<()> {
    head.remove_header(&CONTENT_LENGTH);
    head.remove_header(&ACCEPT_RANGES);
    if !includes.keep_last_modified {
        head.remove_header(&LAST_MODIFIED);
        head.remove_header(&ETAG);
    }
    match head.headers.get(ETAG).and_then(weak) {
        Some(tag) => head.insert_header("ETag", tag),
        None => Ok(()),
    }
}

/// What the request as a whole has to say of its answer; all else was said inside.
fn settle(head: &mut ResponseHeader, exchange: &Exchange, has_body: bool) -> pingora::Result<()> {
    if has_body && !head.headers.contains_key(CONTENT_LENGTH) {
        head.insert_header(TRANSFER_ENCODING, "chunked")?;
    }
    for (name, value) in exchange.limits.quota.iter().flat_map(Quota::fields) {
        head.append_header(name, value)?;
    }
    let ToClient { kept, status, .. } = &exchange.ruled.to_client;
    let overlay = ToClient { kept: kept.clone(), status: *status, ..ToClient::default() };
    edits::edit_response(head, &overlay)
}

/// A path that does not begin at the root is one beside the page.
fn beside(page: &str, path: String) -> String {
    match path.starts_with('/') {
        true => path,
        false => format!("{}/{path}", page.rsplit_once('/').map_or("", |(folder, _)| folder)),
    }
}

/// A page that is being put together.
struct Putting<'a> {
    edge: &'a Edge,
    includes: Includes,
    /// What is left of the limits of the outermost page.
    bounds: Arc<Bounds>,
    pacing: Pacing,
    page: Page,
    blocks: HashMap<String, Vec<u8>>,
    /// The block that is being kept.
    block: Option<(String, Vec<u8>)>,
}

impl Putting<'_> {
    async fn all(
        &mut self,
        session: &mut Session,
        exchange: &mut Exchange,
        whole: &mut Inside,
    ) -> Result<(), Failure> {
        let mut reader = Reader::default();
        while let Some(part) = unless_gone(session, whole.part()).await?? {
            self.put(session, exchange, reader.read(&part)).await?;
        }
        self.put(session, exchange, reader.end()).await
    }

    async fn put(
        &mut self,
        session: &mut Session,
        exchange: &mut Exchange,
        pieces: Vec<Piece>,
    ) -> Result<(), Failure> {
        for piece in pieces {
            match piece {
                Piece::Text(text) if self.page.is_shown() => {
                    self.show(session, Bytes::from(text)).await?;
                }
                Piece::Text(_) => {}
                Piece::Command(command) => {
                    let order = {
                        let outside = |name: &str| known(self.edge, session, exchange, name);
                        self.page.follow(&command, &jiff::Zoned::now(), &outside)
                    };
                    self.obey(session, exchange, order).await?;
                }
            }
        }
        Ok(())
    }

    async fn obey(
        &mut self,
        session: &mut Session,
        exchange: &mut Exchange,
        order: Order,
    ) -> Result<(), Failure> {
        match order {
            Order::Text(text) => self.show(session, Bytes::from(text)).await?,
            Order::Include { path, set, stub } => {
                self.include(session, exchange, path, (set, stub)).await?;
            }
            Order::Block(name) => self.block = Some((name, Vec::new())),
            Order::BlockEnd => self.blocks.extend(self.block.take()),
            Order::Nothing => {}
        }
        Ok(())
    }

    fn kept_max(&self) -> usize {
        usize::try_from(self.includes.kept_max.as_bytes()).unwrap_or(usize::MAX)
    }

    async fn show(&mut self, session: &mut Session, text: Bytes) -> Result<(), Failure> {
        let kept_max = self.kept_max();
        match &mut self.block {
            Some((_, kept)) => {
                let room = kept_max.saturating_sub(kept.len());
                kept.extend_from_slice(&text[..text.len().min(room)]);
                Ok(())
            }
            None if text.is_empty() => Ok(()),
            None => relay::write(session, &self.pacing, text).await,
        }
    }

    async fn include(
        &mut self,
        session: &mut Session,
        exchange: &mut Exchange,
        path: String,
        (set, stub): (Option<String>, Option<String>),
    ) -> Result<(), Failure> {
        let counted = |result: &str| {
            let route = exchange.route.as_ref().map_or("", |route| route.name.as_str());
            self.edge.state.metrics.includes.with_label_values(&[route, result]).inc();
        };
        let is_deep = exchange.trail.depth >= self.includes.depth_max;
        if is_deep || !self.bounds.take_part() {
            counted("left_out");
            tracing::warn!(
                request_id = exchange.request_id,
                path,
                "a page includes more than it may"
            );
            let text = self.page.error_text();
            return self.show(session, Bytes::from(text)).await;
        }
        let path = beside(session.req_header().uri.path(), path);
        let mut part = inside::begin(self.edge, session, exchange, Ask::Part(To::Path(path)))?;
        let Ok(head) = unless_gone(session, part.head()).await? else {
            // Nobody answered, as where a route closes connections.
            counted("failed");
            return Ok(());
        };
        let failed = head.status.as_u16() >= 400;
        counted(if failed { "failed" } else { "included" });
        if let Some(name) = set {
            let text = self.kept(session, &mut part).await?;
            self.page.set(&name, String::from_utf8_lossy(&text).trim().to_owned());
            return Ok(());
        }
        let stub = stub.and_then(|name| self.blocks.get(&name).cloned());
        if let Some(stub) = stub {
            let text = self.kept(session, &mut part).await?;
            let shown = if failed || text.is_empty() { stub } else { text };
            return self.show(session, Bytes::from(shown)).await;
        }
        while let Some(bytes) = unless_gone(session, part.part()).await?? {
            self.bounds.take_bytes(bytes.len())?;
            self.show(session, bytes).await?;
        }
        Ok(())
    }

    /// A part as a whole, as far as it is kept.
    async fn kept(&self, session: &mut Session, part: &mut Inside) -> Result<Vec<u8>, Failure> {
        let mut text = Vec::new();
        while let Some(bytes) = unless_gone(session, part.part()).await?? {
            self.bounds.take_bytes(bytes.len())?;
            let room = self.kept_max().saturating_sub(text.len());
            text.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        Ok(text)
    }
}
