//! The proxy under proof: this very program in a process of its own, with a document made for it.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use proxy_config::lane::{Lane, LaneName, LanePriority, Lanes};
use proxy_load::account::{Account, peak_memory};
use serde::Serialize;
use serde_json::{Value, json};

use super::fault::{ProveFault, system};

/// How long the proxy may take to start.
const START_MAX: Duration = Duration::from_secs(30);
/// The cache that holds the video: the budget its memory is held against.
pub const CACHE_BYTES: u64 = 64 << 20;
/// Requests at once that one lane for everything takes: it sheds nothing, as a proxy without lanes.
const SHARED_REQUESTS_MAX: u32 = 1_000_000;

/// How the proxy is set up.
pub struct Setup<'a> {
    pub origin: SocketAddr,
    pub lanes: &'a Lanes,
    /// All routes in one lane of normal priority: the proxy as if there were no lanes.
    pub shared: bool,
}

/// What the proxy's process used between two looks.
#[derive(Clone, Debug, Serialize)]
pub struct Used {
    pub cpu_seconds: f64,
    /// Resident at the second look.
    pub memory_bytes: u64,
    /// The most that was ever resident.
    pub memory_peak_bytes: Option<u64>,
    /// Written to storage.
    pub written_bytes: Option<u64>,
}

impl Used {
    pub fn since(&self, before: &Used) -> Used {
        let written = self.written_bytes.zip(before.written_bytes);
        Used {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            memory_bytes: self.memory_bytes,
            memory_peak_bytes: self.memory_peak_bytes,
            written_bytes: written.map(|(is, was)| is.saturating_sub(was)),
        }
    }
}

/// It runs for as long as this lives.
pub struct Subject {
    child: Child,
    pub address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Subject {
    /// On the processors of the calling thread.
    pub fn start(setup: &Setup<'_>) -> Result<Subject, ProveFault> {
        let folder = tempfile::tempdir().map_err(system("no temporary folder"))?;
        let path = |name: &str| folder.path().join(name);
        let document = document(setup).to_string();
        fs::write(path("proxy.yaml"), document).map_err(system("no document"))?;
        let log = fs::File::create(path("stderr")).map_err(system("no log"))?;
        let program = std::env::current_exe().map_err(system("this program has no path"))?;
        let child = Command::new(program)
            .args(["run", "proxy.yaml", "--addresses-file", "addresses.json"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(system("the proxy cannot be started"))?;
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut subject = Subject { child, address: unknown, _folder: folder };
        subject.address = subject.wait()?;
        Ok(subject)
    }

    fn wait(&mut self) -> Result<SocketAddr, ProveFault> {
        let begun = Instant::now();
        let folder = self._folder.path().to_owned();
        let said = || fs::read_to_string(folder.join("stderr")).unwrap_or_default();
        loop {
            match address(&folder.join("addresses.json")) {
                Some(address) => return Ok(address),
                None if begun.elapsed() > START_MAX => return Err(ProveFault::Proxy(said())),
                None => {}
            }
            if self.child.try_wait().map_err(system("the proxy is lost"))?.is_some() {
                return Err(ProveFault::Proxy(said()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn used(&self) -> Used {
        let Account { cpu_seconds, memory_bytes, written_bytes } = Account::of(self.child.id());
        let memory_peak_bytes = peak_memory(self.child.id());
        Used { cpu_seconds, memory_bytes, memory_peak_bytes, written_bytes }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // Ended already is ended enough.
        let _: io::Result<()> = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the proxy listens, once it has written that down.
fn address(file: &Path) -> Option<SocketAddr> {
    let addresses: Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    addresses["listeners"]["proof"].as_str()?.parse().ok()
}

/// JSON is YAML.
fn document(setup: &Setup<'_>) -> Value {
    let lane = |name: LaneName| if setup.shared { LaneName::Interactive } else { name };
    let mut lanes = setup.lanes.clone();
    if setup.shared {
        lanes = Lanes::default();
        lanes.interactive = Lane::of(SHARED_REQUESTS_MAX);
        lanes.interactive.priority = Some(LanePriority::Normal);
    }
    json!({
        "version": 1,
        "listeners": { "proof": { "address": "127.0.0.1:0" } },
        "admin": { "address": "127.0.0.1:0" },
        "access_log": { "path": "/dev/null" },
        "upstreams": { "origin": { "servers": [ { "address": setup.origin } ] } },
        "caches": { "video": { "memory_max": CACHE_BYTES, "object_memory_max": CACHE_BYTES / 2 } },
        "cache_policies": { "video": { "cache": "video" } },
        "routes": [
            {
                "name": "kept", "match": { "paths": [ { "prefix": "/kept/" } ] },
                "upstream": "origin", "cache_policy": "video", "lane": lane(LaneName::Bulk),
            },
            {
                "name": "film", "match": { "paths": [ { "prefix": "/film/" } ] },
                "upstream": "origin", "lane": lane(LaneName::Bulk),
            },
            { "name": "pay", "upstream": "origin", "lane": lane(LaneName::Transactions) },
        ],
        "lanes": lanes,
    })
}

#[cfg(test)]
mod tests {
    use proxy_config::{Config, Source};

    use super::*;

    #[test]
    fn the_proof_is_a_document_like_any_other() {
        let (mut lanes, origin) = (Lanes::default(), SocketAddr::from(([127, 0, 0, 1], 1)));
        lanes.bulk.requests_max = 7;
        for (shared, transactions) in
            [(false, LaneName::Transactions), (true, LaneName::Interactive)]
        {
            let text = document(&Setup { origin, lanes: &lanes, shared }).to_string();
            let source = Source { name: "proof".to_owned(), text };
            let config = Config::load(source).unwrap_or_else(|problems| panic!("{problems}"));
            assert_eq!(config.routes[2].lane, transactions);
            assert_eq!(config.lanes.bulk.requests_max == 7, !shared);
        }
    }
}
