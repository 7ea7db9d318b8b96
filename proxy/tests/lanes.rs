use std::sync::Mutex;
use std::sync::mpsc::channel;

use crate::harness::{Proxy, eventually};
use crate::origin::Origin;

const IN_FLIGHT: &str = "forebay_proxy_lane_requests_in_flight{lane=\"bulk\"}";

fn start(origin: &Origin, requests_max: u32) -> Proxy {
    Proxy::start(&sections(origin, requests_max))
}

fn sections(origin: &Origin, requests_max: u32) -> String {
    with_budget(origin, requests_max, "")
}

fn with_budget(origin: &Origin, requests_max: u32, more: &str) -> String {
    format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{}' }} ] }} }}
caches: {{ m: {{ memory_max: 16MiB }} }}
cache_policies: {{ p: {{ cache: m, freshness: {{ ttl_default: 60s }} }} }}
routes:
  - {{ name: kept, match: {{ paths: [ {{ prefix: /kept/ }} ] }}, upstream: u, lane: bulk, cache_policy: p }}
  - {{ name: films, match: {{ paths: [ {{ prefix: /film/ }} ] }}, upstream: u, lane: bulk }}
  - {{ name: pay, upstream: u, lane: transactions }}
lanes: {{ bulk: {{ requests_max: {requests_max}{more} }} }}",
        origin.address
    )
}

/// Requests for films are held until the test says so; everything else is answered at once.
fn holding() -> (Origin, std::sync::mpsc::Sender<()>) {
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let origin = Origin::start(move |exchange| {
        if exchange.target().starts_with("/film/") {
            let _ = held.lock().unwrap().recv();
        }
        exchange.answer("ok")
    });
    (origin, release)
}

#[test]
fn a_full_lane_sheds_and_takes_nothing_from_another() {
    let (origin, release) = holding();
    let proxy = start(&origin, 2);
    let mut held: Vec<_> = (0..2).map(|_| proxy.client()).collect();
    for client in &mut held {
        client.send("GET /film/1 HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    origin.wait_for_requests(2);
    let shed = proxy.get("/film/2");
    assert_eq!((shed.status, shed.header("retry-after")), (503, Some("1")));
    assert_eq!(proxy.get("/pay").status, 200, "the lane of transactions has room");
    assert_eq!(proxy.metric(IN_FLIGHT), 2.0);
    assert_eq!(proxy.metric("forebay_proxy_lane_shed_total{lane=\"bulk\"}"), 1.0);
    let line = proxy.log_of("/film/2");
    assert_eq!((line["error"].as_str(), line["lane"].as_str()), (Some("lane_full"), Some("bulk")));
    drop(release);
    for client in &mut held {
        assert_eq!(client.response(false).unwrap().status, 200);
    }
    eventually("an empty lane", || (proxy.metric(IN_FLIGHT) == 0.0).then_some(()));
    assert_eq!(proxy.get("/film/3").status, 200);
}

#[test]
fn a_client_that_leaves_gives_its_place_back() {
    let (origin, _release) = holding();
    let proxy = start(&origin, 1);
    for round in 1..=3 {
        let mut client = proxy.client();
        client.send(format!("GET /film/{round} HTTP/1.1\r\nHost: a\r\n\r\n"));
        origin.wait_for_requests(round);
        client.leave();
        eventually("the place back", || (proxy.metric(IN_FLIGHT) == 0.0).then_some(()));
        let line = proxy.log_of(&format!("/film/{round}"));
        assert_eq!((line["aborted"].as_bool(), line["status"].as_u64()), (Some(true), None));
        assert_eq!(line["error"], "client_gone");
    }
}

#[test]
fn a_client_that_leaves_mid_body_closes_the_upstream_connection() {
    let (told, closed) = channel::<bool>();
    let told = Mutex::new(told);
    let origin = Origin::start(move |exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n");
        told.lock().unwrap().send(exchange.is_closed()).unwrap();
        false
    });
    let proxy = start(&origin, 1);
    let mut client = proxy.client();
    client.send("GET /film/1 HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head().unwrap();
    assert_eq!(client.chunk().unwrap(), b"hi");
    client.leave();
    assert!(closed.recv_timeout(crate::harness::PATIENCE).unwrap());
    eventually("the place back", || (proxy.metric(IN_FLIGHT) == 0.0).then_some(()));
    let line = proxy.log_of("/film/1");
    assert_eq!((line["aborted"].as_bool(), line["status"].as_u64()), (Some(true), Some(200)));
}

#[test]
fn a_reload_keeps_the_count_and_changes_the_limit() {
    let (origin, release) = holding();
    let proxy = start(&origin, 1);
    let mut held = proxy.client();
    held.send("GET /film/1 HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_for_requests(1);
    assert!(proxy.reload());
    assert_eq!(proxy.get("/film/2").status, 503, "the request of the old generation still counts");
    proxy.rewrite(&sections(&origin, 2));
    assert!(proxy.reload());
    assert_eq!(proxy.metric("forebay_proxy_lane_requests_max{lane=\"bulk\"}"), 2.0);
    let mut second = proxy.client();
    second.send("GET /film/3 HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_for_requests(2);
    drop(release);
    assert_eq!(held.response(false).unwrap().status, 200);
    assert_eq!(second.response(false).unwrap().status, 200);
}

fn waits(proxy: &Proxy, gate: &str, result: &str) -> f64 {
    let series = "forebay_proxy_lane_waits_total";
    proxy.metric(&format!("{series}{{for=\"{gate}\",lane=\"bulk\",result=\"{result}\"}}"))
}

fn wait_for_waiting(proxy: &Proxy, gate: &str, count: f64) {
    let series = format!("forebay_proxy_lane_waiting{{for=\"{gate}\",lane=\"bulk\"}}");
    eventually("requests that wait", || (proxy.metric(&series) == count).then_some(()));
}

#[test]
fn a_lane_lets_requests_wait_up_to_a_number() {
    let (origin, release) = holding();
    let queue = ", waiting_max: 1, waiting_time_max: 30s";
    let proxy = Proxy::start(&with_budget(&origin, 1, queue));
    let mut clients: Vec<_> = (0..2).map(|_| proxy.client()).collect();
    clients[0].send("GET /film/0 HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_for_requests(1);
    clients[1].send("GET /film/1 HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for_waiting(&proxy, "place", 1.0);
    assert_eq!(proxy.get("/film/2").status, 503, "the queue is full");
    assert_eq!(proxy.get("/pay").status, 200);
    drop(release);
    for client in &mut clients {
        assert_eq!(client.response(false).unwrap().status, 200);
    }
    assert_eq!(waits(&proxy, "place", "admitted"), 1.0);
    wait_for_waiting(&proxy, "place", 0.0);
}

#[test]
fn waiting_has_an_end_and_a_client_that_leaves_waits_no_longer() {
    let (origin, _release) = holding();
    let queue = ", waiting_max: 1, waiting_time_max: 50ms";
    let proxy = Proxy::start(&with_budget(&origin, 1, queue));
    let mut held = proxy.client();
    held.send("GET /film/0 HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_for_requests(1);
    let late = proxy.get("/film/1");
    assert_eq!((late.status, late.header("retry-after")), (503, Some("1")));
    assert_eq!(waits(&proxy, "place", "timed_out"), 1.0);
    proxy.rewrite(&with_budget(&origin, 1, ", waiting_max: 1, waiting_time_max: 30s"));
    assert!(proxy.reload());
    let mut leaving = proxy.client();
    leaving.send("GET /film/2 HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for_waiting(&proxy, "place", 1.0);
    leaving.leave();
    wait_for_waiting(&proxy, "place", 0.0);
    assert_eq!(waits(&proxy, "place", "left"), 1.0);
    assert_eq!(proxy.log_of("/film/2")["error"], "client_gone");
    assert_eq!(origin.requests(), 1);
}

#[test]
fn origins_are_asked_by_so_many_at_once_and_hits_ask_none() {
    let (origin, release) = holding();
    let proxy = Proxy::start(&with_budget(&origin, 10, ", origin_concurrency_max: 1"));
    let nobody_asks = || {
        eventually("nobody at the origin", || {
            (proxy.metric("forebay_proxy_lane_origin_requests{lane=\"bulk\"}") == 0.0).then_some(())
        });
    };
    assert_eq!(proxy.get("/kept/1").status, 200);
    // A fill gives its place back a moment after its answer's last byte.
    nobody_asks();
    let mut held = proxy.client();
    held.send("GET /film/0 HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_for_requests(2);
    assert_eq!(proxy.metric("forebay_proxy_lane_origin_requests{lane=\"bulk\"}"), 1.0);
    assert_eq!(proxy.get("/kept/1").status, 200, "a hit");
    assert_eq!(proxy.get("/kept/2").status, 503, "a miss");
    assert_eq!(proxy.get("/film/1").status, 503, "one that passes through");
    assert_eq!(proxy.get("/pay").status, 200);
    drop(release);
    assert_eq!(held.response(false).unwrap().status, 200);
    eventually("a miss that may ask", || (proxy.get("/kept/2").status == 200).then_some(()));
    nobody_asks();
}

#[test]
fn bandwidth_is_shared_by_what_passes_through_and_what_is_stored() {
    // So slow that no machine is slower.
    let body: &'static str = "x".repeat(200_000).leak();
    let origin = Origin::saying(body);
    let proxy = Proxy::start(&with_budget(&origin, 10, ", bandwidth_max: 200KB/s"));
    let paced = || proxy.metric("forebay_proxy_lane_paced_bytes_total{lane=\"bulk\"}");
    let begun = std::time::Instant::now();
    let mut before = 0.0;
    for path in ["/kept/1", "/kept/1", "/film/1"] {
        let response = proxy.get(path);
        assert_eq!((response.status, response.body.len(), response.whole), (200, body.len(), true));
    }
    assert!(paced() > before);
    before = paced();
    assert!(begun.elapsed() >= std::time::Duration::from_millis(1500), "600 kB at 200 kB/s");
    assert_eq!(proxy.get("/pay").body.len(), body.len());
    assert_eq!(paced(), before, "another lane is not held up");
}

#[test]
fn bandwidth_is_shared_by_what_the_proxy_asks_and_reads_by_itself() {
    // So slow that no machine is slower.
    let body: &'static str = "x".repeat(200_000).leak();
    let (origin, root) = (Origin::saying(body), tempfile::tempdir().unwrap());
    std::fs::create_dir(root.path().join("files")).unwrap();
    std::fs::write(root.path().join("files/film"), body).unwrap();
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{}' }} ] }} }}
routes:
  - {{ name: files, match: {{ paths: [ {{ prefix: /files/ }} ] }}, files: {{ root: {} }}, lane: bulk }}
  - {{ name: asked, upstream: u, lane: bulk, error_pages: [ {{ statuses: [5xx], path: /files/none, upstream_errors: true }} ] }}
lanes: {{ bulk: {{ requests_max: 9, bandwidth_max: 200KB/s }} }}",
        origin.address,
        root.path().display(),
    ));
    let mut before = 0.0;
    for path in ["/files/film", "/asked", "/files/film"] {
        let response = proxy.get(path);
        assert_eq!((response.status, response.body.len()), (200, body.len()), "{path}");
        let paced = proxy.metric("forebay_proxy_lane_paced_bytes_total{lane=\"bulk\"}");
        assert!(paced > before, "{path}: {paced} after {before}");
        before = paced;
    }
}

#[test]
fn a_lane_holds_no_more_requests_than_its_memory_can() {
    let (origin, release) = holding();
    let proxy = Proxy::start(&with_budget(&origin, 10, ", memory_max: 2MiB"));
    let held =
        |series| proxy.metric(&format!("forebay_proxy_lane_memory_{series}{{lane=\"bulk\"}}"));
    assert_eq!((held("bytes"), held("max_bytes")), (0.0, 2097152.0));
    let mut clients = Vec::new();
    let mut ask = || {
        let mut client = proxy.client();
        client.send("GET /film/1 HTTP/1.1\r\nHost: a\r\n\r\n");
        clients.push(client);
        origin.wait_for_requests(clients.len());
    };
    ask();
    // How much one takes is said where it is passed through.
    let each = held("bytes");
    assert!((2.0 * 65536.0..=1048576.0).contains(&each), "{each}");
    let most = (2097152.0 / each).floor();
    (1_u32..).map(f64::from).take_while(|count| *count < most).for_each(|_| ask());
    assert_eq!(held("bytes"), most * each);
    assert_eq!(proxy.get("/film/2").status, 503);
    assert_eq!(proxy.get("/pay").status, 200);
    drop(release);
    for client in &mut clients {
        assert_eq!(client.response(false).unwrap().status, 200);
    }
    eventually("memory that came back", || (held("bytes") == 0.0).then_some(()));
    assert_eq!(proxy.get("/kept/1").status, 200);
}

/// Bytes that the kernel holds unsent or unacknowledged on connections from this port (proc(5)).
fn queued(port: u16) -> u64 {
    let text = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let sockets = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let from_port = sockets.filter(|socket| socket[1].ends_with(&format!(":{port:04X}")));
    let queue =
        |socket: Vec<&str>| u64::from_str_radix(socket[4].split(':').next().unwrap(), 16).unwrap();
    // A socket that listens has its backlog there.
    from_port.filter(|socket| socket[3] == "01").map(queue).sum()
}

#[test]
fn the_kernel_keeps_little_for_a_client_that_does_not_read() {
    let body: &'static str = "x".repeat(32 << 20).leak();
    let origin = Origin::saying(body);
    let proxy = Proxy::start(&with_budget(&origin, 10, ""));
    let mut client = proxy.client();
    client.send("GET /film/1 HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head().unwrap();
    let port = proxy.public.port();
    let mut before = 0;
    // The client's own kernel takes some megabytes until its window is shut.
    let settled = eventually("a queue that grows no more", || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let now = queued(port);
        (now > 0 && now == std::mem::replace(&mut before, now)).then_some(now)
    });
    assert!(settled <= 192 * 1024, "{settled} bytes");
    client.leave();
}
