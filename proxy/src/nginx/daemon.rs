//! `daemon on`: the process that serves runs behind the one that was called, which ends once every
//! socket is bound, with 0, or as soon as starting failed, with 1.
//!
//! There is no fork: the program starts itself again, and the two talk over the second's standard
//! output. Forking a process would need `unsafe`, and must happen before its first thread anyway.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Marks the second process.
const BEHIND: &str = "FOREBAY_NGINX_BEHIND";

/// Whether this is the process behind another.
pub fn is_behind() -> bool {
    std::env::var_os(BEHIND).is_some()
}

/// Starts the process behind this one, from where this one was called, and waits until it serves; `false`: it has said
/// why not.
pub fn launch(called_in: &Path) -> io::Result<bool> {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let mut behind = Command::new(std::env::current_exe()?)
        .arg0(name)
        .args(arguments)
        .current_dir(called_in)
        .env(BEHIND, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut word = [0];
    let serves = match &mut behind.stdout {
        Some(out) => out.read(&mut word)? == 1,
        None => false,
    };
    if !serves {
        behind.wait()?;
    }
    Ok(serves)
}

/// Leaves the terminal and the session of whoever called.
pub fn leave_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// Says that it serves, and lets go of the caller's standard streams. What is written to standard
/// error from now on goes to the error log, where there is a file.
pub fn serving(error_log: Option<&File>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(b"+")?;
    out.flush()?;
    let nowhere = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nowhere)?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    rustix::stdio::dup2_stderr(error_log.unwrap_or(&nowhere))?;
    Ok(())
}
