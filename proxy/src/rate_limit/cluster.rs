//! Counting together with other proxies: one script, run whole by Redis, on Redis's clock.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proxy_config::rate_limit::{ClusterCounter, WhenUnavailable};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError, Script};
use thiserror::Error;

use crate::rate_limit::gcra::{Pace, Verdict};
use crate::rate_limit::key::Key;

/// After a failure, how long Redis is left alone: requests must not each wait for it to time out.
const REST: Duration = Duration::from_secs(1);
/// Questions that may be on their way to one Redis.
const ASKING_MAX: usize = 4096;

/// Redis did not answer, or not in time.
#[derive(Debug, Error)]
pub enum Unavailable {
    #[error("{0}")]
    Failed(#[from] RedisError),
    #[error("it failed within the last second")]
    Resting,
}

/// The Redis of one limit.
pub struct Redis {
    client: Client,
    timeout: Duration,
    pub when_unavailable: WhenUnavailable,
    script: Script,
    connection: OnceLock<ConnectionManager>,
    begun: Instant,
    /// Milliseconds since `begun` until which it is not asked.
    rests_until_ms: AtomicU64,
}

impl Redis {
    /// Connects with the first question. Errors: the URL is none.
    pub fn new(config: &ClusterCounter) -> Result<Redis, RedisError> {
        pingora::tls::install_default_crypto_provider();
        Ok(Redis {
            client: Client::open(config.redis.as_str())?,
            timeout: config.timeout.as_std(),
            when_unavailable: config.when_unavailable,
            script: Script::new(include_str!("gcra.lua")),
            connection: OnceLock::new(),
            begun: Instant::now(),
            rests_until_ms: AtomicU64::new(0),
        })
    }

    /// Asks for one request now, within the timeout.
    pub async fn ask(&self, limit: &str, key: &Key, pace: &Pace) -> Result<Verdict, Unavailable> {
        let now_ms = self.now_ms();
        if now_ms < self.rests_until_ms.load(Ordering::Acquire) {
            return Err(Unavailable::Resting);
        }
        let asked = tokio::time::timeout(self.timeout, self.run(limit, key, pace)).await;
        let late = || RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        asked.unwrap_or_else(|_| Err(late())).map_err(|error| {
            let rest_ms = u64::try_from(REST.as_millis()).unwrap_or(u64::MAX);
            self.rests_until_ms.store(self.now_ms() + rest_ms, Ordering::Release);
            Unavailable::Failed(error)
        })
    }

    async fn run(&self, limit: &str, key: &Key, pace: &Pace) -> Result<Verdict, RedisError> {
        let mut connection = self.connection()?;
        let mut call = self.script.key(format!("forebay:rate_limit:{limit}:{}", hex(key)));
        call.arg(micros(pace.interval_ns)).arg(pace.burst).arg(micros(pace.delay_max_ns));
        let (passes, time_us, debt_us): (u8, u64, u64) = call.invoke_async(&mut connection).await?;
        let time_ns = time_us.saturating_mul(1000);
        Ok(match passes {
            0 => Verdict::Over { retry_ns: time_ns },
            _ => Verdict::Passes { wait_ns: time_ns, debt_ns: debt_us.saturating_mul(1000) },
        })
    }

    /// One connection for all, made again when it breaks.
    fn connection(&self) -> Result<ConnectionManager, RedisError> {
        if let Some(connection) = self.connection.get() {
            return Ok(connection.clone());
        }
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout))
            .set_number_of_retries(0)
            .set_concurrency_limit(ASKING_MAX);
        let connection = ConnectionManager::new_lazy_with_config(self.client.clone(), config)?;
        Ok(self.connection.get_or_init(|| connection).clone())
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Microseconds with their thousandths, as the script reads them.
fn micros(ns: u64) -> String {
    format!("{}.{:03}", ns / 1000, ns % 1000)
}

fn hex(key: &Key) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_keys_as_text() {
        assert_eq!((micros(3_333_333).as_str(), micros(7).as_str()), ("3333.333", "0.007"));
        assert_eq!(hex(&[0xab; 16]), "ab".repeat(16));
    }

    #[tokio::test]
    async fn a_redis_that_failed_is_left_alone_for_a_while() {
        let config = ClusterCounter {
            redis: "redis://127.0.0.1:1".to_owned(),
            when_unavailable: WhenUnavailable::Refuse,
            timeout: proxy_config::units::Duration::millis(200),
        };
        let redis = Redis::new(&config).unwrap();
        let pace = Pace { interval_ns: 1, burst: 1, delay_max_ns: 0 };
        let first = redis.ask("l", &[0; 16], &pace).await;
        assert!(matches!(first, Err(Unavailable::Failed(_))), "{first:?}");
        assert!(matches!(redis.ask("l", &[0; 16], &pace).await, Err(Unavailable::Resting)));
    }
}
