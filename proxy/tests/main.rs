//! The proxy's binary against clients and origins made here: raw sockets, so that what is on the
//! wire is what the test says.

#![expect(clippy::unwrap_used, reason = "clippy takes only functions marked as tests for tests")]

mod client;
mod harness;
mod origin;

mod access_logs;
mod auth_requests;
mod balancing;
mod caching;
mod client_addresses;
mod commands;
mod detours;
mod disk;
mod exposition;
mod failures;
mod filling;
mod gates;
mod http2;
mod hygiene;
mod isolation;
mod lanes;
mod mirroring;
mod nginx_command;
mod proving;
mod purging;
mod rate_limits;
mod redis_server;
mod reloads;
mod rewriting;
mod routing;
mod serving_files;
mod simulating;
mod slow_clients;
mod splitting;
mod stepping;
mod stops;
mod streaming;
mod upstreams;
mod video;
