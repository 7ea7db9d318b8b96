//! The proxy's binary against clients and origins made here: raw sockets, so that what is on the
//! wire is what the test says.

#![expect(clippy::unwrap_used, reason = "clippy takes only functions marked as tests for tests")]

// Targets of `fuzz/` name what makes them programs there.
extern crate self as libfuzzer_sys;

mod client;
mod harness;
mod origin;

mod access_logs;
mod acme;
mod admin_socket;
mod auth_requests;
mod authority;
mod backing_off;
mod balancing;
mod buffering;
mod caching;
mod changing;
mod client_addresses;
mod commands;
mod compressing;
mod corpus;
mod dates;
mod detours;
mod disk;
mod downstream_tls;
mod error_logs;
mod exposition;
mod failures;
mod filling;
mod front_door;
mod gates;
mod http2;
mod http2_origin;
mod hygiene;
mod including;
mod instructions;
mod introductions;
mod isolation;
mod kept_bodies;
mod lane_connections;
mod lanes;
mod large_bodies;
mod lingering;
mod naming;
mod nginx_command;
mod operating;
mod pebble;
mod proofs;
mod protocols;
mod proving;
mod purging;
mod rate_limits;
mod raw_http2;
mod redis_server;
mod refusing;
mod rewriting;
mod routing;
mod serving_files;
mod sharing;
mod simulating;
mod slicing;
mod slow_clients;
mod small_disks;
mod splitting;
mod standing_in;
mod stapling;
mod stepping;
mod streaming;
mod strict_origin;
mod tracing;
mod upstream_connections;
mod upstream_protocols;
mod upstream_tls;
mod upstreams;
mod video;
