//! What the whole-system tests share: where the built binaries are, and a running environment that
//! stops itself.
//!
//! - `binaries`: `forebay`, `forebay-proxy`, … as `make test` built them.
//! - `ports`: ports that stay free until a program that has to be told them listens.
//! - `running`: `forebay up` on an environment of its own (free ports, temporary folder), with its
//!   status, its URLs and its children; dropped, it is stopped and checked for what it left behind.
//! - `tree`: the files of this repository, for the rules in `tidy.rs`.

pub mod binaries;
pub mod ports;
pub mod running;
pub mod tree;
