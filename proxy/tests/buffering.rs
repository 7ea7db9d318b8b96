//! Bodies held by a policy between a fast side and a slow one.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::Client;
use crate::harness::{BINARY, PATIENCE, Proxy, eventually, upstream};
use crate::origin::{Exchange, Origin};
use crate::purging::TOKEN;

const MIB: usize = 1024 * 1024;

/// Bytes that are different wherever one looks.
fn pattern(length: usize) -> Vec<u8> {
    let mut state = 7_u32;
    let mut bytes = Vec::with_capacity(length);
    for _ in 0..length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.push(state.to_be_bytes()[0]);
    }
    bytes
}

/// One route `all` in lane bulk under a policy `p`; `more` stands beside.
fn document(origin: &Origin, policy: &str, more: &str) -> String {
    let to = upstream(&[origin.address]);
    format!(
        "upstreams: {{ u: {to} }}\nroutes: [ {{ name: all, upstream: u, lane: bulk, buffer_policy: p }} ]\n\
         buffer_policies: {{ p: {policy} }}\n{more}"
    )
}

fn spilling(folder: &tempfile::TempDir, bytes_max: &str) -> String {
    let path = folder.path().join("spill");
    format!(
        "lanes: {{ bulk: {{ spill: {{ path: {}, bytes_max: {bytes_max} }} }} }}",
        path.display()
    )
}

fn sends(bytes: Vec<u8>) -> Origin {
    Origin::start(move |exchange| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len());
        exchange.body().is_some() && exchange.write(head) && exchange.write(&bytes)
    })
}

/// An origin that never stops sending, and how much of it was taken from it.
fn endless() -> (Origin, Arc<AtomicU64>) {
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    let origin = Origin::start(move |exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 30000000000\r\n\r\n");
        while exchange.write([b'x'; 65536]) {
            counted.fetch_add(65536, Ordering::SeqCst);
        }
        false
    });
    (origin, sent)
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn bytes_held(at: &str) -> String {
    format!("forebay_proxy_buffer_bytes{{in=\"{at}\",policy=\"p\",way=\"responses\"}}")
}

#[test]
fn the_upstream_is_free_while_a_slow_client_still_reads() {
    let bytes = pattern(3 * MIB);
    let origin = sends(bytes.clone());
    let policy = "{ responses: { memory_max: 4MiB } }";
    let proxy = Proxy::start(&document(&origin, policy, ""));
    let mut slow = proxy.client();
    slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    // All of it is here; what the kernels hold is no longer counted.
    let held =
        || proxy.metric("forebay_proxy_buffered_bytes_total{policy=\"p\",way=\"responses\"}");
    eventually("all of the body", || (held() >= bytes.len() as f64).then_some(()));
    eventually("a free upstream", || {
        (proxy.metric("forebay_proxy_lane_origin_requests{lane=\"bulk\"}") == 0.0).then_some(())
    });
    let (_, connections) = (proxy.get("/other"), origin.connections());
    assert_eq!(connections, 1, "the connection was given back");
    assert_eq!(slow.response(false).unwrap().body, bytes);
    eventually("nothing held", || (proxy.metric(&bytes_held("memory")) == 0.0).then_some(()));
}

#[test]
fn what_does_not_fit_into_memory_spills_and_comes_back_byte_by_byte() {
    let bytes = pattern(9 * MIB + 12_345);
    let origin = sends(bytes.clone());
    let folder = tempfile::tempdir().unwrap();
    let policy = "{ responses: { mode: spill, memory_max: 128KiB } }";
    let proxy = Proxy::start(&document(&origin, policy, &spilling(&folder, "64MiB")));
    let mut slow = proxy.client();
    slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    let all = || proxy.metric("forebay_proxy_buffered_bytes_total{policy=\"p\",way=\"responses\"}");
    eventually("all of the body", || (all() >= bytes.len() as f64).then_some(()));
    assert!(proxy.metric(&bytes_held("memory")) <= 128.0 * 1024.0);
    assert!(proxy.metric("forebay_proxy_lane_spill_bytes{lane=\"bulk\"}") > 0.0);
    let names = std::fs::read_dir(folder.path().join("spill")).unwrap().count();
    assert_eq!(names, 0, "nothing is left behind however the proxy ends");
    let answer = slow.response(false).unwrap();
    assert!(answer.body == bytes, "{} of {}", answer.body.len(), bytes.len());
    eventually("the disk back", || {
        (proxy.metric("forebay_proxy_lane_spill_bytes{lane=\"bulk\"}") == 0.0).then_some(())
    });
}

/// What a disk cannot take, memory holds back: with 1 MiB of spill and 30 MiB to come.
#[test]
fn a_full_spill_makes_the_upstream_wait_and_fails_nothing() {
    let bytes = pattern(30 * MIB);
    let origin = sends(bytes.clone());
    let folder = tempfile::tempdir().unwrap();
    let policy = "{ responses: { mode: spill, memory_max: 128KiB } }";
    let proxy = Proxy::start(&document(&origin, policy, &spilling(&folder, "1MiB")));
    let mut slow = proxy.client();
    slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    let full = "forebay_proxy_lane_spill_failures_total{lane=\"bulk\",what=\"full\"}";
    eventually("a full spill", || (proxy.metric(full) > 0.0).then_some(()));
    assert!(proxy.metric(&bytes_held("disk")) <= MIB as f64);
    assert!(slow.response(false).unwrap().body == bytes);
}

/// 40 clients that read nothing, each offered 30 GB: the budget holds, and nothing touches the disk.
#[test]
fn slow_clients_never_hold_more_than_the_lane_has() {
    let (origin, sent) = endless();
    let folder = tempfile::tempdir().unwrap();
    let lane = format!(
        "lanes: {{ bulk: {{ memory_max: 48MiB, spill: {{ path: {}, bytes_max: 1GiB }} }} }}",
        folder.path().display()
    );
    let policy = "{ responses: { memory_max: 4MiB } }";
    let proxy = Proxy::start(&document(&origin, policy, &lane));
    let before = resident_kib(proxy.pid());
    let clients: Vec<Client> = (0..40)
        .map(|_| {
            let mut client = proxy.client();
            client.send("GET /film HTTP/1.1\r\nHost: a\r\n\r\n");
            client
        })
        .collect();
    let denied = "forebay_proxy_buffer_denials_total{policy=\"p\",way=\"responses\"}";
    eventually("a lane that is out", || (proxy.metric(denied) > 0.0).then_some(()));
    // Until nothing moves any more.
    let mut last = u64::MAX;
    eventually("rest", || {
        std::thread::sleep(Duration::from_millis(100));
        let now = sent.load(Ordering::SeqCst);
        (std::mem::replace(&mut last, now) == now).then_some(())
    });
    let budget = 48.0 * MIB as f64;
    assert!(proxy.metric("forebay_proxy_lane_memory_bytes{lane=\"bulk\"}") <= budget);
    assert!(proxy.metric(&bytes_held("memory")) <= budget);
    let grown = resident_kib(proxy.pid()).saturating_sub(before);
    // The rest is what forty connections are themselves, in a build without optimisation.
    assert!(grown < 60 * 1024, "{grown} KiB");
    assert_eq!(proxy.metric("forebay_proxy_lane_spilled_bytes_total{lane=\"bulk\"}"), 0.0);
    drop(clients);
    eventually("all memory back", || {
        (proxy.metric("forebay_proxy_lane_memory_bytes{lane=\"bulk\"}") == 0.0).then_some(())
    });
}

#[test]
fn a_slow_upload_does_not_hold_an_upstream() {
    let origin = Origin::start(|exchange| {
        let body = exchange.body().unwrap_or_default();
        let length = exchange.header("content-length").unwrap_or("none").to_owned();
        exchange.answer(&format!("{} {length}", body.len()))
    });
    let proxy = Proxy::start(&document(&origin, "{ requests: { memory_max: 1MiB } }", ""));
    let mut client = proxy.client();
    client.send("POST /u HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    let taken = "forebay_proxy_buffered_bytes_total{policy=\"p\",way=\"requests\"}";
    eventually("a part of the body", || (proxy.metric(taken) == 5.0).then_some(()));
    assert_eq!(origin.connections(), 0, "nobody is bothered before it is whole");
    client.send("6\r\n world\r\n0\r\n\r\n");
    assert_eq!(client.response(false).unwrap().text(), "11 11", "its length is known by now");
    assert_eq!(
        client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status,
        200,
        "the connection goes on"
    );
}

#[test]
fn a_whole_upload_is_sent_again_to_another_server() {
    let broken = Origin::start(|exchange| exchange.body().is_none());
    let good = Origin::start(|exchange| {
        let body = exchange.body().unwrap_or_default();
        let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
        exchange.answer(&format!("{} {sum}", body.len()))
    });
    let body = pattern(500_000);
    let folder = tempfile::tempdir().unwrap();
    let servers = upstream(&[broken.address, good.address]);
    let servers = servers.replace(" ] }", " ], retries: { on: [ reset ], budget: 100% } }");
    let sections = format!(
        "upstreams: {{ u: {servers} }}\nroutes: [ {{ name: all, upstream: u, lane: bulk, buffer_policy: p }} ]\n\
         buffer_policies: {{ p: {{ requests: {{ mode: spill, memory_max: 64KiB }} }} }}\n{}",
        spilling(&folder, "10MiB")
    );
    let proxy = Proxy::start(&sections);
    let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
    for _ in 0..2 {
        let mut client = proxy.client();
        client
            .send(format!("PUT /u HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
        client.send(&body);
        let answer = client.response(false).unwrap();
        assert_eq!(answer.text(), format!("500000 {sum}"));
    }
    assert!(broken.requests() > 0);
}

/// More than may be held: the rest follows as the upstream takes it.
#[test]
fn a_large_upload_passes_with_flat_memory_whether_it_is_held_or_not() {
    for policy in ["{ preset: upload }", "{ requests: { memory_max: 256KiB } }"] {
        let origin = Origin::start(|exchange: &mut Exchange<'_>| {
            let mut left = exchange.header("content-length").unwrap().parse::<usize>().unwrap();
            let mut sum = 0_u64;
            while left > 0 {
                let Some(part) = exchange.read(left.min(MIB)) else { return false };
                sum += part.iter().map(|byte| u64::from(*byte)).sum::<u64>();
                left -= part.len();
            }
            exchange.answer(&sum.to_string())
        });
        let proxy = Proxy::start(&document(&origin, policy, ""));
        assert_eq!(proxy.get("/warm").status, 502, "it has no length");
        let before = resident_kib(proxy.pid());
        let mut client = proxy.client();
        client.send(format!("POST /u HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 64 * MIB));
        let part = pattern(MIB);
        let mut peak = 0;
        for _ in 0..64 {
            client.send(&part);
            peak = peak.max(resident_kib(proxy.pid()).saturating_sub(before));
        }
        let sum: u64 = part.iter().map(|byte| u64::from(*byte)).sum();
        assert_eq!(client.response(false).unwrap().text(), (64 * sum).to_string(), "{policy}");
        assert!(peak < 16 * 1024, "{peak} KiB under {policy}");
    }
}

#[test]
fn an_answer_to_half_an_upload_reaches_the_client() {
    let origin = Origin::start(|exchange| {
        exchange.read(10);
        exchange
            .write("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!");
        false
    });
    let policy = "{ requests: { memory_max: 64KiB, spool: false } }";
    let proxy = Proxy::start(&document(&origin, policy, ""));
    let mut client = proxy.client();
    client.send("POST /u HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n0123456789");
    let answer = client.response(false).unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (413, "no!"));
    assert!(client.is_closed());
}

#[test]
fn an_upload_too_large_or_cut_short_never_reaches_the_upstream() {
    let origin = Origin::saying("ok");
    let to = upstream(&[origin.address]);
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {to} }}\nroutes: [ {{ name: all, upstream: u, buffer_policy: p, request_body_max: 8B }} ]\n\
         buffer_policies: {{ p: {{ preset: api }} }}"
    ));
    let mut client = proxy.client();
    client.send("POST /u HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n");
    assert_eq!(client.response(false).unwrap().status, 413);
    let mut client = proxy.client();
    client.send("POST /cut HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc");
    client.leave();
    assert_eq!(proxy.log_of("/cut")["error"], "client_gone");
    assert_eq!(origin.connections(), 0);
}

/// Money: an answer that breaks off is an error, not half an answer.
#[test]
fn an_answer_that_is_gathered_first_breaks_as_a_whole() {
    let origin = Origin::start(|exchange| {
        let cut = exchange.target() == "/cut";
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        !cut && exchange.write("world")
    });
    let proxy = Proxy::start(&document(&origin, "{ preset: transactional }", ""));
    assert_eq!(proxy.get("/whole").text(), "helloworld");
    let broken = proxy.get("/cut");
    assert_eq!((broken.status, broken.whole), (502, true));
    let streamed = Proxy::start(&document(&origin, "{ preset: live }", ""));
    let mut client = streamed.client();
    client.send("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n");
    let broken = client.response(false);
    assert!(broken.is_none_or(|answer| answer.status == 502 || !answer.whole));
}

#[test]
fn bytes_are_not_held_longer_than_they_must() {
    let (go_on, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let origin = Origin::start(move |exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc");
        told.lock().unwrap().recv_timeout(PATIENCE).is_ok() && exchange.write("def")
    });
    let proxy = Proxy::start(&document(&origin, "{ preset: live }", ""));
    let mut client = proxy.client();
    client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().unwrap().0, 200);
    assert_eq!(client.bytes(3), b"abc");
    go_on.send(()).unwrap();
    assert_eq!(client.bytes(3), b"def");
}

/// Values changed by the admin API hold for a body under way, which loses no byte by it.
#[test]
fn a_policy_is_tuned_while_a_body_is_under_way() {
    let bytes = pattern(20 * MIB);
    let origin = sends(bytes.clone());
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, TOKEN).unwrap();
    let admin = format!("tokens: [ {{ name: ops, file: '{}', role: operator }} ]", token.display());
    let policy = "{ responses: { mode: spill, memory_max: 128KiB, spill_max: 2MiB } }";
    let proxy = Proxy::with_admin(&admin, &document(&origin, policy, &spilling(&folder, "1GiB")));
    let mut slow = proxy.client();
    slow.send("GET /film HTTP/1.1\r\nHost: a\r\n\r\n");
    let all = || proxy.metric("forebay_proxy_buffered_bytes_total{policy=\"p\",way=\"responses\"}");
    let held = || proxy.metric(&bytes_held("memory")) + proxy.metric(&bytes_held("disk"));
    eventually("a full buffer", || (held() >= 2.0 * MIB as f64).then_some(()));
    assert!(held() <= 2.2 * MIB as f64);
    let tune = |sets: serde_json::Value| {
        let body = json!({ "set": sets }).to_string();
        let answer = Client::to(proxy.admin).ask(&format!(
            "POST /policies HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    tune(json!({ "buffer_policies.p.responses.spill_max": "64MiB" }));
    let mut got = vec![0; MIB];
    let mut stream = slow;
    let (status, _) = stream.head().unwrap();
    assert_eq!(status, 200);
    got.copy_from_slice(&stream.bytes(MIB));
    eventually("all of the body", || (all() >= bytes.len() as f64).then_some(()));
    tune(
        json!({ "buffer_policies.p.responses.mode": "memory", "buffer_policies.p.responses.spill_max": null }),
    );
    got.extend(stream.bytes(MIB));
    tune(
        json!({ "buffer_policies.p.responses.mode": "off", "buffer_policies.p.responses.memory_max": null }),
    );
    got.extend(stream.bytes(bytes.len() - 2 * MIB));
    assert!(got == bytes);
}

#[test]
fn a_pace_holds_for_answers_of_every_kind() {
    let origin = Origin::saying("x");
    let to = upstream(&[origin.address]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("film"), vec![1; 400_000]).unwrap();
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {to} }}\nroutes: [ {{ name: all, files: {{ root: {} }}, buffer_policy: p }} ]\n\
         buffer_policies: {{ p: {{ responses: {{ mode: off, pace: 200KB/s, pace_burst: 100KB }} }} }}",
        folder.path().display()
    ));
    let begun = Instant::now();
    assert_eq!(proxy.get("/film").body.len(), 400_000);
    assert!(begun.elapsed() >= Duration::from_millis(1000), "300 kB at 200 kB/s");
    // A machine that stands still for a while lets a burst go by each time.
    let paced = "forebay_proxy_buffer_paced_bytes_total{policy=\"p\",way=\"responses\"}";
    assert!(proxy.metric(paced) >= 100_000.0);
}

/// Calls of gRPC end in trailers: they are streamed whatever the policy says.
#[test]
fn what_talks_both_ways_is_not_held() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::start(&document(&origin, "{ preset: api }", ""));
    let call = "POST /call HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(proxy.client().ask(call).text(), "ok");
    let through = |way: &str| {
        proxy.metric(&format!("forebay_proxy_buffered_bytes_total{{policy=\"p\",way=\"{way}\"}}"))
    };
    assert_eq!((through("requests"), through("responses")), (0.0, 0.0));
    assert_eq!(proxy.client().ask(&call.replace("grpc", "json")).text(), "ok");
    assert_eq!((through("requests"), through("responses")), (2.0, 2.0));
}

#[test]
fn nothing_spills_onto_a_file_system_that_is_protected() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let document = format!(
        "version: 1\nlisteners: {{ p: {{ address: '127.0.0.1:0' }} }}\nadmin: {{ address: '127.0.0.1:0' }}\n\
         protected_paths: [ {} ]\nupstreams: {{ u: {{ servers: [ {{ address: '127.0.0.1:1' }} ] }} }}\n\
         routes: [ {{ name: all, upstream: u }} ]\n{}",
        ledger.display(),
        spilling(&folder, "1GiB")
    );
    std::fs::write(folder.path().join("proxy.yaml"), document).unwrap();
    let output =
        Command::new(BINARY).args(["run", "proxy.yaml"]).current_dir(folder.path()).output();
    let output = output.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(said.contains("lanes.bulk.spill.path") && said.contains("ledger"), "{said}");
    assert!(!folder.path().join("spill").exists(), "nothing was made");
}

/// The machine that held a body is the one that says from the log what it would have held.
#[test]
fn a_policy_is_tried_on_the_log_of_another() {
    let origin = sends(pattern(MIB));
    let policies =
        "{ responses: { memory_max: 4MiB } }, narrow: { responses: { memory_max: 64KiB } }";
    let proxy = Proxy::start(&document(&origin, policies, ""));
    for _ in 0..4 {
        assert_eq!(proxy.get("/film").body.len(), MIB);
    }
    eventually("the log", || (proxy.log().len() == 4).then_some(()));
    let output = Command::new(BINARY)
        .args(["simulate", "proxy.yaml", "--trace", "access.log", "-o", "json"])
        .args(["--buffer-policy", "p", "--buffer-policy", "narrow"])
        .current_dir(proxy.dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |index: usize, what: &str| told["buffer_policies"][index][what].as_u64().unwrap();
    assert_eq!((of(0, "bodies"), of(0, "bytes")), (4, 4 * MIB as u64));
    assert!(of(1, "memory_peak_bytes") <= 4 * 64 * 1024);
    let explained = Command::new(BINARY)
        .args(["explain", "proxy.yaml", "GET", "http://a.example/film", "--listener", "public"])
        .current_dir(proxy.dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8(explained.stdout).unwrap();
    assert!(said.contains("buffering p\n"), "{said}");
    assert!(said.contains("responses memory up to 4MiB; full at 4MiB, read on at 2MiB"), "{said}");
}
