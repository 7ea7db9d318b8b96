//! What the service manager is told (`sd_notify(3)`): that the proxy serves, reloads, stops, lives. Without one
//! nothing is.

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

use crate::runtimes::{Handles, Place};

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager cannot be told of a reload"),
    }
}

pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// From now on this process is the service.
pub fn succeeded_by(process: u32) {
    tell(&[NotifyState::MainPid(process), NotifyState::Ready]);
}

/// Tells that the proxy lives as often as the service manager wants to hear it, as long as both runtimes do what
/// they are asked. Must be called on the latency runtime.
pub fn keep_telling(runtimes: &Handles) {
    let Some(within) = sd_notify::watchdog_enabled() else { return };
    let bulk = runtimes.of(Place::Bulk).clone();
    tokio::spawn(async move {
        let mut ticks = interval(within / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if bulk.spawn(async {}).await.is_ok() {
                tell(&[NotifyState::Watchdog]);
            }
        }
    });
}
