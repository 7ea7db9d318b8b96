//! The supervisor with real processes: shell scripts that behave well, badly, or not at all.

#![expect(clippy::unwrap_used, reason = "a stage that cannot be set up is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use forebay_stack::backoff::Pace;
use forebay_stack::lifecycle::Phase;
use forebay_stack::supervisor::child::{ChildSpec, Launcher, Stop};
use forebay_stack::supervisor::probe::Probe;
use forebay_stack::supervisor::{Notice, Supervisor};

const DEADLINE: Duration = Duration::from_secs(20);

/// A child is healthy while its playlist is there and fresh; where nothing else is said, it is as long as a test takes.
const LIVE: &str = "printf '#EXTM3U\\n#EXTINF:1,\\na\\n' > index.m3u8";

struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn child(&self, name: &str, script: &str) -> ChildSpec {
        let directory = self.path(name);
        fs::create_dir_all(&directory).unwrap();
        ChildSpec {
            name: name.to_owned(),
            argv: ["/bin/sh", "-c", script].map(str::to_owned).into(),
            argv_again: None,
            probe: Probe::Playlist {
                path: directory.join("index.m3u8"),
                age_max: DEADLINE,
                segments_min: 1,
            },
            directory,
            stop: Stop::Term,
            stop_stage: 0,
        }
    }

    fn supervisor(&self, children: Vec<ChildSpec>) -> Supervisor {
        self.supervisor_at(children, pace())
    }

    fn supervisor_at(&self, children: Vec<ChildSpec>, pace: Pace) -> Supervisor {
        let launcher = Launcher {
            setpriv: forebay_stack::programs::on_path("setpriv"),
            logs: self.folder.path().to_owned(),
            run: self.folder.path().to_owned(),
        };
        Supervisor::new(children, launcher, pace)
    }
}

fn pace() -> Pace {
    Pace {
        restart_first: Duration::from_millis(20),
        restart_max: Duration::from_millis(100),
        probe_starting: Duration::from_millis(20),
        probe_healthy: Duration::from_millis(50),
        drain_max: Duration::from_millis(500),
        ..Pace::default()
    }
}

/// A script that stays healthy and ends at once when asked, after noting that it was.
fn steady(note: &str) -> String {
    format!("trap 'echo {note} >> ../order; exit 0' TERM QUIT; while :; do {LIVE}; sleep 0.1; done")
}

async fn until(supervisor: &mut Supervisor, wanted: impl Fn(&Notice) -> bool) -> Vec<Notice> {
    let mut seen = Vec::new();
    let wait = async {
        loop {
            let notice = supervisor.next().await;
            seen.push(notice);
            if seen.last().is_some_and(&wanted) {
                return;
            }
        }
    };
    let met = tokio::time::timeout(DEADLINE, wait).await;
    assert!(met.is_ok(), "not seen in {DEADLINE:?}: {seen:?}");
    seen
}

fn is_healthy(notice: &Notice) -> bool {
    matches!(notice, Notice::Healthy { .. })
}

fn is_gone(pid: u32) -> bool {
    // A zombie has no command line either.
    fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().is_empty()
}

fn wait_gone(pid: u32) {
    let begun = Instant::now();
    while !is_gone(pid) {
        assert!(begun.elapsed() < DEADLINE, "process {pid} is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn a_child_that_dies_is_restarted_and_told_with_its_last_words() {
    let stage = Stage::new();
    let script =
        format!("{LIVE}; test -f again && exec sleep 600; touch again; echo no disk; exit 7");
    let mut supervisor = stage.supervisor(vec![stage.child("ledger", &script)]);
    supervisor.start();
    let seen = until(&mut supervisor, |notice| matches!(notice, Notice::Died { .. })).await;
    let Some(Notice::Died { name, how, tail, restart, wait, refused }) = seen.last() else {
        unreachable!()
    };
    assert!(!refused, "7 may be different the next time");
    assert_eq!((name.as_str(), how.as_str()), ("ledger", "ended with exit status 7"));
    assert_eq!(tail, &["no disk"]);
    assert_eq!((*restart, *wait), (1, Duration::from_millis(20)));
    until(&mut supervisor, is_healthy).await;
    let status = &supervisor.statuses()[0];
    assert_eq!((status.state, status.restarts, &status.problem), (Phase::Healthy, 1, &None));
    supervisor.drain(std::future::pending(), |_| {}).await;
}

#[tokio::test]
async fn waits_between_restarts_grow() {
    let stage = Stage::new();
    let mut supervisor = stage.supervisor(vec![stage.child("proxy", "exit 1")]);
    supervisor.start();
    let mut waits = Vec::new();
    while waits.len() < 5 {
        for notice in until(&mut supervisor, |n| matches!(n, Notice::Died { .. })).await {
            if let Notice::Died { wait, .. } = notice {
                waits.push(wait.as_millis());
            }
        }
    }
    assert_eq!(waits, [20, 40, 80, 100, 100]);
    supervisor.drain(std::future::pending(), |_| {}).await;
}

#[tokio::test]
async fn a_child_that_refuses_its_document_is_told_as_such() {
    let stage = Stage::new();
    let mut supervisor = stage.supervisor(vec![stage.child("proxy", "exit 65")]);
    supervisor.start();
    let seen = until(&mut supervisor, |notice| matches!(notice, Notice::Died { .. })).await;
    assert!(matches!(seen.last(), Some(Notice::Died { refused: true, .. })), "{seen:?}");
    supervisor.drain(std::future::pending(), |_| {}).await;
}

#[tokio::test]
async fn a_restart_that_came_due_as_the_drain_began_does_not_happen() {
    let stage = Stage::new();
    let mut supervisor = stage.supervisor(vec![stage.child("proxy", "echo >> ../starts; exit 1")]);
    supervisor.start();
    until(&mut supervisor, |notice| matches!(notice, Notice::Died { .. })).await;
    // The restart becomes due and is reported; nobody has taken the report yet.
    tokio::time::sleep(pace().restart_first * 3).await;
    supervisor.drain(std::future::pending(), |_| {}).await;
    let none = tokio::time::timeout(Duration::from_millis(300), supervisor.next()).await;
    assert!(none.is_err(), "{none:?}");
    assert_eq!(supervisor.statuses()[0].state, Phase::Stopped);
    assert_eq!(fs::read_to_string(stage.path("starts")).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn a_program_that_is_missing_is_told_and_tried_again() {
    let stage = Stage::new();
    let mut child = stage.child("proxy", "");
    child.argv = vec!["/nowhere/forebay-proxy".to_owned()];
    let mut supervisor = stage.supervisor(vec![child]);
    supervisor.start();
    let seen = until(&mut supervisor, |notice| matches!(notice, Notice::Died { .. })).await;
    let Some(Notice::Died { how, .. }) = seen.last() else { unreachable!() };
    assert_eq!(how, "could not be run: /nowhere/forebay-proxy is missing");
    supervisor.drain(std::future::pending(), |_| {}).await;
}

#[tokio::test]
async fn a_child_that_stops_working_is_replaced_by_its_second_command_line() {
    let stage = Stage::new();
    // Healthy once, then silent, and deaf to TERM.
    let mut child = stage.child("stream", &format!("trap '' TERM; {LIVE}; exec sleep 600"));
    child.argv_again = Some(["/bin/sh", "-c", &steady("again")].map(str::to_owned).into());
    // Many times as long as a steady one takes for the next, however busy the machine is.
    let Probe::Playlist { age_max, .. } = &mut child.probe else { unreachable!() };
    *age_max = Duration::from_secs(3);
    let mut supervisor = stage.supervisor(vec![child]);
    supervisor.start();
    until(&mut supervisor, is_healthy).await;
    let silent = supervisor.statuses()[0].pid.unwrap();
    let seen = until(&mut supervisor, |n| matches!(n, Notice::Replaced { .. })).await;
    let Some(Notice::Replaced { reason, .. }) = seen.last() else { unreachable!() };
    assert!(reason.starts_with("no new segment for "), "{reason}");
    let seen = until(&mut supervisor, is_healthy).await;
    assert!(
        seen.iter()
            .any(|n| matches!(n, Notice::Died { how, .. } if how == "was ended by signal 9"))
    );
    wait_gone(silent);
    supervisor.drain(std::future::pending(), |_| {}).await;
    assert_eq!(fs::read_to_string(stage.path("order")).unwrap(), "again\n");
}

#[tokio::test]
async fn draining_goes_stage_by_stage_and_leaves_nothing() {
    let stage = Stage::new();
    let at = |name: &str, stop_stage| ChildSpec { stop_stage, ..stage.child(name, &steady(name)) };
    let children = vec![at("origin", 2), at("ledger", 1), at("proxy", 0)];
    // Nobody is to be killed for being slow on a busy machine.
    let patient = Pace { drain_max: DEADLINE, ..pace() };
    let mut supervisor = stage.supervisor_at(children, patient);
    supervisor.start();
    while !supervisor.all_healthy() {
        until(&mut supervisor, is_healthy).await;
    }
    let pids: Vec<u32> = supervisor.statuses().iter().filter_map(|child| child.pid).collect();
    assert_eq!(pids.len(), 3);
    let mut lines = Vec::new();
    supervisor.drain(std::future::pending(), |line| lines.push(line)).await;
    assert_eq!(lines, ["stopping proxy", "stopping ledger", "stopping origin"]);
    assert_eq!(fs::read_to_string(stage.path("order")).unwrap(), "proxy\nledger\norigin\n");
    assert!(pids.into_iter().all(is_gone));
    assert!(supervisor.statuses().iter().all(|child| child.state == Phase::Stopped));
}

#[tokio::test]
async fn a_child_that_does_not_finish_is_killed_with_what_it_started() {
    let stage = Stage::new();
    let script =
        format!("trap '' TERM; sleep 600 & echo $! > inner; while :; do {LIVE}; sleep 0.1; done");
    let mut supervisor = stage.supervisor(vec![stage.child("ledger", &script)]);
    supervisor.start();
    until(&mut supervisor, is_healthy).await;
    let outer = supervisor.statuses()[0].pid.unwrap();
    let inner = fs::read_to_string(stage.path("ledger/inner")).unwrap().trim().parse().unwrap();
    let mut lines = Vec::new();
    supervisor.drain(std::future::pending(), |line| lines.push(line)).await;
    assert_eq!(lines[1], "ledger did not finish within 0.5 s: killed");
    wait_gone(outer);
    wait_gone(inner);
}

#[tokio::test]
async fn a_second_request_kills_everything_at_once() {
    let stage = Stage::new();
    let deaf = format!("trap '' TERM QUIT; while :; do {LIVE}; sleep 0.1; done");
    let at = |name: &str, stop_stage| ChildSpec { stop_stage, ..stage.child(name, &deaf) };
    let mut supervisor = stage.supervisor(vec![at("proxy", 0), at("ledger", 1)]);
    supervisor.start();
    while !supervisor.all_healthy() {
        until(&mut supervisor, is_healthy).await;
    }
    let pids: Vec<u32> = supervisor.statuses().iter().filter_map(|child| child.pid).collect();
    let mut lines = Vec::new();
    supervisor.drain(async {}, |line| lines.push(line)).await;
    assert_eq!(lines, ["stopping proxy", "asked again: killing everything at once"]);
    pids.into_iter().for_each(wait_gone);
}

#[test]
#[cfg(target_os = "linux")]
fn children_do_not_outlive_a_supervisor_that_is_killed() {
    if forebay_stack::programs::on_path("setpriv").is_none() {
        return;
    }
    // A supervisor in a process of its own: this very test, told by the environment to be one.
    const FOLDER: &str = "FOREBAY_TEST_SUPERVISOR";
    if let Some(folder) = std::env::var_os(FOLDER) {
        supervise_forever(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let name = "children_do_not_outlive_a_supervisor_that_is_killed";
    let mut supervisor = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let pid = loop {
        let text = fs::read_to_string(folder.path().join("pid")).unwrap_or_default();
        if let Ok(pid) = text.trim().parse() {
            break pid;
        }
        assert!(begun.elapsed() < DEADLINE, "the supervisor did not start its child");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(!is_gone(pid));
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    wait_gone(pid);
}

fn supervise_forever(folder: &Path) -> ! {
    let stage = Stage { folder: tempfile::tempdir().unwrap() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut supervisor = stage.supervisor(vec![stage.child("child", &steady("x"))]);
        supervisor.start();
        until(&mut supervisor, is_healthy).await;
        let pid = supervisor.statuses()[0].pid.unwrap();
        fs::write(folder.join("pid"), format!("{pid}\n")).unwrap();
        loop {
            supervisor.next().await;
        }
    })
}
