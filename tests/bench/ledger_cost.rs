//! The service as a process of its own, and the processor time of everybody who takes part.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::engine::Database;

/// What the kernel counts processor time in, whatever it runs on (proc(5), sysconf(3)).
const TICKS_PER_SECOND: u64 = 100;
/// Places behind the name in /proc/ID/stat (proc(5)): ppid; utime and stime; cutime and cstime.
const PARENT: usize = 1;
const OWN: [usize; 2] = [11, 12];
const ENDED: [usize; 2] = [13, 14];
const DEADLINE: Duration = Duration::from_secs(60);

/// `forebay-ledger serve` as it is built.
pub struct Serving {
    child: Child,
    pub listen: SocketAddr,
}

/// Processor time so far.
#[derive(Clone, Copy, Default)]
pub struct Spent {
    pub clients: Duration,
    pub service: Duration,
    pub database: Duration,
}

impl Serving {
    pub fn start(database: &Database) -> Self {
        let addresses = database.directory.join("addresses");
        let child = Command::new(env!("CARGO_BIN_EXE_forebay-ledger"))
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--auth", "open"])
            .args(["--log", "warn", "--addresses-file"])
            .arg(&addresses)
            .env("FOREBAY_LEDGER_DATABASE", &database.url)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        let text = loop {
            if let Ok(text) = std::fs::read_to_string(&addresses) {
                break text;
            }
            assert!(began.elapsed() < DEADLINE, "the service does not start");
            std::thread::sleep(Duration::from_millis(10));
        };
        let text: serde_json::Value = serde_json::from_str(&text).unwrap();
        Self { child, listen: text["listen"].as_str().unwrap().parse().unwrap() }
    }

    /// The database server is whatever else this process has started.
    pub fn spent(&self) -> Spent {
        let own = std::process::id();
        let others = processes()
            .into_iter()
            .filter(|(id, fields)| *id != self.child.id() && fields[PARENT] == own.to_string());
        Spent {
            clients: time(own),
            service: time(self.child.id()),
            database: others.map(|(id, fields)| with_children(id, &fields)).sum(),
        }
    }

    /// The most memory it has had, in MiB.
    pub fn peak_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    pub fn stop(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // After a panic; one that has ended already is no matter.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl std::ops::Sub for Spent {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            clients: self.clients.saturating_sub(before.clients),
            service: self.service.saturating_sub(before.service),
            database: self.database.saturating_sub(before.database),
        }
    }
}

/// Of a process with all its threads.
fn time(id: u32) -> Duration {
    ticks(&stat(id).unwrap_or_default(), &OWN)
}

/// Of a process, those it started, and those of them that have ended.
fn with_children(id: u32, own: &[String]) -> Duration {
    let processes = processes().into_iter();
    let children = processes.filter(|(_, fields)| fields[PARENT] == id.to_string());
    let children: Duration = children.map(|(_, fields)| ticks(&fields, &OWN)).sum();
    ticks(own, &OWN) + ticks(own, &ENDED) + children
}

fn ticks(fields: &[String], places: &[usize]) -> Duration {
    let number = |place: &usize| fields.get(*place)?.parse::<u64>().ok();
    let sum: u64 = places.iter().filter_map(number).sum();
    Duration::from_millis(sum * 1000 / TICKS_PER_SECOND)
}

fn processes() -> Vec<(u32, Vec<String>)> {
    let ids = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    ids.filter_map(|id| Some((id, stat(id)?))).collect()
}

/// What the kernel says of a process behind its name.
fn stat(id: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}
