//! Bounds of what is kept for servers and taken from them.

use std::time::Duration;

/// Idle connections kept to all servers of a listener together.
pub const POOL_CONNECTIONS_MAX: usize = 1024;

/// Interim responses (1xx) that one request may bring, however it is asked; a server that goes on sending them never
/// answers.
pub const INTERIM_MAX: usize = 64;

/// What the kernel may read ahead of what is asked for, bytes, on a connection to a server.
pub const RECEIVE_BYTES: usize = 256 * 1024;

/// Idle time of a connection that is not kept.
pub const AT_ONCE: Duration = Duration::from_millis(1);
