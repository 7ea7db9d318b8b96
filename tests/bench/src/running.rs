//! A peer under way in a folder of its own, on the proxy's processor.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use proxy_load::account::Account;
use proxy_load::origin::Origin;
use proxy_load::processors::Split;
use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process, setrlimit};

use crate::peer::{Peer, Places, Reload, fill_in};
use crate::secure;

const START_MAX: Duration = Duration::from_secs(20);
const STOP_MAX: Duration = Duration::from_secs(10);
/// Where Debian keeps servers.
const MORE_PATH: &str = "/usr/sbin:/usr/local/sbin";

/// What all measurements share.
pub struct Bench {
    pub origin: Origin,
    pub split: Split,
    /// Where this project's own programs are.
    pub programs: PathBuf,
    /// Length of a measurement.
    pub duration: Duration,
    /// Certificate and key of peers that speak TLS.
    pub certificate: (String, String),
}

impl Bench {
    /// Without `programs` they are beside the program that runs.
    pub fn new(programs: Option<&Path>, duration: Duration) -> Result<Bench> {
        raise_files_max();
        let own = std::env::current_exe().context("this program has no path")?;
        let programs = programs.or(own.parent()).map(PathBuf::from).unwrap_or_default();
        let split = Split::one_for_the_proxy();
        split.load_here();
        let (origin, certificate) = (Origin::start().context("no origin")?, secure::certificate()?);
        Ok(Bench { origin, split, programs, duration, certificate })
    }

    /// A command with this project's programs and the system's servers on its path.
    pub fn command(&self, words: &[String], places: &Places) -> Command {
        let words: Vec<String> = words.iter().map(|word| fill_in(word, places)).collect();
        let path = std::env::var("PATH").unwrap_or_default();
        let (program, arguments) = words.split_first().map_or(("", &[][..]), |(a, b)| (a, b));
        let mut command = Command::new(self.which(program, &path));
        command.args(arguments).env("PATH", format!("{path}:{MORE_PATH}"));
        command
    }

    fn which(&self, program: &str, path: &str) -> PathBuf {
        let folders = [self.programs.as_path()].into_iter().chain(path.split(':').map(Path::new));
        let folders = folders.chain(MORE_PATH.split(':').map(Path::new));
        let found = folders.map(|folder| folder.join(program)).find(|file| file.is_file());
        found.unwrap_or_else(|| PathBuf::from(program))
    }

    /// The first line that says a version; none when the program is not there.
    pub fn version(&self, peer: &Peer) -> Option<String> {
        let output = self.command(&peer.version, &Places::new()).output().ok()?;
        let said = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&said);
        let line = text.lines().find(|line| line.chars().any(|c| c.is_ascii_digit()))?;
        Some(line.chars().take(60).collect())
    }
}

/// As many connections as the kernel lets this process have, and the peers that it starts.
fn raise_files_max() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Refused, connections fail and say so.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// It runs for as long as this lives.
pub struct Running<'a> {
    pub bench: &'a Bench,
    peer: &'a Peer,
    pub address: SocketAddr,
    pub tls_address: SocketAddr,
    child: Child,
    folder: tempfile::TempDir,
    places: Places,
}

impl<'a> Running<'a> {
    pub fn start(bench: &'a Bench, peer: &'a Peer, workload: &str) -> Result<Running<'a>> {
        Running::start_before(bench, peer, workload, bench.origin.address)
    }

    /// The same before another origin.
    pub fn start_before(
        bench: &'a Bench,
        peer: &'a Peer,
        workload: &str,
        origin: SocketAddr,
    ) -> Result<Running<'a>> {
        Running::start_with(bench, peer, workload, origin, Places::new())
    }

    /// The same with more places that its files may name.
    pub fn start_with(
        bench: &'a Bench,
        peer: &'a Peer,
        workload: &str,
        origin: SocketAddr,
        more: Places,
    ) -> Result<Running<'a>> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        // Let go at once: another may take it, and then the start fails and says so.
        let free = || TcpListener::bind(("127.0.0.1", 0)).and_then(|free| free.local_addr());
        let (address, tls_address) = (free()?, free()?);
        let mut places = more;
        places.extend([
            ("@FOLDER@", folder.path().display().to_string()),
            ("@PORT@", address.port().to_string()),
            ("@TLS_PORT@", tls_address.port().to_string()),
            ("@ORIGIN@", origin.to_string()),
            ("@ORIGIN_PORT@", origin.port().to_string()),
        ]);
        open_to_all(folder.path())?;
        let (certificate, key) = &bench.certificate;
        let pems = [("cert.pem", certificate.clone()), ("key.pem", key.clone())];
        let both = ("both.pem", format!("{certificate}{key}"));
        let pems = pems.into_iter().chain([both]).map(|(name, text)| (name.to_owned(), text));
        let files = peer.files(workload, &places);

        for (name, text) in pems.chain(files) {
            let file = folder.path().join(name);
            let parent = file.parent().context("a file has a folder")?;
            fs::create_dir_all(parent)?;
            open_to_all(parent)?;
            fs::write(file, text)?;
        }
        let child = spawn(bench, peer, folder.path(), &places)?;
        let mut running = Running { bench, peer, address, tls_address, child, folder, places };
        running.wait().with_context(|| format!("{} does not start", peer.name))?;
        Ok(running)
    }

    fn said(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("bench.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn wait(&mut self) -> Result<()> {
        let begun = Instant::now();
        while self.get("/film/10/ready").is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}: {}", self.said());
            }
            ensure!(begun.elapsed() < START_MAX, "no answer: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Asks once; an error when the answer is not 200.
    pub fn get(&self, path: &str) -> Result<()> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(START_MAX))?;
        let head = format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let line = String::from_utf8_lossy(&answer[..answer.len().min(40)]).into_owned();
        ensure!(line.starts_with("HTTP/1.1 200 "), "{path}: {line}");
        Ok(())
    }

    pub fn account(&self) -> Account {
        Account::of(self.child.id())
    }

    /// Tells it to take its configuration over again; `false` when it has no such thing.
    pub fn reload(&self) -> Result<bool> {
        match &self.peer.reload {
            None => return Ok(false),
            Some(Reload::Signal(name)) => {
                let signal = match name.as_str() {
                    "HUP" => Signal::HUP,
                    "USR2" => Signal::USR2,
                    name => bail!("unknown signal {name}"),
                };
                kill_process(self.pid()?, signal)?;
            }
            Some(Reload::Command(words)) => {
                let mut command = self.bench.command(words, &self.places);
                let output = command.current_dir(self.folder.path()).output()?;
                ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
        }
        Ok(true)
    }

    /// Stops it in good order and starts it again on the same folder.
    pub fn restart(&mut self) -> Result<()> {
        kill_process(self.pid()?, Signal::TERM)?;
        let begun = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(begun.elapsed() < STOP_MAX, "it does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child = spawn(self.bench, self.peer, self.folder.path(), &self.places)?;
        self.wait()
    }

    fn pid(&self) -> Result<Pid> {
        Pid::from_raw(i32::try_from(self.child.id())?).context("a child has a number")
    }
}

/// A peer that is started by root may go on as another user.
fn open_to_all(folder: &Path) -> Result<()> {
    let all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(folder, all).with_context(|| folder.display().to_string())
}

fn spawn(bench: &Bench, peer: &Peer, folder: &Path, places: &Places) -> Result<Child> {
    let log = fs::File::options().create(true).append(true).open(folder.join("bench.log"))?;
    let mut command = bench.command(&peer.run, places);
    command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // A group of its own, to be ended as one.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let spawned = bench.split.with_proxy(|| command.spawn());
    spawned.with_context(|| format!("{} cannot be started", peer.name))
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Ok(group) = self.pid() {
            // Ended already is ended enough.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
