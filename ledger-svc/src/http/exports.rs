//! `/v1/export/…`: everything booked, as text that other programs read. It is read of one moment and sent while it is
//! read; where it cannot go on the answer breaks off, and never ends as if it were whole.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use hyper::body::Frame;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::app::App;
use super::problem::{Kind, Problem};
use crate::act::Actor;
use crate::exporting::{Export, ExportError};
use crate::interchange::Format;
use crate::store::Audit;

/// Pieces of the text that wait for the client.
const PIECES_AHEAD: usize = 2;

/// Export the entries as CSV
///
/// Everything that moved, in booking order and of one moment: an entry a line, a heading line first (RFC 4180).
/// `POST /v1/imports` and `forebay-ledger import file` book it again. What pending transfers hold is not booked, and so
/// not in it.
#[utoipa::path(
    get, path = "/v1/export/entries.csv", operation_id = "exportEntries", tag = "reports",
    responses((status = 200, description = "All entries", content_type = "text/csv", body = String))
)]
pub async fn entries(State(app): State<App>, actor: Actor) -> Result<Response, Problem> {
    export((app, actor), Format::Csv, "entries.csv").await
}

/// Export the chart as CSV
///
/// An account a line, a heading line first (RFC 4180).
#[utoipa::path(
    get, path = "/v1/export/accounts.csv", operation_id = "exportAccounts", tag = "reports",
    responses((status = 200, description = "All accounts", content_type = "text/csv", body = String))
)]
pub async fn accounts(State(app): State<App>, actor: Actor) -> Result<Response, Problem> {
    export((app, actor), Format::CsvAccounts, "accounts.csv").await
}

/// Export the books for beancount
///
/// The chart and everything that moved, in booking order and of one moment, for version 2 and 3.
#[utoipa::path(
    get, path = "/v1/export/books.beancount", operation_id = "exportBeancount", tag = "reports",
    responses((status = 200, description = "The books", content_type = "text/plain", body = String))
)]
pub async fn beancount(State(app): State<App>, actor: Actor) -> Result<Response, Problem> {
    export((app, actor), Format::Beancount, "books.beancount").await
}

/// Export the books for ledger-cli and hledger
///
/// The chart and everything that moved, in booking order and of one moment.
#[utoipa::path(
    get, path = "/v1/export/books.ledger", operation_id = "exportLedger", tag = "reports",
    responses((status = 200, description = "The books", content_type = "text/plain", body = String))
)]
pub async fn ledger(State(app): State<App>, actor: Actor) -> Result<Response, Problem> {
    export((app, actor), Format::Ledger, "books.ledger").await
}

async fn export(
    (app, actor): (App, Actor),
    format: Format,
    name: &str,
) -> Result<Response, Problem> {
    let place = app.exports.clone().try_acquire_owned().map_err(|_| {
        let detail = format!("{} exports are under way already", app.limits.exports_max);
        Problem::new(Kind::TooManyExports, detail)
    })?;
    let mut export = Export::begin(Audit::open(&app.database).await?, format).await?;
    // What cannot be begun is a problem; what cannot go on breaks off.
    let first = export.piece().await?;
    let (pieces, reading) = mpsc::channel(PIECES_AHEAD);
    tokio::spawn(send((app, actor), export, first, pieces, place));
    let kind = match format {
        Format::Csv | Format::CsvAccounts => "text/csv; charset=utf-8; header=present",
        Format::Beancount | Format::Ledger => "text/plain; charset=utf-8",
    };
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, Body::new(Sent { pieces: reading, ended: false })).into_response())
}

/// Why an export broke off.
#[derive(Debug, Error)]
enum Broken {
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error("the client takes nothing")]
    Slow,
    #[error("the client is gone")]
    Gone,
    #[error("its key was revoked or has expired")]
    KeyGone,
    #[error("the service stops")]
    Stopping,
}

enum Piece {
    Text(Bytes),
    End,
}

async fn send(
    (app, actor): (App, Actor),
    export: Export,
    first: Option<String>,
    pieces: mpsc::Sender<Piece>,
    _place: OwnedSemaphorePermit,
) {
    app.metrics.exports.inc();
    let mut stopping = app.stopping.clone();
    let ended = tokio::select! {
        ended = pass_on((&app, &actor), export, first, &pieces) => ended,
        _ = stopping.wait_for(|stop| *stop) => Err(Broken::Stopping),
    };
    app.metrics.exports.dec();
    if let Err(error) = ended {
        tracing::warn!(%error, "an export broke off");
    }
}

/// Until all is sent. A client that takes nothing for long would keep the database's old rows from being cleared away.
async fn pass_on(
    (app, actor): (&App, &Actor),
    mut export: Export,
    first: Option<String>,
    pieces: &mpsc::Sender<Piece>,
) -> Result<(), Broken> {
    let patience = app.limits.body_timeout;
    let send = async |piece: Piece| match tokio::time::timeout(patience, pieces.send(piece)).await {
        Err(_) => Err(Broken::Slow),
        Ok(Err(_)) => Err(Broken::Gone),
        Ok(Ok(())) => Ok(()),
    };
    let mut next = first;
    while let Some(text) = next {
        if !app.gate.holds(actor) {
            return Err(Broken::KeyGone);
        }
        send(Piece::Text(text.into())).await?;
        next = export.piece().await?;
    }
    export.close().await.map_err(ExportError::from)?;
    send(Piece::End).await
}

/// A body that ends when it is told so, and breaks off when nobody tells it any more.
struct Sent {
    pieces: mpsc::Receiver<Piece>,
    ended: bool,
}

#[derive(Debug, Error)]
#[error("the export broke off; the log has the reason")]
struct BrokenOff;

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.pieces.poll_recv(context).map(|piece| match piece {
            Some(Piece::Text(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Piece::End) => {
                self.ended = true;
                None
            }
            None => {
                self.ended = true;
                Some(Err(BrokenOff))
            }
        })
    }
}
