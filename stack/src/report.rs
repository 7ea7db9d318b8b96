//! What people read: the block of URLs, the lines while running, the table of `status`. Pure.

use std::fmt::Write;

use jiff::Timestamp;

use crate::ports::Moved;
use crate::state::{Run, Stage};
use crate::supervisor::{ChildStatus, Notice};

/// The names of the URLs, in the order people want them.
const LABELS: [(&str, &str); 10] = [
    ("page", "stream page"),
    ("playlist", "playlist"),
    ("ledger", "ledger API"),
    ("ledger_docs", "its docs"),
    ("ledger_books", "its books"),
    ("trial_balance", "trial balance"),
    ("proxy_metrics", "proxy metrics"),
    ("ledger_metrics", "ledger metrics"),
    ("proxy_admin", "proxy admin"),
    ("ledger_admin", "ledger admin"),
];

/// Of a child's last lines, which may be long ones of a machine's making.
const LINE_CHARS_MAX: usize = 240;

/// The one block `up` prints when everything is there.
pub fn block(run: &Run, tries: &[String], took_s: f32) -> String {
    let mut text = format!("\n{} is up ({took_s:.1} s)\n\n", run.name);
    text.push_str(&urls(run));
    if !tries.is_empty() {
        text.push_str("\nTry:\n");
        for command in tries {
            let _ = writeln!(text, "  {command}");
        }
    }
    text.push_str(&notes(run));
    text.push_str("\nCtrl-C or `forebay down` drains and stops it.\n");
    text
}

/// The URLs and folders of a run, one line each.
pub fn urls(run: &Run) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: &str| {
        let _ = writeln!(text, "  {label:<15} {value}");
    };
    for (key, label) in LABELS {
        if let Some(url) = run.urls.get(key) {
            line(label, url);
        }
        if key == "playlist" {
            for (key, url) in run.urls.iter().filter(|(key, _)| key.starts_with("playlist_")) {
                line(&format!("  {}", &key["playlist_".len()..]), url);
            }
        }
    }
    line("state", &run.state_dir.display().to_string());
    line("logs", &run.logs.display().to_string());
    text
}

/// A port that was taken.
pub fn moved(moved: &Moved) -> String {
    let Moved { what, wanted, used } = moved;
    format!("{what}: {wanted} is taken, using {used} instead")
}

/// A line, or a few, for what happened; none when nothing needs saying.
pub fn notice(notice: &Notice) -> Option<String> {
    match notice {
        Notice::Changed => None,
        Notice::Healthy { name, took, restarts } => {
            let took_s = took.as_secs_f32();
            Some(match restarts {
                0 => format!("{name} is ready ({took_s:.1} s)"),
                n => format!("{name} is healthy again (restart {n}, {took_s:.1} s)"),
            })
        }
        Notice::Replaced { name, reason } => {
            Some(format!("{name} fails its health check and is replaced: {reason}"))
        }
        Notice::Died { name, how, tail, restart, wait, .. } => {
            let wait_ms = wait.as_millis();
            let mut text = format!("{name} {how}; restart {restart} in {wait_ms} ms");
            for line in tail {
                let line: String = line.chars().take(LINE_CHARS_MAX).collect();
                let _ = write!(text, "\n    | {line}");
            }
            Some(text)
        }
    }
}

/// What `status` prints for people.
pub fn status(run: &Run, now: Timestamp) -> String {
    if !run.running {
        return format!("{} is not running\n", run.name);
    }
    let stage = match run.stage {
        Stage::Starting => "is starting",
        Stage::Running => "is running",
        Stage::Stopping => "is stopping",
        Stage::Stopped => "has stopped",
    };
    let mut text = format!("{} {stage}", run.name);
    if let (Some(pid), Some(since)) = (run.pid, run.started_at) {
        let _ = write!(text, ", pid {pid}, for {}", age(since, now));
    }
    text.push_str("\n\n");
    text.push_str(&urls(run));
    let _ =
        writeln!(text, "\n  {:<15} {:<10} {:>8} {:>9}  since", "child", "state", "pid", "restarts");
    for child in &run.children {
        let ChildStatus { name, pid, state, restarts, since, problem, .. } = child;
        let pid = pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let (state, age) = (state.word(), age(*since, now));
        let _ = write!(text, "  {name:<15} {state:<10} {pid:>8} {restarts:>9}  {age}");
        if let Some(problem) = problem {
            let _ = write!(text, "  {problem}");
        }
        text.push('\n');
    }
    text.push_str(&notes(run));
    text
}

fn notes(run: &Run) -> String {
    let mut text = String::new();
    for port in &run.ports_moved {
        let _ = writeln!(text, "\nNote: {}", moved(port));
    }
    for note in &run.notes {
        let _ = writeln!(text, "\nNote: {note}");
    }
    text
}

fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(since.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::lifecycle::Phase;

    fn run() -> Run {
        let since = Timestamp::from_second(1_000).unwrap();
        let child = |name: &str, state, problem: Option<&str>| ChildStatus {
            name: name.to_owned(),
            pid: Some(4711),
            state,
            healthy: state == Phase::Healthy,
            restarts: 2,
            since,
            problem: problem.map(str::to_owned),
        };
        let url = |key: &str, url: &str| (key.to_owned(), url.to_owned());
        Run {
            name: "local".to_owned(),
            running: true,
            stage: Stage::Running,
            pid: Some(42),
            started_at: Some(since),
            state_dir: "/s".into(),
            logs: "/s/logs".into(),
            urls: BTreeMap::from([
                url("page", "http://127.0.0.1:8080/"),
                url("playlist", "http://127.0.0.1:8080/live/clock/index.m3u8"),
                url("playlist_two", "http://127.0.0.1:8080/live/two/index.m3u8"),
            ]),
            children: vec![
                child("proxy", Phase::Healthy, None),
                child("ledger", Phase::Failing, Some("answers 503")),
            ],
            ports_moved: vec![Moved {
                what: "listener public".to_owned(),
                wanted: "127.0.0.1:80".parse().unwrap(),
                used: "127.0.0.1:8080".parse().unwrap(),
            }],
            notes: vec!["There is NO LIVE STREAM.".to_owned()],
            ..Run::default()
        }
    }

    #[test]
    fn status_shows_children_urls_and_notes() {
        let text = status(&run(), Timestamp::from_second(1_090).unwrap());
        insta::assert_snapshot!(text);
    }

    #[test]
    fn the_block_has_urls_and_commands() {
        insta::assert_snapshot!(block(&run(), &["curl -sS http://…".to_owned()], 3.21));
    }

    #[test]
    fn a_death_tells_what_why_and_when() {
        let died = Notice::Died {
            name: "ledger".to_owned(),
            how: "ended with exit status 1".to_owned(),
            tail: vec!["disk full".to_owned()],
            restart: 3,
            wait: Duration::from_millis(500),
            refused: false,
        };
        let text = notice(&died).unwrap();
        assert_eq!(text, "ledger ended with exit status 1; restart 3 in 500 ms\n    | disk full");
    }

    #[test]
    fn ages_are_short() {
        let at = |s| Timestamp::from_second(s).unwrap();
        let ages: Vec<String> =
            [0, 119, 120, 7_199, 7_200, 200_000].map(|s| age(at(0), at(s))).into();
        assert_eq!(ages, ["0 s", "119 s", "2 min", "119 min", "2 h", "2 days"]);
    }
}
