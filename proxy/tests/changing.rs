//! Bodies changed on their way, substituted or decompressed, and clients that ask for parts of them.

use std::fs;
use std::io::Write;

use crate::client::Response;
use crate::harness::Proxy;
use crate::origin::Origin;

const SECRET: &str = "secret-host is here. ";
const PUBLIC: &str = "public is here. ";

fn zipped(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// Knows parts, and gzip where the path ends in `.gz`; a film has nothing to be changed.
fn origin() -> Origin {
    Origin::start(|exchange| {
        let whole = SECRET.repeat(40);
        let (body, coding) = match exchange.target().ends_with(".gz") {
            true => (zipped(&whole), "Content-Encoding: gzip\r\n"),
            false => (whole.into_bytes(), ""),
        };
        let kind = if exchange.target().ends_with(".mp4") { "video/mp4" } else { "text/html" };
        let length = body.len();
        let (status, sent, place) = match exchange.header("range") {
            Some(_) => (206, &body[..10], format!("Content-Range: bytes 0-9/{length}\r\n")),
            None => (200, &body[..], String::new()),
        };
        exchange.write(format!(
            "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nAccept-Ranges: bytes\r\n\
             Cache-Control: max-age=60\r\n{coding}{place}Content-Length: {}\r\n\r\n",
            sent.len()
        )) && exchange.write(sent)
    })
}

fn proxy(origin: &Origin, root: &std::path::Path) -> Proxy {
    let changes = "substitutions: { pairs: [ { find: secret-host, with: public } ], once: false }";
    let routes: String = [("s", changes), ("z", "gunzip: {}")]
        .map(|(name, change)| {
            format!(
                "- {{ name: {name}f, match: {{ paths: [ {{ prefix: /{name}f/ }} ] }}, rewrite: {{ prefix_to: / }}, files: {{ root: {} }}, {change} }}\n\
                 - {{ name: {name}c, match: {{ paths: [ {{ prefix: /{name}c/ }} ] }}, upstream: u, cache_policy: p, {change} }}\n\
                 - {{ name: {name}b, match: {{ paths: [ {{ prefix: /{name}b/ }} ] }}, upstream: u, buffer_policy: b, {change} }}\n\
                 - {{ name: {name}p, match: {{ paths: [ {{ prefix: /{name}p/ }} ] }}, upstream: u, {change} }}\n",
                root.display()
            )
        })
        .concat();
    Proxy::start(&format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{}' }} ] }} }}\n\
         caches: {{ main: {{ memory_max: 16MiB }} }}\ncache_policies: {{ p: {{ cache: main }} }}\n\
         buffer_policies: {{ b: {{ preset: transactional }} }}\nroutes:\n{routes}",
        origin.address
    ))
}

fn part(proxy: &Proxy, path: &str, fields: &str) -> Response {
    proxy
        .client()
        .ask(&format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nRange: bytes=0-9\r\n{fields}\r\n"))
}

#[test]
fn what_is_substituted_is_sent_whole_to_who_asks_for_a_part() {
    let (origin, root) = (origin(), tempfile::tempdir().unwrap());
    fs::write(root.path().join("page.html"), SECRET.repeat(40)).unwrap();
    fs::write(root.path().join("film.mp4"), SECRET.repeat(40)).unwrap();
    let proxy = proxy(&origin, root.path());
    for path in
        ["/sf/page.html", "/sc/page.html", "/sc/page.html", "/sb/page.html", "/sp/page.html"]
    {
        let page = part(&proxy, path, "");
        assert_eq!((page.status, page.header("content-range")), (200, None), "{path}");
        assert_eq!(page.text(), PUBLIC.repeat(40), "{path}");
        assert_eq!(page.header("accept-ranges"), None, "{path}");
    }
    assert!(origin.heads().iter().all(|head| !head.contains("ange:")), "{:?}", origin.heads());
    // What has no type for it is cut, here where the origin was asked for the whole.
    for path in ["/sf/film.mp4", "/sc/film.mp4", "/sc/film.mp4", "/sb/film.mp4", "/sp/film.mp4"] {
        let film = part(&proxy, path, "");
        assert_eq!((film.status, film.text().as_str()), (206, &SECRET[..10]), "{path}");
        assert_eq!(film.header("content-range"), Some("bytes 0-9/840"), "{path}");
    }
}

#[test]
fn a_part_of_gzip_goes_only_to_who_takes_gzip() {
    let (origin, root) = (origin(), tempfile::tempdir().unwrap());
    let proxy = proxy(&origin, root.path());
    for path in ["/zc/page.gz", "/zc/page.gz", "/zb/page.gz", "/zp/page.gz"] {
        let page = part(&proxy, path, "");
        assert_eq!((page.status, page.header("content-encoding")), (200, None), "{path}");
        assert_eq!(page.text(), SECRET.repeat(40), "{path}");
    }
    for path in ["/zc/page.gz", "/zb/page.gz", "/zp/page.gz"] {
        let page = part(&proxy, path, "Accept-Encoding: gzip\r\n");
        assert_eq!((page.status, page.header("content-encoding")), (206, Some("gzip")), "{path}");
        assert_eq!(page.body, zipped(&SECRET.repeat(40))[..10], "{path}");
    }
    let plain = part(&proxy, "/zc/page.html", "");
    assert_eq!((plain.status, plain.text().as_str()), (206, &SECRET[..10]));
}
