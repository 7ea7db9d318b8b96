//! Who is still sending when the answer is there sees it.

use std::future::poll_fn;

use bytes::Bytes;
use h2::Reason;
use http::Request;
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::authority::Authority;
use crate::downstream_tls::{client, connect};
use crate::harness::{Proxy, dead_address, eventually, upstream};
use crate::http2::{http2, run};
use crate::origin::Origin;
use tokio_rustls::rustls::version::TLS13;

const BODY_BYTES: usize = 5_000_000;
const TRIES: usize = 20;

/// What a client is answered with that sends all of a large body and looks then; `None` when it sees no answer.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> Option<u16> {
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: a.example\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(&vec![b'x'; BODY_BYTES]).await.ok()?;
    stream.flush().await.ok()?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

fn sections(origin: &Origin) -> String {
    let (here, dead) = (upstream(&[origin.address]), upstream(&[dead_address()]));
    let dir = std::env::temp_dir();
    let users = dir.join(format!("forebay-lingering-{}", std::process::id()));
    std::fs::write(&users, "bob:{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=\n").unwrap();
    let route = |name: &str, does: &str| {
        format!("- {{ name: r{name}, match: {{ paths: [ {{ exact: /{name} }} ] }}, {does} }}\n")
    };
    [
        format!("upstreams: {{ here: {here}, dead: {dead} }}\nroutes:\n"),
        route("413", "upstream: here, request_body_max: 8B"),
        route(
            "401",
            &format!(
                "upstream: here, auth: {{ basic: {{ users_file: {}, realm: r }} }}",
                users.display()
            ),
        ),
        route("308", "redirect: { to: 'https://$host/', status: 308 }"),
        route("502", "upstream: dead"),
        // What the origin answers before it has read anything.
        route("403", "upstream: here"),
    ]
    .concat()
}

fn refusing() -> Origin {
    Origin::start(|exchange| {
        exchange.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        // It closes in its time, too, so that it is not the one that loses the answer.
        exchange.read(BODY_BYTES).is_some()
    })
}

#[test]
fn clients_that_send_on_see_what_they_were_answered() {
    let (origin, authority) = (refusing(), Authority::new());
    let own = authority.issue("own", &["a.example"]);
    let tls = format!(", tls: {{ certificates: [ {} ] }}", own.yaml());
    let config = client(&authority, None, &[&TLS13]);
    for door in ["on", "off"] {
        for listener in ["", &tls] {
            let proxy = Proxy::with_door(door, listener, &sections(&origin));
            for status in [413, 401, 308, 502, 403, 404] {
                for number in 0..TRIES {
                    let path = format!("/{status}");
                    let seen = run(async {
                        match listener {
                            "" => ask(TcpStream::connect(proxy.public).await.ok()?, &path).await,
                            _ => {
                                ask(connect(&proxy, &config, "a.example").await.ok()?, &path).await
                            }
                        }
                    });
                    assert_eq!(seen, Some(status), "door {door}, {listener:?}, try {number}");
                }
            }
            let lingering = "forebay_proxy_downstream_lingering{listener=\"public\"}";
            eventually("all gone", || (proxy.metric(lingering) == 0.0).then_some(()));
            let closed = proxy.metric(
                "forebay_proxy_downstream_lingered_total{end=\"closed\",listener=\"public\"}",
            );
            assert!(closed > 0.0, "{}", proxy.metrics());
            let open = "forebay_proxy_downstream_connections{listener=\"public\"}";
            eventually("none open", || (proxy.metric(open) == 0.0).then_some(()));
        }
    }
}

#[test]
fn who_sends_on_holds_nothing_up() {
    let origin = refusing();
    let mut proxy = Proxy::start(&sections(&origin));
    let mut slow = proxy.client();
    slow.send("POST /413 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5000000\r\n\r\nbeginning");
    assert_eq!(slow.response(false).unwrap().status, 413);
    let lingering = "forebay_proxy_downstream_lingering{listener=\"public\"}";
    eventually("one that lingers", || (proxy.metric(lingering) == 1.0).then_some(()));
    slow.send("and on");
    let places = "forebay_proxy_lane_requests_in_flight{lane=\"interactive\"}";
    assert_eq!(proxy.metric(places), 0.0);
    assert_eq!(proxy.metric("forebay_proxy_downstream_connections{listener=\"public\"}"), 0.0);
    proxy.signal(Signal::TERM);
    assert!(proxy.wait().success());
}

/// HTTP/2 ends the stream alone, and without calling it a fault (RFC 9113 section 8.1).
#[test]
fn over_http2_the_rest_of_a_body_is_not_asked_for() {
    let origin = refusing();
    let proxy = Proxy::start(&sections(&origin));
    run(async {
        let mut sender = http2(TcpStream::connect(proxy.public).await.unwrap()).await;
        for (path, status) in [("/413", 413), ("/308", 308), ("/404", 404)] {
            let request = Request::post(format!("http://a.example{path}")).body(()).unwrap();
            let (response, mut body) = sender.send_request(request, false).unwrap();
            body.send_data(Bytes::from_static(b"more than eight bytes"), false).unwrap();
            let response = response.await.unwrap();
            assert_eq!(response.status(), status, "{path}");
            let reset = poll_fn(|context| body.poll_reset(context)).await.unwrap();
            assert_eq!(reset, Reason::NO_ERROR, "{path}");
            sender = sender.ready().await.unwrap();
        }
    });
}
