//! Interim responses (1xx), and clients that ask before they send a body.

use crate::harness::{Proxy, upstream};
use crate::origin::Origin;

const HINT: &str =
    "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nKeep-Alive: x\r\n\r\n";

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
        // HTTP/1.0 knows none.
        let mut old = proxy.client();
        old.send(format!("GET {path} HTTP/1.0\r\nHost: a\r\n\r\n"));
        assert_eq!(old.head().unwrap().0, 200, "{path}");
        assert_eq!(proxy.log_of(path)["status"], 200);
    }
}

#[test]
fn a_server_may_hint_as_often_wherever_its_answer_goes() {
    // As often as the path says.
    let origin = Origin::start(|exchange| {
        let count = exchange.target().rsplit('/').next().unwrap().parse::<usize>().unwrap();
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
