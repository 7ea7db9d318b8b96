//! `X-Sendfile`: files that applications name by their path on the disk, and none but those they may.

use std::fs;
use std::path::Path;

use crate::client::{Client, Response};
use crate::harness::Proxy;
use crate::origin::Origin;
use crate::protocols::php_server::PhpServer;

/// What frameworks do: the path, a type, a name, a tag and fields of their own; no body that counts.
const SEND: &str = "<?php http_response_code((int)($_GET['s'] ?? 200));\n\
    file_put_contents('../runs', 'x', FILE_APPEND);\n\
    header('X-Sendfile: ' . __DIR__ . '/../' . $_GET['f']); header('Content-Type: video/mp4');\n\
    header('Content-Disposition: attachment'); header('ETag: \"of the application\"'); header('Cache-Control: max-age=60');\n\
    header('Content-Security-Policy: a'); header('Content-Security-Policy: b', false); echo 'not this';";

fn ask(client: &mut Client, line: &str, fields: &str) -> Response {
    client.ask(&format!("{line} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"))
}

fn application(folder: &str) -> (PhpServer, Proxy) {
    let php = PhpServer::start(&[("send.php", SEND)]);
    let at = php.dir.path();
    for (name, text) in
        [("store/a b.mp4", "0123456789"), ("store/.part", "hidden"), ("secret", "-")]
    {
        fs::create_dir_all(at.join("store")).unwrap();
        fs::write(at.join(name), text).unwrap();
    }
    let proxy = Proxy::start(&format!(
        "upstreams: {{ php: {{ servers: [ {{ address: '{}' }} ], protocol: fastcgi, fastcgi: {{ root: {} }}{} }} }}\n\
         caches: {{ main: {{ memory_max: 16MiB }} }}\ncache_policies: {{ p: {{ cache: main }} }}\n\
         routes:\n\
         - {{ name: kept, match: {{ paths: [ {{ prefix: /kept/ }} ] }}, rewrite: {{ prefix_to: / }}, upstream: php, cache_policy: p }}\n\
         - {{ name: all, upstream: php }}",
        php.address,
        php.root(),
        folder.replace("DIR", &at.display().to_string()),
    ));
    (php, proxy)
}

/// Whether nothing of an answer tells where files are.
fn is_silent(answer: &Response, at: &Path) -> bool {
    let at = at.display().to_string();
    answer.header("x-sendfile").is_none()
        && !answer.text().contains(&at)
        && answer.headers.iter().all(|(_, value)| !value.contains(&at))
}

#[test]
fn an_application_hands_out_files_of_a_directory() {
    let (php, proxy) = application(", x_sendfile: [ DIR/store ]");
    let at = php.dir.path();
    let mut client = proxy.client();
    let mut get = |path: &str, fields: &str| {
        let answer = ask(&mut client, &format!("GET {path}"), fields);
        assert!(is_silent(&answer, at), "{path}: {answer:?}");
        answer
    };
    let film = get("/send.php?f=store/a%20b.mp4", "");
    assert_eq!((film.status, film.text().as_str()), (200, "0123456789"));
    assert_eq!(film.header("content-type"), Some("video/mp4"));
    assert_eq!(film.header("etag"), Some("\"of the application\""));
    assert_eq!(
        (film.header("accept-ranges"), film.header("content-length")),
        (Some("bytes"), Some("10"))
    );
    let said =
        |name: &str| film.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).count();
    assert_eq!((said("content-security-policy"), said("content-disposition")), (2, 1));
    let escaped = get("/send.php?f=store/a%2520b.mp4", "Range: bytes=-3\r\n");
    assert_eq!((escaped.status, escaped.text().as_str()), (206, "789"));
    let part = get(
        "/send.php?f=store/a%20b.mp4",
        "Range: bytes=1-2\r\nIf-Range: \"of the application\"\r\n",
    );
    assert_eq!((part.status, part.header("content-range")), (206, Some("bytes 1-2/10")));
    let had = get("/send.php?f=store/a%20b.mp4", "If-None-Match: \"of the application\"\r\n");
    assert_eq!((had.status, had.text().as_str()), (304, ""));
    assert_eq!(get("/send.php?f=store/.part", "").text(), "hidden");
    let failed = get("/send.php?f=store/a%20b.mp4&s=503", "Range: bytes=1-2\r\n");
    assert_eq!((failed.status, failed.text().as_str()), (503, "0123456789"));
    assert_eq!(get("/send.php?f=store/none", "").status, 404);
    assert_eq!(get("/send.php?f=store", "").status, 404);
    for elsewhere in ["secret", "store/../secret", "storehouse", "%2e%2e/%2e%2e/etc/passwd"] {
        assert_eq!(get(&format!("/send.php?f={elsewhere}"), "").status, 500, "{elsewhere}");
    }
    let head = ask(&mut client, "HEAD /send.php?f=store/a%20b.mp4", "");
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
    let body = format!("Content-Length: 100000\r\n\r\n{}", "z".repeat(100_000));
    let posted = ask(&mut client, "POST /send.php?f=store/a%20b.mp4", &body);
    assert_eq!((posted.status, posted.text().as_str()), (200, "0123456789"));
    let runs = || fs::read(at.join("runs")).unwrap().len();
    let before = runs();
    for _ in 0..3 {
        let kept = ask(&mut client, "GET /kept/send.php?f=store/a%20b.mp4", "Range: bytes=2-4\r\n");
        assert_eq!((kept.status, kept.text().as_str()), (206, "234"));
        assert!(is_silent(&kept, at), "{kept:?}");
    }
    assert_eq!(runs(), before + 1, "which file it is is kept like any answer");
}

#[test]
fn nothing_is_handed_out_where_no_directory_is_named() {
    let (php, proxy) = application("");
    let answer = proxy.get("/send.php?f=store/a%20b.mp4");
    assert_eq!(answer.status, 500);
    assert!(is_silent(&answer, php.dir.path()), "{answer:?}");
    proxy.says("no directory of its `x_sendfile`");
}

#[test]
fn servers_that_speak_http_hand_out_files_where_they_are_heard() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("film"), "0123456789").unwrap();
    let path = root.path().join("film").display().to_string();
    let origin = Origin::start(move |exchange| {
        let Some(_) = exchange.body() else { return false };
        exchange.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Sendfile: {path}\r\n\r\nskip"
        ))
    });
    let of = |settings: &str| {
        Proxy::start(&format!(
            "upstreams: {{ u: {{ servers: [ {{ address: '{}' }} ]{settings} }} }}\nroutes: [ {{ name: all, upstream: u }} ]",
            origin.address
        ))
    };
    let heard = of(&format!(", x_sendfile: [ {} ]", root.path().display()));
    for line in ["GET /", "POST /"] {
        let body = if line == "GET /" { "" } else { "Content-Length: 3\r\n\r\nabc" };
        let answer = ask(&mut heard.client(), line, body);
        assert_eq!((answer.status, answer.text().as_str()), (200, "0123456789"), "{line}");
        assert!(is_silent(&answer, root.path()), "{line}");
    }
    assert!(is_silent(&of(", x_accel: true").get("/"), root.path()));
    let passed = of("").get("/");
    assert_eq!((passed.status, passed.text().as_str()), (200, "skip"), "nobody here is meant");
    assert!(passed.header("x-sendfile").is_some());
}
