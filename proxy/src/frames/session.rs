//! One request and its response, as pingora's session: a stream of HTTP/2.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::uri::PathAndQuery;
use http::{HeaderMap, Request};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::custom::{CustomMessageWrite, server};
use pingora::protocols::http::v1::client::http_req_header_to_wire;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorType, Result};

use crate::frames::request_body::RequestBody;
use crate::frames::response::Response;
use crate::frames::{DRAIN_MAX, Terms};

pub struct Session {
    head: RequestHeader,
    body: RequestBody,
    response: Response,
    /// The same for all streams of a connection.
    digest: Arc<Digest>,
}

impl Session {
    pub fn new(
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        digest: Arc<Digest>,
        terms: &Terms,
    ) -> Session {
        let (head, stream) = request.into_parts();
        let is_none = head.headers.get(CONTENT_LENGTH).is_some_and(|length| length == "0");
        let mut body = RequestBody::new(stream, is_none);
        body.drain = Some(DRAIN_MAX);
        body.patience = Some(terms.body).filter(|_| !is_call(&head.headers));
        let mut response = Response::new(respond);
        response.patience = Some(terms.write);
        Session { head: head.into(), body, response, digest }
    }

    async fn begin(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        let is_final = !head.status.is_informational();
        self.response.begin(head, end).await?;
        if is_final {
            // From now on both sides may talk, or be silent, as they like.
            self.body.patience = None;
        }
        Ok(())
    }

    /// Sends one thing of an upstream; says whether it was the last.
    async fn send(&mut self, task: HttpTask) -> Result<bool> {
        match task {
            HttpTask::Header(head, end) => {
                self.begin(head, end).await.map_err(Error::into_down)?;
                Ok(end)
            }
            HttpTask::Body(part, end) => {
                if let Some(part) = part.filter(|part| !part.is_empty()) {
                    self.response.write(part, end).await.map_err(Error::into_down)?;
                }
                Ok(end)
            }
            HttpTask::Trailer(Some(trailers)) => self.response.trail(*trailers).map(|()| true),
            HttpTask::Trailer(None) | HttpTask::Done => Ok(true),
            HttpTask::UpgradedBody(..) => {
                let what = "an upstream has upgraded, which HTTP/2 cannot";
                Err(Error::explain(ErrorType::InternalError, what))
            }
            HttpTask::Failed(error) => Err(error),
        }
    }
}

/// Whether a request is a call of gRPC: both sides may be silent for as long as they like (its own deadlines end it).
fn is_call(fields: &HeaderMap) -> bool {
    let kind = fields.get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

#[async_trait]
impl server::Session for Session {
    fn req_header(&self) -> &RequestHeader {
        &self.head
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.head
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        self.body.read().await
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        self.body.read_out().await
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.begin(head, end).await
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, end: bool) -> Result<()> {
        self.begin(Box::new(head.clone()), end).await
    }

    async fn write_body(&mut self, part: Bytes, end: bool) -> Result<()> {
        self.response.write(part, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.response.trail(trailers)
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut is_over = false;
        for task in tasks {
            is_over |= self.send(task).await?;
        }
        if is_over {
            self.response.end().map_err(Error::into_down)?;
        }
        Ok(is_over)
    }

    fn set_read_timeout(&mut self, limit: Option<Duration>) {
        self.body.patience = limit;
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.body.patience
    }

    fn set_write_timeout(&mut self, limit: Option<Duration>) {
        self.response.patience = limit;
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.response.patience
    }

    fn set_total_drain_timeout(&mut self, limit: Option<Duration>) {
        self.body.drain = limit;
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.body.drain
    }

    fn request_summary(&self) -> String {
        let uri = &self.head.uri;
        let target = uri.path_and_query().map_or("", PathAndQuery::as_str);
        let host = uri.authority().map_or("", |authority| authority.as_str());
        format!("{} {target}, Host: {host}", self.head.method)
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.response.head()
    }

    async fn shutdown(&mut self, code: u32, _: &str) {
        self.response.reset(Reason::from(code));
    }

    async fn abandon(&mut self, _: &str) {
        self.response.reset(Reason::INTERNAL_ERROR);
    }

    fn is_body_done(&mut self) -> bool {
        self.body.is_done()
    }

    async fn finish(&mut self) -> Result<()> {
        self.response.end()
    }

    fn is_body_empty(&mut self) -> bool {
        self.body.is_empty()
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if !no_body_expected && !self.body.is_done() {
            return self.body.read().await;
        }
        let reason = self.response.left().await?;
        let what = format!("the client has reset the stream: {reason}");
        Err(Error::explain(ErrorType::H2Error, what))
    }

    fn body_bytes_sent(&self) -> usize {
        self.response.bytes()
    }

    fn body_bytes_read(&self) -> usize {
        self.body.bytes()
    }

    fn digest(&self) -> Option<&Digest> {
        Some(&self.digest)
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        Arc::get_mut(&mut self.digest)
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.digest.socket_digest.as_ref()?.peer_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.digest.socket_digest.as_ref()?.local_addr()
    }

    /// What pingora reads a request inside from; one that cannot be written has been refused before.
    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        http_req_header_to_wire(&self.head).unwrap_or_default().freeze()
    }

    fn enable_retry_buffering(&mut self) {
        self.body.keep();
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.body.is_too_much()
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.body.kept()
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    /// There are no messages beside request and response.
    fn take_custom_message_reader(&mut self) -> Option<Messages> {
        None
    }

    fn restore_custom_message_reader(&mut self, _: Messages) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }
}

type Messages = Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync>;
