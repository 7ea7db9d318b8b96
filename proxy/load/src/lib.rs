//! Load for a proxy, and what it costs. `forebay-proxy lanes prove` and the benchmark kit use the same.
//!
//! - [`origin`]: what stands behind the proxy; its paths say how large an answer is and how slow.
//! - [`transactions`]: requests at a fixed rate whatever happens, their [`latency`] counted from the
//!   moment each was due, so that a stall is seen by every request it delayed.
//! - [`viewers`]: clients that take all they can get.
//! - [`held`]: connections that are open and idle, or do not read what they asked for.
//! - [`reading`]: an answer as it arrives, its bytes compared with what the origin sends.
//! - [`processors`]: the load on one half of the machine, the proxy on the other.
//! - [`account`]: processor time, memory and writes of a tree of processes, from `/proc`.

pub mod account;
pub mod held;
pub mod latency;
pub mod origin;
pub mod processors;
pub mod reading;
pub mod transactions;
pub mod viewers;
