//! A running environment of a test's own: free ports, a temporary folder, stopped when dropped.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

use crate::binaries;

/// How long anything may take before a test gives up on it; never a measurement.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `forebay up` printed so far, standard output and error together, by line.
type Printed = Arc<Mutex<Vec<String>>>;

/// What a test may choose before `forebay up`.
#[derive(Clone)]
pub struct Setup {
    /// Where the environment file and the state folder live; shared by two runs of one environment.
    pub folder: Arc<TempDir>,
    /// The public listener's address; port 0 means a free one.
    pub public: String,
    /// Where programs such as ffmpeg are looked for; the machine's own PATH without it.
    pub programs: Option<PathBuf>,
}

impl Default for Setup {
    fn default() -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        Self { folder, public: "127.0.0.1:0".to_owned(), programs: None }
    }
}

/// `forebay up` on a copy of `environments/local.yaml` in which every port is picked freely.
pub struct Running {
    folder: Arc<TempDir>,
    up: Child,
    printed: Printed,
}

impl Running {
    /// Starts the environment and waits until every child is healthy.
    pub fn start() -> Self {
        Self::start_as(&Setup::default())
    }

    /// Starts the environment as set up and waits until every child is healthy.
    pub fn start_as(setup: &Setup) -> Self {
        let folder = Arc::clone(&setup.folder);
        let file = environment_file(&setup.public);
        std::fs::write(folder.path().join("test.yaml"), file).expect("it is writable");
        let mut command = Self::forebay(folder.path(), "up");
        if let Some(programs) = &setup.programs {
            command.env("PATH", programs);
        }
        let mut up =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let printed = Printed::default();
        collect(up.stdout.take().expect("it is piped"), &printed);
        collect(up.stderr.take().expect("it is piped"), &printed);
        let mut running = Self { folder, up, printed };
        running.wait_until("every child is healthy", |running| {
            running.printed_so_far().contains("/v1/trial-balance") && running.is_healthy()
        });
        running
    }

    /// A `forebay` command on this environment.
    pub fn command(&self, name: &str) -> Command {
        Self::forebay(self.folder.path(), name)
    }

    fn forebay(folder: &Path, name: &str) -> Command {
        let mut command = binaries::command("forebay");
        command
            .arg(name)
            .arg(folder.join("test.yaml"))
            .arg("--state-dir")
            .arg(folder.join("state"));
        command
    }

    /// The state folder.
    pub fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Everything `up` printed so far.
    pub fn printed_so_far(&self) -> String {
        self.printed.lock().expect("no reader panics").join("\n")
    }

    /// What `forebay status -o json` says, whatever its exit code.
    pub fn status(&self) -> Value {
        let output = self.command("status").args(["-o", "json"]).output().expect("it runs");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("status -o json: {error}: {}", String::from_utf8_lossy(&output.stderr))
        })
    }

    /// Whether `status` finds every child healthy.
    pub fn is_healthy(&self) -> bool {
        self.command("status").output().is_ok_and(|output| output.status.success())
    }

    /// A URL of the block, by its key in `status -o json`.
    pub fn url(&self, key: &str) -> String {
        let status = self.status();
        let url =
            status["urls"][key].as_str().unwrap_or_else(|| panic!("no url {key} in {status}"));
        url.trim_end_matches('/').to_owned()
    }

    /// Every child as `status` lists it.
    pub fn children(&self) -> Vec<Value> {
        self.status()["children"].as_array().cloned().unwrap_or_default()
    }

    /// One child by name.
    pub fn child(&self, name: &str) -> Value {
        let children = self.children();
        let found = children.iter().find(|child| child["name"] == name);
        found.unwrap_or_else(|| panic!("no child {name} in {children:?}")).clone()
    }

    /// The supervisor's process number.
    pub fn pid(&self) -> u32 {
        self.up.id()
    }

    /// Polls until `holds`; panics with what was printed after a minute.
    pub fn wait_until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            let ended = self.up.try_wait().expect("it can be waited for");
            assert!(
                ended.is_none(),
                "`up` ended ({ended:?}) before {what}:\n{}",
                self.printed_so_far()
            );
            assert!(Instant::now() < deadline, "never saw that {what}:\n{}", self.printed_so_far());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends a signal to the supervisor, waits for its end, and gives back what it left behind.
    pub fn stop(mut self, signal: Signal) -> Stopped {
        let pids: Vec<u32> = self.children().iter().filter_map(pid_of).collect();
        send(self.pid(), signal);
        let exit = wait_for_exit(&mut self.up);
        Stopped {
            exit,
            printed: self.printed_so_far(),
            alive: pids.into_iter().filter(|pid| is_alive(*pid)).collect(),
            files: files_below(&self.state_dir()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.up.try_wait().is_ok_and(|ended| ended.is_none()) {
            send(self.up.id(), Signal::TERM);
            wait_for_exit(&mut self.up);
        }
    }
}

/// What remained after `up` ended.
pub struct Stopped {
    pub exit: ExitStatus,
    pub printed: String,
    /// Children that still run.
    pub alive: Vec<u32>,
    /// Files below the state folder, relative to it.
    pub files: Vec<String>,
}

fn environment_file(public: &str) -> String {
    let local = binaries::repository().join("environments/local.yaml");
    format!(
        "extends: {}\nname: test\nedge:\n  proxy:\n    listeners:\n      public: {{ address: {public} }}\n    \
         admin: {{ address: 127.0.0.1:0 }}\n",
        local.display()
    )
}

fn collect(stream: impl std::io::Read + Send + 'static, into: &Printed) {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            into.lock().expect("no reader panics").push(line);
        }
    });
}

/// The process number in a child's status, where it has one.
pub fn pid_of(child: &Value) -> Option<u32> {
    child["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
}

/// Sends a signal to a process this test started; one that is gone already is no error.
pub fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        rustix::process::kill_process(pid, signal).ok();
    }
}

/// Whether a process exists and is not a zombie.
pub fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
}

fn wait_for_exit(process: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(exit) = process.try_wait().expect("it can be waited for") {
            return exit;
        }
        if Instant::now() > deadline {
            process.kill().ok();
            panic!("`up` did not end within {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn files_below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("it is below").display().to_string();
                found.push(name);
            }
        }
    }
    found.sort();
    found
}
