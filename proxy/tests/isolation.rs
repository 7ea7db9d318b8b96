//! Where work runs: large bodies of lanes of low priority on threads of their own.

use std::fs;
use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use tokio::net::TcpStream;

use crate::harness::{Proxy, eventually};
use crate::http2::{ask, http2, run};
use crate::origin::Origin;

const BODY_BYTES: usize = 4 << 20;
/// Steps of nice between the two kinds of threads.
const STEPS: i64 = 10;

/// Answers every request with the same large body, which may be stored.
fn films() -> Origin {
    let body = "x".repeat(BODY_BYTES);
    Origin::start(move |exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n")
            && exchange.write(format!("Content-Length: {}\r\n\r\n", body.len()))
            && exchange.write(&body)
    })
}

fn sections(origin: SocketAddr, bulk: &str) -> String {
    format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{origin}' }} ] }} }}
caches: {{ m: {{ memory_max: 64MiB, object_memory_max: 16MiB }} }}
cache_policies: {{ p: {{ cache: m }} }}
routes:
  - {{ name: kept, match: {{ paths: [ {{ prefix: /kept/ }} ] }}, upstream: u, lane: bulk, cache_policy: p }}
  - {{ name: films, match: {{ paths: [ {{ prefix: /film/ }} ] }}, upstream: u, lane: bulk }}
  - {{ name: all, upstream: u }}
lanes: {{ bulk: {{ {bulk} }} }}"
    )
}

/// Threads of a name: nice value and nanoseconds on a processor, of each.
fn threads(proxy: &Proxy, name: &str) -> Vec<(i64, u64)> {
    let tasks = fs::read_dir(format!("/proc/{}/task", proxy.pid())).unwrap();
    tasks
        .filter_map(|task| {
            let task = task.unwrap().path();
            // A thread may end while it is looked at.
            let read = |file| fs::read_to_string(task.join(file)).ok();
            let stat = read("stat")?;
            let (before, after) = stat.rsplit_once(") ")?;
            let nice = after.split(' ').nth(16)?.parse().ok()?;
            let nanoseconds = read("schedstat")?.split(' ').next()?.parse().ok()?;
            before.ends_with(&format!("({name}")).then_some((nice, nanoseconds))
        })
        .collect()
}

fn busy(proxy: &Proxy, name: &str) -> u64 {
    threads(proxy, name).iter().map(|(_, nanoseconds)| nanoseconds).sum()
}

/// Whether the bulk threads did most of the work.
fn is_done_by_bulk(proxy: &Proxy, work: impl FnOnce()) -> bool {
    let before = (busy(proxy, "bulk"), busy(proxy, "latency"));
    work();
    let bulk = busy(proxy, "bulk") - before.0;
    let latency = busy(proxy, "latency") - before.1;
    bulk > latency
}

fn get(proxy: &Proxy, path: &str) {
    let response = proxy.get(path);
    assert_eq!((response.status, response.whole), (200, true), "{path}");
    assert_eq!(response.body.len(), BODY_BYTES, "{path}");
}

#[test]
fn large_bodies_of_the_bulk_lane_have_threads_of_their_own() {
    let origin = films();
    let proxy = Proxy::start(&sections(origin.address, ""));
    let (bulk, latency) = (threads(&proxy, "bulk"), threads(&proxy, "latency"));
    assert!(!bulk.is_empty() && bulk.len() == latency.len());
    assert_eq!(bulk[0].0 - latency[0].0, STEPS);
    assert_eq!(proxy.metric("forebay_proxy_bulk_nice_steps"), 10.0);

    // Several: the first request of a process does once what is not about bodies.
    let films = || (0..8).for_each(|_| get(&proxy, "/film/1"));
    assert!(is_done_by_bulk(&proxy, films), "passing through");
    assert!(is_done_by_bulk(&proxy, || get(&proxy, "/kept/1")), "a fill and its reader");
    assert!(is_done_by_bulk(&proxy, || (0..16).for_each(|_| get(&proxy, "/kept/1"))), "hits");
    assert!(!is_done_by_bulk(&proxy, || get(&proxy, "/page")), "another lane");
    let hits = "forebay_proxy_cache_requests_total{cache=\"m\",result=\"hit\"}";
    assert_eq!(proxy.metric(hits), 16.0);
}

#[test]
fn priority_is_the_documents_to_say_and_a_reload_changes_it() {
    let origin = films();
    let proxy = Proxy::start(&sections(origin.address, "priority: normal"));
    assert!(!is_done_by_bulk(&proxy, || get(&proxy, "/film/1")));
    proxy.rewrite(&sections(origin.address, "priority: low"));
    assert!(proxy.reload());
    assert!(is_done_by_bulk(&proxy, || get(&proxy, "/film/2")));
}

#[test]
fn a_process_that_has_no_lower_priority_says_so_and_serves() {
    let origin = films();
    let proxy = Proxy::at_lowest_priority(&sections(origin.address, ""));
    assert_eq!(proxy.metric("forebay_proxy_bulk_nice_steps"), 0.0);
    proxy.says("lowest priority there is (nice 19)");
    assert_eq!(proxy.stderr().matches("bulk bodies run at the priority").count(), 1);
    assert!(is_done_by_bulk(&proxy, || get(&proxy, "/film/1")), "threads are still its own");
}

/// Asks for a film and for a page at once on one HTTP/2 connection; both must be whole.
#[test]
fn http2_connections_may_mix_lanes() {
    let origin = films();
    let proxy = Proxy::start(&sections(origin.address, ""));
    let get = |path: &str| Request::get(format!("http://a.example{path}")).body(()).unwrap();
    let whole = |(status, bytes): (http::StatusCode, Vec<u8>)| {
        assert_eq!((status.as_u16(), bytes.len()), (200, BODY_BYTES));
    };
    let connect = || async { http2(TcpStream::connect(proxy.public).await.unwrap()).await };
    let only_bulk = is_done_by_bulk(&proxy, || {
        run(async {
            let mut sender: h2::client::SendRequest<Bytes> = connect().await;
            for _ in 0..2 {
                whole(ask(&mut sender, get("/film/1")).await);
            }
        });
    });
    assert!(only_bulk, "a connection of bulk alone goes where its requests go");
    run(async {
        let mut sender: h2::client::SendRequest<Bytes> = connect().await;
        let mut other = sender.clone();
        let (film, page) =
            tokio::join!(ask(&mut sender, get("/film/1")), ask(&mut other, get("/page")));
        whole(film);
        whole(page);
        whole(ask(&mut sender, get("/kept/1")).await);
    });
    let line =
        |path: &str| eventually(path, || proxy.log().into_iter().find(|l| l["path"] == path));
    assert_eq!(line("/page")["lane"], "interactive");
    assert_eq!(line("/kept/1")["bytes_out"], BODY_BYTES);
}
