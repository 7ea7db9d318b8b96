//! What an operator does with a proxy, and what he is told.

mod mirroring;
mod service;
mod times;
mod top;
mod upgrading;
