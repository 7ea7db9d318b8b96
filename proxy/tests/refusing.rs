//! Heads that pingora would refuse by itself: the answer is this proxy's own, with a line in the log and a count.

use crate::client::{Client, Response};
use crate::harness::{Proxy, eventually, to};
use crate::origin::Origin;

/// What is sent; the status, and the method, path and error of the line.
const REFUSED: &[(&str, u16, [&str; 3])] = &[
    ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, ["GET", "/a%20b", "bad_request"]),
    ("GET /a\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400, ["GET", "/a%01", "bad_target"]),
    ("GET / HTTP/3.7\r\nHost: a\r\n\r\n", 400, ["GET", "/", "bad_request"]),
    ("GET /\r\n", 400, ["GET", "/", "bad_request"]),
    ("G\x07T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, ["-", "/", "bad_request"]),
    ("\x16\x03\x01\x02\0\x01\0\x01", 400, ["-", "-", "bad_request"]),
    ("GET /x HTTP/1.1\r\nHost: a\r\nA b: c\r\n\r\n", 400, ["GET", "/x", "bad_request"]),
    ("GET /x HTTP/1.1\r\nHost: a\r\nA: \0\r\n\r\n", 400, ["GET", "/x", "bad_request"]),
    ("GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, ["GET", "/x", "bad_request"]),
    ("GET /x HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, ["GET", "/x", "bad_request"]),
    ("GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n", 400, ["GET", "http%3A//b/x", "bad_request"]),
    (
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n",
        400,
        ["POST", "/x", "bad_request"],
    ),
    (
        "POST /x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
        ["POST", "/x", "bad_request"],
    ),
    ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405, ["-", "a%3A443", "method_not_allowed"]),
];

fn is_own(answer: &Response, what: &str) {
    let json = answer.header("content-type") == Some("application/problem+json");
    assert!(json && answer.whole && answer.header("server").is_none(), "{what}: {answer:?}");
}

/// The one line of the log that there is beside the `before` there were.
fn next_line(proxy: &Proxy, before: usize) -> serde_json::Value {
    eventually("a line", || proxy.log().get(before).cloned())
}

#[test]
fn what_pingora_would_refuse_is_answered_logged_and_counted() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::before(&[origin.address]);
    for (at, (request, status, [method, path, error])) in REFUSED.iter().enumerate() {
        let mut client = proxy.client();
        client.send(request);
        let answer = client.response(false).unwrap_or_else(|| panic!("{request:?}: no answer"));
        is_own(&answer, request);
        assert!(client.response(false).is_none(), "{request:?}: the connection goes on");
        let line = next_line(&proxy, at);
        assert_eq!(answer.status, *status, "{request:?} {line}");
        let expected = serde_json::json!({ "method": method, "path": path, "error": error,
            "status": status, "listener": "public", "client": "127.0.0.1" });
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(&line[field], value, "{request:?}: {field} in {line}");
        }
        assert_eq!(line["request_id"], answer.json()["request_id"]);
    }
    let counted = |code| {
        let labels = format!("code=\"{code}\",lane=\"none\",listener=\"public\",route=\"none\"");
        proxy.metric(&format!("forebay_proxy_requests_total{{{labels}}}"))
    };
    assert_eq!(counted("400") + counted("405"), f64::from(u32::try_from(REFUSED.len()).unwrap()));
    assert_eq!(origin.requests(), 0);
}

#[test]
fn a_line_has_what_could_be_read_of_the_head() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::before(&[origin.address]);
    let answer = proxy.client().ask(
        "GET /x?q HTTP/1.1\r\nHost: a.example\r\nUser-Agent: agent\r\nX-Request-Id: id-9\r\n\
         Content-Length: x\r\n\r\n",
    );
    assert_eq!((answer.status, answer.header("x-request-id")), (400, Some("id-9")));
    let line = next_line(&proxy, 0);
    let expected =
        [("host", "a.example"), ("query", "q"), ("user_agent", "agent"), ("protocol", "HTTP/1.1")];
    for (field, value) in expected {
        assert_eq!(line[field], value, "{line}");
    }
}

#[test]
fn characters_that_browsers_would_escape_are_escaped() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::before(&[origin.address]);
    for (sent, form) in [
        ("/a<b>\"c\"", "/a%3Cb%3E%22c%22"),
        ("/{a}|^`[b]", "/%7Ba%7D%7C%5E%60%5Bb%5D"),
        ("/caf\u{e9}", "/caf%C3%A9"),
        ("/x?q=<\"`\u{e9}>", "/x?q=%3C%22%60%C3%A9%3E"),
        ("/x?a[]={b}|c^", "/x?a[]={b}|c^"),
    ] {
        for version in ["1.1", "1.0"] {
            let answer =
                proxy.client().ask(&format!("GET {sent} HTTP/{version}\r\nHost: a\r\n\r\n"));
            assert_eq!(answer.status, 200, "{sent}");
            let head = origin.heads().pop().unwrap();
            assert_eq!(head.split(' ').nth(1), Some(form), "{sent}");
        }
    }
    let mut client = proxy.client();
    client.send(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response(false).unwrap().status, 200);
    assert!(origin.heads().pop().unwrap().starts_with("GET /%FF HTTP/1.1\r\n"));
}

#[test]
fn a_head_that_is_too_large_or_has_no_end_is_refused_as_it_comes() {
    let origin = Origin::saying("ok");
    let limits = ", request_head: { bytes_max: 16KiB, uri_max: 2KiB }";
    let proxy = Proxy::with_listener(limits, &to(&[origin.address]));
    let endless = format!("GET /x HTTP/1.1\r\nHost: a\r\nX: {}", "y".repeat(20_000));
    let target = format!("GET /{}", "y".repeat(4_000));
    let many = format!("GET /x HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(300));
    for (at, (request, status, error)) in [
        (&endless, 431, "head_too_large"),
        (&target, 414, "target_too_long"),
        (&many, 431, "head_too_large"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = proxy.client();
        client.send(request);
        let answer = client.response(false).unwrap();
        is_own(&answer, error);
        let line = next_line(&proxy, at);
        assert_eq!((answer.status, line["error"].as_str()), (status, Some(error)), "{line}");
    }
    assert_eq!(proxy.get("/").status, 200);
}

#[test]
fn a_head_that_does_not_come_whole_is_told_of() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::with_listener(", timeouts: { head: 200ms }", &to(&[origin.address]));
    let mut late = proxy.client();
    late.send("GET /late HTTP/1.1\r\nHost: a\r\n");
    let answer = late.response(false).unwrap();
    is_own(&answer, "late");
    assert_eq!(answer.status, 408);
    let line = next_line(&proxy, 0);
    assert_eq!((&line["path"], &line["error"]), (&"/late".into(), &"request_timeout".into()));
    let mut short = proxy.client();
    short.send("GET /short HTTP/1.1\r\nHost: a");
    short.end();
    let answer = short.response(false).unwrap();
    is_own(&answer, "short");
    assert_eq!(answer.status, 400);
    assert_eq!(next_line(&proxy, 1)["path"], "/short");
    // Who says nothing is told nothing.
    Client::to(proxy.public).end();
    assert_eq!(proxy.get("/").status, 200);
    assert_eq!(next_line(&proxy, 2)["path"], "/");
}

/// What pingora has read behind one request is looked at before it is the next.
#[test]
fn what_is_pipelined_is_looked_at_too() {
    let origin = Origin::start(|exchange| exchange.body().is_some() && exchange.answer("ok"));
    let proxy = Proxy::before(&[origin.address]);
    let chunked =
        "POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for (at, pieces) in [
        vec![format!(
            "{chunked}{}GET /3 b HTTP/1.1\r\nHost: a\r\n\r\n",
            chunked.replace("POST /1", "POST /2")
        )],
        vec![
            chunked[..62].to_owned(),
            format!("{}{chunked}GET", &chunked[62..]),
            " /3 b HTTP/1.1\r\n\r\n".to_owned(),
        ],
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = proxy.client();
        for piece in &pieces {
            client.send(piece);
            std::thread::yield_now();
        }
        let statuses: Vec<u16> = (0..3).map(|_| client.response(false).unwrap().status).collect();
        assert_eq!(statuses, [200, 200, 400], "{pieces:?}");
        assert!(client.response(false).is_none());
        assert_eq!(next_line(&proxy, at * 3 + 2)["path"], "/3%20b");
    }
    assert_eq!(origin.requests(), 4);
}

#[test]
fn without_a_host_http_1_0_is_served_where_no_host_is_asked_for() {
    let named =
        "{ name: named, match: { hosts: [a.example] }, respond: { status: 200, body: named } }";
    let any = "{ name: any, respond: { status: 200, body: any } }";
    let proxy = Proxy::start(&format!("routes: [ {named}, {any} ]"));
    let mut client = proxy.client();
    client.send("GET /x HTTP/1.0\r\n\r\n");
    let answer = client.response(false).unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "any"));
}
