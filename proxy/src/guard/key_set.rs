//! Sets of keys at URLs: fetched when a token needs them, kept, and fetched again in the background or when a token names a
//! key that is not there. However many requests wait, and whatever tokens say, a URL is asked once in a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::Uri;
use http::header::{ACCEPT, HOST};
use pingora::http::RequestHeader;
use prometheus::IntCounterVec;
use tokio::sync::Mutex;

use crate::fetch::Ask;
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
        match fetch(&self.url, connector).await.and_then(|text| jwks::parse(&text, false)) {
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
    let host = uri.host().unwrap_or_default();
    let ask = Ask {
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
        tls,
        head: head(&uri).map_err(|error| error.to_string())?,
        body: Bytes::new(),
        patience: PATIENCE,
        answer_max: SET_BYTES_MAX,
    };
    let answer = ask.once(connector).await?;
    match (answer.status, answer.is_whole) {
        (200, true) => Ok(answer.body),
        (200, false) => Err("it is too large".to_owned()),
        (status, _) => Err(format!("the answer is {status}")),
    }
}

fn head(uri: &Uri) -> pingora::Result<RequestHeader> {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let mut head = RequestHeader::build("GET", target.as_bytes(), None)?;
    head.insert_header(HOST, host)?;
    head.insert_header(ACCEPT, "application/jwk-set+json, application/json")?;
    Ok(head)
}
