use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::harness::{Proxy, dead_address, eventually, to, upstream};
use crate::origin::Origin;

/// The body must tell a client what to do and nothing about what stands behind.
fn says_nothing_about(secret: &str, response: &crate::client::Response) {
    let text = format!("{:?} {}", response.headers, response.text());
    assert!(!text.contains(secret) && !text.to_ascii_lowercase().contains("pingora"), "{text}");
    let problem = response.json();
    assert_eq!(problem["status"], response.status);
    assert_eq!(problem["request_id"].as_str(), response.header("x-request-id"));
}

#[test]
fn nobody_listening_is_502() {
    let server = dead_address();
    let proxy = Proxy::before(&[server]);
    let response = proxy.get("/gone");
    assert_eq!(response.status, 502);
    says_nothing_about(&server.port().to_string(), &response);
    let line = proxy.log_of("/gone");
    assert_eq!(
        (line["status"].as_u64(), line["error"].as_str()),
        (Some(502), Some("upstream_unreachable"))
    );
    assert_eq!(line["aborted"], false);
    let failures = "forebay_proxy_upstream_failures_total{kind=\"connect\",upstream=\"u\"}";
    assert_eq!(proxy.metric(failures), 1.0);
}

#[test]
fn silence_is_504() {
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let origin = Origin::start(move |_| held.lock().unwrap().recv().is_ok());
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{}' }} ], timeouts: {{ read: 100ms }} }} }}\n\
         routes: [ {{ name: all, upstream: u }} ]",
        origin.address
    ));
    let response = proxy.get("/slow");
    assert_eq!(response.status, 504);
    says_nothing_about(&origin.address.port().to_string(), &response);
    // It may still be on its way there when the time is over.
    origin.wait_for_requests(1);
    assert_eq!(origin.requests(), 1, "a request that may have been acted on is not repeated");
    drop(release);
}

/// A server whose queue of connections is full: the kernel drops further ones in silence.
fn deaf_server() -> (tokio::runtime::Runtime, tokio::net::TcpListener, Vec<std::net::TcpStream>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let context = runtime.enter();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    drop(context);
    let address = listener.local_addr().unwrap();
    let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200));
    let waiting = std::iter::from_fn(|| connect().ok()).take(64).collect();
    (runtime, listener, waiting)
}

#[test]
fn a_connection_that_is_not_taken_is_504() {
    let (_runtime, listener, waiting) = deaf_server();
    assert!(waiting.len() < 64, "the queue never filled");
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{}' }} ], timeouts: {{ connect: 100ms }} }} }}\n\
         routes: [ {{ name: all, upstream: u }} ]",
        listener.local_addr().unwrap()
    ));
    assert_eq!(proxy.get("/deaf").status, 504);
    let failures = "forebay_proxy_upstream_failures_total{kind=\"connect_timeout\",upstream=\"u\"}";
    assert_eq!(proxy.metric(failures), 1.0);
}

#[test]
fn a_server_that_is_down_does_not_flood_the_log() {
    let proxy = Proxy::before(&[dead_address()]);
    for _ in 0..200 {
        assert_eq!(proxy.get("/").status, 502);
    }
    let told = proxy.stderr().matches("request failed").count();
    assert!((1..200).contains(&told), "{told}");
    let failures = "forebay_proxy_upstream_failures_total{kind=\"connect\",upstream=\"u\"}";
    assert_eq!(proxy.metric(failures), 200.0);
}

#[test]
fn nonsense_is_502_and_not_repeated() {
    for answer in [
        "",
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
    ] {
        let origin = Origin::start(move |exchange| {
            exchange.write(answer);
            false
        });
        let proxy = Proxy::before(&[origin.address]);
        assert_eq!(proxy.get("/").status, 502, "{answer:?}");
        assert_eq!(origin.requests(), 1, "{answer:?}");
    }
}

#[test]
fn no_server_that_takes_requests_is_503() {
    let weights = [0, 1];
    let live = Origin::saying("ok");
    // The second server is there so that the document is valid; it fails to connect.
    let dead = dead_address();
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{}', weight: {} }}, {{ address: '{dead}', weight: {} }} ] }} }}\n\
         routes: [ {{ name: all, upstream: u }} ]",
        live.address, weights[0], weights[1]
    ));
    assert_eq!(proxy.get("/").status, 502);
    assert_eq!(live.requests(), 0, "weight 0 takes nothing, not even on failure");
}

#[test]
fn an_origin_that_dies_mid_body_never_looks_whole() {
    let heads = ["Content-Length: 10", "Transfer-Encoding: chunked"];
    for head in heads {
        let origin = Origin::start(move |exchange| {
            let body = if head.starts_with('C') { "hello" } else { "5\r\nhello\r\n" };
            exchange.write(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}"));
            false
        });
        let proxy = Proxy::before(&[origin.address]);
        let response = proxy.get("/torn");
        assert_eq!(
            (response.status, response.text().as_str(), response.whole),
            (200, "hello", false)
        );
        let line = proxy.log_of("/torn");
        assert_eq!(line["aborted"], true, "{line}");
        assert_eq!(
            (line["error"].as_str(), line["bytes_out"].as_u64()),
            (Some("upstream_broken"), Some(5))
        );
        assert_eq!(origin.requests(), 1);
    }
}

#[test]
fn another_server_is_tried_when_one_cannot_be_reached() {
    let live = Origin::saying("live");
    let proxy = Proxy::before(&[dead_address(), live.address]);
    for number in 0..4 {
        let path = format!("/{number}");
        let request = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
        let response = proxy.client().ask(&request);
        assert_eq!((response.status, response.text().as_str()), (200, "live"));
        let line = proxy.log_of(&path);
        assert_eq!(line["upstream_address"], live.address.to_string());
    }
    assert_eq!(live.requests(), 4);
    assert!(
        proxy.metric("forebay_proxy_upstream_retries_total{reason=\"connect\",upstream=\"u\"}")
            > 0.0
    );
}

/// Answers the first request of a connection, then closes as soon as the second has arrived: what
/// a client of a keep-alive connection sees when the server gives up at the wrong moment.
fn forgetful() -> Origin {
    let answered = Mutex::new(std::collections::HashSet::new());
    Origin::start(move |exchange| {
        let connection = exchange.peer();
        let first = answered.lock().unwrap().insert(connection);
        exchange.body();
        first && exchange.answer("ok")
    })
}

#[test]
fn a_stale_connection_is_replaced_once_for_idempotent_requests_only() {
    let origin = forgetful();
    let proxy = Proxy::before(&[origin.address]);
    // On one connection: a request is read when the one before has given its server's back.
    let mut client = proxy.client();
    let mut ask = |head: &str| client.ask(&format!("{head} HTTP/1.1\r\nHost: a\r\n\r\n")).status;
    assert_eq!(ask("GET /first"), 200);
    assert_eq!(ask("GET /second"), 200, "repeated on a fresh connection");
    assert_eq!((origin.requests(), origin.connections()), (3, 2));

    let origin = forgetful();
    let proxy = Proxy::before(&[origin.address]);
    let mut client = proxy.client();
    // Both with a body: what has none may be asked on another connection.
    let post = "POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(client.ask(post).status, 200);
    assert_eq!(client.ask(post).status, 502);
    assert_eq!(origin.requests(), 2, "a payment is never sent twice");
}

#[test]
fn an_origin_that_always_closes_is_asked_once() {
    let origin = Origin::start(|_| false);
    let proxy = Proxy::before(&[origin.address]);
    assert_eq!(proxy.get("/").status, 502);
    assert_eq!(origin.requests(), 1);
}

#[test]
fn a_taken_port_is_said_before_anything_starts() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("proxy.yaml");
    let text = format!(
        "version: 1\nlisteners: {{ public: {{ address: '{}' }} }}\nadmin: {{ address: '127.0.0.1:0' }}\n{}\n",
        taken.local_addr().unwrap(),
        to(&[dead_address()]),
    );
    std::fs::write(&file, text).unwrap();
    let output =
        std::process::Command::new(crate::harness::BINARY).arg("run").arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("listener `public`") && said.contains("another program"), "{said}");
}

#[test]
fn two_upstreams_fail_apart() {
    let live = Origin::saying("ok");
    let proxy = Proxy::start(&format!(
        "upstreams: {{ dead: {}, live: {} }}\nroutes:\n\
         - {{ name: a, match: {{ paths: [ {{ prefix: /dead/ }} ] }}, upstream: dead }}\n\
         - {{ name: b, upstream: live }}",
        upstream(&[dead_address()]),
        upstream(&[live.address])
    ));
    assert_eq!(proxy.get("/dead/x").status, 502);
    assert_eq!(proxy.get("/x").status, 200);
    assert_eq!(
        (proxy.log_of("/dead/x")["route"].as_str(), proxy.log_of("/x")["route"].as_str()),
        (Some("a"), Some("b"))
    );
}

#[test]
fn bytes_after_a_response_poison_nothing() {
    let heads = [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ];
    for head in heads {
        let origin = Origin::start(move |exchange| {
            if exchange.target() == "/next" {
                return exchange.answer("mine");
            }
            exchange.write(format!("{head}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"))
        });
        let proxy = Proxy::before(&[origin.address]);
        assert!(matches!(proxy.get("/first").status, 200 | 204 | 304), "{head}");
        proxy.log_of("/first");
        assert_eq!(proxy.get("/next").text(), "mine", "{head}");
    }
}

#[test]
fn an_answer_before_the_end_of_the_request_reaches_the_client() {
    let origin = Origin::start(|exchange| {
        exchange.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nstop")
    });
    let proxy = Proxy::before(&[origin.address]);
    let mut client = proxy.client();
    client.send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nhello");
    let response = client.response(false).unwrap();
    assert_eq!((response.status, response.text().as_str()), (413, "stop"));
    client.leave();
    let line = proxy.log_of("/early");
    assert_eq!(line["status"], 413, "{line}");
    let in_flight = "forebay_proxy_lane_requests_in_flight{lane=\"interactive\"}";
    eventually("the place back", || (proxy.metric(in_flight) == 0.0).then_some(()));
}
