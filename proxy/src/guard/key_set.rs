//! Sets of keys at URLs: fetched when a token needs them, kept, and fetched again in the background or when a token names a
//! key that is not there. However many requests wait, and whatever tokens say, a URL is asked once in a while.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use http::Uri;
use http::header::{ACCEPT, HOST};
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use prometheus::IntCounterVec;
use tokio::sync::Mutex;

use crate::guard::jwks::{self, Key};
use crate::upstream::connector::Connector;

/// Keys are fetched again when they are older than this, while they are used.
const FRESH: Duration = Duration::from_secs(600);
/// Keys are not used any more when they are older than this.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// Shortest time between two fetches.
const PAUSE: Duration = Duration::from_secs(10);
/// How long a fetch may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest set that is read.
const SET_BYTES_MAX: usize = 256 * 1024;

/// Keys as they were fetched.
pub struct Fetched {
    pub keys: Vec<Key>,
    at: Instant,
}

/// The keys at one URL. It belongs to the process: a reload keeps it.
pub struct KeySet {
    url: String,
    current: ArcSwapOption<Fetched>,
    /// When it was last asked, well or not; held while asking.
    asked: Mutex<Option<Instant>>,
    fetches: IntCounterVec,
}

impl KeySet {
    pub fn new(url: &str, fetches: IntCounterVec) -> KeySet {
        KeySet {
            url: url.to_owned(),
            current: ArcSwapOption::empty(),
            asked: Mutex::default(),
            fetches,
        }
    }

    /// The keys; waits for them only when there are none.
    pub async fn keys(self: &Arc<Self>, connector: &Arc<Connector>) -> Option<Arc<Fetched>> {
        match self.usable() {
            Some(fetched) if fetched.at.elapsed() < FRESH => Some(fetched),
            Some(fetched) => {
                let (again, with) = (Arc::clone(self), Arc::clone(connector));
                tokio::spawn(async move { again.fetch(&with).await });
                Some(fetched)
            }
            None => self.newer_than(None, connector).await,
        }
    }

    /// The keys, fetched anew if these are the newest there are and it is not too soon.
    pub async fn newer_than(
        &self,
        known: Option<&Arc<Fetched>>,
        connector: &Arc<Connector>,
    ) -> Option<Arc<Fetched>> {
        let is_newest = match (self.usable(), known) {
            (Some(now), Some(known)) => Arc::ptr_eq(&now, known),
            (now, _) => now.is_none(),
        };
        if is_newest {
            self.fetch(connector).await;
        }
        self.usable()
    }

    fn usable(&self) -> Option<Arc<Fetched>> {
        self.current.load_full().filter(|fetched| fetched.at.elapsed() < KEPT)
    }

    async fn fetch(&self, connector: &Connector) {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|at| at.elapsed() < PAUSE) {
            return;
        }
        *asked = Some(Instant::now());
        let fetched = tokio::time::timeout(PATIENCE, fetch(&self.url, connector)).await;
        let fetched = fetched.unwrap_or_else(|_| Err("it took too long".to_owned()));
        match fetched.and_then(|text| jwks::parse(&text, false)) {
            Ok(keys) => {
                self.fetches.with_label_values(&["ok"]).inc();
                self.current.store(Some(Arc::new(Fetched { keys, at: Instant::now() })));
            }
            Err(why) => {
                self.fetches.with_label_values(&["failed"]).inc();
                tracing::warn!(url = self.url, why, "keys could not be fetched");
            }
        }
    }
}

async fn fetch(url: &str, connector: &Connector) -> Result<Vec<u8>, String> {
    let uri: Uri = url.parse().map_err(|_| "it is not a URL".to_owned())?;
    let tls = uri.scheme_str() == Some("https");
    let (host, authority) = (uri.host().unwrap_or_default(), uri.authority());
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((bare, port)).await.map_err(|error| error.to_string())?;
    let addresses: Vec<SocketAddr> = found.collect();
    let address = addresses.first().ok_or("its name has no address")?;
    // A name is always there, so the certificate is always verified.
    let mut peer = HttpPeer::new(*address, tls, bare.to_owned());
    peer.options.connection_timeout = Some(PATIENCE);
    peer.options.read_timeout = Some(PATIENCE);
    let connected = connector.get_http_session(&peer).await;
    let mut session = connected.map_err(|error| error.to_string())?;
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let host = authority.map_or(host, |authority| authority.as_str());
    let read = ask(&mut session, target, host).await.unwrap_or_else(|error| Err(error.to_string()));
    session.shutdown().await;
    read
}

async fn ask(
    session: &mut HttpSession,
    target: &str,
    host: &str,
) -> pingora::Result<Result<Vec<u8>, String>> {
    let mut head = RequestHeader::build("GET", target.as_bytes(), None)?;
    head.insert_header(HOST, host)?;
    head.insert_header(ACCEPT, "application/jwk-set+json, application/json")?;
    session.write_request_header(Box::new(head)).await?;
    session.finish_request_body().await?;
    session.read_response_header().await?;
    let status = session.response_header().map(|head| head.status.as_u16());
    if status != Some(200) {
        return Ok(Err(format!("the answer is {}", status.unwrap_or(0))));
    }
    let mut text = Vec::new();
    while let Some(part) = session.read_response_body().await? {
        text.extend_from_slice(&part);
        if text.len() > SET_BYTES_MAX {
            return Ok(Err("it is too large".to_owned()));
        }
    }
    Ok(Ok(text))
}
