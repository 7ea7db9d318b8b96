use crate::harness::Proxy;
use crate::origin::Origin;

/// Requests two parsers could read differently: each is refused, and the origin sees nothing of it
/// nor of what is smuggled behind it.
const REFUSED: &[(&str, &str)] = &[
    (
        "both lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "both lengths, the other way",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n",
    ),
    (
        "two lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nContent-Length: 5\r\n\r\nhello!",
    ),
    ("a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello"),
    ("a signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello"),
    (
        "a length beyond 2^63",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\nhello",
    ),
    (
        "an unknown coding",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked not last",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked twice",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked in disguise",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a space before the colon",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked in HTTP/1.0",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("a folded line", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n"),
    ("bare LF", "GET / HTTP/1.1\nHost: a\n\n"),
    ("bare LF in between", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
    ("bare CR", "GET / HTTP/1.1\r\nHost: a\r\nX: b\rY: c\r\n\r\n"),
    ("NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n"),
    ("no Host", "GET / HTTP/1.1\r\n\r\n"),
    ("empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    ("two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("userinfo in Host", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"),
    ("a port that is none", "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n"),
    ("a path in Host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    ("another Host than the target's", "GET http://a/x HTTP/1.1\r\nHost: b\r\n\r\n"),
    ("an encoded slash", "GET /a%2fb HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("an encoded NUL", "GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("an encoded line end", "GET /a%0d%0ab HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a backslash", "GET /a\\..\\b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("dots with a parameter", "GET /a/..;/b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("above the root", "GET /../b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a second space", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a target that begins with a backslash", "GET \\private\\x HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a target without a slash", "GET a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("dots with an encoded parameter", "GET /a/..%3b/b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("an overlong dot", "GET /a/%c0%ae%c0%ae/b HTTP/1.1\r\nHost: a\r\n\r\n"),
    (
        "an offer of nothing",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: web socket\r\n\r\n",
    ),
    ("taking Host off", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Host\r\n\r\n"),
    ("CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
    ("no version", "GET /\r\n\r\n"),
    ("nonsense", "\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n"),
];

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::before(&[origin.address]);
    for (what, request) in REFUSED {
        let mut client = proxy.client();
        client.send(request);
        let answer = client.response(false).unwrap_or_else(|| panic!("{what}: no answer"));
        assert!(matches!(answer.status, 400 | 405 | 501), "{what}: {answer:?}");
        assert!(client.response(false).is_none(), "{what}: the connection goes on");
        assert_eq!(origin.requests(), 0, "{what}: {:?}", origin.heads());
    }
    assert_eq!(proxy.get("/").status, 200);
}

/// Unusual, and right.
const TAKEN: &[(&str, &str, &str)] = &[
    (
        "absolute target",
        "GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "GET /x HTTP/1.1",
    ),
    ("a port in Host", "GET / HTTP/1.1\r\nHost: a.example:8080\r\n\r\n", "GET / HTTP/1.1"),
    ("an address as Host", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET / HTTP/1.1"),
    ("OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1"),
    ("an unknown method", "BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", "BREW /pot HTTP/1.1"),
    (
        "capitals in chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1",
    ),
    ("an escaped letter", "GET /%70rivate HTTP/1.1\r\nHost: a\r\n\r\n", "GET /private HTTP/1.1"),
    ("dot segments", "GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n", "GET /b HTTP/1.1"),
    ("two slashes", "GET //a//b?c//d HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a/b?c//d HTTP/1.1"),
    ("bytes above ASCII", "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", "GET /%C3%A9 HTTP/1.1"),
    (
        "an offer of h2c",
        "GET /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        "GET /up HTTP/1.1",
    ),
    (
        "an offer of h2c with a body",
        "POST /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: 2\r\n\r\nhi",
        "POST /up HTTP/1.1",
    ),
    ("no Host in HTTP/1.0", "GET /old HTTP/1.0\r\n\r\n", "GET /old HTTP/1.1"),
    ("an upgrade in HTTP/1.0", "GET /old HTTP/1.0\r\nUpgrade: x\r\n\r\n", "GET /old HTTP/1.1"),
];

#[test]
fn what_is_right_is_taken_in_one_form() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::before(&[origin.address]);
    for (at, (what, request, line)) in TAKEN.iter().enumerate() {
        let answer = proxy.client().ask(request);
        assert_eq!(answer.status, 200, "{what}");
        let head = &origin.heads()[at];
        assert!(head.starts_with(&format!("{line}\r\n")), "{what}: {head}");
        assert!(!head.to_ascii_lowercase().contains("\r\nupgrade:"), "{what}: {head}");
    }
}

#[test]
fn a_broken_chunk_ends_the_request_and_reaches_nobody_as_whole() {
    let origin = Origin::start(|exchange| exchange.body().is_some() && exchange.answer("whole"));
    let proxy = Proxy::before(&[origin.address]);
    for body in [
        "5\r\nhello\r\nXX\r\n",
        "5;\u{1}\r\nhelloXX0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5;a\nGET\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\n bad\r\n\r\n",
    ] {
        let mut client = proxy.client();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
        ));
        let answer = client.response(false).unwrap_or_else(|| panic!("{body:?}: no answer"));
        assert_eq!(answer.status, 400, "{body:?}: {answer:?}");
    }
    let mut client = proxy.client();
    client
        .send("POST /left HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    crate::harness::eventually("the upload at the origin", || {
        origin.heads().iter().any(|head| head.contains("/left")).then_some(())
    });
    client.leave();
    let line = proxy.log_of("/left");
    assert_eq!((line["aborted"].as_bool(), line["bytes_in"].as_u64()), (Some(true), Some(5)));
}

#[test]
fn a_listener_may_take_old_clients_and_refuse_methods() {
    let origin = Origin::saying("ok");
    let sections = format!("error_answers: html\n{}", crate::harness::to(&[origin.address]));
    let proxy =
        Proxy::with_listener(", bare_line_feeds: true, methods_refused: [TRACE]", &sections);
    let mut client = proxy.client();
    assert_eq!(client.ask("GET / HTTP/1.1\nHost: a\n\n").text(), "ok");
    let refused = client.ask("GET / HTTP/1.1\nHost: a\rX: b\n\n");
    assert_eq!(refused.status, 400);
    let refused = proxy.client().ask("GET /a%00b HTTP/1.1\nHost: a\n\n");
    assert_eq!(refused.status, 400);
    assert_eq!(refused.header("content-type"), Some("text/html"));
    assert!(refused.text().contains("<h1>400 Bad Request</h1>"), "{}", refused.text());
    let mut client = proxy.client();
    client.send("TRACE / HTTP/1.1\nHost: a\n\nGET /after HTTP/1.1\nHost: a\n\n");
    let refused = client.response(false).unwrap();
    assert_eq!((refused.status, refused.header("allow")), (405, Some("")));
    assert!(refused.text().contains("<title>405 Not Allowed</title>"), "{}", refused.text());
    assert!(client.is_closed(), "what follows is not answered");
}

#[test]
fn a_listener_may_let_the_host_of_a_target_count() {
    let origin = Origin::saying("ok");
    let sections = crate::harness::to(&[origin.address]);
    let proxy = Proxy::with_listener(", host_of_target: true", &sections);
    for (request, line, host) in [
        (
            "GET http://a.example:81/x?y HTTP/1.1\r\nHost: b.example\r\n\r\n",
            "GET /x?y",
            "a.example:81",
        ),
        ("GET http://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n", "GET /", "a.example"),
    ] {
        assert_eq!(proxy.client().ask(request).text(), "ok", "{request}");
        let head = origin.heads().pop().unwrap();
        assert!(head.starts_with(&format!("{line} HTTP/1.1\r\n")), "{head}");
        assert!(head.to_lowercase().contains(&format!("host: {host}\r\n")), "{head}");
    }
    let refused = proxy.client().ask("GET http://u@a/ HTTP/1.1\r\nHost: b\r\n\r\n");
    assert_eq!(refused.status, 400);
}
