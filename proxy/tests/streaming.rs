use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use crate::caching::cached;
use crate::harness::{PATIENCE, Proxy, eventually, to};
use crate::origin::Origin;

#[test]
fn a_response_flows_as_it_is_made() {
    let (go_on, told) = channel::<()>();
    let told = Mutex::new(told);
    let origin = Origin::start(move |exchange| {
        let chunked = exchange.target() == "/chunked";
        let (head, parts) = if chunked {
            ("Transfer-Encoding: chunked", ["3\r\none\r\n", "3\r\ntwo\r\n", "0\r\n\r\n"])
        } else {
            ("Content-Length: 6", ["one", "two", ""])
        };
        exchange.write(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n"));
        for part in parts {
            told.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            exchange.write(part);
        }
        true
    });
    let proxy = Proxy::before(&[origin.address]);
    let mut client = proxy.client();
    for target in ["/chunked", "/counted"] {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        // The origin does not go on before the client has what it sent: nothing can be held back.
        assert_eq!(client.head().unwrap().0, 200);
        for part in ["one", "two"] {
            go_on.send(()).unwrap();
            let got = match target {
                "/chunked" => client.chunk().unwrap(),
                _ => client.bytes(3),
            };
            assert_eq!(got, part.as_bytes());
        }
        go_on.send(()).unwrap();
        if target == "/chunked" {
            assert_eq!(client.chunk().unwrap(), b"");
        }
    }
}

#[test]
fn a_request_flows_as_it_is_made() {
    let (saw, seen) = channel::<Vec<u8>>();
    let saw = Mutex::new(saw);
    let origin = Origin::start(move |exchange| {
        for _ in 0..2 {
            let part = exchange.read(5).unwrap();
            saw.lock().unwrap().send(part).unwrap();
        }
        exchange.answer("thanks")
    });
    let proxy = Proxy::before(&[origin.address]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), b"hello");
    client.send("world");
    assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), b"world");
    assert_eq!(client.response(false).unwrap().text(), "thanks");
}

#[test]
fn both_ways_at_once() {
    let origin = Origin::start(|exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..3 {
            let Some(part) = exchange.read(1) else { return false };
            exchange.write([b"1\r\n", &*part, b"\r\n"].concat());
        }
        exchange.write("0\r\n\r\n")
    });
    let proxy = Proxy::before(&[origin.address]);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
    client.head().unwrap();
    for part in [b"a", b"b", b"c"] {
        client.send(part);
        assert_eq!(client.chunk().unwrap(), part);
    }
    assert_eq!(client.chunk().unwrap(), b"");
}

/// Peak resident memory in KiB.
pub fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn large_bodies_are_never_held_whole() {
    const MIB: usize = 1 << 20;
    const SIZE: usize = 192 * MIB;
    let origin = Origin::start(|exchange| {
        if exchange.head.starts_with("PUT") {
            for _ in 0..SIZE / MIB {
                exchange.read(MIB).unwrap();
            }
            return exchange.answer("taken");
        }
        exchange.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"));
        let block = vec![7; MIB];
        (0..SIZE / MIB).all(|_| exchange.write(&block))
    });
    let proxy = Proxy::before(&[origin.address]);
    let before_kib = peak_kib(proxy.pid());
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head().unwrap();
    for _ in 0..SIZE / MIB {
        assert!(client.bytes(MIB).iter().all(|byte| *byte == 7));
    }
    client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n"));
    let block = vec![1; MIB];
    for _ in 0..SIZE / MIB {
        client.send(&block);
    }
    assert_eq!(client.response(false).unwrap().text(), "taken");
    let grown_kib = peak_kib(proxy.pid()) - before_kib;
    assert!(grown_kib < 32 * 1024, "{grown_kib} KiB for bodies of {} KiB", SIZE / 1024);
    let bytes = "forebay_proxy_response_body_bytes_total{lane=\"interactive\",route=\"all\"}";
    eventually("the bytes", || (proxy.metric(bytes) >= SIZE as f64).then_some(()));
}

#[test]
fn http10_clients_get_a_body_that_ends_with_the_connection() {
    let origin = Origin::start(|exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    });
    let proxy = Proxy::before(&[origin.address]);
    // Shorter than the HTTP/2 preface, on a listener that looks for it.
    let response = proxy.client().ask("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    assert_eq!(response.header("transfer-encoding"), None);
    let host = format!("host: {}\r\n", origin.address);
    assert!(origin.heads()[0].to_ascii_lowercase().contains(&host));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(|exchange| {
        let target = exchange.target().to_owned();
        exchange.answer(&target)
    });
    let proxy = Proxy::before(&[origin.address]);
    let mut client = proxy.client();
    let requests: String =
        (0..5).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.send(requests);
    for number in 0..5 {
        assert_eq!(client.response(false).unwrap().text(), format!("/{number}"));
    }
}

#[test]
fn interim_responses_are_passed_on() {
    let origin = Origin::start(|exchange| {
        exchange.write("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n");
        exchange.answer("ok")
    });
    let proxy = Proxy::before(&[origin.address]);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().unwrap().0, 103);
    assert_eq!(client.response(false).unwrap().text(), "ok");
}

/// HTTP/1.0 has no chunks: the end of the connection is the end of the answer, so it must not look like one.
#[test]
fn what_breaks_off_is_no_answer_for_clients_without_chunks_either() {
    let origin = Origin::start(|exchange| {
        let is_whole = exchange.target() == "/whole";
        exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
        if is_whole {
            exchange.write("0\r\n\r\n");
        }
        is_whole
    });
    let plain = to(&[origin.address]);
    for sections in
        [plain, cached(&origin, ""), cached(&origin, ", freshness: { ttl_default: 1h }")]
    {
        let proxy = Proxy::start(&sections);
        let read = |target: &str| {
            let mut stream = TcpStream::connect(proxy.public).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            write!(stream, "GET {target} HTTP/1.0\r\nHost: a.example\r\n\r\n").unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).map(|_| String::from_utf8(all).unwrap())
        };
        assert!(read("/whole").unwrap().ends_with("\r\n\r\none"));
        let broken = read("/broken");
        assert_eq!(broken.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(proxy.log_of("/broken")["aborted"], true);
    }
}
