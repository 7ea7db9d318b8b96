//! What is said at error level, again and again, as long as it is so.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::metrics::Metrics;
use crate::store::{DatabaseUrl, Unguarded, UnsafeSetting};
use crate::verify::VerifyError;

/// How often a service on unsafe settings, or one that asks nobody for a key, says so.
const SHOUT_EVERY: Duration = Duration::from_secs(60);

/// What is said again and again as long as it is so.
pub fn shouts(
    database: &DatabaseUrl,
    metrics: &Metrics,
    unsafe_settings: Vec<UnsafeSetting>,
    unguarded: Unguarded,
) -> Vec<JoinHandle<()>> {
    let mut shouting = Vec::new();
    let database = || database.to_string();
    if !unsafe_settings.is_empty() {
        metrics.unsafe_durability.set(1);
        shouting.push(tokio::spawn(shout_unsafe(database(), unsafe_settings)));
    }
    if !unguarded.is_empty() {
        shouting.push(tokio::spawn(shout_unguarded(database(), unguarded)));
    }
    shouting
}

/// Says at error level, again and again, that this is no database for money.
async fn shout_unsafe(database: String, settings: Vec<UnsafeSetting>) {
    let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
    let mut every = tokio::time::interval(SHOUT_EVERY);
    loop {
        every.tick().await;
        tracing::error!(
            database,
            settings = settings.join("; "),
            "UNSAFE: acknowledged transfers can be lost; never keep money in this database"
        );
    }
}

/// Says at error level, again and again, that nothing in the database keeps what is booked from being changed.
async fn shout_unguarded(database: String, unguarded: Unguarded) {
    let unguarded = VerifyError::Unguarded(unguarded);
    let mut every = tokio::time::interval(SHOUT_EVERY);
    loop {
        every.tick().await;
        tracing::error!(database, "UNGUARDED: {unguarded}");
    }
}

/// Says at error level, again and again, that everybody who can connect may do everything.
pub async fn shout_open(listen: SocketAddr) {
    let mut every = tokio::time::interval(SHOUT_EVERY);
    loop {
        every.tick().await;
        tracing::error!(
            %listen,
            "OPEN: whoever reaches this address can read and post everything without a key (--auth open)"
        );
    }
}
