//! A running proxy in a temporary directory.

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::client::{Client, Response};

/// How long anything may take before a test gives up; never a measure of speed.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The same for a start: under valgrind, or at the lowest priority there is, a busy machine takes its time.
const STARTING: Duration = Duration::from_secs(120);

/// The admin section of most.
const ADMIN: &str = "address: '127.0.0.1:0'";

pub const BINARY: &str = env!("CARGO_BIN_EXE_forebay-proxy");

/// Asks until the answer is something.
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, ask)
}

fn within<T>(patience: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// An address that refuses connections: bound, never listening, and kept, so that no other test
/// is given the port.
pub fn dead_address() -> SocketAddr {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = socket.local_addr().unwrap();
    std::mem::forget(socket);
    address
}

/// A port that nothing listens on yet, for a program that takes no port 0. It is bound and kept, so that no other test is
/// given it; whoever is to listen there may, as all do who set `SO_REUSEADDR`.
pub fn free_port() -> u16 {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let port = socket.local_addr().unwrap().port();
    std::mem::forget(socket);
    port
}

pub struct Proxy {
    child: Child,
    pub dir: tempfile::TempDir,
    pub public: SocketAddr,
    pub admin: SocketAddr,
}

impl Proxy {
    /// Starts the proxy on a document that is `sections` with a listener `public` (its settings
    /// are `listener`), the admin listener and an access log added, and waits until it serves.
    pub fn with_listener(listener: &str, sections: &str) -> Proxy {
        Proxy::launch(Command::new(BINARY), listener, ADMIN, sections)
    }

    /// A proxy whose process has the lowest priority there is, whatever that of the tests is.
    pub fn at_lowest_priority(sections: &str) -> Proxy {
        let mut command = Command::new("nice");
        command.args(["-n", "40", BINARY]);
        Proxy::launch(command, "", ADMIN, sections)
    }

    /// A proxy that this command starts, which is given the arguments of `run`.
    pub fn started_by(command: Command, sections: &str) -> Proxy {
        Proxy::launch(command, "", ADMIN, sections)
    }

    /// A proxy whose front door is open or not, whatever it is for the other tests.
    pub fn with_door(setting: &str, listener: &str, sections: &str) -> Proxy {
        let mut command = Command::new(BINARY);
        command.env("FOREBAY_FRONT_DOOR", setting);
        Proxy::launch(command, listener, ADMIN, sections)
    }

    /// The same with further settings of the admin listener.
    pub fn with_admin(admin: &str, sections: &str) -> Proxy {
        Proxy::with_admin_at(&format!("address: '127.0.0.1:0', {admin}"), sections)
    }

    /// A proxy with this admin section; one at a Unix socket has no address in `admin`.
    pub fn with_admin_at(admin: &str, sections: &str) -> Proxy {
        Proxy::launch(Command::new(BINARY), "", admin, sections)
    }

    /// The same with further settings of both.
    pub fn with_both(listener: &str, admin: &str, sections: &str) -> Proxy {
        Proxy::launch(
            Command::new(BINARY),
            listener,
            &format!("address: '127.0.0.1:0', {admin}"),
            sections,
        )
    }

    fn launch(mut command: Command, listener: &str, admin: &str, sections: &str) -> Proxy {
        let dir = tempfile::tempdir().unwrap();
        let head = format!(
            "version: 1\nlisteners: {{ public: {{ address: '127.0.0.1:0'{listener} }} }}\n\
             admin: {{ {admin} }}\naccess_log: {{ path: {} }}\n",
            dir.path().join("access.log").display(),
        );
        fs::write(dir.path().join("head.yaml"), &head).unwrap();
        fs::write(dir.path().join("proxy.yaml"), format!("{head}{sections}\n")).unwrap();
        let child = command
            .args(["run", "proxy.yaml", "--addresses-file", "addresses.json"])
            .current_dir(dir.path())
            .env_remove("FOREBAY_LOG")
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut proxy = Proxy { child, dir, public: unknown, admin: unknown };
        let file = proxy.path("addresses.json");
        let text = within(STARTING, "the addresses file", || {
            if let Some(status) = proxy.child.try_wait().unwrap() {
                panic!("the proxy ended with {status}: {}", proxy.stderr());
            }
            fs::read(&file).ok()
        });
        let addresses: Value = serde_json::from_slice(&text).unwrap();
        proxy.public = addresses["listeners"]["public"].as_str().unwrap().parse().unwrap();
        if let Ok(at) = addresses["admin"].as_str().unwrap().parse() {
            proxy.admin = at;
        }
        assert_eq!(addresses["pid"], proxy.child.id());
        proxy
    }

    pub fn start(sections: &str) -> Proxy {
        Proxy::with_listener("", sections)
    }

    /// One upstream `u` with these servers and a route `all` that takes everything to it.
    pub fn before(servers: &[SocketAddr]) -> Proxy {
        Proxy::start(&to(servers))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(self.path("stderr")).unwrap()
    }

    /// Waits until its log says this: what a metric counts may be told a moment later.
    pub fn says(&self, text: &str) {
        eventually(text, || self.stderr().contains(text).then_some(()));
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Replaces what was given as `sections`; takes effect with the next HUP.
    pub fn rewrite(&self, sections: &str) {
        let head = fs::read_to_string(self.path("head.yaml")).unwrap();
        fs::write(self.path("proxy.yaml"), format!("{head}{sections}\n")).unwrap();
    }

    /// Sends HUP and waits until it was obeyed; says whether the document was taken.
    pub fn reload(&self) -> bool {
        let counts = || {
            let count = |result| {
                self.metric(&format!("forebay_proxy_config_reloads_total{{result=\"{result}\"}}"))
            };
            (count("ok"), count("refused"))
        };
        let before = counts();
        self.signal(Signal::HUP);
        let after = eventually("a reload", || Some(counts()).filter(|now| *now != before));
        after.0 > before.0
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        eventually("the end of the proxy", || self.child.try_wait().unwrap())
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn client(&self) -> Client {
        Client::to(self.public)
    }

    pub fn get(&self, path: &str) -> Response {
        self.client().ask(&format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n"))
    }

    pub fn admin_get(&self, path: &str) -> Response {
        let request = format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
        Client::to(self.admin).ask(&request)
    }

    pub fn metrics(&self) -> String {
        self.admin_get("/metrics").text()
    }

    /// The value of a series as it stands in the exposition; 0 when it is not there.
    pub fn metric(&self, series: &str) -> f64 {
        let metrics = self.metrics();
        let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Lines of the access log so far.
    pub fn log(&self) -> Vec<Value> {
        let mut text = String::new();
        if let Ok(mut file) = fs::File::open(self.path("access.log")) {
            file.read_to_string(&mut text).unwrap();
        }
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The first line about this path.
    pub fn log_of(&self, path: &str) -> Value {
        eventually(path, || self.log().into_iter().find(|line| line["path"] == path))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("proxy's log:\n{}", self.stderr());
        }
    }
}

pub fn to(servers: &[SocketAddr]) -> String {
    format!("upstreams: {{ u: {} }}\nroutes: [ {{ name: all, upstream: u }} ]", upstream(servers))
}

pub fn upstream(servers: &[SocketAddr]) -> String {
    let servers: Vec<_> = servers.iter().map(|at| format!("{{ address: '{at}' }}")).collect();
    format!("{{ servers: [ {} ] }}", servers.join(", "))
}
