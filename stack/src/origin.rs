//! `forebay origin`: serves the live segments that ffmpeg writes, and the stream page.
//!
//! `/live/STREAM/…` is the segment folder, `/` and `/page/…` are the page, `/healthz` says 200.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tower_http::services::ServeDir;

use crate::page;
use crate::stream::PLAYLIST;

/// After a stop signal, open answers get this long.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Everything the page may do: its own scripts and styles, its own origin, media from memory.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; media-src 'self' blob:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// Content type and caching of what a segment folder holds, by file extension. Anything else in
/// the folder (ffmpeg's unfinished `.tmp` files) is not served.
const MEDIA: [(&str, &str, &str); 3] = [
    ("m3u8", "application/vnd.apple.mpegurl", "no-cache"),
    ("m4s", "video/iso.segment", "public, max-age=3600, immutable"),
    // The init segment keeps its name when a stream is started anew with other settings.
    ("mp4", "video/mp4", "no-cache"),
];

/// The service for the segments under `directory`.
pub fn router(directory: &Path) -> Router {
    let segments = Router::new()
        .fallback_service(ServeDir::new(directory).append_index_html_on_directories(false))
        .layer(middleware::from_fn(media_headers));
    let listed = directory.to_owned();
    Router::new()
        .route("/streams.json", get(|| async move { Json(streams(&listed)) }))
        .route("/", get(|| async { page_file("index.html") }))
        .route(
            "/page/{file}",
            get(|file: axum::extract::Path<String>| async move { page_file(&file) }),
        )
        .route("/healthz", get(|| async { "ok\n" }))
        .nest("/live", segments)
        .layer(middleware::from_fn(common_headers))
}

/// Serves until TERM, INT or QUIT.
pub async fn serve(directory: PathBuf, listen: SocketAddr) -> io::Result<()> {
    let listener = tokio::net::TcpListener::bind(listen).await?;
    let stopping = crate::signals::stop_asked()?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = axum::serve(listener, router(&directory))
        .with_graceful_shutdown(async move {
            let _ = stopped.await;
        })
        .into_future();
    let mut server = tokio::spawn(server);
    tokio::select! {
        ended = &mut server => return ended.map_err(io::Error::other)?,
        () = stopping => {}
    }
    let _ = stop.send(());
    // A connection that the proxy keeps open for later must not hold the stop up.
    let _ = tokio::time::timeout(DRAIN_MAX, server).await;
    Ok(())
}

/// The streams of a segment folder, for the page: one folder each.
fn streams(directory: &Path) -> serde_json::Value {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    let stream = |name: &String| serde_json::json!({ "name": name, "playlist": format!("/live/{name}/{PLAYLIST}") });
    serde_json::json!({ "streams": names.iter().map(stream).collect::<Vec<_>>() })
}

fn page_file(name: &str) -> Response {
    let Some(file) = page::file(name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [(header::CONTENT_TYPE, file.content_type), (header::CACHE_CONTROL, "no-cache")];
    (headers, file.bytes).into_response()
}

async fn media_headers(request: Request, next: Next) -> Response {
    let extension = request.uri().path().rsplit_once('.').map(|(_, extension)| extension);
    let Some((_, content_type, caching)) =
        MEDIA.into_iter().find(|(known, ..)| Some(*known) == extension)
    else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let is_playlist = extension == Some("m3u8");
    let mut response = next.run(request).await;
    let status = response.status();
    let headers = response.headers_mut();
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        set(headers, header::CONTENT_TYPE, content_type);
        set(headers, header::CACHE_CONTROL, caching);
        if is_playlist {
            // The proxy's cache policy says for how long; `no-cache` is for browsers (RFC 9213).
            set(headers, HeaderName::from_static("cdn-cache-control"), "public");
        }
    } else {
        // A segment asked for too early exists a moment later: its absence must not be kept.
        set(headers, header::CACHE_CONTROL, "no-store");
    }
    response
}

async fn common_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    set(headers, header::CONTENT_SECURITY_POLICY, PAGE_POLICY);
    set(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(headers, header::REFERRER_POLICY, "no-referrer");
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}
