//! The engines the ledger runs on, each as a private server of the test: in a temporary folder, on a
//! free port, as an unprivileged user, gone with the test.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::raw::Raw;
use crate::running::DEADLINE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    MariaDb,
    Postgres,
}

/// A server, or for the embedded engine only a folder.
pub struct Server {
    pub engine: Engine,
    pub port: u16,
    pub directory: TempDir,
    child: Mutex<Option<Child>>,
    /// Command line settings, such as `--sync-binlog=0` or `-cfsync=off`.
    settings: Mutex<Vec<String>>,
    databases: AtomicUsize,
}

/// An empty database of its own.
#[derive(Clone, Debug)]
pub struct Database {
    pub engine: Engine,
    pub url: String,
    /// For what a service leaves beside it.
    pub directory: PathBuf,
}

/// Special characters, so that every test also shows that they arrive.
const PASSWORD: &str = "s:e/c@r%et";
const PASSWORD_IN_URL: &str = "s%3Ae%2Fc%40r%25et";

/// Runs the cases of a module on each engine, one server for all of them.
macro_rules! on_every_engine {
    ($($case:ident),+ $(,)?) => {
        async fn all_cases(engine: crate::engine::Engine) {
            let server = crate::engine::Server::start(engine, &[]).await;
            $(
                println!("{}", stringify!($case));
                Box::pin($case(&server)).await;
            )+
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn on_sqlite() {
            Box::pin(all_cases(crate::engine::Engine::Sqlite)).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn on_mariadb() {
            Box::pin(all_cases(crate::engine::Engine::MariaDb)).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn on_postgres() {
            Box::pin(all_cases(crate::engine::Engine::Postgres)).await;
        }
    };
}
pub(crate) use on_every_engine;

impl Server {
    pub async fn start(engine: Engine, settings: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // The server runs as somebody else, who must get through to its data.
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let server = Self {
            engine,
            port: free_port(),
            directory,
            child: Mutex::new(None),
            settings: Mutex::new(settings.iter().map(|s| (*s).to_owned()).collect()),
            databases: AtomicUsize::new(0),
        };
        if engine != Engine::Sqlite {
            copy(&template(engine), &server.path("data"));
            std::fs::create_dir(server.path("run")).unwrap();
            give_away(&server.path("run"));
            std::fs::write(server.path("users.sql"), format!("CREATE USER IF NOT EXISTS ledger IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON *.* TO ledger WITH GRANT OPTION;\n")).unwrap();
            server.launch().await;
        }
        server
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts the server on its data and waits until it answers.
    pub async fn launch(&self) {
        let began = Instant::now();
        loop {
            if self.child().is_none() {
                *self.child() = Some(self.spawn());
            }
            if Raw::connect(self.engine, &self.url("")).await.is_ok() {
                return;
            }
            // One that was killed may still hold its memory or its port for a moment.
            let ended = self.child().as_mut().unwrap().try_wait().unwrap().is_some();
            if ended {
                *self.child() = None;
            }
            let log = || std::fs::read_to_string(self.path("log")).unwrap();
            assert!(began.elapsed() < DEADLINE, "{:?} does not start: {}", self.engine, log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn spawn(&self) -> Child {
        let path = |name: &str| self.path(name).display().to_string();
        let mut command = match self.engine {
            Engine::Sqlite => panic!("the embedded engine has no server"),
            Engine::MariaDb => {
                let mut command = unprivileged("mariadbd");
                command.args(["--no-defaults", "--skip-name-resolve", "--bind-address=127.0.0.1"]);
                command.args(["--innodb-log-file-size=32M", "--innodb-buffer-pool-size=64M"]);
                command.arg(format!("--init-file={}", path("users.sql")));
                command.arg(format!("--datadir={}", path("data")));
                // A server that starts takes away what it finds of temporary tables in its folder, those of others too.
                command.arg(format!("--tmpdir={}", path("run")));
                command.arg(format!("--socket={}", path("run/mysqld.sock")));
                command.arg(format!("--pid-file={}", path("run/mysqld.pid")));
                command.arg(format!("--port={}", self.port));
                command
            }
            Engine::Postgres => {
                let mut command = unprivileged(&postgres("postgres"));
                command.args(["-D", &path("data"), "-k", &path("run"), "-h", "127.0.0.1"]);
                command.args(["-p", &self.port.to_string()]);
                // Once for the file system instead of once for each of a thousand files.
                command.arg("-crecovery_init_sync_method=syncfs");
                command
            }
        };
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        command.args(&*self.settings.lock().unwrap());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command.spawn().expect("the server is installed (tools/install.sh test)")
    }

    /// Ends the server in good order.
    pub fn stop(&self) {
        // PostgreSQL waits for its clients unless told to be fast.
        self.end(if self.engine == Engine::Postgres { "-INT" } else { "-TERM" });
    }

    /// Ends the server as a power failure would, except for what the kernel still writes.
    pub fn kill(&self) {
        self.end("-KILL");
    }

    fn end(&self, signal: &str) {
        if let Some(mut child) = self.child().take() {
            // PostgreSQL serves each connection by a process, which may outlive the first by a moment.
            let serving = children(child.id());
            let _ = Command::new("kill").arg(signal).arg(child.id().to_string()).status();
            let _ = child.wait();
            let began = Instant::now();
            while serving.iter().any(|process| is_alive(process)) && began.elapsed() < DEADLINE {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    pub fn set(&self, settings: &[&str]) {
        *self.settings.lock().unwrap() = settings.iter().map(|s| (*s).to_owned()).collect();
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap()
    }

    /// A URL of the server over TCP; without a database the one to administer from.
    pub fn url(&self, database: &str) -> String {
        self.url_at(self.port, database)
    }

    pub fn url_at(&self, port: u16, database: &str) -> String {
        let (scheme, default) = match self.engine {
            Engine::Sqlite => return format!("sqlite:{}", self.path(database).display()),
            Engine::MariaDb => ("mysql", "mysql"),
            Engine::Postgres => ("postgres", "postgres"),
        };
        let database = if database.is_empty() { default } else { database };
        format!("{scheme}://ledger:{PASSWORD_IN_URL}@127.0.0.1:{port}/{database}")
    }

    /// A new, empty database.
    pub async fn database(&self) -> Database {
        let name = format!("ledger{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let directory = self.path(&format!("{name}.d"));
        std::fs::create_dir(&directory).unwrap();
        let url = match self.engine {
            Engine::Sqlite => format!("sqlite:{}", directory.join("ledger.sqlite").display()),
            Engine::MariaDb | Engine::Postgres => {
                let mut server = Raw::connect(self.engine, &self.url("")).await.unwrap();
                server.execute(&format!("CREATE DATABASE {name}")).await.unwrap();
                server.close().await;
                self.url(&name)
            }
        };
        Database { engine: self.engine, url, directory }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Database {
    /// The last part of the URL.
    pub fn name(&self) -> &str {
        self.url.rsplit('/').next().unwrap()
    }

    /// A plain connection beside the service.
    pub async fn connect(&self) -> Raw {
        Raw::connect(self.engine, &self.url).await.unwrap()
    }

    /// Takes the lock of every batch away from the service, until the connection is closed.
    pub async fn stall(&self) -> Raw {
        let mut raw = self.connect().await;
        if self.engine == Engine::Sqlite {
            raw.execute("BEGIN IMMEDIATE").await.unwrap();
        } else {
            raw.execute("BEGIN").await.unwrap();
            raw.number("SELECT epoch FROM service WHERE id = 1 FOR UPDATE").await;
        }
        raw
    }

    /// How many transfers it holds.
    pub async fn transfers(&self) -> i64 {
        self.connect().await.number("SELECT count(*) FROM transfers").await
    }
}

/// Not of the range outgoing connections take theirs from: a client that knocks while the server is
/// away could otherwise meet itself there.
fn free_port() -> u16 {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    (first..32_000)
        .step_by(7)
        .chain(20_000..first)
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

/// The program as an ordinary user, killed by the kernel with the test itself.
fn unprivileged(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if is_root() {
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
    }
    command.arg("--").arg(program).current_dir("/");
    command
}

/// The processes that a process has started, as their folders in /proc.
fn children(of: u32) -> Vec<PathBuf> {
    let processes = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let parent = |process: &PathBuf| state(process)?.split(' ').nth(1)?.parse::<u32>().ok();
    processes.filter(|process| parent(process) == Some(of)).collect()
}

/// What ended and was not fetched yet is as good as gone.
fn is_alive(process: &Path) -> bool {
    state(process).is_some_and(|state| !state.starts_with('Z'))
}

/// What the kernel says of a process behind its name: state, parent and more (proc(5)).
fn state(process: &Path) -> Option<String> {
    let stat = std::fs::read_to_string(process.join("stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.to_owned())
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

fn give_away(path: &Path) {
    if is_root() {
        run(Command::new("chown").arg("nobody:nogroup").arg(path));
    }
}

/// PostgreSQL's programs are not on the PATH; the newest version is taken.
fn postgres(program: &str) -> String {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .expect("PostgreSQL is installed (tools/install.sh test)")
        .map(|version| version.unwrap().path().join("bin").join(program))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found.pop().expect("PostgreSQL is installed (tools/install.sh test)").display().to_string()
}

fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A freshly initialised data directory, made once and copied by every test.
fn template(engine: Engine) -> PathBuf {
    let shared = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let template =
        shared.join(format!("ledger-{engine:?}-{}", if is_root() { "root" } else { "user" }));
    let lock = File::create(shared.join(format!("ledger-{engine:?}.lock"))).unwrap();
    lock.lock().unwrap();
    if template.exists() {
        return template;
    }
    let made = tempfile::tempdir().unwrap();
    std::fs::set_permissions(made.path(), Permissions::from_mode(0o755)).unwrap();
    let data = made.path().join("data");
    std::fs::create_dir(&data).unwrap();
    give_away(&data);
    match engine {
        Engine::Sqlite => panic!("the embedded engine has no server"),
        Engine::MariaDb => run(unprivileged("mariadb-install-db")
            .args(["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal"])
            .arg("--innodb-log-file-size=32M")
            .arg(format!("--datadir={}", data.display()))),
        Engine::Postgres => {
            let password = made.path().join("password");
            std::fs::write(&password, PASSWORD).unwrap();
            run(unprivileged(&postgres("initdb"))
                .args(["--no-sync", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"])
                .args(["--username=ledger", "--pwfile"])
                .arg(&password)
                .arg("-D")
                .arg(&data));
        }
    }
    // Renamed last: a test that is stopped here leaves nothing half-made.
    let beside = template.with_extension("new");
    let _ = std::fs::remove_dir_all(&beside);
    copy(&data, &beside);
    std::fs::rename(&beside, &template).unwrap();
    template
}
