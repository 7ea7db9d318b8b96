//! Children that outlived a supervisor that was killed: found again, and ended.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::state::StateFolder;

const DRAIN_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Ends what an earlier run in this folder left; call it while holding the folder's claim. The
/// names of those found are returned.
pub fn end(state: &StateFolder) -> Vec<String> {
    let told = state.last_told().unwrap_or_default();
    let mut left: Vec<(String, u32)> = told
        .children
        .into_iter()
        .filter_map(|child| Some((child.name, child.pid?)))
        .filter(|(_, pid)| belongs(*pid, &state.path))
        .collect();
    let names = left.iter().map(|(name, _)| name.clone()).collect();
    let each = |left: &[(String, u32)], act: &dyn Fn(Pid)| {
        left.iter().filter_map(|(_, pid)| Pid::from_raw(pid.cast_signed())).for_each(act);
    };
    each(&left, &|pid| {
        let _ = kill_process(pid, Signal::TERM);
    });
    let deadline = Instant::now() + DRAIN_MAX;
    while !left.is_empty() && Instant::now() < deadline {
        std::thread::sleep(LOOK_EVERY);
        left.retain(|(_, pid)| belongs(*pid, &state.path));
    }
    each(&left, &|pid| {
        let _ = kill_process_group(pid, Signal::KILL);
    });
    names
}

/// Whether the process works for this folder: by its command line, or by the folder it runs in. A
/// process id alone may be another's by now. Without `/proc` nothing is found.
fn belongs(pid: u32, folder: &Path) -> bool {
    let process = Path::new("/proc").join(pid.to_string());
    let arguments = std::fs::read(process.join("cmdline")).unwrap_or_default();
    let named = String::from_utf8_lossy(&arguments).contains(&*folder.to_string_lossy());
    // One that ended and was not reaped yet has no command line.
    !arguments.is_empty()
        && (named || std::fs::read_link(process.join("cwd")).is_ok_and(|at| at.starts_with(folder)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Run;
    use crate::supervisor::ChildStatus;

    #[test]
    #[cfg(target_os = "linux")]
    fn only_processes_of_the_folder_are_ended() {
        let base = tempfile::tempdir().unwrap();
        let environment = base.path().join("local.yaml");
        std::fs::write(&environment, "").unwrap();
        let state = StateFolder::of(&environment, None).unwrap();
        let _claim = state.claim(&environment).unwrap();
        let sleep = |folder: &Path| {
            std::process::Command::new("sleep").arg("600").current_dir(folder).spawn().unwrap()
        };
        let (mut ours, mut other) = (sleep(&state.path), sleep(base.path()));
        let child = |name: &str, pid| ChildStatus {
            name: name.to_owned(),
            pid: Some(pid),
            state: crate::lifecycle::Phase::Healthy,
            healthy: true,
            restarts: 0,
            since: jiff::Timestamp::now(),
            problem: None,
        };
        let children = vec![child("ours", ours.id()), child("other", other.id())];
        state.tell(&Run { children, ..Run::default() }).unwrap();
        assert_eq!(end(&state), ["ours"]);
        assert!(!ours.wait().unwrap().success());
        assert_eq!(other.try_wait().unwrap(), None);
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
