//! What is known of lines on their way to logs.

use crate::metrics::family::{Family, Kind, family};

pub(super) const LOG_FAMILIES: &[Family] = &[
    family(
        "forebay_proxy_access_log_dropped_total",
        Kind::Counter,
        &[],
        "Access log lines dropped because the queue to the writer was full: 8192 lines, and 8 MiB of lines above 1 KiB.",
    ),
    family(
        "forebay_proxy_access_log_waiting",
        Kind::Gauge,
        &[],
        "Lines that wait to be written to access logs, of 8192 at most.",
    ),
    family(
        "forebay_proxy_access_log_write_errors_total",
        Kind::Counter,
        &[],
        "Failed writes to the access log, or failed attempts to reopen it.",
    ),
    family(
        "forebay_proxy_error_log_dropped_total",
        Kind::Counter,
        &[],
        "Error log lines dropped because the queue to the writer was full: 8192 lines, and 8 MiB of lines above 1 KiB.",
    ),
    family(
        "forebay_proxy_error_log_waiting",
        Kind::Gauge,
        &[],
        "Lines that wait to be written to error logs, of 8192 at most.",
    ),
    family(
        "forebay_proxy_error_log_write_errors_total",
        Kind::Counter,
        &[],
        "Failed writes to error logs, or failed attempts to reopen them.",
    ),
];
