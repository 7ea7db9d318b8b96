//! The workloads, each with its rows of the table.

use anyhow::Result;

use crate::running::Running;
use crate::{cost, events, hold, secure};

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub what: &'static str,
    pub unit: &'static str,
    /// What Forebay must reach.
    pub must: &'static str,
    pub higher_is_better: bool,
    pub places: usize,
}

const fn row(what: &'static str, unit: &'static str, must: &'static str, places: usize) -> Row {
    Row { what, unit, must, higher_is_better: false, places }
}

pub struct Workload {
    pub id: &'static str,
    pub rows: &'static [Row],
    /// Figures in the order of the rows.
    pub measure: fn(&mut Running<'_>) -> Result<Vec<f64>>,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

pub const ALL: &[Workload] = &[
    Workload {
        id: "W1",
        rows: &[row("cached 1 KiB", "µs CPU/request", "≤ 6.5, ≤ 0.85 × HAProxy", 1)],
        measure: |running| cost::per_request(running, "kept", KIB),
    },
    Workload {
        id: "W2",
        rows: &[row("cached 2 MiB", "ms CPU/GB", "≤ 220, ≤ Varnish", 0)],
        measure: |running| cost::per_gigabyte(running, "kept", 2 * MIB, None),
    },
    Workload {
        id: "W2r",
        rows: &[row("cached 2 MiB by ranges of 256 KiB", "ms CPU/GB", "≤ 235, ≤ ATS", 0)],
        measure: |running| cost::per_gigabyte(running, "kept", 2 * MIB, Some(256 * KIB)),
    },
    Workload {
        id: "W3",
        rows: &[row("uncached 1 KiB", "µs CPU/request", "≤ 16, ≤ nginx", 1)],
        measure: |running| cost::per_request(running, "film", KIB),
    },
    Workload {
        id: "W4",
        rows: &[row("uncached 2 MiB", "ms CPU/GB", "≤ 300, ≤ nginx tuned", 0)],
        measure: |running| cost::per_gigabyte(running, "film", 2 * MIB, None),
    },
    Workload {
        id: "W5",
        rows: &[
            row("500 clients, one cold segment of 2 s: requests to the origin", "", "1", 0),
            row("the same: first byte, p50", "ms", "≤ 13", 0),
        ],
        measure: events::cold_segment,
    },
    Workload {
        id: "W6c",
        rows: &[
            row("clients that do not read a cached 2 MiB", "KiB/client", "≤ 12, ≤ nginx", 1),
            row("the same: TCP buffers, both ends", "KiB/client", "", 0),
        ],
        measure: |running| hold::unread(running, "kept"),
    },
    Workload {
        id: "W6u",
        rows: &[row("clients that do not read an uncached 2 MiB", "KiB/client", "≤ 36", 1)],
        measure: |running| hold::unread(running, "film").map(|figures| figures[..1].to_vec()),
    },
    Workload {
        id: "W7",
        rows: &[
            row("500 transactions/s beside 200 viewers: p99", "ms", "≤ 0.5", 2),
            row("the same: of the p99 alone", "×", "≤ 1.25", 2),
            Row { higher_is_better: true, ..row("the same: video", "GB/s", "≥ 2.9", 2) },
        ],
        measure: events::isolation,
    },
    Workload {
        id: "W8",
        rows: &[
            row(
                "a connection with TLS and one hit: full handshake",
                "µs CPU",
                "≤ 280, ≤ the best",
                0,
            ),
            row("the same, resumed", "µs CPU", "≤ 190, ≤ the best", 0),
            row("cached 1 KiB over TLS", "µs CPU/request", "≤ 10, ≤ the best", 1),
            row("cached 2 MiB over TLS", "ms CPU/GB", "≤ 580, ≤ the best", 0),
        ],
        measure: |running| secure::over_tls(running),
    },
    Workload {
        id: "W9",
        rows: &[row("idle connections", "KiB each", "≤ 4", 2)],
        measure: hold::idle,
    },
    Workload {
        id: "W10",
        rows: &[row("three reloads under load: requests that failed", "", "0", 0)],
        measure: events::reloads,
    },
    Workload {
        id: "W11",
        rows: &[row("answers fetched again after a restart", "of 1", "0", 0)],
        measure: events::restart,
    },
];

/// The workload of this id.
pub fn named(id: &str) -> Option<&'static Workload> {
    ALL.iter().find(|workload| workload.id.eq_ignore_ascii_case(id))
}
