//! What an operator does with a proxy, and what he is told.

mod mirroring;
pub mod openapi;
mod reloads;
mod service;
mod stops;
mod times;
mod top;
mod tuning;
mod upgrading;
