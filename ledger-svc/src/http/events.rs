//! `/v1/events`: what is booked, as a stream of server-sent events (HTML Living Standard, 9.2). A client that comes again
//! with the last number it has seen misses nothing; one that does not read is not read for.

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use utoipa::IntoParams;

use super::app::App;
use super::extract::Params;
use super::lines::Pieces;
use super::problem::{Kind, Problem};
use crate::act::Actor;
use crate::outbox::event::Event;
use crate::store::StoreError;

/// Events read and sent at once.
const BATCH_MAX: usize = 100;
/// Pieces of the stream that wait for the client.
const PIECES_AHEAD: usize = 4;
/// How often a stream on which nothing happens looks whether it may go on.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it says that it is still there, so that nobody on the way gives it up.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// Where the stream begins.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventParams {
    /// Events after the one of this number, which there must be; those booked from now on when left out. `Last-Event-ID`
    /// goes before it.
    #[param(minimum = 0)]
    after: Option<i64>,
}

/// Stream what is booked
///
/// Server-sent events without an end: `id` is the event's number, `event` its type, `data` the `Event` as JSON. Browsers
/// and other clients come again with `Last-Event-ID` by themselves, and miss nothing. A stream ends when its key is
/// revoked or expires, when the client reads nothing of it for as long as a body may take, or the service stops.
#[utoipa::path(
    get, path = "/v1/events", operation_id = "streamEvents", tag = "events",
    params(EventParams, ("Last-Event-ID" = Option<String>, Header, description = "The number of the last event seen")),
    responses((status = 200, description = "A stream of events, each an `Event`", content_type = "text/event-stream", body = Event))
)]
pub async fn stream(
    State(app): State<App>,
    actor: Actor,
    headers: HeaderMap,
    Params(params): Params<EventParams>,
) -> Result<Response, Problem> {
    let wrong = |what: &str| {
        let detail = format!("{what} is not an event's number; leave it out to begin now");
        Problem::new(Kind::InvalidParameter, detail)
    };
    let number = |text: &str| text.parse().ok().filter(|number: &i64| *number >= 0);
    let after = match headers.get("last-event-id").map(|value| value.to_str().ok().and_then(number))
    {
        Some(seen) => Some(seen.ok_or_else(|| wrong("Last-Event-ID"))?),
        None if params.after.is_some_and(|after| after < 0) => return Err(wrong("after")),
        None => params.after,
    };
    let named = if headers.contains_key("last-event-id") { "Last-Event-ID" } else { "after" };
    if let Some(after) = after
        && let Some(detail) = beyond_the_last(&app, named, after).await?
    {
        return Err(Problem::new(Kind::InvalidParameter, detail));
    }
    let place = app.streams.clone().try_acquire_owned().map_err(|_| {
        let detail = format!("{} event streams are open already", app.outbox.streams_max);
        Problem::new(Kind::TooManyStreams, detail)
    })?;
    let after = match after {
        Some(after) => after,
        None => app.reader.last_transfer().await?,
    };
    let (pieces, reading) = mpsc::channel(PIECES_AHEAD);
    tokio::spawn(pass_on(app, actor, after, pieces, place));
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::new(Pieces(reading))).into_response())
}

/// What is wrong with beginning after an event that there is not: all up to it would be passed over in silence.
pub async fn beyond_the_last(
    app: &App,
    named: &str,
    after: i64,
) -> Result<Option<String>, StoreError> {
    let last = app.reader.last_transfer().await?;
    let detail = || {
        format!(
            "{named} is {after}, and the last event is number {last}; leave it out to begin now"
        )
    };
    Ok((after > last).then(detail))
}

/// Until the client is gone, may read no longer, or the service stops.
async fn pass_on(
    app: App,
    actor: Actor,
    mut after: i64,
    pieces: mpsc::Sender<Bytes>,
    _place: OwnedSemaphorePermit,
) {
    app.metrics.event_streams.inc();
    let mut watching = app.tail.watch();
    let mut stopping = app.stopping.clone();
    let mut said = Instant::now();
    let mut text = String::from(": forebay-ledger\nretry: 1000\n\n");
    while !*stopping.borrow() && app.gate.holds(&actor) {
        // A client that comes again finds the rest.
        let Ok(events) = app.reader.events(after, BATCH_MAX).await else { break };
        after = events.last().map_or(after, |event| event.id);
        events.iter().for_each(|event| write(&mut text, event));
        if text.is_empty() && said.elapsed() >= ALIVE_EVERY {
            text.push_str(":\n\n");
        }
        if !text.is_empty() {
            let piece = std::mem::take(&mut text).into();
            if !hand_on((&app, &actor), &pieces, &mut stopping, piece).await {
                break;
            }
            said = Instant::now();
        }
        if !events.is_empty() {
            continue;
        }
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => {}
            () = pieces.closed() => break,
            _ = watching.wait_for(|last| *last > after) => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    app.metrics.event_streams.dec();
}

/// Hands a piece on to the client. Says whether the stream goes on: not when the client is gone or reads nothing for as
/// long as a body may take, when it may read no longer, or the service stops.
async fn hand_on(
    (app, actor): (&App, &Actor),
    pieces: &mpsc::Sender<Bytes>,
    stopping: &mut watch::Receiver<bool>,
    piece: Bytes,
) -> bool {
    let since = Instant::now();
    loop {
        tokio::select! {
            biased;
            room = pieces.reserve() => {
                let Ok(room) = room else { return false };
                room.send(piece);
                return true;
            }
            _ = stopping.wait_for(|stop| *stop) => return false,
            () = tokio::time::sleep(LOOK_EVERY) => {
                if since.elapsed() >= app.limits.body_timeout || !app.gate.holds(actor) {
                    return false;
                }
            }
        }
    }
}

fn write(text: &mut String, event: &Event) {
    let data = serde_json::to_string(event).expect("strings and numbers serialise");
    text.push_str(&format!("id: {}\nevent: {}\ndata: {data}\n\n", event.id, event.kind.as_str()));
}
