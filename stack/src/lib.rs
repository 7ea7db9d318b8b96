//! The `forebay` command: one environment file becomes a running environment on this machine.
//!
//! The way of an environment, stop by stop:
//!
//! 1. [`command`]: what people type, and the exit codes.
//! 2. [`document`]: the file and what it `extends`, as one tree that knows its places.
//! 3. [`validate`]: the tree becomes an [`environment`], or every problem is told at once;
//!    [`paths`] start where they are written.
//! 4. [`state`]: the run's folder, its lock, and what `status` and `down` read.
//! 5. [`ports`]: the wished addresses, or the next free ones.
//! 6. [`plan`]: environment + machine + addresses → children, files, URLs. Pure.
//! 7. [`supervisor`]: runs the plan; [`lifecycle`] and [`backoff`] decide, purely.
//! 8. [`session`]: one run from start to drain; [`seed`] creates the accounts asked for.
//! 9. [`report`] and [`console`]: what people read, and how it reaches them.
//!
//! Towards AWS it forks off after [`validate`]: [`mod@estate`] decides every value (pure),
//! [`template`] makes CloudFormation of it (pure), [`mod@check`] proves what can be known before
//! AWS sees it, [`mod@cost`] estimates. [`mod@difference`] tells what deploying would change; [`mod@explain`] where a value comes
//! from; [`mod@graph`] draws it. [`mod@deploy`] makes stacks of it, with the programs of a [`release`], through
//! [`cloud`], the only files that know AWS's SDK; [`mod@quotas`] counts what the account must allow.
//!
//! Beside that way: [`stream`] (what ffmpeg is told) and [`origin`] with its [`page`], the child
//! that serves the live segments.

pub mod backoff;
pub mod check;
pub mod cloud;
pub mod command;
pub mod console;
pub mod cost;
pub mod deploy;
pub mod difference;
pub mod document;
pub mod environment;
pub mod estate;
pub mod explain;
pub mod graph;
pub mod http;
pub mod leftover;
pub mod lifecycle;
pub mod origin;
pub mod page;
pub mod paths;
pub mod plan;
pub mod ports;
pub mod programs;
pub mod quotas;
pub mod release;
pub mod report;
pub mod seed;
pub mod session;
pub mod signals;
pub mod starter;
pub mod state;
pub mod stream;
pub mod supervisor;
pub mod template;
pub mod validate;
