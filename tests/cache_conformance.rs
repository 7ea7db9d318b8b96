//! The public HTTP cache test suite (`http-cache-tests` of npm, cache-tests.fyi) through a proxy with a
//! cache policy that says nothing but where answers are kept.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use system_tests::binaries::{self, repository};

/// How long the proxy may take to start; never a measurement.
const PATIENCE: Duration = Duration::from_secs(60);

/// Required tests that fail: each was turned around, or made a question, after this release of the suite, of
/// which all required tests pass (docs/decisions/0012). Nothing else may fail, and not otherwise than by its [`reason`].
///
/// The first has a 304 with another strong `ETag` freshen what is stored; RFC 9111 section 4.3.4 forbids it. Nine
/// want an answer thrown away for its `Age`. Section 5.1 has one that is no number ignored, and of several the
/// first count. The other four have the origin close the connection instead of
/// answering for what must not be used stale: this release takes every answer but the origin's for a stored
/// one, this proxy's 502 too, which `proxy/tests/caching.rs` looks at.
const SUPERSEDED: [&str; 14] = [
    OTHER_VERSION,
    "age-parse-dup-0",
    "age-parse-dup-0-twoline",
    "age-parse-dup-old",
    "age-parse-float",
    "age-parse-negative",
    "age-parse-nonnumeric",
    "age-parse-numeric-parameter",
    "age-parse-parameter",
    "age-parse-prefix-twoline",
    "stale-close-must-revalidate",
    "stale-close-no-cache",
    "stale-close-proxy-revalidate",
    "stale-close-s-maxage=2",
];

const OTHER_VERSION: &str = "304-etag-update-response-ETag";

/// What the suite says of each of them.
fn reason(id: &str) -> Value {
    Value::from(match id {
        // Its second request is asked about, and then for.
        OTHER_VERSION => "Setup: retry",
        _ => "Assertion: Response 2 comes from cache",
    })
}

/// Passes of this version of the suite.
const REQUIRED: u64 = 143;
const OPTIMAL: u64 = 79;

/// A process that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn suite() -> PathBuf {
    let folder = repository().join("tests/cache-tests");
    assert!(
        folder.join("node_modules/http-cache-tests").exists(),
        "the cache test suite is not installed: run `tools/install.sh test` once, with access to an npm registry"
    );
    folder
}

fn node(folder: &Path, script: &str) -> Command {
    let mut command = Command::new("node");
    command.arg("--no-warnings").arg(script).current_dir(folder);
    command
}

/// The suite's own origin, and its address.
fn origin(folder: &Path) -> (Ended, SocketAddr) {
    let mut command = node(folder, "origin.mjs");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("node is installed by `make test`");
    let stdout = child.stdout.take().expect("it is piped");
    let ended = Ended(child);
    let mut port = String::new();
    BufReader::new(stdout).read_line(&mut port).expect("it prints its port");
    let port: u16 = port.trim().parse().expect("a port");
    (ended, SocketAddr::from(([127, 0, 0, 1], port)))
}

/// A proxy before this origin, and its address.
fn proxy(folder: &Path, origin: SocketAddr) -> (Ended, SocketAddr) {
    let document = format!(
        "version: 1
listeners: {{ public: {{ address: '127.0.0.1:0' }} }}
admin: {{ address: '127.0.0.1:0' }}
upstreams: {{ suite: {{ servers: [ {{ address: '{origin}' }} ] }} }}
routes: [ {{ name: all, upstream: suite, cache_policy: plain }} ]
cache_policies: {{ plain: {{ cache: main }} }}
caches: {{ main: {{ memory_max: 64MiB }} }}
"
    );
    std::fs::write(folder.join("proxy.yaml"), document).expect("it is writable");
    let mut command = binaries::command("forebay-proxy");
    command.args(["run", "proxy.yaml", "--addresses-file", "addresses.json"]).current_dir(folder);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    let ended = Ended(child);
    let deadline = Instant::now() + PATIENCE;
    let text = loop {
        if let Ok(text) = std::fs::read(folder.join("addresses.json")) {
            break text;
        }
        assert!(Instant::now() < deadline, "the proxy never said where it listens");
        std::thread::sleep(Duration::from_millis(20));
    };
    let addresses: Value = serde_json::from_slice(&text).expect("it is JSON");
    let public = addresses["listeners"]["public"].as_str().expect("an address");
    (ended, public.parse().expect("an address"))
}

/// What the suite says of the proxy at this address.
fn judged(folder: &Path, proxy: SocketAddr) -> Value {
    let mut command = node(folder, "run.mjs");
    let output = command.arg(format!("http://{proxy}")).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[test]
fn nothing_that_is_required_of_a_cache_fails_but_what_is_listed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let suite = suite();
    let (_origin, at) = origin(&suite);
    let (_proxy, public) = proxy(folder.path(), at);
    let found = judged(&suite, public);
    let failed = found["required"]["failed"].as_object().expect("an object");
    let failed: Vec<_> = failed.iter().map(|(id, reason)| (id.as_str(), reason.clone())).collect();
    assert_eq!(failed, SUPERSEDED.map(|id| (id, reason(id))), "required tests that fail");
    let passed = |kind: &str| found[kind]["passed"].as_u64().expect("a number");
    assert!(passed("required") == REQUIRED, "{found:#}");
    assert!(passed("optimal") >= OPTIMAL, "{found:#}");
}
