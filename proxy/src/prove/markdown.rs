//! The report as people read it.

use std::fmt::Write as _;

use super::measured::Measured;
use super::report::{Report, millis};

pub fn of(report: &Report) -> String {
    let mut text = String::from("# Money beside video\n\n");
    // Writing to a string does not fail.
    let _ = write_all(&mut text, report);
    text
}

fn write_all(text: &mut String, report: &Report) -> std::fmt::Result {
    let verdict = if report.held { "The promise held." } else { "The promise did **not** hold." };
    writeln!(
        text,
        "{verdict} {} transactions a second beside {} viewers of a body of {} bytes from {}; {} s \
         each; processors: {}; forebay-proxy {}.\n",
        report.transactions_per_second,
        report.viewers,
        report.video_bytes,
        report.video_from,
        report.seconds_each,
        report.processors,
        report.forebay_proxy,
    )?;
    writeln!(text, "| promise | must | measured | |\n|---|---|---|---|")?;
    for promise in &report.promises {
        let mark = if promise.held { "held" } else { "**broken**" };
        writeln!(text, "| {} | {} | {} | {mark} |", promise.what, promise.must, promise.measured)?;
    }
    writeln!(
        text,
        "\nLatencies of transactions in milliseconds, counted from the moment each was due.\n\n\
         | | p50 | p90 | p99 | p99.9 | max | failed | sent late, p99 | video GB/s | refused | CPU s | \
         peak MiB | TCP buffers MiB |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    )?;
    for (name, measured) in [
        ("with lanes, alone", &report.with_lanes.alone),
        ("with lanes, beside video", &report.with_lanes.overloaded),
        ("one pool, alone", &report.without_lanes.alone),
        ("one pool, beside video", &report.without_lanes.overloaded),
    ] {
        row(text, name, measured)?;
    }
    writeln!(
        text,
        "\np99 beside video is {:.2} times the p99 alone with lanes, {:.2} times with one pool.",
        report.ratio_with_lanes, report.ratio_without_lanes
    )?;
    if let Some(written) = report.with_lanes.overloaded.ledger_mount_written_bytes {
        writeln!(text, "On the ledger's mount, anybody wrote {written} bytes meanwhile.")?;
    }
    writeln!(text, "\n![Latencies by percentile](lanes.svg)")
}

fn row(text: &mut String, name: &str, measured: &Measured) -> std::fmt::Result {
    let latency = &measured.transactions;
    let mebibytes = |bytes: Option<u64>| {
        bytes.map_or_else(|| "unknown".to_owned(), |bytes| (bytes >> 20).to_string())
    };
    writeln!(
        text,
        "| {name} | {} | {} | {} | {} | {} | {} | {} | {:.2} | {} | {:.2} | {} | {} |",
        millis(latency.p50_us),
        millis(latency.p90_us),
        millis(latency.p99_us),
        millis(latency.p999_us),
        millis(latency.max_us),
        latency.failures,
        millis(latency.sent_late_p99_us),
        measured.video_rate() / 1e9,
        measured.video_refused,
        measured.proxy.cpu_seconds,
        mebibytes(measured.proxy.memory_peak_bytes),
        mebibytes(measured.tcp_buffers_peak_bytes),
    )
}
