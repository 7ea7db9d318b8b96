//! The end of a connection: when the listener closes, or nothing has been under way for a while, its client is told by a GOAWAY that it may
//! send no more, and what it has sent before it heard of that is still served (RFC 9113 section 6.8).

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Error, RecvStream};
use http::Request;
use pingora::server::ShutdownWatch;
use pingora::time::sleep;

use crate::frames::Http2;
use crate::frames::in_flight::InFlight;

/// How long a client without a request may take to hear that none is taken any more: a round trip. One that is not there any more never does.
const TO_HEAR: Duration = Duration::from_secs(5);

/// When a connection says that it takes no more requests.
pub struct Farewell {
    closing: ShutdownWatch,
    idle: Duration,
    is_said: bool,
}

/// A request of a connection, and what it is answered by; none when that is over.
pub type Next = Option<Result<(Request<RecvStream>, SendResponse<Bytes>), Error>>;

impl Farewell {
    pub fn new(closing: ShutdownWatch, idle: Duration) -> Farewell {
        Farewell { closing, idle, is_said: false }
    }

    /// The next request. Waiting for it is what reads and writes for all that are under way.
    pub async fn or_next(&mut self, connection: &mut Http2, in_flight: &InFlight) -> Next {
        loop {
            let is_said = self.is_said;
            let patience = if is_said { TO_HEAR } else { self.idle };
            let idle = async {
                in_flight.until_none().await;
                sleep(patience).await;
            };
            tokio::select! {
                biased;
                // An error is that everything ends.
                _ = self.closing.wait_for(|closing| *closing), if !is_said => {}
                accepted = poll_fn(|context| connection.poll_accept(context)) => return accepted,
                () = idle => {
                    if is_said {
                        return None;
                    }
                }
            }
            connection.graceful_shutdown();
            self.is_said = true;
        }
    }
}
