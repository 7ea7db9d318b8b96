//! What a tree of processes has used, as the kernel counts it (proc(5)).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rustix::param::clock_ticks_per_second;
use serde::Serialize;

/// What a tree of processes has used since it began, or between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Account {
    /// Of those that run and those of their children that have ended.
    pub cpu_seconds: f64,
    /// Resident, shared pages counted in parts; what is in use now.
    pub memory_bytes: u64,
    /// Written to storage; `None` where the kernel does not say.
    pub written_bytes: Option<u64>,
}

impl Account {
    pub fn of(root: u32) -> Account {
        let stats = stats();
        let tree = tree(root, &stats);
        let ticks = tree.iter().filter_map(|pid| stats.get(pid)).map(|stat| stat.ticks).sum();
        let written = tree.iter().map(|pid| field(*pid, "io", "write_bytes:"));
        Account {
            cpu_seconds: seconds(ticks),
            memory_bytes: tree
                .iter()
                .filter_map(|pid| field(*pid, "smaps_rollup", "Pss:"))
                .sum::<u64>()
                * 1024,
            written_bytes: written.sum(),
        }
    }

    /// What was used since an earlier look; memory is what is in use now.
    pub fn since(&self, before: &Account) -> Account {
        let written = self.written_bytes.zip(before.written_bytes);
        Account {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            memory_bytes: self.memory_bytes,
            written_bytes: written.map(|(is, was)| is.saturating_sub(was)),
        }
    }
}

/// The most memory a process had resident so far, bytes.
pub fn peak_memory(pid: u32) -> Option<u64> {
    field(pid, "status", "VmHWM:").map(|kib| kib * 1024)
}

/// Memory of the kernel's TCP buffers, of this machine or network namespace: both ends of every
/// connection on it.
pub fn tcp_buffers() -> Option<u64> {
    let text = fs::read_to_string("/proc/net/sockstat").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let pages: u64 = line.split(" mem ").nth(1)?.trim().parse().ok()?;
    Some(pages * u64::try_from(rustix::param::page_size()).ok()?)
}

/// Bytes written, by anybody, to the block device that holds this path; `None` when it is on none.
pub fn device_written(path: &Path) -> Option<u64> {
    let device = rustix::fs::stat(path).ok()?.st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    // Sectors are 512 bytes there, whatever the device's own are.
    let sectors: u64 = stat.split_whitespace().nth(6)?.parse().ok()?;
    Some(sectors * 512)
}

struct Stat {
    parent: u32,
    ticks: u64,
}

fn stats() -> BTreeMap<u32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // A process may end while it is looked at.
    pids.filter_map(|pid| {
        Some((pid, stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?))
    })
    .collect()
}

fn stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let parent = u32::try_from(number(1)?).ok()?;
    // User and system time, and the same of children that have ended.
    Some(Stat { parent, ticks: (11..15).map(number).sum::<Option<u64>>()? })
}

fn tree(root: u32, stats: &BTreeMap<u32, Stat>) -> Vec<u32> {
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(parent) = tree.get(next).copied() {
        tree.extend(stats.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    tree
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / clock_ticks_per_second() as f64
}

/// A number that a file of a process has after a name.
fn field(pid: u32, file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_tree_is_accounted_with_its_children() {
        let mut parent = Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().unwrap();
        let stats = loop {
            let stats = stats();
            if tree(parent.id(), &stats).len() == 2 {
                break stats;
            }
        };
        let own = tree(std::process::id(), &stats);
        assert!(own.contains(&parent.id()) && own.len() >= 3);
        let account = Account::of(parent.id());
        assert!(account.memory_bytes > 0);
        for pid in tree(parent.id(), &stats) {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        parent.wait().unwrap();
    }

    #[test]
    fn times_are_read_after_a_name_with_brackets() {
        let text = "7 (a) b) S 3 7 7 0 -1 4 1 2 3 4 10 20 30 40 20 0 1 0";
        let stat = stat(text).unwrap();
        assert_eq!((stat.parent, stat.ticks), (3, 100));
    }

    #[test]
    fn what_this_process_uses_is_known() {
        let before = Account::of(std::process::id());
        let begun = std::time::Instant::now();
        while Account::of(std::process::id()).since(&before).cpu_seconds == 0.0 {
            assert!(begun.elapsed().as_secs() < 30);
        }
        assert!(peak_memory(std::process::id()).unwrap() > 0 && tcp_buffers().is_some());
    }
}
