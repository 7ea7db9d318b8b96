//! How long a request may take at its upstream: the upstream's times, and those of its route in their place.

use std::time::{Duration, Instant};

use pingora::upstreams::peer::HttpPeer;
use proxy_config::route_action::RouteTimeouts;
use proxy_config::units;
use proxy_config::upstream::UpstreamTimeouts;

use crate::failure::Failure;
use crate::upstream::aim::Aim;

/// The times of one request.
#[derive(Clone, Debug)]
pub struct Patience {
    connect: Duration,
    /// From the request having been sent to the head of the answer.
    pub first_byte: Duration,
    /// Between two reads of what follows.
    pub read: Duration,
    pub write: Duration,
    /// Without a byte either way, once the connection was upgraded.
    pub tunnel: Duration,
    /// When all of the answer must be there.
    deadline: Option<Instant>,
    /// `first_byte` or a deadline is set: only who asks by himself can keep to it exactly.
    pub is_exacting: bool,
}

impl Patience {
    pub fn of(upstream: &UpstreamTimeouts, route: Option<&RouteTimeouts>) -> Patience {
        let own = |of: fn(&RouteTimeouts) -> Option<units::Duration>| route.and_then(of);
        let time = |of, or: units::Duration| own(of).unwrap_or(or).as_std();
        let read = time(|route| route.read, upstream.read);
        let first_byte = own(|route| route.first_byte).or(upstream.first_byte);
        Patience {
            connect: time(|route| route.connect, upstream.connect),
            first_byte: first_byte.map_or(read, units::Duration::as_std),
            read,
            write: time(|route| route.write, upstream.write),
            tunnel: time(|route| route.tunnel, upstream.tunnel),
            deadline: None,
            is_exacting: first_byte.is_some() || own(|route| route.total).is_some(),
        }
    }

    /// The same, with an end to it all.
    pub fn until(self, deadline: Option<Instant>) -> Patience {
        Patience { deadline, ..self }
    }

    /// This time, or less where the deadline is nearer.
    pub fn capped(&self, time: Duration) -> Duration {
        match self.deadline {
            Some(deadline) => time.min(deadline.saturating_duration_since(Instant::now())),
            None => time,
        }
    }

    pub fn connect(&self) -> Duration {
        self.capped(self.connect)
    }

    /// From the request having been sent, as things are.
    pub fn of_head(&self) -> Duration {
        self.capped(self.first_byte)
    }

    /// For each step of sending it.
    pub fn of_write(&self) -> Duration {
        self.capped(self.write)
    }

    /// What comes of this before the deadline.
    pub async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let Some(deadline) = self.deadline else { return work.await };
        let done = tokio::time::timeout_at(deadline.into(), work).await;
        done.unwrap_or(Err(Failure::UpstreamTimeout))
    }

    /// What to connect to, with the times of this request.
    pub fn fitted(&self, aim: Aim) -> Box<HttpPeer> {
        let mut peer = aim.into_peer();
        let options = &mut peer.options;
        options.connection_timeout = Some(self.connect());
        options.total_connection_timeout = Some(self.connect());
        options.read_timeout = Some(self.of_head());
        options.write_timeout = Some(self.of_write());
        peer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: u64) -> Option<units::Duration> {
        Some(units::Duration::secs(seconds))
    }

    #[test]
    fn a_route_has_the_last_word_and_the_first_byte_is_read_unless_said_otherwise() {
        let upstream = UpstreamTimeouts::default();
        let patience = Patience::of(&upstream, None);
        assert_eq!(patience.first_byte, upstream.read.as_std());
        assert!(!patience.is_exacting);
        let route = RouteTimeouts { read: secs(7), connect: secs(2), ..RouteTimeouts::default() };
        let patience = Patience::of(&upstream, Some(&route));
        assert_eq!((patience.read, patience.first_byte), (Duration::from_secs(7), patience.read));
        assert_eq!(patience.connect(), Duration::from_secs(2));
        let slow = UpstreamTimeouts { first_byte: secs(90), ..upstream };
        let patience = Patience::of(&slow, Some(&route));
        assert_eq!(patience.first_byte, Duration::from_secs(90));
        assert!(patience.is_exacting);
        let soon = Instant::now() + Duration::from_secs(1);
        assert!(
            patience.until(Some(soon)).capped(Duration::from_secs(60)) <= Duration::from_secs(1)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_waited_for_beyond_the_deadline() {
        let patience = Patience::of(&UpstreamTimeouts::default(), None);
        let work = async || {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok(())
        };
        assert_eq!(patience.within(work()).await, Ok(()));
        let patience = patience.until(Some(Instant::now() + Duration::from_secs(1)));
        assert_eq!(patience.within(work()).await, Err(Failure::UpstreamTimeout));
    }
}
