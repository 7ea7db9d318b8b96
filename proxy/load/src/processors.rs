//! Half of the processors for the proxy, half for the load that is made on the same machine, so that
//! what is measured is the proxy.

use std::process::{Command, Stdio};

use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, gettid, sched_getaffinity, sched_setaffinity};

/// How far below others a thread runs where it cannot give way altogether.
const NICE: i32 = 15;

pub struct Split {
    all: Option<CpuSet>,
    proxy: CpuSet,
    load: CpuSet,
    counts: (usize, usize),
}

impl Split {
    /// All processors this process may use, halved.
    pub fn in_halves() -> Split {
        Split::with(|usable| usable.div_ceil(2))
    }

    /// One processor for the proxy, the rest for the load.
    pub fn one_for_the_proxy() -> Split {
        Split::with(|_| 1)
    }

    fn with(for_proxy: impl Fn(usize) -> usize) -> Split {
        let all = sched_getaffinity(None).ok();
        let is_usable = |cpu: &usize| all.as_ref().is_some_and(|all| all.is_set(*cpu));
        let usable: Vec<usize> = (0..CpuSet::MAX_CPU).filter(is_usable).collect();
        let (mut proxy, mut load) = (CpuSet::new(), CpuSet::new());
        let (first, rest) = usable.split_at(for_proxy(usable.len()).min(usable.len()));
        first.iter().for_each(|cpu| proxy.set(*cpu));
        rest.iter().for_each(|cpu| load.set(*cpu));
        Split { all, proxy, load, counts: (first.len(), rest.len()) }
    }

    fn enter(&self, set: &CpuSet) {
        if self.counts.1 > 0 {
            // What may not be pinned runs everywhere; the description tells how many there are.
            let _ = sched_setaffinity(None, set);
        }
    }

    /// Threads and processes that this thread starts from now on make the load.
    pub fn load_here(&self) {
        self.enter(&self.load);
    }

    /// Starts something where the proxy belongs.
    pub fn with_proxy<T>(&self, start: impl FnOnce() -> T) -> T {
        self.enter(&self.proxy);
        let started = start();
        self.load_here();
        started
    }

    /// Ends the split for what this thread starts from now on.
    pub fn everywhere(&self) {
        if let Some(all) = &self.all {
            self.enter(all);
        }
    }

    pub fn describe(&self) -> String {
        match self.counts {
            (proxy, load) if load > 0 => {
                format!("{proxy} for the proxy, {load} for origin and clients")
            }
            _ => "one for everything".to_owned(),
        }
    }
}

/// From now on the calling thread runs when no other on its processor is ready (`SCHED_IDLE`). Refused
/// or not, latencies tell how late requests were sent.
pub fn give_way() {
    // The system call has no safe binding in the libraries used here; util-linux has a program for it.
    let thread = gettid().as_raw_nonzero().to_string();
    let chrt = Command::new("chrt")
        .args(["--idle", "--pid", "0", &thread])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !chrt.is_ok_and(|status| status.success()) {
        let _ = setpriority_process(None, NICE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_halves_are_the_whole() {
        let split = Split::in_halves();
        let all = split.all.as_ref().unwrap();
        let usable = usize::try_from(all.count()).unwrap();
        assert_eq!(split.counts.0 + split.counts.1, usable);
        for cpu in 0..CpuSet::MAX_CPU {
            assert_eq!(all.is_set(cpu), split.proxy.is_set(cpu) || split.load.is_set(cpu));
            assert!(!(split.proxy.is_set(cpu) && split.load.is_set(cpu)));
        }
        assert_eq!(Split::one_for_the_proxy().counts, (1, usable - 1));
    }

    #[test]
    fn a_thread_that_gives_way_says_so_to_the_kernel() {
        std::thread::spawn(|| {
            give_way();
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let policy = stat.rsplit_once(") ").unwrap().1.split(' ').nth(38);
            assert_eq!(policy, Some("5"), "SCHED_IDLE: {stat}");
        })
        .join()
        .unwrap();
    }
}
