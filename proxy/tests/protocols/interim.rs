//! Interim responses (1xx), and clients that ask before they send a body.

use std::future::poll_fn;
use std::process::Command;

use bytes::Bytes;
use http::Request;
use tokio::net::TcpStream;

use crate::harness::{Proxy, upstream};
use crate::http2::{http2, run};
use crate::origin::Origin;

const HINT: &str =
    "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nKeep-Alive: x\r\n\r\n";

const LINK: &str = "</a.css>; rel=preload";

/// What is said before an answer over HTTP/2, as status and `Link`, and the answer. A body is sent when the client is told to.
fn over_http2(
    proxy: &Proxy,
    path: &str,
    body: Option<&str>,
) -> (Vec<(u16, String)>, (u16, String)) {
    run(async {
        let mut sender = http2(TcpStream::connect(proxy.public).await.unwrap()).await;
        let request = Request::builder().uri(format!("http://a.example{path}"));
        let request = match body {
            Some(body) => {
                let request = request.method("POST").header("content-length", body.len());
                request.header("expect", "100-continue")
            }
            None => request,
        };
        let (mut response, mut upload) =
            sender.send_request(request.body(()).unwrap(), body.is_none()).unwrap();
        let mut before = Vec::new();
        while let Some(head) = poll_fn(|context| response.poll_informational(context)).await {
            let head = head.unwrap();
            let link = head.headers().get("link").map_or("", |link| link.to_str().unwrap());
            before.push((head.status().as_u16(), link.to_owned()));
            if let Some(body) = body.filter(|_| head.status() == 100) {
                upload.send_data(Bytes::from(body.to_owned()), true).unwrap();
            }
        }
        let response = response.await.unwrap();
        let status = response.status().as_u16();
        let (mut answer, mut body) = (Vec::new(), response.into_body());
        while let Some(part) = body.data().await {
            answer.extend_from_slice(&part.unwrap());
        }
        (before, (status, String::from_utf8(answer).unwrap()))
    })
}

/// Hints, and answers.
fn hinting() -> Origin {
    Origin::start(|exchange| {
        exchange.body();
        exchange.write(HINT) && exchange.write(HINT) && exchange.answer("page")
    })
}

#[test]
fn hints_reach_the_client_wherever_its_answer_comes_from() {
    let origin = hinting();
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {0}, x: {{ x_accel: true, servers: [ {{ address: '{1}' }} ] }} }}\nroutes:\n\
         - {{ name: x, match: {{ paths: [ {{ prefix: /x }} ] }}, upstream: x }}\n\
         - {{ name: pages, match: {{ paths: [ {{ prefix: /pages }} ] }}, upstream: u, \
         error_pages: [ {{ statuses: [5xx], path: /x, upstream_errors: true }} ] }}\n\
         - {{ name: timed, match: {{ paths: [ {{ prefix: /timed }} ] }}, upstream: u, timeouts: {{ total: 20s }} }}\n\
         - {{ name: all, upstream: u }}",
        upstream(&[origin.address]),
        origin.address,
    ));
    for path in ["/", "/x", "/pages", "/timed"] {
        let mut client = proxy.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        for _ in 0..2 {
            let (status, fields) = client.head().unwrap();
            assert_eq!(status, 103, "{path}");
            assert_eq!(fields, [("Link".to_owned(), "</a.css>; rel=preload".to_owned())], "{path}");
        }
        assert_eq!(client.response(false).unwrap().text(), "page", "{path}");
        assert_eq!(
            over_http2(&proxy, path, None).0,
            [(103, LINK.to_owned()), (103, LINK.to_owned())]
        );
        // HTTP/1.0 knows none.
        let mut old = proxy.client();
        old.send(format!("GET {path} HTTP/1.0\r\nHost: a\r\n\r\n"));
        assert_eq!(old.head().unwrap().0, 200, "{path}");
        assert_eq!(proxy.log_of(path)["status"], 200);
    }
    // As browsers see it.
    let url = format!("http://{}/", proxy.public);
    let seen = Command::new("nghttp").args(["-v", "--no-verify-peer", &url]).output().unwrap();
    let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
    let places = [":status: 103", ":status: 103", ":status: 200"];
    let found = places.iter().try_fold(&seen[..], |rest, place| Some(rest.split_once(place)?.1));
    assert!(found.is_some(), "{seen}");
}

#[test]
fn a_server_may_hint_as_often_wherever_its_answer_goes() {
    // As often as the path says.
    let origin = Origin::start(|exchange| {
        let count = exchange.target().trim_end_matches("?http2").rsplit('/').next().unwrap();
        let count = count.parse::<usize>().unwrap();
        (0..count).all(|_| exchange.write(HINT)) && exchange.answer("page")
    });
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {} }}\nroutes:\n\
         - {{ name: cached, match: {{ paths: [ {{ prefix: /cached }} ] }}, upstream: u, cache_policy: p }}\n\
         - {{ name: timed, match: {{ paths: [ {{ prefix: /timed }} ] }}, upstream: u, timeouts: {{ total: 20s }} }}\n\
         - {{ name: all, upstream: u }}\n\
         cache_policies: {{ p: {{ cache: main }} }}\ncaches: {{ main: {{ memory_max: 64MiB }} }}",
        upstream(&[origin.address]),
    ));
    for path in ["/cached", "/timed", "/plain"] {
        for (count, status) in [(64, 200), (65, 502)] {
            let target = format!("{path}/{count}?http2");
            let (before, answer) = over_http2(&proxy, &target, None);
            assert_eq!(answer.0, status, "{path} after {count}, HTTP/2");
            // A fill keeps the first few for those who come later.
            let told = if path == "/cached" { 8 } else { 64 };
            assert!(status != 200 || before.len() == told, "{path}: {}", before.len());
            let mut client = proxy.client();
            client.send(format!("GET {path}/{count} HTTP/1.1\r\nHost: a\r\n\r\n"));
            let answer = std::iter::repeat_with(|| client.head().unwrap().0);
            let answer = answer.take(70).find(|status| *status != 103);
            assert_eq!(answer, Some(status), "{path} after {count}");
        }
    }
}

#[test]
fn a_client_that_asks_before_it_sends_is_answered() {
    let origin = Origin::start(|exchange| match exchange.target() {
        "/no" => exchange.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"),
        _ => {
            exchange.write("HTTP/1.1 100 Continue\r\n\r\n");
            let body = exchange.body().unwrap();
            exchange.answer(&String::from_utf8(body).unwrap())
        }
    });
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {} }}\nroutes:\n\
         - {{ name: small, match: {{ paths: [ {{ exact: /small }} ] }}, upstream: u, request_body_max: 2B }}\n\
         - {{ name: all, upstream: u }}",
        upstream(&[origin.address]),
    ));
    let ask = |path: &str| {
        let mut client = proxy.client();
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        ));
        client
    };
    let mut client = ask("/yes");
    assert_eq!(client.head().unwrap().0, 100);
    client.send("hello");
    assert_eq!(client.response(false).unwrap().text(), "hello");
    let (before, answer) = over_http2(&proxy, "/yes", Some("hello"));
    assert_eq!((&before[..], answer), (&[(100, String::new())][..], (200, "hello".to_owned())));
    // A client that was told no sends no body: nothing waits for it.
    for (path, status) in [("/no", 403), ("/small", 413)] {
        let mut client = ask(path);
        let answer = client.response(false).unwrap();
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")), "{path}");
        client.leave();
        assert_eq!(proxy.log_of(path)["status"], status, "{path}");
    }
    // HTTP/1.0 cannot ask.
    let mut old = proxy.client();
    old.send(
        "POST /old HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    );
    assert_eq!(old.head().unwrap().0, 200);
}
