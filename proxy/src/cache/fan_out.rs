//! Purges shared with other proxies through a stream in Redis. A stream, not a channel: a proxy that was
//! cut off for a while reads what it missed. When that is no longer there, everything it has becomes stale.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use prometheus::{IntCounterVec, IntGauge};
use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, RedisError, cmd};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::cache::Cache;
use crate::cache::purge::Scope;
use crate::metrics::Metrics;
use crate::operator_log::Lasting;

/// Purges kept in the stream, more or less.
const KEPT_MAX: usize = 10_000;
/// Purges read at once.
const READ_MAX: usize = 256;
/// How long a read waits for the next purge.
const WAIT: Duration = Duration::from_secs(1);
/// How long Redis may take to connect or answer, beyond waiting.
const PATIENCE: Duration = Duration::from_secs(2);
/// How soon a Redis that failed is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// What becomes of purges that are shared, as label values.
pub const RESULTS: [&str; 5] = ["sent", "unsent", "received", "skipped", "missed"];

/// A purge as it stands in the stream.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    /// Who says so: nobody obeys itself.
    from: String,
    #[serde(flatten)]
    what: What,
    soft: bool,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "scope", content = "what")]
enum What {
    All,
    Url(String),
    Prefix(String),
    Tag(String),
}

impl What {
    fn of(scope: &Scope) -> What {
        match scope {
            Scope::All => What::All,
            Scope::Uri(uri) => What::Url(uri.to_string()),
            Scope::Prefix(prefix) => What::Prefix(prefix.to_string()),
            Scope::Tag(tag) => What::Tag(tag.to_string()),
        }
    }

    fn scope(&self) -> Scope {
        match self {
            What::All => Scope::All,
            What::Url(uri) => Scope::Uri(uri.as_str().into()),
            What::Prefix(prefix) => Scope::Prefix(prefix.as_str().into()),
            What::Tag(tag) => Scope::Tag(tag.as_str().into()),
        }
    }
}

/// Place of a purge in the stream: milliseconds of Redis's clock, and a number within them.
type Place = (u64, u64);

/// Entries of a stream as Redis writes them: place, then names and values.
type Entries = Vec<(String, Vec<(String, String)>)>;

/// One cache's share in the stream of its Redis. Dropped, it listens no more.
pub struct FanOut {
    pub url: String,
    name: String,
    stream: String,
    own: String,
    connection: ConnectionManager,
    messages: IntCounterVec,
    listener: AbortHandle,
}

impl FanOut {
    /// Starts to listen; connects when it can. Errors: the URL is none, or no runtime is there.
    pub fn start(url: &str, cache: &Arc<Cache>, metrics: &Metrics) -> io::Result<FanOut> {
        pingora::tls::install_default_crypto_provider();
        let client = Client::open(url).map_err(io::Error::other)?;
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let _entered = runtime.enter();
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_number_of_retries(0);
        let connection = ConnectionManager::new_lazy_with_config(client.clone(), config);
        let connected = metrics.cache_purge_redis_connected.with_label_values(&[&cache.name]);
        let (stream, own) =
            (format!("forebay:purges:{}", cache.name), format!("{:016x}", cache.new_id()));
        let listener = Listener {
            client,
            cache: Arc::downgrade(cache),
            stream: stream.clone(),
            own: own.clone(),
            messages: metrics.cache_purge_messages.clone(),
            connected,
            deafness: Lasting::default(),
            last: None,
        };
        Ok(FanOut {
            url: url.to_owned(),
            name: cache.name.clone(),
            stream,
            own,
            connection: connection.map_err(io::Error::other)?,
            messages: metrics.cache_purge_messages.clone(),
            listener: runtime.spawn(listener.run()).abort_handle(),
        })
    }

    /// Tells the other proxies. Errors: Redis did not take it in time.
    pub async fn tell(&self, scope: &Scope, soft: bool) -> Result<(), RedisError> {
        let told = Told { from: self.own.clone(), what: What::of(scope), soft };
        let told = serde_json::to_string(&told).map_err(io::Error::other)?;
        let mut add = cmd("XADD");
        add.arg(&self.stream).arg("MAXLEN").arg("~").arg(KEPT_MAX).arg("*").arg("purge").arg(told);
        let mut connection = self.connection.clone();
        let asked = tokio::time::timeout(PATIENCE, add.query_async::<String>(&mut connection));
        let late = || RedisError::from(io::Error::from(io::ErrorKind::TimedOut));
        asked.await.unwrap_or_else(|_| Err(late())).map(|_| ())
    }

    pub fn count(&self, result: &str, count: usize) {
        self.messages.with_label_values(&[self.name.as_str(), result]).inc_by(count as u64);
    }
}

impl Drop for FanOut {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

struct Listener {
    client: Client,
    cache: Weak<Cache>,
    stream: String,
    own: String,
    messages: IntCounterVec,
    connected: IntGauge,
    deafness: Lasting,
    /// The last purge seen; `None` before the first look.
    last: Option<Place>,
}

impl Listener {
    async fn run(mut self) {
        while self.cache.strong_count() > 0 {
            if let Err(error) = self.listen().await {
                self.connected.set(0);
                if self.deafness.begins() {
                    tracing::warn!(stream = self.stream, %error, "purges of other proxies are not heard");
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Obeys what is purged elsewhere, until Redis fails or the cache is gone.
    async fn listen(&mut self) -> Result<(), RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(WAIT + PATIENCE));
        let mut redis = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut last = match self.last {
            Some(last) => self.catch_up(&mut redis, last).await?,
            None => self.begin(&mut redis).await?,
        };
        self.last = Some(last);
        self.connected.set(1);
        while self.cache.strong_count() > 0 {
            let mut read = cmd("XREAD");
            read.arg("COUNT").arg(READ_MAX).arg("BLOCK").arg(WAIT.as_millis().to_string());
            read.arg("STREAMS").arg(&self.stream).arg(format!("{}-{}", last.0, last.1));
            let streams: Option<Vec<(String, Entries)>> = read.query_async(&mut redis).await?;
            self.deafness.is_over();
            for (id, fields) in streams.into_iter().flatten().flat_map(|(_, entries)| entries) {
                self.obey(&fields).await;
                last = place(&id).unwrap_or(last);
                self.last = Some(last);
            }
        }
        Ok(())
    }

    /// Where to begin. What is in memory came after every purge there is; what is on disk may not have.
    async fn begin(&self, redis: &mut MultiplexedConnection) -> Result<Place, RedisError> {
        if self.cache.upgrade().is_some_and(|cache| cache.has_disk()) {
            return Ok((0, 0));
        }
        let mut newest = cmd("XREVRANGE");
        newest.arg(&self.stream).arg("+").arg("-").arg("COUNT").arg(1);
        let newest: Entries = newest.query_async(redis).await?;
        Ok(newest.first().and_then(|(id, _)| place(id)).unwrap_or((0, 0)))
    }

    /// Where to go on after a break. When the last purge seen is not there any more, others may be gone
    /// unseen: then everything is to be asked about again.
    async fn catch_up(
        &self,
        redis: &mut MultiplexedConnection,
        last: Place,
    ) -> Result<Place, RedisError> {
        if last == (0, 0) {
            return Ok(last);
        }
        let id = format!("{}-{}", last.0, last.1);
        let mut same = cmd("XRANGE");
        same.arg(&self.stream).arg(&id).arg(&id);
        let same: Entries = same.query_async(redis).await?;
        if !same.is_empty() {
            return Ok(last);
        }
        self.count("missed");
        tracing::warn!(stream = self.stream, "purges were missed; everything stored is stale now");
        if let Some(cache) = self.cache.upgrade()
            && let Err(error) = cache.purge(Scope::All, true).await
        {
            return Err(io::Error::other(error).into());
        }
        Ok((0, 0))
    }

    async fn obey(&self, fields: &[(String, String)]) {
        let purge = fields.iter().find(|(name, _)| name == "purge");
        let told = purge.and_then(|(_, told)| serde_json::from_str::<Told>(told).ok());
        let Some(told) = told else { return self.count("skipped") };
        if told.from == self.own {
            return;
        }
        let Some(cache) = self.cache.upgrade() else { return };
        self.count("received");
        // Too many at once: the next attempt finds room, since every sweep ends.
        while cache.purge(told.what.scope(), told.soft).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn count(&self, result: &str) {
        let Some(cache) = self.cache.upgrade() else { return };
        self.messages.with_label_values(&[cache.name.as_str(), result]).inc();
    }
}

fn place(id: &str) -> Option<Place> {
    let (ms, number) = id.split_once('-')?;
    Some((ms.parse().ok()?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purge_survives_the_stream() {
        for scope in [
            Scope::All,
            Scope::Uri("http://a/b?c".into()),
            Scope::Prefix("http://a/".into()),
            Scope::Tag("é\"".into()),
        ] {
            let told = Told { from: "x".to_owned(), what: What::of(&scope), soft: true };
            let text = serde_json::to_string(&told).unwrap();
            let read: Told = serde_json::from_str(&text).unwrap();
            assert_eq!((&read, read.what.scope()), (&told, scope), "{text}");
        }
        assert_eq!(place("1700000000000-3"), Some((1_700_000_000_000, 3)));
        assert_eq!((place("x-1"), place("5")), (None, None));
    }
}
