//! Pages put together from parts (`includes`), over the wire.

use std::fs;

use crate::client::Response;
use crate::harness::Proxy;
use crate::origin::Origin;

fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(root.path().join(name), text).unwrap();
    }
    root
}

/// A site with includes before an origin whose paths begin with `/app/`.
fn site(root: &tempfile::TempDir, includes: &str, origin: &Origin) -> Proxy {
    let (root, origin) = (root.path().display(), origin.address);
    Proxy::start(&format!(
        "lanes: {{ interactive: {{ requests_max: 1, waiting_max: 9, waiting_time_max: 5s }} }}\n\
         upstreams: {{ u: {{ servers: [ {{ address: '{origin}' }} ] }} }}\n\
         routes:\n\
         - {{ name: app, match: {{ paths: [ {{ prefix: /app/ }} ] }}, upstream: u }}\n\
         - {{ name: parts, internal: true, match: {{ paths: [ {{ prefix: /parts/ }} ] }}, files: {{ root: {root}, strip_prefix: /parts }} }}\n\
         - {{ name: closed, match: {{ paths: [ {{ prefix: /closed/ }} ] }}, files: {{ root: {root}, strip_prefix: /closed }}, access: {{ allow: [ 192.0.2.1 ] }} }}\n\
         - {{ name: site, files: {{ root: {root} }}, includes: {{ {includes} }} }}\n"
    ))
}

fn ask(proxy: &Proxy, line: &str, fields: &str) -> Response {
    proxy.client().ask(&format!("{line}\r\nHost: a.example\r\n{fields}\r\n"))
}

/// Answers with its target, and breaks off where that ends in `broken`.
fn telling() -> Origin {
    Origin::start(|exchange| {
        let target = exchange.target().to_owned();
        if target.ends_with("broken") {
            exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf");
            return false;
        }
        let coded = exchange.header("accept-encoding").is_some();
        exchange.answer(&format!("<{target}{}>", if coded { " coded" } else { "" }))
    })
}

#[test]
fn a_page_has_its_parts_from_files_and_upstreams_in_one_place_of_its_lane() {
    let root = root(&[
        (
            "page.html",
            "a<!--#include virtual=\"/app/x?q=$arg_q\" -->b<!--#include virtual=\"/inner.html\" -->c",
        ),
        (
            "inner.html",
            "[<!--#echo var=\"arg_q\" default=\"-\" --><!--#include virtual=\"/parts/f.txt\" -->]",
        ),
        ("beside.html", "<!--#include file=\"inner.html\" -->"),
        ("f.txt", "file <!--#echo var=\"x\" -->"),
        (
            "kept.html",
            "<!--#include virtual=\"/app/y\" set=\"y\" --><!--#if expr=\"$y = /app.y/\" -->is <!--#echo var=\"y\" encoding=\"none\" --><!--#endif -->",
        ),
    ]);
    let (origin, whole) = (telling(), "a</app/x?q=1>b[-file <!--#echo var=\"x\" -->]c");
    let proxy = site(&root, "", &origin);
    let page = ask(&proxy, "GET /page.html?q=1 HTTP/1.1", "Accept-Encoding: gzip\r\n");
    assert!(page.whole, "{page:?}");
    assert_eq!((page.status, page.text().as_str()), (200, whole));
    for field in ["content-length", "last-modified", "accept-ranges", "etag"] {
        assert_eq!(page.header(field), None, "{field}");
    }
    let old = ask(&proxy, "GET /page.html?q=1 HTTP/1.0", "");
    assert_eq!((old.text().as_str(), old.header("transfer-encoding")), (whole, None));
    let head = proxy.client().ask("HEAD /page.html HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!((head.status, head.header("content-length")), (200, None));
    assert_eq!(proxy.get("/beside.html").text(), "[-file <!--#echo var=\"x\" -->]");
    assert_eq!(proxy.get("/kept.html").text(), "is </app/y>");
    assert_eq!(proxy.get("/parts/f.txt").status, 404, "only pages reach it");
    // What the client asked for is logged, and its parts, which ended before it, are not.
    proxy.log_of("/kept.html");
    proxy.log_of("/parts/f.txt");
    let lines = proxy.log();
    assert!(lines.iter().all(|line| line["route"] != "app"), "{lines:?}");
    let included = "forebay_proxy_includes_total{result=\"included\",route=\"site\"}";
    assert_eq!(proxy.metric(included), 9.0);
}

#[test]
fn a_page_includes_no_more_than_it_may() {
    let root = root(&[
        ("self.html", "x<!--#include virtual=\"/self.html\" -->"),
        (
            "twice.html",
            "y<!--#include virtual=\"/twice.html\" --><!--#include virtual=\"/twice.html\" -->",
        ),
        ("large.html", "<!--#include virtual=\"/big.txt\" -->"),
        ("kept.html", "<!--#include virtual=\"/big.txt\" set=\"big\" --><!--#echo var=\"big\" -->"),
        ("big.txt", &"z".repeat(3000)),
    ]);
    let bounds = "silent_errors: true, depth_max: 8, parts_max: 20, bytes_max: 5000, kept_max: 10";
    let proxy = site(&root, bounds, &telling());
    // The deepest that can be written, and itself eight times in it.
    assert_eq!(proxy.get("/self.html").text(), "x".repeat(9));
    assert_eq!(proxy.get("/twice.html").text(), "y".repeat(21));
    let left_out = "forebay_proxy_includes_total{result=\"left_out\",route=\"site\"}";
    assert!(proxy.metric(left_out) > 2.0);
    assert_eq!(proxy.get("/kept.html").text(), "z".repeat(10));
    assert_eq!(proxy.get("/large.html").text().len(), 3000);
    fs::write(root.path().join("big.txt"), "z".repeat(6000)).unwrap();
    assert!(!proxy.get("/large.html").whole);
}

#[test]
fn a_part_that_fails_says_so_or_is_stood_in_for_and_one_that_breaks_off_breaks_the_page() {
    let root = root(&[
        ("missing.html", "a<!--#include virtual=\"/none\" -->b"),
        (
            "stub.html",
            "<!--#block name=\"s\" -->instead<!--#endblock -->a<!--#include virtual=\"/none\" stub=\"s\" -->b",
        ),
        ("broken.html", "a<!--#include virtual=\"/app/broken\" -->b"),
        ("closed.html", "a<!--#include virtual=\"/closed/nonsense.html\" -->b"),
        ("nonsense.html", "a<!--#include -->b"),
        ("post.html", "a<!--#nothing -->"),
    ]);
    let proxy = site(&root, "", &telling());
    let missing = proxy.get("/missing.html");
    assert_eq!(missing.status, 200);
    assert!(missing.text().starts_with('a') && missing.text().contains("no file"), "{missing:?}");
    assert_eq!(proxy.get("/stub.html").text(), "ainsteadb");
    assert!(!proxy.get("/broken.html").whole);
    assert!(proxy.get("/nonsense.html").text().contains("an error occurred"));
    let failed = "forebay_proxy_includes_total{result=\"failed\",route=\"site\"}";
    assert_eq!(proxy.metric(failed), 2.0);
    let closed = proxy.get("/closed.html");
    assert!(closed.status == 200 && closed.text().contains("\"status\":403"), "{closed:?}");
}

#[test]
fn a_page_from_the_cache_is_put_together_each_time() {
    let origin = Origin::start(|exchange| {
        let body = match exchange.target().split('?').next().unwrap() {
            "/page" => "<!--#echo var=\"arg_n\" default=\"none\" -->",
            _ => "",
        };
        let length = body.len();
        exchange.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nCache-Control: max-age=60\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ))
    });
    let proxy = Proxy::start(&format!(
        "caches: {{ c: {{ memory_max: 16MiB }} }}\n\
         cache_policies: {{ p: {{ cache: c, key: {{ query: none }} }} }}\n\
         upstreams: {{ u: {{ servers: [ {{ address: '{}' }} ] }} }}\n\
         routes: [ {{ name: all, upstream: u, cache_policy: p, includes: {{}}, compression: {{ body_min: 1 }} }} ]",
        origin.address
    ));
    for n in 1..=3 {
        // What is stored is one page, whatever the query.
        let page = proxy.get(&format!("/page?n={n}"));
        assert_eq!((page.status, page.text()), (200, n.to_string()));
    }
    assert_eq!(proxy.get("/page").text(), "none");
    assert_eq!(origin.requests(), 1);
}
