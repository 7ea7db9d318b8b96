//! Keys of upstreams whose servers are named by requests.

/// Those that are read and acted on.
pub const NAMING_KEYS: &[&str] = &[
    "listeners.*.host_of_target",
    "routes[].chunked",
    "routes[].mirror.path",
    "routes[].mirror.body",
    "routes[].mirror.others",
    "routes[].mirror.others[]",
    "routes[].mirror.others[].upstream",
    "routes[].mirror.others[].path",
    "routes[].server",
    "upstreams.*.servers[].attempts_max",
    "upstreams.*.by_request",
    "upstreams.*.by_request.allow",
    "upstreams.*.by_request.allow[]",
    "upstreams.*.by_request.any_server",
    "upstreams.*.by_request.networks",
    "upstreams.*.by_request.networks[]",
    "upstreams.*.by_request.upstreams",
    "upstreams.*.by_request.upstreams.*",
    "upstreams.*.by_request.host",
    "upstreams.*.by_request.servers_max",
    "upstreams.*.by_request.lookups_max",
    "upstreams.*.by_request.lookup_timeout",
];
