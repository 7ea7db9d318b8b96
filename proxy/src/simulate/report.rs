//! Figures side by side, for people.

use crate::simulate::replay::{Assumptions, Figures};
use crate::simulate::trace::Trace;

pub fn table(trace: &Trace, assumed: &Assumptions, all: &[Figures]) -> String {
    let rows: [(&str, fn(&Figures) -> String); 11] = [
        ("hit ratio", |f| format!("{:.2} %", f.hit_ratio() * 100.0)),
        ("hits", |f| f.hits.to_string()),
        ("stale hits", |f| f.stale.to_string()),
        ("shared misses", |f| f.collapsed.to_string()),
        ("misses", |f| f.misses.to_string()),
        ("passed", |f| f.passed.to_string()),
        ("origin requests", |f| f.origin_requests.to_string()),
        ("origin MB", |f| megabytes(f.origin_bytes)),
        ("memory peak MB", |f| megabytes(f.memory_peak_bytes)),
        ("evictions", |f| f.evictions.to_string()),
        ("first byte p50 / p99 ms", |f| {
            format!("{:.1} / {:.1}", f.first_byte_p50_ms, f.first_byte_p99_ms)
        }),
    ];
    let widths: Vec<usize> = all.iter().map(|f| f.policy.len().max(16)).collect();
    let mut text = format!("{:24}", "");
    for (figures, width) in all.iter().zip(&widths) {
        text.push_str(&format!("  {:>width$}", figures.policy));
    }
    text.push('\n');
    for (name, value) in rows {
        text.push_str(&format!("{name:24}"));
        for (figures, width) in all.iter().zip(&widths) {
            text.push_str(&format!("  {:>width$}", value(figures)));
        }
        text.push('\n');
    }
    let says = assumed.origin_says.as_deref().unwrap_or("nothing");
    text.push_str(&format!(
        "\n{} requests, {} lines left out. Assumed: the origin says {says} of freshness and sends {} MB/s; \
         live playlists have a target duration of {} s.\n",
        trace.asked.len(),
        trace.left_out,
        assumed.origin_rate / 1_000_000,
        assumed.target_ms as f64 / 1000.0,
    ));
    text
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / 1e6)
}
