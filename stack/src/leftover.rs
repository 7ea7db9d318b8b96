//! Children that outlived a supervisor that was killed: found again, and ended.
//!
//! Every child carries the run's folder in its environment, and so does whatever it starts. A
//! process id that was written down could be somebody else's by now, and a supervisor can be
//! killed before it writes one down.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The variable that holds the folder of the run a process works for.
pub const RUN: &str = "FOREBAY_CHILD_OF";
/// The variable that holds the name of the child.
pub const NAME: &str = "FOREBAY_CHILD";

const DRAIN_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

struct Left {
    pid: Pid,
    name: String,
}

/// Ends what an earlier run in `folder` left; call it while holding the folder's claim. The names
/// of the children found are returned, each once. Without `/proc` nothing is found.
pub fn end(folder: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut left: Vec<Left> = processes
        .filter_map(|process| Pid::from_raw(process.file_name().to_str()?.parse().ok()?))
        .filter_map(|pid| Some(Left { pid, name: works_for(pid, folder)? }))
        .collect();
    let mut names: Vec<String> = left.iter().map(|left| left.name.clone()).collect();
    names.sort();
    names.dedup();
    signal(&left, Signal::TERM);
    let deadline = Instant::now() + DRAIN_MAX;
    while !left.is_empty() && Instant::now() < deadline {
        std::thread::sleep(LOOK_EVERY);
        left.retain(|left| works_for(left.pid, folder).is_some());
    }
    signal(&left, Signal::KILL);
    names
}

fn signal(left: &[Left], signal: Signal) {
    for Left { pid, .. } in left {
        let _ = kill_process(*pid, signal);
    }
}

/// The name of the child that the process is, or was started by, if it works for this folder.
fn works_for(pid: Pid, folder: &Path) -> Option<String> {
    // Empty for one that ended and was not reaped yet, unreadable for another user's.
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
    let variable = |name: &str| {
        let mut variables = environment.split(|byte| *byte == 0);
        variables.find_map(|text| text.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    };
    let ours = variable(RUN)? == OsStr::as_bytes(folder.as_os_str());
    ours.then(|| String::from_utf8_lossy(variable(NAME).unwrap_or_default()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn only_processes_of_the_folder_are_ended() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("run");
        fs::create_dir(&folder).unwrap();
        let sleep = |run: Option<&Path>| {
            let mut command = std::process::Command::new("sleep");
            command.arg("600").env(NAME, "child");
            // Somebody who looks at the logs is in the folder, and no child.
            command.current_dir(&folder);
            run.map(|run| command.env(RUN, run));
            command.spawn().unwrap()
        };
        let mut ours = sleep(Some(&folder));
        let mut others = [sleep(None), sleep(Some(&base.path().join("run2")))];
        // `spawn` may return before the kernel shows the new program's environment.
        let pid = Pid::from_child(&ours);
        let deadline = Instant::now() + DRAIN_MAX;
        while works_for(pid, &folder).is_none() && Instant::now() < deadline {
            std::thread::sleep(LOOK_EVERY);
        }
        assert_eq!(end(&folder), ["child"]);
        assert!(!ours.wait().unwrap().success());
        for other in &mut others {
            assert_eq!(other.try_wait().unwrap(), None);
            other.kill().unwrap();
            other.wait().unwrap();
        }
    }
}
