//! One process of a supervised child: how it is started, watched, logged and signalled.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::task::JoinHandle;

use super::log::{LOG_BYTES_MAX, RotatedLog};
use super::probe::Probe;
use crate::leftover;

/// Everything needed to start, judge and stop one child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildSpec {
    /// The name people see: `proxy`, `ledger`, `origin`, `stream NAME`.
    pub name: String,
    /// Program and arguments of the first start.
    pub argv: Vec<String>,
    /// Program and arguments of every later start, where they differ.
    pub argv_again: Option<Vec<String>>,
    /// The folder it runs in.
    pub directory: PathBuf,
    /// How its health is known.
    pub probe: Probe,
    /// The signal that asks it to finish.
    pub stop: Stop,
    /// Children of a lower stage are stopped, and gone, before those of a higher one.
    pub stop_stage: u8,
}

impl ChildSpec {
    /// The file name of its log.
    pub fn log_name(&self) -> String {
        format!("{}.log", self.name.replace(' ', "-"))
    }
}

/// How a child is asked to finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// QUIT: finish what is under way.
    Quit,
    /// TERM.
    Term,
}

/// Where children are started from: the same for all of them.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// `setpriv`, where there is one: it makes the kernel stop a child whose supervisor was killed.
    pub setpriv: Option<PathBuf>,
    /// The folder of the logs.
    pub logs: PathBuf,
    /// The folder of the run, by which children are found again should this process be killed.
    pub run: PathBuf,
}

/// A started process.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
}

/// Ends with the exit status once the process is gone and its last output is in the log.
pub type Watcher = JoinHandle<io::Result<ExitStatus>>;

impl Launcher {
    /// Starts `argv`. Must be called on the main thread: the kernel ties the death signal to the
    /// thread that forked, and that thread has to live as long as the supervisor.
    pub fn start(&self, spec: &ChildSpec, again: bool) -> io::Result<(Process, Watcher)> {
        let argv = spec.argv_again.as_ref().filter(|_| again).unwrap_or(&spec.argv);
        let (program, arguments) =
            argv.split_first().ok_or_else(|| io::Error::other("an empty command line"))?;
        let mut log = RotatedLog::open(&self.logs.join(spec.log_name()), LOG_BYTES_MAX)?;
        log.mark()?;
        // Checked here, because behind setpriv a missing program would only be an odd exit status.
        if !Path::new(program).exists() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{program} is missing")));
        }
        let mut command = match &self.setpriv {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "TERM", "--"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        let (reader, writer) = io::pipe()?;
        command
            .args(arguments)
            .current_dir(&spec.directory)
            .env(leftover::RUN, &self.run)
            .env(leftover::NAME, &spec.name)
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        // The command holds the writing end; without this the log would never see its end.
        drop(command);
        let pid = child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()))
            .ok_or_else(|| io::Error::other("the process has no id"))?;
        let copier = tokio::spawn(copy(OwnedFd::from(reader), log));
        let watcher = tokio::spawn(async move {
            let status = child.wait().await;
            // A grandchild may keep the pipe open; its output is not worth waiting for.
            let _ = tokio::time::timeout(Duration::from_millis(300), copier).await;
            status
        });
        Ok((Process { pid }, watcher))
    }
}

impl Process {
    /// The process id.
    pub fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Asks the process to finish. One that is gone already is no error.
    pub fn ask_to_stop(&self, stop: Stop) {
        let signal = match stop {
            Stop::Quit => Signal::QUIT,
            Stop::Term => Signal::TERM,
        };
        let _ = kill_process(self.pid, signal);
    }

    /// Kills the process and whatever it started in its group.
    pub fn kill(&self) {
        let _ = kill_process_group(self.pid, Signal::KILL);
    }
}

async fn copy(reader: OwnedFd, mut log: RotatedLog) -> io::Result<()> {
    let mut reader = pipe::Receiver::from_owned_fd(reader)?;
    let mut chunk = vec![0; 16 << 10];
    loop {
        let length = reader.read(&mut chunk).await?;
        if length == 0 {
            return Ok(());
        }
        // A full disk must not block the child: what cannot be written is read and dropped.
        let _ = log.write(&chunk[..length]);
    }
}
