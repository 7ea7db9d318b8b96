//! nginx and forebay-proxy as child processes: started, awaited, stopped.

use std::fs::File;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::replay::stage::Ports;

const START_MAX: Duration = Duration::from_secs(20);
const STOP_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub struct Program {
    name: &'static str,
    child: Child,
}

impl Program {
    pub fn nginx(
        binary: &Path,
        folder: &Path,
        file: &Path,
        ports: &Ports,
    ) -> anyhow::Result<Program> {
        let mut command = Command::new(binary);
        command.arg("-p").arg(folder).arg("-c").arg(file).arg("-e").arg(folder.join("error.log"));
        start("nginx", command, &folder.join("nginx.said"), ports)
    }

    pub fn proxy(
        binary: &Path,
        folder: &Path,
        file: &Path,
        ports: &Ports,
    ) -> anyhow::Result<Program> {
        let mut command = Command::new(binary);
        command.arg("run").arg(file);
        start("forebay-proxy", command, &folder.join("proxy.said"), ports)
    }

    /// Asks it to end, and ends it when it does not.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let deadline = Instant::now() + STOP_MAX;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.end();
        }
    }
}

fn start(
    name: &'static str,
    mut command: Command,
    said: &PathBuf,
    ports: &Ports,
) -> anyhow::Result<Program> {
    let output = File::create(said).context("the replay's folder cannot be written")?;
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let child = command
        .spawn()
        .with_context(|| format!("{name} cannot be started as {program}; name it by --{name}"))?;
    let mut running = Program { name, child };
    let deadline = Instant::now() + START_MAX;
    for port in ports.values() {
        while TcpStream::connect(port).is_err() {
            let ended = running.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let said = std::fs::read_to_string(said).unwrap_or_default();
                bail!("{} did not start:\n{said}", running.name);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
    Ok(running)
}
