//! How an origin was reached, for the log.

use std::time::Duration;

use crate::upstream::attempts::Attempts;

#[derive(Clone, Debug, Default)]
pub struct Contact {
    /// Of the answer, once its head is there.
    pub status: Option<u16>,
    pub attempts: Attempts,
    pub reused: Option<bool>,
    pub connect_time: Option<Duration>,
    pub first_byte: Option<Duration>,
}

impl Contact {
    /// The head of the answer is there, so long after it was asked.
    pub fn answered(&mut self, status: u16, after: Duration) {
        (self.status, self.first_byte) = (Some(status), Some(after));
    }
}
