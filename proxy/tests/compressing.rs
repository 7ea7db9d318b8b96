//! Compression over the wire: who gets which coding, and what the heads say of it.

use std::io::Read;
use std::process::Command;

use crate::client::Response;
use crate::harness::Proxy;
use crate::origin::Origin;

const TEXT: &str = "a line that repeats itself, and again, and again\n";

fn body() -> String {
    TEXT.repeat(4000)
}

fn ask(proxy: &Proxy, line: &str, fields: &str) -> Response {
    proxy.client().ask(&format!("{line} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"))
}

fn decoded(response: &Response) -> String {
    let (bytes, mut text) = (&response.body[..], String::new());
    match response.header("content-encoding") {
        Some("gzip") => flate2::read::GzDecoder::new(bytes).read_to_string(&mut text).unwrap(),
        Some("br") => brotli::Decompressor::new(bytes, 4096).read_to_string(&mut text).unwrap(),
        Some("zstd") => {
            zstd::stream::read::Decoder::new(bytes).unwrap().read_to_string(&mut text).unwrap()
        }
        other => panic!("{other:?}"),
    };
    text
}

fn origin() -> Origin {
    Origin::start(|exchange| {
        let text = body();
        let (kind, extra) = match exchange.target() {
            "/png" => ("image/png", ""),
            "/fixed" => ("text/plain", "Cache-Control: no-transform\r\n"),
            "/kept" => ("text/plain", "Cache-Control: max-age=60\r\nVary: Origin\r\n"),
            "/small" => {
                return exchange.write(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi",
                );
            }
            "/broken" => {
                let head =
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 500000\r\n\r\n";
                exchange.write(format!("{head}{text}"));
                return false;
            }
            _ => ("text/plain", ""),
        };
        if exchange.header("if-none-match").is_some() {
            return exchange.write("HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n");
        }
        exchange.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nETag: \"v1\"\r\nAccept-Ranges: bytes\r\n{extra}Content-Length: {}\r\n\r\n",
            text.len()
        )) && (exchange.head.starts_with("HEAD") || exchange.write(text))
    })
}

fn start(origin: &Origin) -> Proxy {
    Proxy::start(&format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{}' }} ] }} }}\n\
         caches: {{ main: {{ memory_max: 16MiB }} }}\ncache_policies: {{ p: {{ cache: main }} }}\n\
         routes:\n\
         - {{ name: kept, match: {{ paths: [ {{ prefix: /kept }} ] }}, upstream: u, cache_policy: p, compression: {{}} }}\n\
         - {{ name: own, match: {{ paths: [ {{ exact: /own }} ] }}, respond: {{ status: 200, body: '{}' }}, compression: {{ codings: [gzip] }} }}\n\
         - {{ name: plain, match: {{ paths: [ {{ exact: /plain }} ] }}, upstream: u }}\n\
         - {{ name: all, upstream: u, compression: {{ levels: {{ brotli: 5 }} }} }}",
        origin.address,
        "x".repeat(2000),
    ))
}

#[test]
fn each_client_gets_the_coding_it_likes_best_from_whatever_answers() {
    let origin = origin();
    let proxy = start(&origin);
    for (accepted, coding) in
        [("gzip", "gzip"), ("gzip, br", "br"), ("gzip;q=0.5, br;q=0.4, zstd;q=0.9", "zstd")]
    {
        for path in ["/a", "/kept", "/kept"] {
            let response =
                ask(&proxy, &format!("GET {path}"), &format!("Accept-Encoding: {accepted}\r\n"));
            assert_eq!(response.header("content-encoding"), Some(coding), "{path}");
            assert!(response.whole && response.body.len() < 20_000, "{path}");
            assert_eq!(decoded(&response), body(), "{path} {coding}");
            assert_eq!(response.header("etag"), Some("W/\"v1\""));
            assert_eq!(response.header("accept-ranges"), None);
            assert_eq!(response.header("content-length"), None);
            let vary: Vec<_> =
                response.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case("vary")).collect();
            assert!(vary.iter().any(|(_, value)| value == "Accept-Encoding"), "{path} {vary:?}");
        }
    }
    let own = ask(&proxy, "GET /own", "Accept-Encoding: zstd, gzip;q=0.1\r\n");
    assert_eq!(decoded(&own), "x".repeat(2000));
    let before = "forebay_proxy_compression_bytes_total{coding=\"br\",side=\"before\"}";
    let after = "forebay_proxy_compression_bytes_total{coding=\"br\",side=\"after\"}";
    assert!(proxy.metric(before) > 100.0 * proxy.metric(after) && proxy.metric(after) > 0.0);
    let curl = Command::new("curl")
        .args(["-s", "--fail", "--compressed", &format!("http://{}/a", proxy.public)])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(curl.stdout).unwrap(), body(), "curl decodes it, too");
}

#[test]
fn what_must_stay_as_it_is_does_and_heads_say_what_bodies_are() {
    let origin = origin();
    let proxy = start(&origin);
    let gzip = "Accept-Encoding: gzip\r\n";
    for (path, fields) in
        [("/a", ""), ("/png", gzip), ("/fixed", gzip), ("/small", gzip), ("/plain", gzip)]
    {
        let response = ask(&proxy, &format!("GET {path}"), fields);
        assert_eq!(response.header("content-encoding"), None, "{path}");
        let varies = response.header("vary") == Some("Accept-Encoding");
        assert_eq!(varies, path == "/a", "{path}: only what another client gets encoded varies");
        assert_ne!(response.header("etag"), Some("W/\"v1\""), "{path}");
    }
    let head = ask(&proxy, "HEAD /a", gzip);
    assert_eq!(head.header("content-encoding"), Some("gzip"));
    assert_eq!((head.header("content-length"), head.header("etag")), (None, Some("W/\"v1\"")));
    for (held, tag) in [("W/\"v1\"", "W/\"v1\""), ("\"v1\"", "\"v1\"")] {
        for path in ["/a", "/kept"] {
            if path == "/kept" {
                ask(&proxy, "GET /kept", "");
            }
            let fields = format!("{gzip}If-None-Match: {held}\r\n");
            let response = ask(&proxy, &format!("GET {path}"), &fields);
            assert_eq!((response.status, response.header("etag")), (304, Some(tag)), "{path}");
            assert!(response.header("vary").is_some(), "{path}");
        }
    }
    let part = ask(&proxy, "GET /kept", &format!("{gzip}Range: bytes=0-9\r\n"));
    assert_eq!((part.status, part.header("content-encoding")), (206, None));
    assert_eq!(part.text(), TEXT[..10]);
    let with_weak =
        ask(&proxy, "GET /kept", &format!("{gzip}Range: bytes=0-9\r\nIf-Range: W/\"v1\"\r\n"));
    assert_eq!(with_weak.status, 200, "a weak tag proves no bytes");
    let old = proxy.client().ask("GET /a HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(old.header("content-encoding"), None, "HTTP/1.0 has no chunks");
}

#[test]
fn a_part_says_what_the_whole_would_of_its_codings() {
    let origin = origin();
    let proxy = start(&origin);
    for _ in 0..2 {
        let part = ask(&proxy, "GET /kept", "Range: bytes=0-9\r\n");
        assert_eq!((part.status, part.body.len()), (206, 10));
        let mut vary = part.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("vary"));
        assert!(vary.any(|(_, value)| value == "Accept-Encoding"), "{part:?}");
    }
}

#[test]
fn a_response_that_breaks_off_never_ends_cleanly() {
    let origin = origin();
    let proxy = start(&origin);
    let broken = ask(&proxy, "GET /broken", "Accept-Encoding: gzip\r\n");
    assert_eq!(broken.header("content-encoding"), Some("gzip"));
    assert!(!broken.whole);
}

#[test]
fn slow_streams_are_handed_on_as_they_come() {
    let origin = Origin::start(|exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            && exchange.write("9\r\ndata: 1\n\n\r\n")
            && exchange.read(1).is_some()
    });
    let proxy = start(&origin);
    let mut client = proxy.client();
    client.send("GET /events HTTP/1.1\r\nHost: a.example\r\nAccept-Encoding: gzip\r\n\r\n");
    let (status, headers) = client.head().unwrap();
    assert_eq!(status, 200);
    assert!(
        headers
            .iter()
            .any(|(name, value)| name.eq_ignore_ascii_case("content-encoding") && value == "gzip")
    );
    let mut bytes = Vec::new();
    let mut event = [0; 9];
    // The origin says nothing more until the test has seen this.
    while flate2::read::GzDecoder::new(&bytes[..]).read_exact(&mut event).is_err() {
        bytes.extend(client.chunk().unwrap());
    }
    assert_eq!(&event, b"data: 1\n\n");
}
