//! Keys of what authorities are asked for: certificates, and what they say of them.

/// Keys that are read and acted on.
pub const CERTIFICATE_KEYS: &[&str] = &[
    "listeners.*.tls.acme",
    "listeners.*.tls.acme.directory",
    "listeners.*.tls.acme.hosts",
    "listeners.*.tls.acme.hosts[]",
    "listeners.*.tls.acme.contact",
    "listeners.*.tls.acme.state_path",
    "listeners.*.tls.acme.authorities",
    "listeners.*.tls.ocsp_stapling",
];
