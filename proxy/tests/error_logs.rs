//! Error logs: who hears of a failure, in which words, how grave it must be, and by syslog.

use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixDatagram;

use rustix::process::Signal;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::authority::Authority;
use crate::harness::{PATIENCE, Proxy, dead_address, eventually, to};
use crate::http2_origin::AsyncOrigin;
use crate::origin::Origin;
use crate::protocols::tunnels;

/// What a socket hears next, without the time.
fn heard(socket: &UdpSocket) -> String {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = [0; 4096];
    let length = socket.recv(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

#[test]
fn failures_at_the_door_are_told_where_their_route_says() {
    failures_are_told("on");
}

#[test]
fn failures_behind_the_door_are_told_where_their_route_says() {
    failures_are_told("off");
}

fn failures_are_told(door: &str) {
    let origin = Origin::saying("ok");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let sections = format!(
        "upstreams:
  u: {{ servers: [ {{ address: '{origin}' }} ] }}
  dead: {{ servers: [ {{ address: '{dead}' }} ] }}
rate_limits: {{ few: {{ key: [client], rate: 1/h, log_level: notice }} }}
error_log: [main]
error_logs:
  main: {{ path: {main} }}
  all: {{ path: {all}, level: info }}
  grave: {{ path: {grave}, level: crit }}
routes:
  - {{ name: files, match: {{ paths: [ {{ prefix: /files/ }} ] }}, files: {{ root: {root} }} }}
  - {{ name: dead, match: {{ paths: [ {{ prefix: /dead }} ] }}, upstream: dead, error_logs: [all, grave] }}
  - {{ name: few, match: {{ paths: [ {{ prefix: /few }} ] }}, upstream: u, rate_limits: [few], error_logs: [all] }}
  - {{ name: quiet, match: {{ paths: [ {{ prefix: /quiet }} ] }}, upstream: dead, error_logs: [] }}
  - {{ name: rest, upstream: u }}",
        origin = origin.address,
        dead = dead_address(),
        root = folder.path().display(),
        main = path("main.log"),
        all = path("all.log"),
        grave = path("grave.log"),
    );
    let proxy = Proxy::with_door(door, "", &sections);
    let read = |name: &str| std::fs::read_to_string(path(name)).unwrap_or_default();
    let ask = |target: &str| proxy.get(target).status;
    assert_eq!(ask("/fine"), 200);
    assert_eq!(read("main.log"), "", "nothing failed");
    assert_eq!(ask("/files/none"), 404);
    let main = eventually("a line", || Some(read("main.log")).filter(|text| !text.is_empty()));
    let form = r#"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[error\] \d+#\d+: \*\d+ open\(\) "[^"]*/files/none" failed \(2: No such file or directory\), client: 127\.0\.0\.1, server: , request: "GET /files/none HTTP/1\.1", host: "a\.example"\n$"#;
    let form = form.parse::<proxy_config::pattern::Regex>().unwrap().compile().unwrap();
    assert!(form.is_match(&main), "{main}");
    assert_eq!((ask("/dead"), ask("/quiet")), (502, 502));
    let all = eventually("a line", || Some(read("all.log")).filter(|text| !text.is_empty()));
    assert!(all.contains("[error]") && all.contains("while connecting to upstream"), "{all}");
    assert!(all.contains(", upstream: \"http://127.0.0.1:"), "{all}");
    assert_eq!(read("grave.log"), "");
    assert_eq!((ask("/few"), ask("/few")), (200, 429));
    let said = "[notice]";
    let all = eventually("a refusal", || Some(read("all.log")).filter(|text| text.contains(said)));
    assert!(all.contains("limiting requests, excess: 1.000 by zone \"few\""), "{all}");
    assert_eq!(read("main.log").lines().count(), 1, "{}", read("main.log"));

    std::fs::rename(path("all.log"), path("old.log")).unwrap();
    proxy.signal(Signal::USR1);
    eventually("a new file", || std::fs::metadata(path("all.log")).ok());
    assert_eq!(ask("/dead"), 502);
    eventually("a line in it", || read("all.log").contains("/dead").then_some(()));
    assert_eq!(proxy.metric("forebay_proxy_error_log_dropped_total"), 0.0);
    proxy.rewrite(&sections.replace("[all, grave]", "[al]"));
    assert!(!proxy.reload());
    proxy.says("did you mean `all`");
}

#[test]
fn what_is_less_than_a_failure_is_told_with_the_door_open_and_shut() {
    for door in ["on", "off"] {
        let origin = Origin::saying("ok");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all.log");
        let proxy = Proxy::with_door(
            door,
            "",
            &format!(
                "upstreams: {{ u: {{ servers: [ {{ address: '{}' }} ] }} }}
rate_limits: {{ few: {{ key: [client], rate: 1/h, dry_run: true }} }}
error_log: [all]
error_logs: {{ all: {{ path: {}, level: debug }} }}
routes: [ {{ name: few, upstream: u, rate_limits: [few] }} ]",
                origin.address,
                path.display()
            ),
        );
        let mut client = proxy.client();
        for path in ["/one", "/two"] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n");
            assert_eq!(client.ask(&request).status, 200);
        }
        let all = eventually("three lines", || {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            (text.lines().count() >= 3).then_some(text)
        });
        let lines: Vec<_> = all.lines().collect();
        for (line, path, text) in [
            (lines[0], "/one", "[debug]"),
            (lines[1], "/two", "[error]"),
            (lines[2], "/two", "[debug]"),
        ] {
            assert!(line.contains(path) && line.contains(text), "{door}: {all}");
        }
        assert!(
            lines[0].contains("route \"few\", lane \"interactive\", servers 127.0.0.1:"),
            "{all}"
        );
        assert!(lines[1].contains("limiting requests, dry run, excess: "), "{door}: {all}");
    }
}

#[test]
fn what_became_of_an_upgraded_connection_is_told_when_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.log");
    let proxy = Proxy::start(&format!(
        "{}\nerror_log: [all]\nerror_logs: {{ all: {{ path: {}, level: debug }} }}",
        to(&[tunnels::chat()]),
        path.display()
    ));
    let mut socket = tunnels::connect(&proxy, "/chat");
    tunnels::echo(&mut socket, "said");
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(read(), "");
    drop(socket);
    let all = eventually("a line", || Some(read()).filter(|text| !text.is_empty()));
    assert!(all.contains("[debug]") && all.contains("route \"all\""), "{all}");
    assert!(all.contains("\"GET /chat "), "{all}");
    assert_eq!(all.lines().count(), 1, "{all}");
}

#[test]
fn the_operators_log_hears_of_what_is_broken_and_no_error_log_tells_of() {
    for door in ["on", "off"] {
        let folder = tempfile::tempdir().unwrap();
        let proxy = Proxy::with_door(
            door,
            "",
            &format!(
                "upstreams: {{ dead: {{ servers: [ {{ address: '{}' }} ] }} }}
caches: {{ c: {{ memory_max: 64MiB }} }}
cache_policies: {{ p: {{ cache: c }} }}
rate_limits: {{ few: {{ key: [client], rate: 1/h }} }}
error_logs: {{ heard: {{ path: {} }} }}
routes:
  - {{ name: heard, match: {{ paths: [ {{ prefix: /heard }} ] }}, upstream: dead, error_logs: [heard] }}
  - {{ name: kept, match: {{ paths: [ {{ prefix: /kept }} ] }}, upstream: dead, cache_policy: p }}
  - {{ name: few, match: {{ paths: [ {{ prefix: /few }} ] }}, upstream: dead, rate_limits: [few] }}
  - {{ name: plain, match: {{ paths: [ {{ prefix: /plain }} ] }}, upstream: dead }}",
                dead_address(),
                folder.path().join("heard.log").display()
            ),
        );
        let ask = |path: &str, id: &str| {
            let head =
                format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nX-Request-Id: {id}\r\n\r\n");
            proxy.client().ask(&head).status
        };
        assert_eq!((ask("/heard", "id-heard"), ask("/none", "id-none")), (502, 404));
        assert_eq!((ask("/few", "id-first"), ask("/few", "id-limited")), (502, 429));
        assert_eq!((ask("/kept", "id-kept"), ask("/plain", "id-plain")), (502, 502));
        for (id, count) in
            [("plain", 1), ("kept", 1), ("first", 1), ("heard", 0), ("none", 0), ("limited", 0)]
        {
            let line = format!("\"request_id\":\"id-{id}\"");
            if count > 0 {
                proxy.says(&line);
            }
            assert_eq!(proxy.stderr().matches(&line).count(), count, "{door} {id}");
        }
    }
}

#[test]
fn the_cause_that_is_told_is_the_one_there_was() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let pair = authority.issue("server", &["origin.example"]);
    let tls =
        AsyncOrigin::start(Some(authority.server(&pair, false, &[&TLS12, &TLS13], &[])), false);
    let plain = Origin::start(|exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        false
    });
    let silent = Origin::start(|_| false);
    let no_tls = TcpListener::bind("127.0.0.1:0").unwrap();
    let no_tls_at = no_tls.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in no_tls.incoming().map_while(Result::ok) {
            let _ = stream.write_all(b"there is no TLS here\r\n");
        }
    });
    let certificates = format!("tls: {{ authorities: {} }}", stranger.file().display());
    let cases = [
        ("refused", dead_address(), "", "connect() failed (111: Connection refused)"),
        ("handshake", no_tls_at, "tls: { verify: false }", "SSL_do_handshake() failed"),
        ("stranger", tls.address, certificates.as_str(), "upstream SSL certificate verify error"),
        ("silent", silent.address, "", "while reading response header from upstream"),
        ("half", plain.address, "", "prematurely closed connection while reading upstream"),
    ];
    let upstreams = cases.map(|(name, address, more, _)| {
        format!("{name}: {{ servers: [ {{ address: '{address}' }} ], {more} }}")
    });
    let routes = cases.map(|(name, ..)| {
        format!(
            "{{ name: {name}, match: {{ paths: [ {{ prefix: /{name} }} ] }}, upstream: {name} }}"
        )
    });
    for door in ["on", "off"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all.log");
        let proxy = Proxy::with_door(
            door,
            "",
            &format!(
                "error_log: [all]\nerror_logs: {{ all: {{ path: {} }} }}
upstreams: {{ {} }}\nroutes: [ {} ]",
                path.display(),
                upstreams.join(", "),
                routes.join(", ")
            ),
        );
        for (name, .., text) in cases {
            proxy.get(&format!("/{name}"));
            let request = format!("\"GET /{name} ");
            let line = eventually(name, || {
                let all = std::fs::read_to_string(&path).ok()?;
                all.lines().find(|line| line.contains(&request)).map(str::to_owned)
            });
            assert!(line.contains(text), "{door}: {line}");
        }
        let kinds = |kind: &str, name: &str| {
            let labels = format!("{{kind=\"{kind}\",upstream=\"{name}\"}}");
            proxy.metric(&format!("forebay_proxy_upstream_failures_total{labels}"))
        };
        for name in ["refused", "handshake", "stranger"] {
            assert_eq!(kinds("connect", name), 1.0, "{door} {name}");
        }
        assert_eq!((kinds("read", "silent"), kinds("read", "half")), (1.0, 1.0), "{door}");
    }
}

#[test]
fn lines_go_to_syslog_as_nginx_sends_them() {
    let origin = Origin::saying("ok");
    let folder = tempfile::tempdir().unwrap();
    let (udp, errors) = (UdpSocket::bind("127.0.0.1:0").unwrap(), folder.path().join("errors"));
    let unix = UnixDatagram::bind(&errors).unwrap();
    unix.set_read_timeout(Some(PATIENCE)).unwrap();
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{origin}' }} ] }} }}
access_logs:
  far: {{ path: 'syslog:server={udp},tag=shop,severity=alert', format: {{ template: '$path:$answer_status' }} }}
error_log: [near]
error_logs: {{ near: {{ path: 'syslog:server=unix:{errors},facility=user,nohostname' }} }}
routes:
  - {{ name: files, match: {{ paths: [ {{ prefix: /files/ }} ] }}, files: {{ root: {root} }}, access_logs: [] }}
  - {{ name: rest, upstream: u, access_logs: [far] }}",
        origin = origin.address,
        udp = udp.local_addr().unwrap(),
        errors = errors.display(),
        root = folder.path().display(),
    ));
    assert_eq!(proxy.get("/a").status, 200);
    let line = heard(&udp);
    let form = r"^<185>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ shop: /a:200$";
    let form = form.parse::<proxy_config::pattern::Regex>().unwrap().compile().unwrap();
    assert!(form.is_match(&line), "{line}");
    assert_eq!(proxy.get("/files/none").status, 404);
    let mut bytes = [0; 4096];
    let length = unix.recv(&mut bytes).unwrap();
    let line = String::from_utf8_lossy(&bytes[..length]).into_owned();
    assert!(
        line.starts_with("<11>") && line.contains(" nginx: 2") && line.contains("[error]"),
        "{line}"
    );
    // A server that is away costs lines, and no request.
    drop((unix, std::fs::remove_file(&errors)));
    assert_eq!(proxy.get("/files/none").status, 404);
    eventually("a failed write", || {
        (proxy.metric("forebay_proxy_error_log_write_errors_total") > 0.0).then_some(())
    });
}
