//! Keys and values of the model whose mechanism is missing.

/// A key, or some of its values, that is refused.
#[derive(Debug)]
pub struct NotYet {
    pub pattern: &'static str,
    /// Values that are refused, `unix:*` meaning all that begin so; empty when the key itself is.
    pub values: &'static [&'static str],
    /// What to do meanwhile.
    pub instead: &'static str,
}

const fn key(pattern: &'static str, instead: &'static str) -> NotYet {
    NotYet { pattern, values: &[], instead }
}

/// What is refused, and what to do meanwhile.
pub const NOT_YET: &[NotYet] = &[
    key("listeners.*.tls.acme", "fetch certificates by other means and name the files"),
    key("listeners.*.tls.ocsp_stapling", "remove it; nothing is stapled"),
];
