//! What a cache policy would have done with the requests of an access log. The very code that serves
//! decides here too ([`crate::cache`]): only clock, origin and clients are made up.
//!
//! [`trace`] reads the log → [`replay`] asks the cache, request by request, at the times of the log →
//! [`report`] and [`plot`] show the figures side by side. [`buffering`] does the same for buffer policies.
//!
//! What a log does not tell is assumed, and said in the report: an object is as large as the largest
//! answer to its URI, the origin says the same about the freshness of everything, and what is refreshed
//! comes whole. Memory only: a cache's disk is left out.

pub mod buffering;
pub mod plot;
pub mod replay;
pub mod report;
pub mod trace;
