//! Streams against a client in memory.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request, Version};
use pingora::http::ResponseHeader;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::{ErrorType, Result};
use tokio::io::duplex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::*;

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
/// What a client takes of a stream before it reads.
const WINDOW: usize = 65_535;
const SOON: Duration = Duration::from_millis(30);

/// A client of a connection, and the sessions of its requests.
struct Pair {
    client: SendRequest<Bytes>,
    connection: JoinHandle<std::result::Result<(), h2::Error>>,
    sessions: mpsc::UnboundedReceiver<(ServerSession, UnderWay)>,
    closing: watch::Sender<bool>,
    driven: JoinHandle<()>,
    metrics: Metrics,
}

async fn pair(timeouts: ListenerTimeouts) -> Pair {
    let (ours, theirs) = duplex(1 << 20);
    let (closing, closes) = watch::channel(false);
    let (serve, sessions) = mpsc::unbounded_channel();
    let metrics = Metrics::new();
    let terms = Terms::new("l", &timeouts, &metrics);
    let driven = tokio::spawn(async move {
        drive(Box::new(ours), &terms, closes, |session, under_way| {
            let _ = serve.send((ServerSession::new_custom(session), under_way));
        })
        .await;
    });
    let (client, connection) = h2::client::handshake(theirs).await.unwrap();
    let connection = tokio::spawn(connection);
    Pair { client, connection, sessions, closing, driven, metrics }
}

impl Pair {
    async fn new() -> Pair {
        pair(ListenerTimeouts::default()).await
    }

    /// Begins a request; its head, body and session.
    async fn ask(&mut self, request: Request<()>, end: bool) -> Asked {
        let mut client = self.client.clone().ready().await.unwrap();
        let (response, upload) = client.send_request(request, end).unwrap();
        let (session, under_way) = self.sessions.recv().await.unwrap();
        Asked { response, upload, session, _under_way: under_way }
    }
}

struct Asked {
    response: ResponseFuture,
    upload: h2::SendStream<Bytes>,
    session: ServerSession,
    _under_way: UnderWay,
}

fn get() -> Request<()> {
    Request::get("http://a.example/x?y").body(()).unwrap()
}

fn post() -> Request<()> {
    Request::post("http://a.example/x").body(()).unwrap()
}

fn head(status: u16, fields: &[(&'static str, &'static str)]) -> Box<ResponseHeader> {
    let mut head = ResponseHeader::build(status, None).unwrap();
    for (name, value) in fields {
        head.append_header(*name, *value).unwrap();
    }
    Box::new(head)
}

async fn read(body: &mut RecvStream) -> std::result::Result<Vec<u8>, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

fn kind<T>(result: Result<T>) -> Option<ErrorType> {
    result.err().map(|error| error.etype().clone())
}

#[tokio::test]
async fn heads_bodies_and_trailers_go_both_ways() {
    let mut pair = Pair::new().await;
    let mut asked = pair.ask(post(), false).await;
    let session = &mut asked.session;
    assert_eq!(session.req_header().version, Version::HTTP_2);
    assert_eq!(session.request_summary(), "POST /x, Host: a.example");
    assert!(!session.is_body_done() && !session.is_body_empty());
    asked.upload.send_data(Bytes::from("ques"), false).unwrap();
    asked.upload.send_data(Bytes::from("tion"), false).unwrap();
    asked.upload.send_trailers(HeaderMap::new()).unwrap();
    let mut question = Vec::new();
    while let Some(part) = session.read_request_body().await.unwrap() {
        question.extend_from_slice(&part);
    }
    assert_eq!((&question[..], session.body_bytes_read()), (&b"question"[..], 8));
    assert!(session.is_body_done() && !session.is_body_empty());
    let fields = [
        ("date", DATE),
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("keep-alive", "timeout=5"),
        ("te", "gzip"),
        ("x", "y"),
    ];
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("connection", HeaderValue::from_static("close"));
    let tasks = vec![
        HttpTask::Header(head(200, &fields), false),
        HttpTask::Body(Some(Bytes::from("ans")), false),
        HttpTask::Body(Some(Bytes::from("wer")), false),
        HttpTask::Trailer(Some(Box::new(trailers))),
    ];
    assert!(session.response_duplex_vec(tasks).await.unwrap());
    assert_eq!(
        (session.body_bytes_sent(), session.response_written().unwrap().status.as_u16()),
        (6, 200)
    );
    let (parts, mut body) = asked.response.await.unwrap().into_parts();
    let got: Vec<_> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    assert_eq!(got, [("date", DATE), ("x", "y")]);
    assert_eq!(read(&mut body).await.unwrap(), b"answer");
    let trailers = body.trailers().await.unwrap().unwrap();
    assert_eq!((trailers.len(), &trailers["grpc-status"]), (1, &HeaderValue::from_static("0")));
}

#[tokio::test]
async fn what_is_said_before_the_answer_comes_before_it() {
    let mut pair = Pair::new().await;
    let mut asked = pair.ask(get(), true).await;
    let session = &mut asked.session;
    for link in ["</a.css>", "</b.css>"] {
        let hint = head(103, &[("link", link), ("connection", "close")]);
        session.write_response_header(hint).await.unwrap();
    }
    assert!(session.response_written().is_none());
    session.write_continue_response().await.unwrap();
    // HTTP/2 switches to nothing.
    session.write_response_header(head(101, &[])).await.unwrap();
    session.write_response_header(head(200, &[])).await.unwrap();
    session.write_response_header(head(103, &[("too", "late")])).await.unwrap();
    session.write_response_body(Bytes::from("ok"), true).await.unwrap();
    let mut said = Vec::new();
    while said.len() < 3 {
        let before = poll_fn(|context| asked.response.poll_informational(context)).await;
        let before = before.unwrap().unwrap();
        assert!(
            !before.headers().contains_key("date") && !before.headers().contains_key("connection")
        );
        let link = before.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        said.push((before.status().as_u16(), link));
    }
    let links =
        [(103, Some("</a.css>".to_owned())), (103, Some("</b.css>".to_owned())), (100, None)];
    assert_eq!(said, links);
    let response = asked.response.await.unwrap();
    assert_eq!(
        (response.status(), response.headers().contains_key("date")),
        (http::StatusCode::OK, true)
    );
    assert_eq!(read(&mut response.into_body()).await.unwrap(), b"ok");
    drop(asked.session);
    assert!(!pair.connection.is_finished(), "what came too late has done no harm");
}

#[tokio::test]
async fn bodies_go_on_as_they_are_read() {
    const BYTES: usize = 40 * WINDOW;
    let mut pair = Pair::new().await;
    let mut asked = pair.ask(post(), false).await;
    let session = &mut asked.session;
    let upload = async {
        let mut left = BYTES;
        while left > 0 {
            asked.upload.reserve_capacity(left);
            let room =
                poll_fn(|context| asked.upload.poll_capacity(context)).await.unwrap().unwrap();
            left -= room;
            asked.upload.send_data(Bytes::from(vec![b'x'; room]), left == 0).unwrap();
        }
    };
    let take_in = async {
        let mut bytes = 0;
        while let Some(part) = session.read_request_body().await.unwrap() {
            bytes += part.len();
        }
        bytes
    };
    let ((), bytes) = tokio::join!(upload, take_in);
    assert_eq!(bytes, BYTES);
    session.write_response_header(head(200, &[])).await.unwrap();
    let answer = Bytes::from((0..=250_u8).cycle().take(BYTES).collect::<Vec<_>>());
    let send = async { session.write_response_body(answer.clone(), true).await };
    let receive = async { read(&mut asked.response.await.unwrap().into_body()).await.unwrap() };
    let (sent, received) = tokio::join!(send, receive);
    sent.unwrap();
    assert!(received == answer);
}

#[tokio::test(start_paused = true)]
async fn who_reads_nothing_is_waited_for_within_a_limit_that_begins_anew() {
    let mut pair = Pair::new().await;
    let mut asked = pair.ask(get(), true).await;
    let session = &mut asked.session;
    session.set_write_timeout(Some(SOON));
    session.write_response_header(head(200, &[])).await.unwrap();
    let part = Bytes::from(vec![b'x'; 8 * WINDOW]);
    let slow = async {
        let mut body = (&mut asked.response).await.unwrap().into_body();
        for _ in 0..4 {
            let mut bytes = 0;
            while bytes < WINDOW {
                bytes += body.data().await.unwrap().unwrap().len();
            }
            tokio::time::sleep(SOON * 2 / 3).await;
            body.flow_control().release_capacity(bytes).unwrap();
        }
        // And now nothing more.
        body
    };
    let (sent, mut body) = tokio::join!(session.write_response_body(part, true), slow);
    assert_eq!(kind(sent), Some(ErrorType::WriteTimedout));
    assert_eq!(session.body_bytes_sent(), 5 * WINDOW);
    drop(asked.session);
    assert!(read(&mut body).await.is_err(), "what was not sent whole does not end well");
}

#[tokio::test]
async fn what_is_not_whole_is_reset() {
    let mut pair = Pair::new().await;
    for abandons in [true, false] {
        let mut asked = pair.ask(get(), true).await;
        asked.session.write_response_header(head(200, &[])).await.unwrap();
        asked.session.write_response_body(Bytes::from("hel"), false).await.unwrap();
        let mut body = asked.response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "hel");
        let reason = match abandons {
            true => {
                asked.session.shutdown().await;
                Reason::INTERNAL_ERROR
            }
            false => Reason::CANCEL,
        };
        drop(asked.session);
        assert_eq!(read(&mut body).await.unwrap_err().reason(), Some(reason));
    }
    // Nor is what has not begun.
    let asked = pair.ask(get(), true).await;
    drop(asked.session);
    assert!(asked.response.await.unwrap_err().is_reset());
    // What is whole stays so.
    let mut asked = pair.ask(get(), true).await;
    asked.session.write_response_header(head(204, &[])).await.unwrap();
    asked.session.finish_body().await.unwrap();
    asked.session.shutdown().await;
    assert!(asked.session.finish().await.unwrap().is_none());
    assert_eq!(read(&mut asked.response.await.unwrap().into_body()).await.unwrap(), b"");
}

#[tokio::test(start_paused = true)]
async fn who_stops_in_a_body_is_waited_for_within_a_limit_until_it_is_answered() {
    let timeouts =
        ListenerTimeouts { body: "30ms".parse().unwrap(), ..ListenerTimeouts::default() };
    let mut pair = pair(timeouts).await;
    let mut asked = pair.ask(post(), false).await;
    asked.upload.send_data(Bytes::from("hel"), false).unwrap();
    assert_eq!(asked.session.read_request_body().await.unwrap().unwrap(), "hel");
    assert_eq!(kind(asked.session.read_body_or_idle(false).await), Some(ErrorType::ReadTimedout));
    asked.session.set_total_drain_timeout(Some(SOON));
    assert_eq!(kind(asked.session.drain_request_body().await), Some(ErrorType::ReadTimedout));
    let mut asked = pair.ask(post(), false).await;
    asked.session.write_response_header(head(200, &[])).await.unwrap();
    let reading = tokio::time::timeout(2 * SOON, asked.session.read_request_body()).await;
    assert!(reading.is_err(), "an answered client may be silent");
    let call = Request::post("http://a/").header("content-type", "application/grpc").body(());
    let mut asked = pair.ask(call.unwrap(), false).await;
    let reading = tokio::time::timeout(2 * SOON, asked.session.read_request_body()).await;
    assert!(reading.is_err(), "so may one that calls by gRPC");
}

#[tokio::test]
async fn a_small_body_is_kept_for_another_attempt() {
    let mut pair = Pair::new().await;
    for (bytes, is_kept) in [(5, true), (WINDOW, true)] {
        let mut asked = pair.ask(post(), false).await;
        asked.session.enable_retry_buffering();
        assert_eq!(asked.session.get_retry_buffer(), None);
        asked.upload.send_data(Bytes::from(vec![b'x'; bytes]), true).unwrap();
        asked.session.drain_request_body().await.unwrap();
        let kept = asked.session.get_retry_buffer().map(|kept| kept.len());
        assert_eq!((kept, asked.session.retry_buffer_truncated()), (Some(bytes), !is_kept));
    }
    let mut asked = pair.ask(post(), false).await;
    asked.session.enable_retry_buffering();
    for last in [false, true] {
        asked.upload.send_data(Bytes::from(vec![b'x'; WINDOW / 2 + 2]), last).unwrap();
    }
    asked.session.drain_request_body().await.unwrap();
    assert!(asked.session.retry_buffer_truncated() && asked.session.get_retry_buffer().is_none());
}

#[tokio::test]
async fn a_client_that_leaves_is_heard() {
    let mut pair = Pair::new().await;
    for is_answered in [false, true] {
        let mut asked = pair.ask(get(), true).await;
        assert!(asked.session.is_body_empty());
        if is_answered {
            asked.session.write_response_header(head(200, &[])).await.unwrap();
        }
        asked.upload.send_reset(Reason::CANCEL);
        let left = asked.session.read_body_or_idle(true).await;
        assert_eq!(kind(left), Some(ErrorType::H2Error));
        let hint = asked.session.write_response_header(head(103, &[])).await;
        assert_eq!(hint.is_err(), !is_answered, "it is told nothing any more");
        let sent = asked.session.write_response_header(head(200, &[])).await;
        assert_eq!(sent.is_err(), !is_answered);
        assert!(asked.session.write_response_body(Bytes::from("x"), true).await.is_err());
    }
}

#[tokio::test]
async fn a_connection_that_closes_serves_what_has_begun() {
    let mut pair = Pair::new().await;
    let mut asked = pair.ask(get(), true).await;
    pair.closing.send_replace(true);
    let refused = async {
        loop {
            match pair.client.clone().ready().await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => return error,
            }
        }
    };
    assert_eq!(refused.await.reason(), Some(Reason::NO_ERROR));
    asked.session.write_response_header(head(200, &[])).await.unwrap();
    asked.session.write_response_body(Bytes::from("ok"), true).await.unwrap();
    let response = asked.response.await.unwrap();
    assert_eq!(read(&mut response.into_body()).await.unwrap(), b"ok");
    drop((asked.session, asked._under_way, asked.upload));
    pair.connection.await.unwrap().unwrap();
    pair.driven.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_is_idle_ends_with_a_goaway() {
    let timeouts =
        ListenerTimeouts { idle: "30ms".parse().unwrap(), ..ListenerTimeouts::default() };
    let mut pair = pair(timeouts).await;
    let asked = pair.ask(get(), true).await;
    tokio::time::sleep(2 * SOON).await;
    assert!(!pair.driven.is_finished(), "a request is under way");
    drop((asked.session, asked._under_way));
    assert!(asked.response.await.unwrap_err().is_reset());
    drop(asked.upload);
    // The connection's own end is a clean one.
    pair.connection.await.unwrap().unwrap();
    pair.driven.await.unwrap();
}

#[tokio::test]
async fn what_is_no_http2_is_counted() {
    use tokio::io::AsyncWriteExt as _;

    let metrics = Metrics::new();
    let timeouts =
        ListenerTimeouts { head: "30ms".parse().unwrap(), ..ListenerTimeouts::default() };
    let terms = Terms::new("l", &timeouts, &metrics);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    // A frame of SETTINGS that is one byte long; one WINDOW_UPDATE by nothing, and one by too much.
    let settings = b"\0\0\x01\x04\0\0\0\0\0\0";
    let nothing = b"\0\0\0\x04\0\0\0\0\0\0\0\x04\x08\0\0\0\0\0\0\0\0\0";
    let too_much = b"\0\0\0\x04\0\0\0\0\0\0\0\x04\x08\0\0\0\0\0\x7f\xff\xff\xff";
    for (sent, reason) in [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), "protocol_error"),
        ([&preface[..], settings].concat(), "protocol_error"),
        ([&preface[..], nothing].concat(), "protocol_error"),
        ([&preface[..], too_much].concat(), "flow_control_error"),
        (preface[..5].to_vec(), "late"),
    ] {
        let counted = || metrics.http2_given_up.with_label_values(&["l", reason]).get();
        let before = counted();
        let (ours, mut theirs) = duplex(1 << 16);
        let (_closing, closes) = watch::channel(false);
        theirs.write_all(&sent).await.unwrap();
        drive(Box::new(ours), &terms, closes, |_, _| panic!("there is no request")).await;
        assert_eq!(counted(), before + 1, "{reason}");
    }
    // Who goes away is no fault.
    let pair = Pair::new().await;
    drop(pair.client);
    pair.driven.await.unwrap();
    assert_eq!(pair.metrics.http2_given_up.with_label_values(&["l", "protocol_error"]).get(), 0);
}
