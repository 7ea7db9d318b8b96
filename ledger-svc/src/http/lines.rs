//! `/v1/batches.ndjson`: a stream of requests, one a line, answered in the same order while it goes on.
//! However long it is, what is held of it is bounded: a line, the lines of one group, and a few groups
//! that wait for their commit. A client that does not read its answers is not read from either.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header;
use hyper::body::{Body as _, Frame};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::app::App;
use super::batches::{BatchResult, entries_of, is_minimal, write_refusal, write_result};
use super::observe::InFlight;
use super::problem::{Kind, Problem};
use crate::act::Actor;
use crate::batch::{Group, Verdict};
use crate::json;
use crate::metrics::Metrics;
use crate::transfer::{BatchItem, TransferRequest};

/// Requests handed to the writer together, at most.
const GROUP_MAX: usize = 500;
/// Groups of one stream that wait for the writer at once.
const GROUPS_AHEAD: usize = 4;
/// Pieces of the answer that wait for the client.
const PIECES_AHEAD: usize = 4;

/// Stream requests
///
/// One JSON object a line (`BatchItem`), as many as you like; one `BatchResult` a line comes back for each,
/// in the same order, as soon as it is durable. Requests are decided in the order of their lines, and are otherwise
/// independent of each other. A line that cannot be read is answered with its problem, and the stream goes on; it
/// ends when its key is revoked or expires. Read the answers while you write, or the service stops reading. When
/// the connection breaks, send again what was not answered, under the same keys.
#[utoipa::path(
    post, path = "/v1/batches.ndjson", operation_id = "streamBatch", tag = "transfers",
    params(("Prefer" = Option<String>, Header, description = "`return=minimal` leaves out the transfers (RFC 7240)")),
    request_body(content = BatchItem, content_type = "application/x-ndjson",
        description = "One item a line; empty lines are passed over"),
    responses((status = 200, description = "One result a line", content_type = "application/x-ndjson", body = BatchResult))
)]
pub async fn stream(
    State(app): State<App>,
    actor: Actor,
    request: Request,
) -> Result<Response, Problem> {
    if !is_ndjson(&request) {
        let detail = "the body must be sent with Content-Type: application/x-ndjson";
        return Err(Problem::new(Kind::UnsupportedMediaType, detail));
    }
    let minimal = is_minimal(request.headers());
    let (pieces, reading) = mpsc::channel(PIECES_AHEAD);
    let stream = Stream {
        counted: InFlight::count(&app.metrics),
        app,
        actor,
        minimal,
        line: 0,
        waiting: VecDeque::new(),
        last: None,
        pieces,
    };
    tokio::spawn(stream.run(request.into_body()));
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::new(Pieces(reading))).into_response())
}

fn is_ndjson(request: &Request) -> bool {
    let value = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-ndjson")
        || essence.eq_ignore_ascii_case("application/jsonl")
}

/// A body that is made while it is sent.
pub struct Pieces(pub mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// One stream of requests.
struct Stream {
    app: App,
    actor: Actor,
    minimal: bool,
    /// Lines read so far.
    line: u64,
    /// Groups in their order, the first one the next to be answered.
    waiting: VecDeque<Waiting>,
    /// Ends once the last of them is in the writer's queue.
    last: Option<oneshot::Receiver<()>>,
    pieces: mpsc::Sender<Bytes>,
    /// As long as it runs, a request is in flight: a stop waits for it.
    counted: InFlight,
}

/// A line that was read: a request, or why it is none.
struct Line {
    number: u64,
    key: Option<String>,
    read: Result<TransferRequest, Problem>,
}

/// A group that was handed to the writer, and what becomes of it.
struct Waiting {
    numbers: Vec<u64>,
    answer: JoinHandle<String>,
}

impl Waiting {
    /// Its answers, a line each, whatever happens to the task that makes them.
    async fn text(&mut self, metrics: &Metrics) -> String {
        if let Ok(text) = (&mut self.answer).await {
            return text;
        }
        let detail = "it is not known whether this was booked: send it again under the same key";
        let (mut text, problem) = (String::new(), Problem::new(Kind::Internal, detail));
        for number in &self.numbers {
            write_refusal(metrics, &mut text, Some(*number), None, &problem);
            text.push('\n');
        }
        text
    }
}

/// Groups come to the writer in the order of their lines.
struct Turn {
    /// Ends once the group before is in the queue, or will never be.
    before: Option<oneshot::Receiver<()>>,
    /// Dropped once this one is.
    done: oneshot::Sender<()>,
}

/// The stream is over: the client has gone, or may send no more.
struct Gone;

impl Stream {
    async fn run(mut self, mut body: Body) {
        // A client that has gone misses its answers, and asks again under its keys.
        let _ = self.pass_on(&mut body).await;
        drop(self.counted);
    }

    async fn pass_on(&mut self, body: &mut Body) -> Result<(), Gone> {
        let mut read: Vec<u8> = Vec::new();
        loop {
            if read.len() > self.app.limits.body_bytes_max {
                let detail = format!("line {} is larger than a body may be", self.line + 1);
                return self.give_up(&Problem::new(Kind::BodyTooLarge, detail)).await;
            }
            match self.more(body).await? {
                Ok(Some(bytes)) => read.extend_from_slice(&bytes),
                Ok(None) => break,
                Err(problem) => return self.give_up(&problem).await,
            }
            let Some(end) = read.iter().rposition(|byte| *byte == b'\n') else { continue };
            self.take(&read[..end]).await?;
            read.drain(..=end);
        }
        self.take(&read).await?;
        while !self.waiting.is_empty() {
            self.answer_next().await?;
        }
        Ok(())
    }

    /// The next bytes of the body. Meanwhile, whatever is committed is answered.
    async fn more(&mut self, body: &mut Body) -> Result<Result<Option<Bytes>, Problem>, Gone> {
        let timeout = self.app.limits.body_timeout;
        loop {
            let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
            let next = tokio::time::timeout(timeout, frame);
            let Some(first) = self.waiting.front_mut() else {
                return Ok(piece(next.await, timeout));
            };
            tokio::select! {
                frame = next => return Ok(piece(frame, timeout)),
                text = first.text(&self.app.metrics) => {
                    self.waiting.pop_front();
                    self.send(text).await?;
                }
            }
        }
    }

    /// Hands whole lines to the writer.
    async fn take(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        let mut lines = Vec::new();
        for bytes in bytes.split(|byte| *byte == b'\n') {
            self.line += 1;
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            lines.push(self.parse(bytes));
            if lines.len() == GROUP_MAX {
                self.begin(std::mem::take(&mut lines)).await?;
            }
        }
        // What ends without a line feed is a line; what ends with one has no empty line behind it.
        if lines.is_empty() { Ok(()) } else { self.begin(lines).await }
    }

    fn parse(&self, bytes: &[u8]) -> Line {
        let number = self.line;
        match json::read::<BatchItem>(bytes) {
            Err(error) => Line { number, key: None, read: Err(error.into()) },
            Ok(item) => {
                let key = Some(item.key.clone());
                let read = item.request(self.app.limits.entries_max).map_err(Problem::from);
                Line { number, key, read }
            }
        }
    }

    async fn begin(&mut self, lines: Vec<Line>) -> Result<(), Gone> {
        while self.waiting.len() >= GROUPS_AHEAD {
            self.answer_next().await?;
        }
        if !self.app.gate.holds(&self.actor) {
            return self.refuse(lines).await;
        }
        let numbers = lines.iter().map(|line| line.number).collect();
        let (done, next) = oneshot::channel();
        let turn = Turn { before: self.last.replace(next), done };
        let asked = (self.app.clone(), self.actor.clone());
        let answer = tokio::spawn(answered(asked, lines, self.minimal, turn));
        self.waiting.push_back(Waiting { numbers, answer });
        Ok(())
    }

    async fn answer_next(&mut self) -> Result<(), Gone> {
        let Some(mut first) = self.waiting.pop_front() else { return Ok(()) };
        let text = first.text(&self.app.metrics).await;
        self.send(text).await
    }

    async fn send(&mut self, text: String) -> Result<(), Gone> {
        self.pieces.send(text.into()).await.map_err(|_| Gone)
    }

    /// Answers what is being written, then lines that come too late; nothing more is read.
    async fn refuse(&mut self, lines: Vec<Line>) -> Result<(), Gone> {
        while !self.waiting.is_empty() {
            self.answer_next().await?;
        }
        let (mut text, problem) = (String::new(), key_gone());
        for Line { number, key, .. } in lines {
            write_refusal(&self.app.metrics, &mut text, Some(number), key.as_deref(), &problem);
            text.push('\n');
        }
        self.send(text).await?;
        Err(Gone)
    }

    /// Answers what is being written, then says why nothing more is read.
    async fn give_up(&mut self, problem: &Problem) -> Result<(), Gone> {
        while !self.waiting.is_empty() {
            self.answer_next().await?;
        }
        let mut text = String::new();
        write_refusal(&self.app.metrics, &mut text, Some(self.line + 1), None, problem);
        text.push('\n');
        self.send(text).await
    }
}

type Polled = Option<Result<Frame<Bytes>, axum::Error>>;

fn piece(
    frame: Result<Polled, tokio::time::error::Elapsed>,
    timeout: Duration,
) -> Result<Option<Bytes>, Problem> {
    match frame {
        Err(_) => {
            let detail =
                format!("nothing more of the body arrived within {} ms", timeout.as_millis());
            Err(Problem::new(Kind::RequestTimeout, detail))
        }
        Ok(None) => Ok(None),
        // Trailers say nothing here.
        Ok(Some(Ok(frame))) => Ok(Some(frame.into_data().unwrap_or_default())),
        Ok(Some(Err(_))) => Err(Problem::new(Kind::MalformedRequest, "the body ended early")),
    }
}

fn key_gone() -> Problem {
    Problem::new(Kind::Unauthenticated, "the API key was revoked or has expired")
}

/// The answers of one group, a line each.
async fn answered(
    (app, actor): (App, Actor),
    lines: Vec<Line>,
    minimal: bool,
    turn: Turn,
) -> String {
    let (mut heads, mut requests) = (Vec::with_capacity(lines.len()), Vec::new());
    for Line { number, key, read } in lines {
        let refused = match read {
            Ok(request) => {
                requests.push(request);
                None
            }
            Err(problem) => Some(problem),
        };
        heads.push((number, key, refused));
    }
    let entries = entries_of(&app, &requests).await;
    if let Some(before) = turn.before {
        let _ = before.await;
    }
    let queued = match entries {
        Err(problem) => Err(problem),
        Ok(_) if requests.is_empty() => Ok(None),
        Ok(_) if !app.gate.holds(&actor) => Err(key_gone()),
        Ok(entries) => {
            let group = Group { requests, all_or_nothing: false };
            app.writer.queue_in_turn(group, entries).await.map(Some).map_err(Problem::from)
        }
    };
    drop(turn.done);
    let verdicts = match queued {
        Err(problem) => Err(problem),
        Ok(None) => Ok(Vec::new()),
        Ok(Some(queued)) => queued.verdicts().await.map_err(Problem::from),
    };
    let (mut verdicts, failed): (std::vec::IntoIter<Verdict>, _) = match verdicts {
        Ok(verdicts) => (verdicts.into_iter(), None),
        Err(problem) => (Vec::new().into_iter(), Some(problem)),
    };
    let mut text = String::with_capacity(heads.len() * 128);
    for (number, key, refused) in heads {
        let key = key.as_deref();
        match (refused.as_ref().or(failed.as_ref()), &mut verdicts) {
            (Some(problem), _) => {
                write_refusal(&app.metrics, &mut text, Some(number), key, problem);
            }
            (None, verdicts) => {
                let verdict = verdicts.next().unwrap_or(Verdict::Withheld);
                write_result(&app.metrics, &mut text, Some(number), key, verdict, minimal);
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[tokio::test]
    async fn every_line_is_answered_when_its_task_dies() {
        let metrics = Metrics::new();
        let answer = tokio::spawn(std::future::pending());
        answer.abort();
        let mut waiting = Waiting { numbers: vec![3, 4, 9], answer };
        let text = waiting.text(&metrics).await;
        let told: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        let numbers: Vec<&Value> = told.iter().map(|line| &line["line"]).collect();
        assert_eq!(numbers, [3, 4, 9]);
        for line in &told {
            assert_eq!(line["status"], 500);
            let detail = line["problem"]["detail"].as_str().unwrap();
            assert!(detail.contains("send it again under the same key"), "{line}");
        }
        assert_eq!(metrics.problems.with_label_values(&["internal"]).get(), 3);
    }
}
