//! What each workload costs, Forebay beside its peers, on this machine.
//!
//! 1. [`command`]: which peers, which workloads, how long, how often; [`program`]: what all command lines share.
//! 2. [`peer`]: a peer is one file in `peers/`: how it is started and the files it needs.
//! 3. [`running`]: a peer under way, on one processor, before an origin on the others.
//! 4. [`workload`]: the list; [`cost`] (processor time), [`secure`] (that of TLS), [`hold`] (memory of connections) and
//!    [`events`] (fills, isolation, reloads, restarts) measure.
//! 5. [`results`]: medians over interleaved rounds; [`page`]: docs/BENCHMARKS.md.
//!
//! Beside them, as programs of their own: [`soak`] (memory over a long time), [`edge`] (what a video service's edge
//! must do), [`estate`] (transfers to a real ledger beside video) and [`crowd`] (slow attackers, idle connections).
//!
//! Everything is measured with a peer started afresh, one worker on one processor, load and origin on
//! the others. Processor time is the kernel's account of the peer's whole tree of processes.

pub mod command;
pub mod cost;
pub mod crowd;
pub mod edge;
pub mod estate;
pub mod events;
pub mod hold;
pub mod page;
pub mod peer;
pub mod program;
pub mod results;
pub mod running;
pub mod secure;
pub mod soak;
pub mod workload;
