//! Internal redirects over the wire: error pages, `try`, `X-Accel-Redirect`, internal routes.

use std::fs;

use crate::client::{Client, Response};
use crate::harness::{Proxy, dead_address};
use crate::origin::Origin;

/// A directory with pages, and with files that only an upstream may hand out.
fn pages() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for folder in ["errors", "protected", "docs"] {
        fs::create_dir(root.path().join(folder)).unwrap();
    }
    for (name, text) in [
        ("index.html", "home"),
        ("a.txt", "a file"),
        ("docs/index.html", "docs"),
        ("errors/404.html", "<p>not here"),
        ("errors/5xx.html", "<p>broken"),
        ("protected/film.mp4", "0123456789"),
        ("protected/Übung #1 50% done.mp4", "abc"),
    ] {
        fs::write(root.path().join(name), text).unwrap();
    }
    root
}

/// An origin that answers with the status its path ends in.
fn by_status() -> Origin {
    Origin::start(|exchange| {
        let Some(body) = exchange.body() else { return false };
        let path = exchange.target().split('?').next().unwrap();
        let status = path.rsplit('/').next().unwrap().to_owned();
        let text = format!("origin {status} {} {}", exchange.head.len(), body.len());
        exchange.write(format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nContent-Type: text/plain\r\n\r\n{text}",
            text.len()
        ))
    })
}

fn ask(client: &mut Client, line: &str, fields: &str) -> Response {
    client.ask(&format!("{line} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"))
}

#[test]
fn pages_stand_in_for_errors_of_the_proxy_and_where_it_says_so_of_the_upstream() {
    let (root, origin) = (pages(), by_status());
    let root = root.path().display();
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{}' }} ] }}, dead: {{ servers: [ {{ address: '{}' }} ] }} }}\n\
         routes:\n\
         - {{ name: pages, internal: true, match: {{ paths: [ {{ prefix: /errors/ }} ] }}, files: {{ root: {root} }}, response_headers: {{ set: {{ x-page: yes }} }} }}\n\
         - {{ name: dead, match: {{ paths: [ {{ prefix: /dead/ }} ] }}, upstream: dead, error_pages: [ {{ statuses: [5xx], path: /errors/5xx.html }} ] }}\n\
         - {{ name: own, match: {{ paths: [ {{ prefix: /own/ }} ] }}, upstream: u, error_pages: [ {{ statuses: [4xx], path: /errors/404.html }} ] }}\n\
         - {{ name: all, match: {{ paths: [ {{ prefix: /all/ }} ] }}, upstream: u, error_pages: [\n\
             {{ statuses: [404], path: /errors/404.html, upstream_errors: true }},\n\
             {{ statuses: [410], path: /errors/404.html, status: 200, upstream_errors: true }},\n\
             {{ statuses: [418], route: apology, own_status: true, upstream_errors: true }},\n\
             {{ statuses: [451], path: /errors/none.html, upstream_errors: true }},\n\
             {{ statuses: [5xx], path: '/own/200?was=$path', upstream_errors: true }} ] }}\n\
         - {{ name: apology, internal: true, respond: {{ status: 203, body: 'sorry for $path' }} }}\n\
         - {{ name: files, files: {{ root: {root} }}, error_pages: [ {{ statuses: [404], path: /errors/404.html }} ] }}",
        origin.address,
        dead_address(),
    ));
    let mut client = proxy.client();
    for (path, status, body) in [
        ("/dead/x", 502, "<p>broken"),
        ("/own/404", 404, "origin 404"),
        ("/all/404", 404, "<p>not here"),
        ("/all/410", 200, "<p>not here"),
        ("/all/418", 203, "sorry for /all/418"),
        ("/all/500", 500, "origin 200"),
        ("/all/200", 200, "origin 200"),
        ("/nothing", 404, "<p>not here"),
        ("/errors/404.html", 404, "\"title\""),
    ] {
        // Only what fails inside pingora's proxying costs the connection.
        let client = if path == "/dead/x" { &mut proxy.client() } else { &mut client };
        let response = ask(client, &format!("GET {path}"), "");
        let text = response.text();
        assert!(response.status == status && text.contains(body), "{path}: {response:?}");
        assert!(response.whole, "{path}");
    }
    let page = ask(&mut client, "GET /all/404", "If-None-Match: *\r\nRange: bytes=0-1\r\n");
    assert_eq!(
        (page.status, page.text().as_str()),
        (404, "<p>not here"),
        "errors are never partial"
    );
    assert_eq!(page.header("x-page"), Some("yes"), "the page's route edits it");
    assert_eq!(page.header("content-type"), Some("text/html"));
    let head = ask(&mut client, "HEAD /all/404", "");
    assert_eq!((head.status, head.header("content-length")), (404, Some("11")));
    assert_eq!(ask(&mut client, "GET /all/451", "").status, 451, "a page that fails");
    // The answer to a request with a body is met inside pingora, which gives the connection up.
    let posted = ask(&mut client, "POST /all/404", "Content-Length: 3\r\n\r\nabc");
    assert_eq!((posted.status, posted.text().as_str()), (404, "<p>not here"));
    assert!(client.is_closed());
    let posted = ask(&mut proxy.client(), "POST /all/500", "Content-Length: 3\r\n\r\nabc");
    assert_eq!(posted.status, 500);
    assert!(posted.text().ends_with(" 0"), "a page is asked for without the body: {posted:?}");
    let line = proxy.log_of("/all/404");
    assert_eq!(
        (line["route"].as_str(), line["error"].as_str()),
        (Some("all"), Some("upstream_status"))
    );
    assert_eq!((&line["aborted"], &line["status"]), (&false.into(), &404.into()));
    let line = proxy.log_of("/dead/x");
    assert_eq!(line["error"].as_str(), Some("upstream_unreachable"));
}

#[test]
fn a_page_is_asked_for_in_the_place_of_what_failed() {
    let origin = by_status();
    let proxy = Proxy::start(&format!(
        "lanes: {{ interactive: {{ requests_max: 4, origin_concurrency_max: 1 }} }}\n\
         upstreams: {{ u: {{ servers: [ {{ address: '{}', connections_max: 1 }} ] }} }}\n\
         routes:\n\
         - {{ name: page, internal: true, match: {{ paths: [ {{ prefix: /page/ }} ] }}, upstream: u }}\n\
         - {{ name: all, upstream: u, error_pages: [ {{ statuses: [5xx], path: /page/200, upstream_errors: true }} ] }}",
        origin.address,
    ));
    let posted = ask(&mut proxy.client(), "POST /500", "Content-Length: 3\r\n\r\nabc");
    assert!(posted.text().starts_with("origin 200"), "{posted:?}");
    assert_eq!(posted.status, 500);
}

#[test]
fn files_are_tried_before_what_stands_behind_them() {
    let (root, origin) = (
        pages(),
        Origin::start(|exchange| {
            let Some(body) = exchange.body() else { return false };
            let text = format!("{} {}", exchange.head.lines().next().unwrap(), body.len());
            exchange.answer(&text)
        }),
    );
    let root = root.path().display();
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{}' }} ] }} }}\n\
         routes:\n\
         - {{ name: front, match: {{ paths: [ {{ exact: /front }} ] }}, upstream: u }}\n\
         - {{ name: app, internal: true, upstream: u }}\n\
         - {{ name: by-name, match: {{ paths: [ {{ prefix: /app/ }} ] }}, files: {{ root: {root} }}, try: [ {{ file: $path }}, {{ route: app }} ] }}\n\
         - {{ name: none, match: {{ paths: [ {{ prefix: /none/ }} ] }}, files: {{ root: {root} }}, try: [ {{ file: /a.txt.missing }}, {{ status: 410 }} ] }}\n\
         - {{ name: circle, match: {{ paths: [ {{ prefix: /circle/ }} ] }}, files: {{ root: {root} }}, try: [ {{ path: /circle/x }} ] }}\n\
         - {{ name: site, files: {{ root: {root} }}, try: [ {{ file: $path }}, {{ file: $path/ }}, {{ path: '/front?$query' }} ] }}",
        origin.address,
    ));
    let mut client = proxy.client();
    for (line, status, body) in [
        ("GET /a.txt", 200, "a file"),
        ("GET /docs/", 200, "docs"),
        ("GET /", 200, "home"),
        ("GET /gone?x=1", 200, "GET /front?x=1 HTTP/1.1 0"),
        ("GET /app/y", 200, "GET /app/y HTTP/1.1 0"),
        ("GET /circle/a", 500, "circle"),
        ("GET /none/x", 410, "problem"),
    ] {
        let response = ask(&mut client, line, "");
        let seen = format!("{}{}", response.text(), response.header("content-type").unwrap_or(""));
        assert!(response.status == status && seen.contains(body), "{line}: {response:?}");
    }
    let moved = ask(&mut client, "GET /docs?y", "");
    assert_eq!((moved.status, moved.header("location")), (301, Some("/docs/?y")));
    let posted = ask(&mut client, "POST /gone", "Content-Length: 5\r\n\r\nhello");
    assert_eq!(posted.text(), "POST /front? HTTP/1.1 5", "method and body go along");
    assert_eq!(ask(&mut client, "POST /a.txt", "Content-Length: 0\r\n").status, 405);
    let line = proxy.log_of("/gone");
    assert_eq!((line["route"].as_str(), line["query"].as_str()), (Some("front"), Some("x=1")));
}

#[test]
fn an_upstream_that_is_obeyed_hands_requests_back() {
    let root = pages();
    let origin = Origin::start(|exchange| {
        let Some(_) = exchange.body() else { return false };
        let to = match exchange.target() {
            "/film" | "/film?off" => "/protected/film.mp4",
            "/circle" => "/circle",
            "/named" => "@app",
            "/up" => "/plain",
            "/bad" => "no path",
            "/raw" => "/protected/Übung #1 50% done.mp4",
            "/escaped" => "%2Fprotected%2F%C3%9Cbung%20%231%2050%25%20done.mp4",
            "/above" => "/protected/%2e%2e/a.txt",
            _ => return exchange.answer("plain"),
        };
        exchange.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Type: video/x\r\nX-Accel-Redirect: {to}\r\n\
             X-Accel-Buffering: no\r\nContent-Disposition: attachment\r\nETag: \"old\"\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nskip"
        ))
    });
    let root = root.path().display();
    let routes = |obeyed: bool| {
        format!(
            "upstreams: {{ u: {{ servers: [ {{ address: '{}' }} ], x_accel: {obeyed} }} }}\n\
             routes:\n\
             - {{ name: app, internal: true, respond: {{ status: 200, body: by name }} }}\n\
             - {{ name: protected, internal: true, match: {{ paths: [ {{ prefix: /protected/ }} ] }}, files: {{ root: {root} }} }}\n\
             - {{ name: all, upstream: u }}",
            origin.address,
        )
    };
    let proxy = Proxy::start(&routes(true));
    let mut client = proxy.client();
    let film = ask(&mut client, "GET /film", "");
    assert_eq!((film.status, film.text().as_str()), (200, "0123456789"));
    assert_eq!(film.header("content-type"), Some("video/x"));
    assert_eq!(film.header("content-disposition"), Some("attachment"));
    assert_ne!(film.header("etag"), Some("\"old\""));
    assert_eq!(
        film.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")).count(),
        2
    );
    let part = ask(&mut client, "GET /film", "Range: bytes=2-4\r\n");
    assert_eq!((part.status, part.text().as_str()), (206, "234"));
    let head = ask(&mut client, "HEAD /film", "");
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
    assert_eq!(ask(&mut client, "GET /named", "").text(), "by name");
    assert_eq!(ask(&mut client, "GET /up", "").text(), "plain");
    assert_eq!(ask(&mut client, "GET /circle", "").status, 500);
    for path in ["/raw", "/escaped"] {
        let named = ask(&mut client, &format!("GET {path}"), "");
        assert_eq!((named.status, named.text().as_str()), (200, "abc"), "{path}");
    }
    for path in ["/bad", "/above"] {
        assert_eq!(ask(&mut client, &format!("GET {path}"), "").status, 500, "{path}");
    }
    assert_eq!(ask(&mut client, "GET /protected/film.mp4", "").status, 404, "from outside");
    let posted = ask(&mut client, "POST /film", "Content-Length: 3\r\n\r\nabc");
    assert_eq!((posted.status, posted.text().as_str()), (200, "0123456789"));
    let line = proxy.log_of("/film");
    assert_eq!((line["route"].as_str(), line["upstream"].as_str()), (Some("protected"), None));

    proxy.rewrite(&routes(false));
    assert!(proxy.reload());
    let plain = proxy.get("/film?off");
    assert_eq!((plain.text().as_str(), plain.header("x-accel-buffering")), ("skip", Some("no")));
}

#[test]
fn what_is_cached_may_lead_elsewhere_too() {
    let root = pages();
    let origin = Origin::start(|exchange| {
        exchange.write(match exchange.target() {
            "/film" => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Accel-Redirect: /protected/film.mp4\r\nCache-Control: max-age=60\r\n\r\n",
            _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nCache-Control: max-age=60\r\n\r\nno",
        })
    });
    let root = root.path().display();
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{}' }} ], x_accel: true }} }}\n\
         caches: {{ main: {{ memory_max: 16MiB }} }}\ncache_policies: {{ p: {{ cache: main }} }}\n\
         routes:\n\
         - {{ name: inside, internal: true, match: {{ paths: [ {{ prefix: /protected/ }}, {{ prefix: /errors/ }} ] }}, files: {{ root: {root} }} }}\n\
         - {{ name: all, upstream: u, cache_policy: p, error_pages: [ {{ statuses: [404], path: /errors/404.html, upstream_errors: true }} ] }}",
        origin.address,
    ));
    for _ in 0..3 {
        assert_eq!(proxy.get("/film").text(), "0123456789");
        let missing = proxy.get("/missing");
        assert_eq!((missing.status, missing.text().as_str()), (404, "<p>not here"));
    }
    assert_eq!(origin.requests(), 2, "what leads elsewhere is kept like any answer");
}

/// An origin that says what it was asked.
fn echo() -> Origin {
    Origin::start(|exchange| {
        let Some(body) = exchange.body() else { return false };
        let method = exchange.head.split(' ').next().unwrap().to_owned();
        let said = format!("{method} {} {}", exchange.target(), String::from_utf8_lossy(&body));
        let said = if said.len() > 100 { format!("{} bytes", said.len()) } else { said };
        let length = said.len();
        let sent = if method == "HEAD" { "" } else { said.as_str() };
        exchange.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{sent}"))
    })
}

#[test]
fn a_route_that_stands_in_is_asked_as_the_one_that_failed() {
    let (backup, root) = (echo(), pages());
    // Hears all of a request and says nothing.
    let mute = Origin::start(|exchange| exchange.body().is_none());
    let route = |name: &str, upstream: &str, more: &str| {
        format!(
            "- {{ name: {name}, match: {{ paths: [ {{ prefix: /{name}/ }} ] }}, upstream: {upstream}, rewrite: {{ prefix_to: / }}, \
             error_pages: [ {{ statuses: [502, 504], route: backup, own_status: true }} ]{more} }}\n"
        )
    };
    let server = |address| format!("{{ servers: [ {{ address: '{address}' }} ] }}");
    let proxy = Proxy::start(&format!(
        "upstreams: {{ dead: {}, mute: {}, live: {} }}\nbuffer_policies: {{ b: {{ preset: transactional }} }}\nroutes:\n\
         - {{ name: backup, internal: true, upstream: live }}\n{}{}{}{}{}\
         - {{ name: sorry, internal: true, files: {{ root: {root} }}, try: [ {{ file: /errors/5xx.html }}, {{ status: 404 }} ] }}\n\
         - {{ name: shown, match: {{ paths: [ {{ prefix: /shown/ }} ] }}, upstream: dead, error_pages: [ {{ statuses: [502], route: sorry }} ] }}\n",
        server(dead_address()),
        server(mute.address),
        server(backup.address),
        route("dead", "dead", ""),
        route("mute", "mute", ""),
        route("held", "dead", ", buffer_policy: b"),
        route("heard", "mute", ", buffer_policy: b"),
        route("kept", "dead", ", kept_body: { memory_max: 1MiB }"),
        root = root.path().display(),
    ));
    let asked = |line: &str, rest: &str| ask(&mut proxy.client(), line, rest);
    for name in ["dead", "mute", "held", "heard", "kept"] {
        let posted = asked(&format!("POST /{name}/x?q=1"), "Content-Length: 3\r\n\r\nabc");
        let said = format!("POST /{name}/x?q=1 abc");
        assert_eq!((posted.status, posted.text()), (200, said), "{name}");
        let chunks = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        let mut client = proxy.client();
        client.send(format!("PUT /{name}/y HTTP/1.1\r\nHost: a.example\r\n{chunks}"));
        let put = client.response(false).unwrap();
        assert_eq!(put.text(), format!("PUT /{name}/y abcde"), "{name}");
        assert_eq!(asked(&format!("GET /{name}/z"), "").text(), format!("GET /{name}/z "));
        let deleted = asked(&format!("DELETE /{name}/z"), "");
        assert_eq!(deleted.text(), format!("DELETE /{name}/z "), "{name}");
        assert_eq!(asked(&format!("HEAD /{name}/z"), "").status, 200, "{name}");
    }
    // More than is remembered of a body that pingora was to pass on: nobody can send it again.
    let large = "x".repeat(65 * 1024);
    let fields = format!("Content-Length: {}\r\n\r\n{large}", large.len());
    assert_eq!(asked("POST /mute/large", &fields).text(), "GET /mute/large ");
    let kept = asked("POST /kept/large", &fields);
    assert_eq!(kept.text(), format!("{} bytes", "POST /kept/large ".len() + large.len()));
    let shown = asked("POST /shown/x", "Content-Length: 3\r\n\r\nabc");
    assert_eq!((shown.status, shown.text().as_str()), (502, "<p>broken"), "a file is a page");
}
