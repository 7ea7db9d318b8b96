//! Why there is no proof, neither for nor against.

use std::io;
use std::time::Duration;

use thiserror::Error;

#[derive(Debug, Error)]
pub enum ProveFault {
    #[error("{what}: {error}")]
    System { what: &'static str, error: io::Error },
    #[error("the proxy did not start: {0}")]
    Proxy(String),
    #[error("viewers got nothing: {0}")]
    NoVideo(String),
    #[error(
        "{0} transactions a second for {1:?} are too few to tell a 99th percentile; \
         make it longer, or more"
    )]
    TooFew(u32, Duration),
}

pub fn system(what: &'static str) -> impl Fn(io::Error) -> ProveFault {
    move |error| ProveFault::System { what, error }
}
