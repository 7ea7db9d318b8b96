//! What a request costs, counted in instructions by valgrind: the same on every machine, however busy. The builds
//! that tests run are not optimised, so the numbers say nothing about speed; that they grow says that something was
//! added to every request. Who adds it on purpose raises the number, and says so.

use std::process::Command;

use rustix::process::Pid;

use crate::client::Client;
use crate::harness::{BINARY, Proxy, eventually};
use crate::origin::Origin;

/// Requests that are counted, after as many that are not.
const REQUESTS: u64 = 100;
/// A count may be over its number by this share of it, in percent: allocation varies, and so does what timers do meanwhile.
const SLACK: u64 = 15;

/// A proxy whose instructions are counted, and the file that counts go to.
fn counted(origin: &Origin) -> Proxy {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=counts", BINARY]);
    command.env("FOREBAY_FRONT_DOOR", "on");
    Proxy::started_by(
        command,
        &format!(
            "upstreams: {{ u: {{ servers: [ {{ address: '{}' }} ] }} }}
caches: {{ main: {{ memory_max: 64MiB }} }}
cache_policies: {{ main: {{ cache: main, freshness: {{ ttl_default: 1h }} }} }}
routes:
  - {{ name: kept, match: {{ paths: [ {{ prefix: /kept/ }} ] }}, upstream: u, cache_policy: main }}
  - {{ name: passed, upstream: u }}",
            origin.address
        ),
    )
}

/// Instructions the process has run since they were last set to zero, which this does.
fn taken(proxy: &Proxy) -> u64 {
    let pid = Pid::from_raw(proxy.pid().cast_signed()).unwrap();
    let dumps = || {
        let files = proxy.dir.path().read_dir().unwrap().map(|file| file.unwrap().path());
        files.filter(|file| file.to_string_lossy().contains("counts.")).collect::<Vec<_>>()
    };
    let before = dumps().len();
    let dump = format!("{}", pid.as_raw_nonzero());
    let done = Command::new("callgrind_control").args(["-d", &dump]).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    eventually("the counts", || {
        let file = dumps().into_iter().max().filter(|_| dumps().len() > before)?;
        let text = std::fs::read_to_string(file).ok()?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "))?;
        total.trim().parse().ok()
    })
}

/// Instructions of one request for such paths, on a connection that stays.
fn of_one(proxy: &Proxy, client: &mut Client, path: impl Fn(u64) -> String) -> u64 {
    let mut ask = |from| {
        for number in from..from + REQUESTS {
            let request = format!("GET {} HTTP/1.1\r\nHost: a.example\r\n\r\n", path(number));
            let answer = client.ask(&request);
            assert_eq!((answer.status, answer.body.len()), (200, 1024));
        }
    };
    ask(0);
    taken(proxy);
    ask(REQUESTS);
    taken(proxy) / REQUESTS
}

#[test]
fn no_request_costs_more_than_it_did() {
    let origin = Origin::saying("x".repeat(1024).leak());
    let proxy = counted(&origin);
    let mut client = proxy.client();
    let mut held = |what, path: fn(u64) -> String, number| {
        let count = of_one(&proxy, &mut client, path);
        let most = number + number * SLACK / 100;
        assert!(count <= most, "{what}: {count} instructions instead of {number}");
        println!("{what}: {count} instructions, {number} expected");
    };
    held("a hit", |_| "/kept/always".to_owned(), 221_000);
    held("a miss that is stored", |number| format!("/kept/{number}"), 1_010_000);
    held("what passes through", |_| "/passed".to_owned(), 390_000);
}
