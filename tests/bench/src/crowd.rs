//! Clients that are in the way: the four attacks of slowhttptest, and very many connections that idle; and what
//! ordinary requests notice of them.

use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use proxy_load::account::tcp_buffers;
use proxy_load::held::Held;
use proxy_load::latency::Latency;
use proxy_load::transactions::transactions;
use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process_group};

use crate::cost::request;
use crate::peer::{Peer, Places};
use crate::running::{Bench, Running};

const WARM_UP: Duration = Duration::from_secs(1);
/// Connections the attacker opens a second: all of them are there after two seconds.
const PER_SECOND: usize = 1000;
/// How long its connections may take to be there, and it to end when its time is over.
const PATIENCE: Duration = Duration::from_secs(60);
/// Until what is sent has been sent and what is to be freed has been freed.
const SETTLE: Duration = Duration::from_millis(1500);
/// Before idle connections are counted: what the first of them cost is not each one's.
const FIRST: usize = 100;
/// Files of this process beside idle connections.
const FILES_BESIDE: u64 = 500;

/// What slowhttptest says when it has no connections any more, or no time.
const ENDED: &str = "Exit status:";

/// One of slowhttptest's kinds of attack.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    pub name: &'static str,
    /// What it asks for. Bodies go where the ordinary requests go.
    path: &'static str,
    arguments: &'static str,
}

pub const ATTACKS: [Attack; 4] = [
    Attack { name: "slow heads", path: "/pay", arguments: "-H -i 2 -x 24" },
    Attack { name: "slow bodies", path: "/pay", arguments: "-B -i 2 -s 8192 -x 10" },
    Attack { name: "many ranges", path: "/kept/1000000/attack", arguments: "-R -a 1 -b 1500" },
    Attack {
        name: "slow reading",
        path: "/film/1000000/attack",
        arguments: "-X -w 512 -y 1024 -n 5 -z 32 -k 3",
    },
];

/// The load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub requests_per_second: u32,
    /// Connections of an attack.
    pub attackers: usize,
    /// Idle connections; fewer where a process may not have so many files.
    pub idle: usize,
}

/// What ordinary requests were like beside one kind of crowd.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub latency: Latency,
    /// Connections of the crowd when the measurement began.
    pub crowd: usize,
    /// How often the peer had closed all connections of an attack, which then came again.
    pub ended: usize,
    /// Whether the attacker's own probe of what it attacks was answered.
    pub probed: Option<bool>,
    /// For idle connections: KiB of the peer's memory for each, and of TCP buffers at both ends.
    pub kib_each: Option<(f64, f64)>,
}

/// Ordinary requests alone, beside each attack, and beside idle connections, by name.
pub fn measure(bench: &Bench, peer: &Peer, load: Load) -> Result<Vec<(&'static str, Outcome)>> {
    let mut outcomes = Vec::new();
    let running = Running::start(bench, peer, "crowd")?;
    let ask =
        |running: &Running<'_>, time| transactions(running.address, load.requests_per_second, time);
    ask(&running, WARM_UP)?;
    let latency = ask(&running, bench.duration)?;
    outcomes.push(("alone", Outcome { latency, crowd: 0, ended: 0, probed: None, kib_each: None }));
    for attack in &ATTACKS {
        let attacker = Attacker::start(bench, &running, attack, load.attackers)?;
        let crowd = attacker.wait_until_there(load.attackers)?;
        let latency = ask(&running, bench.duration)?;
        let (ended, probed) = attacker.stop()?;
        let probed = Some(probed);
        outcomes.push((attack.name, Outcome { latency, crowd, ended, probed, kib_each: None }));
    }
    drop(running);
    let running = Running::start(bench, peer, "crowd")?;
    ask(&running, WARM_UP)?;
    outcomes.push(("idle", idle(&running, load, |time| ask(&running, time))?));
    Ok(outcomes)
}

fn idle(
    running: &Running<'_>,
    load: Load,
    ask: impl Fn(Duration) -> std::io::Result<Latency>,
) -> Result<Outcome> {
    let count = load.idle.min(connections_max());
    let once = request("kept", 1024, "");
    drop(Held::idle(running.address, FIRST, &once).context("idle connections")?);
    sleep(SETTLE);
    let held = || (running.account().memory_bytes, tcp_buffers().unwrap_or(0));
    let before = held();
    let crowd = Held::idle(running.address, count, &once).context("idle connections")?;
    sleep(SETTLE);
    let after = held();
    let each = |before: u64, after: u64| (after as f64 - before as f64) / 1024.0 / count as f64;
    let kib_each = Some((each(before.0, after.0), each(before.1, after.1)));
    let latency = ask(running.bench.duration)?;
    Ok(Outcome { latency, crowd: crowd.count(), ended: 0, probed: None, kib_each })
}

/// Connections that this process and the peer may each have.
fn connections_max() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(FILES_BESIDE)).unwrap_or(usize::MAX)
}

/// slowhttptest under way.
struct Attacker {
    child: Child,
    folder: tempfile::TempDir,
    name: &'static str,
}

impl Attacker {
    fn start(
        bench: &Bench,
        running: &Running<'_>,
        attack: &Attack,
        connections: usize,
    ) -> Result<Attacker> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let log = File::create(folder.path().join("log"))?;
        let url = format!("http://{}{}", running.address, attack.path);
        // Longer than what is measured: it is ended by `stop`.
        let seconds = (bench.duration + PATIENCE + PATIENCE).as_secs();
        // One whose connections are all closed comes again.
        let line = format!(
            "while :; do slowhttptest {} -c {connections} -r {PER_SECOND} -l {seconds} -p 5 -u {url}; done",
            attack.arguments
        );
        let words = ["sh", "-c", &line].map(str::to_owned);
        let mut command = bench.command(&words, &Places::new());
        command.current_dir(folder.path()).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        // A group of its own, to be ended as one.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().context("sh cannot be started")?;
        Ok(Attacker { child, folder, name: attack.name })
    }

    fn said(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("log"))?)
    }

    /// Waits until it has opened all its connections; says how many of them are open.
    fn wait_until_there(&self, connections: usize) -> Result<usize> {
        let begun = Instant::now();
        loop {
            let said = self.said()?;
            let of = |what| last_count(&said, what).unwrap_or(0);
            let (connected, gone) = (of("connected:"), of("closed:") + of("error:"));
            if connected + gone >= connections || said.contains(ENDED) {
                return Ok(connected);
            }
            ensure!(begun.elapsed() < PATIENCE, "{}: {connected} of {connections}", self.name);
            sleep(Duration::from_millis(100));
        }
    }

    /// Ends it; says how often all its connections had been closed, and whether its own last probe, for what it
    /// attacks, was answered.
    fn stop(self) -> Result<(usize, bool)> {
        let said = self.said()?;
        Ok((said.matches(ENDED).count(), is_available(&said).context("no report")?))
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // Ended already is ended enough.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// Whether its probes were answered, by the last report that is whole.
fn is_available(said: &str) -> Option<bool> {
    said.lines().rev().find_map(|line| {
        match plain(line).split_once("service available:")?.1.trim() {
            "YES" => Some(true),
            "NO" => Some(false),
            _ => None,
        }
    })
}

/// The last number behind this word, whatever colours stand between them.
fn last_count(said: &str, what: &str) -> Option<usize> {
    let line = plain(said.rsplit_once(what)?.1.lines().next()?);
    line.trim().parse().ok()
}

/// Without the terminal's colours.
fn plain(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.split_once('m').map_or("", |(_, rest)| rest))
}

/// The table of one peer.
pub fn table(name: &str, outcomes: &[(&str, Outcome)]) -> String {
    let mut text = format!(
        "| {name} | crowd | ended | probe | requests | failed | p50 ms | p99 | p99.9 | KiB each | TCP buffers |\n|---|---|---|---|---|---|---|---|---|---|---|\n"
    );
    for (what, of) in outcomes {
        let ms = |us: u64| format!("{:.2}", us as f64 / 1000.0);
        let (own, tcp) = of.kib_each.map_or(("–".to_owned(), "–".to_owned()), |(own, tcp)| {
            (format!("{own:.2}"), format!("{tcp:.2}"))
        });
        let latency = &of.latency;
        let cells = [
            of.crowd.to_string(),
            of.ended.to_string(),
            of.probed.map_or("–", |probed| if probed { "yes" } else { "no" }).to_owned(),
            latency.requests.to_string(),
            latency.failures.to_string(),
            ms(latency.p50_us),
            ms(latency.p99_us),
            ms(latency.p999_us),
            own,
            tcp,
        ];
        text.push_str(&format!("| {what} | {} |\n", cells.join(" | ")));
    }
    text
}

/// What does not hold, in words.
pub fn breaches(outcomes: &[(&str, Outcome)], p99_ms_max: f64, kib_max: f64) -> Vec<String> {
    let mut breaches = Vec::new();
    for (what, of) in outcomes {
        let p99_ms = of.latency.p99_us as f64 / 1000.0;
        if of.latency.failures > 0 {
            breaches.push(format!("{what}: {} requests failed", of.latency.failures));
        }
        if p99_ms >= p99_ms_max {
            breaches.push(format!("{what}: p99 {p99_ms:.1} ms, must be below {p99_ms_max} ms"));
        }
        if let Some((kib, _)) = of.kib_each.filter(|(kib, _)| *kib > kib_max) {
            breaches.push(format!("{what}: {kib:.2} KiB each, must be {kib_max} at most"));
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_hold_is_said() {
        let outcome = |p99_us, failures, kib_each| Outcome {
            latency: Latency { p99_us, failures, ..Latency::default() },
            crowd: 7,
            ended: 5,
            probed: Some(true),
            kib_each,
        };
        let said = |outcome| breaches(&[("idle", outcome)], 100.0, 4.0);
        assert!(said(outcome(99_000, 0, Some((4.0, 9.0)))).is_empty());
        assert_eq!(said(outcome(1, 2, None)), ["idle: 2 requests failed"]);
        assert_eq!(
            said(outcome(100_000, 0, Some((4.5, 0.0)))),
            ["idle: p99 100.0 ms, must be below 100 ms", "idle: 4.50 KiB each, must be 4 at most"]
        );
        let text = table("Forebay", &[("idle", outcome(1_500, 0, Some((0.5, 0.0))))]);
        assert!(
            text.ends_with("| idle | 7 | 5 | yes | 0 | 0 | 0.00 | 1.50 | 0.00 | 0.50 | 0.00 |\n"),
            "{text}"
        );
    }

    #[test]
    fn the_attackers_report_is_read() {
        let said = "connected:   \u{1b}[1;32m        20\n\u{1b}[1;32mconnected:   \u{1b}[1;32m        1975\n\u{1b}[1;32merror:       \u{1b}[1;32m        0\n";
        assert_eq!(last_count(said, "connected:"), Some(1975));
        assert_eq!(last_count(said, "error:"), Some(0));
        assert_eq!(last_count(said, "closed:"), None);
        let available = "service available:\u{1b}[1;32m   \u{1b}[1;32mNO\u{1b}[0m\n";
        assert_eq!(is_available(&format!("{available}\u{1b}[0mservice available:")), Some(false));
        assert_eq!(is_available(&available.replace("NO", "YES")), Some(true));
        assert_eq!(is_available(said), None);
    }
}
