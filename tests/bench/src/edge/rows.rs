//! The cases, with what Forebay must come to in each.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use proxy_load::account::tcp_buffers;
use proxy_load::held::Held;

use crate::edge::client::{all, get, median_ms};
use crate::edge::origin::{LARGE_BYTES, Origin, SEGMENT_BYTES};
use crate::running::Running;

/// The lane's budget in `peers/edge-forebay.peer`, in MB.
const BUDGET_MB: f64 = 67.2;
const SLOW_CLIENTS: usize = 40;
const SETTLE: Duration = Duration::from_secs(3);
/// What the clock of a busy machine may be off.
const NOISE_MS: f64 = 60.0;

/// A line of the table.
pub struct Figure {
    pub what: &'static str,
    pub must: &'static str,
    pub holds: fn(f64) -> bool,
    pub places: usize,
}

pub struct Case {
    pub id: &'static str,
    pub figures: &'static [Figure],
    pub measure: fn(&Running<'_>, &Origin) -> Result<Vec<f64>>,
}

const fn figure(
    what: &'static str,
    must: &'static str,
    holds: fn(f64) -> bool,
    places: usize,
) -> Figure {
    Figure { what, must, holds, places }
}

pub const ALL: &[Case] = &[
    Case {
        id: "herd",
        figures: &[
            figure("cold herd, 64 clients, 2 MB over 2 s: origin fetches", "1", |n| n == 1.0, 0),
            figure(
                "  followers' first byte after the leader's, p50 ms",
                "<= 10",
                |ms| ms <= 10.0,
                1,
            ),
        ],
        measure: herd,
    },
    Case {
        id: "dying",
        figures: &[
            figure(
                "origin dies mid-body, 16 clients: clients without a whole answer",
                "0",
                |n| n == 0.0,
                0,
            ),
            figure("  origin fetches", "<= 2", |n| n <= 2.0, 0),
        ],
        measure: dying,
    },
    Case {
        id: "fatal",
        figures: &[
            figure(
                "the same, nothing to resume by: clients that saw a clean end",
                "0",
                |n| n == 0.0,
                0,
            ),
            figure("  ms from the origin's death to the break, p50", "<= 50", |ms| ms <= 50.0, 0),
            figure("  truncated answers that were stored", "0", |n| n == 0.0, 0),
        ],
        measure: fatal,
    },
    Case {
        id: "slow",
        figures: &[
            figure(
                "40 slow clients, 1.2 GB offered: memory grown, MB",
                "<= 67.2",
                |mb| mb <= BUDGET_MB,
                1,
            ),
            figure("  written to disk, MB", "0", |mb| mb < 0.5, 1),
        ],
        measure: slow,
    },
    Case {
        id: "kernel",
        figures: &[figure(
            "kernel's TCP buffers for a slow client, both ends, KiB",
            "<= 160",
            |kib| kib <= 160.0,
            0,
        )],
        measure: kernel,
    },
    Case {
        id: "playlist",
        figures: &[
            figure(
                "1 s playlist, 150 ms origin, 50 req/s for 6 s: fetches",
                "<= 7",
                |n| n <= 7.0,
                0,
            ),
            figure("  oldest body served, ms", "<= 1150", |ms| ms <= 1150.0 + NOISE_MS, 0),
            figure("  slowest answer once warm, ms", "<= 20", |ms| ms <= 20.0 + NOISE_MS, 0),
        ],
        measure: playlist,
    },
    Case {
        id: "tail",
        figures: &[
            figure(
                "64 KB tail of a cold 200 MB file: MB from the origin",
                "<= 2.1",
                |mb| mb > 0.0 && mb <= 2.1,
                2,
            ),
            figure("  the same again", "0", |mb| mb == 0.0, 2),
        ],
        measure: tail,
    },
    Case {
        id: "big",
        figures: &[
            figure("40 MB file into a full 64 MB cache: MB received", "40", |mb| mb == 40.0, 2),
            figure("  segments of the live window fetched again, of 20", "0", |n| n == 0.0, 0),
        ],
        measure: big,
    },
    Case {
        id: "blocking",
        figures: &[
            figure("LL-HLS blocking reload, 200 clients, any order: fetches", "1", |n| n == 1.0, 0),
            figure(
                "  answered after the origin did, p50 ms",
                "<= 20",
                |ms| ms <= 20.0 + NOISE_MS,
                0,
            ),
        ],
        measure: blocking,
    },
];

fn herd(running: &Running<'_>, origin: &Origin) -> Result<Vec<f64>> {
    let targets = vec!["/herd/a".to_owned(); 64];
    let got = all(running.address, targets, Duration::from_millis(2))?;
    ensure!(got.iter().all(|got| got.whole && got.is_right(0)), "not all have it as it is");
    let leader = got[0].first;
    let behind = got[1..].iter().map(|got| got.first.saturating_sub(leader));
    Ok(vec![origin.counted("/herd/a").0 as f64, median_ms(behind)])
}

fn dying(running: &Running<'_>, origin: &Origin) -> Result<Vec<f64>> {
    let got = all(running.address, vec!["/dying/a".to_owned(); 16], Duration::ZERO)?;
    let right = |got: &crate::edge::client::Got| {
        got.status == 200 && got.whole && got.body.len() as u64 == SEGMENT_BYTES && got.is_right(0)
    };
    let failed = got.iter().filter(|got| !right(got)).count();
    Ok(vec![failed as f64, origin.counted("/dying/a").0 as f64])
}

fn fatal(running: &Running<'_>, origin: &Origin) -> Result<Vec<f64>> {
    let got = all(running.address, vec!["/fatal/a".to_owned(); 16], Duration::ZERO)?;
    let clean = got.iter().filter(|got| got.status == 200 && got.whole).count();
    let died = origin.died();
    let after =
        got.iter().filter_map(|got| died.map(|died| got.ended.saturating_duration_since(died)));
    let break_ms = median_ms(after);
    let before = origin.counted("/fatal/a").0;
    let again = get(running.address, "/fatal/a", "");
    let stored = origin.counted("/fatal/a").0 == before && again.is_ok_and(|got| got.status == 200);
    Ok(vec![clean as f64, break_ms, f64::from(u8::from(stored))])
}

fn slow(running: &Running<'_>, _: &Origin) -> Result<Vec<f64>> {
    let before = running.account();
    let request = "GET /slow/film HTTP/1.1\r\nHost: edge\r\n\r\n";
    let held = Held::unread(running.address, SLOW_CLIENTS, request)?;
    let (begun, mut peak) = (Instant::now(), 0);
    while begun.elapsed() < SETTLE {
        peak = peak.max(running.account().memory_bytes);
        sleep(Duration::from_millis(100));
    }
    let written = running.account().since(&before).written_bytes.unwrap_or(0);
    drop(held);
    let grown = peak.saturating_sub(before.memory_bytes);
    Ok(vec![grown as f64 / 1e6, written as f64 / 1e6])
}

fn kernel(running: &Running<'_>, _: &Origin) -> Result<Vec<f64>> {
    // Stored first: what is measured is the client's side alone.
    get(running.address, "/herd/kept", "")?;
    sleep(Duration::from_millis(500));
    let before = tcp_buffers().unwrap_or(0);
    let request = "GET /herd/kept HTTP/1.1\r\nHost: edge\r\n\r\n";
    let held = Held::unread(running.address, SLOW_CLIENTS, request)?;
    sleep(Duration::from_secs(1));
    let after = tcp_buffers().unwrap_or(0);
    drop(held);
    Ok(vec![(after as f64 - before as f64).max(0.0) / 1024.0 / SLOW_CLIENTS as f64])
}

fn playlist(running: &Running<'_>, origin: &Origin) -> Result<Vec<f64>> {
    get(running.address, "/playlist/x.m3u8", "")?;
    let first = origin.counted("/playlist/x.m3u8").0;
    let mut threads = Vec::new();
    let begun = Instant::now();
    for number in 0..300_u32 {
        sleep((Duration::from_millis(20) * number).saturating_sub(begun.elapsed()));
        let (address, now_ms) = (running.address, origin.clock_ms());
        threads.push(std::thread::spawn(move || (now_ms, get(address, "/playlist/x.m3u8", ""))));
    }
    let (mut oldest, mut slowest) = (0.0_f64, 0.0_f64);
    for thread in threads {
        let Ok((asked_ms, got)) = thread.join() else { continue };
        let got = got?;
        let made: f64 = String::from_utf8_lossy(&got.body).trim().parse()?;
        // As old as it was when the client had it.
        let took_ms = got.took().as_secs_f64() * 1000.0;
        oldest = oldest.max(asked_ms + took_ms - made);
        slowest = slowest.max(took_ms);
    }
    Ok(vec![(origin.counted("/playlist/x.m3u8").0 - first) as f64, oldest, slowest])
}

fn tail(running: &Running<'_>, origin: &Origin) -> Result<Vec<f64>> {
    let ask = || get(running.address, "/large/film", "Range: bytes=-65536\r\n");
    let got = ask()?;
    ensure!(got.status == 206 && got.whole && got.body.len() == 65_536, "status {}", got.status);
    ensure!(got.is_right(LARGE_BYTES - 65_536), "other bytes");
    sleep(Duration::from_millis(300));
    let first = origin.counted("/large/film").1;
    ask()?;
    let again = origin.counted("/large/film").1 - first;
    Ok(vec![first as f64 / 1e6, again as f64 / 1e6])
}

fn big(running: &Running<'_>, origin: &Origin) -> Result<Vec<f64>> {
    // Full of old segments first, then the live window.
    for number in 0..700 {
        get(running.address, &format!("/live/old-{number}"), "")?;
    }
    let window: Vec<String> = (0..20).map(|number| format!("/live/new-{number}")).collect();
    for target in &window {
        get(running.address, target, "")?;
    }
    let got = get(running.address, "/big/film", "")?;
    ensure!(got.status == 200 && got.is_right(0), "status {}", got.status);
    let fetched = |target: &String| origin.counted(target).0;
    let before: u64 = window.iter().map(fetched).sum();
    for target in &window {
        get(running.address, target, "")?;
    }
    let again = window.iter().map(fetched).sum::<u64>() - before;
    Ok(vec![got.body.len() as f64 / 1e6, again as f64])
}

fn blocking(running: &Running<'_>, origin: &Origin) -> Result<Vec<f64>> {
    get(running.address, "/blocking/x.m3u8", "")?;
    let first = origin.counted("/blocking/x.m3u8").0;
    let orders = ["_HLS_msn=2&_HLS_part=0", "_HLS_part=0&_HLS_msn=2"];
    let targets = (0..200).map(|number| format!("/blocking/x.m3u8?{}", orders[number % 2]));
    let got = all(running.address, targets.collect(), Duration::ZERO)?;
    ensure!(got.iter().all(|got| got.status == 200 && got.whole), "not all have it");
    let let_go = origin.let_go();
    let after = got.iter().filter_map(|got| let_go.map(|at| got.ended - at.max(got.asked)));
    Ok(vec![(origin.counted("/blocking/x.m3u8").0 - first) as f64, median_ms(after)])
}
