//! `-s`: a signal to the process that the pid file names.

use forebay_nginx::include::reason;
use rustix::process::{Pid, Signal, kill_process};

use super::configuration::Source;
use super::error_log::{Level, Sink, Told, open_failed, tell};
use super::options::Wanted;

impl Wanted {
    fn signal(self) -> Signal {
        match self {
            Wanted::Stop => Signal::TERM,
            Wanted::Quit => Signal::QUIT,
            Wanted::Reopen => Signal::USR1,
            Wanted::Reload => Signal::HUP,
        }
    }
}

/// Sends it. A reload is sent only when the configuration is right, as nginx does it.
pub fn send(source: &Source, wanted: Wanted, log: &[Sink]) -> Result<(), Told> {
    let settings = match wanted {
        Wanted::Reload => source.read().map(|loaded| loaded.settings),
        _ => source.settings().map_err(|fault| vec![fault]),
    };
    let settings = settings.map_err(|faults| {
        faults.iter().for_each(|fault| tell(log, Level::Emerg, fault));
        Told
    })?;
    let refused = |level, fault: String| {
        tell(log, level, &fault);
        Told
    };
    let path = settings.pid.display().to_string();
    let text = std::fs::read_to_string(&settings.pid)
        .map_err(|error| refused(Level::Error, open_failed(&path, &error)))?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw).ok_or_else(|| {
        refused(Level::Error, format!("invalid PID number \"{}\" in \"{path}\"", text.trim()))
    })?;
    kill_process(pid, wanted.signal()).map_err(|error| {
        let number = wanted.signal().as_raw();
        let why = reason(&error.into());
        refused(Level::Alert, format!("kill({}, {number}) failed ({why})", pid.as_raw_nonzero()))
    })
}
