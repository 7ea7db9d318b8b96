//! Error logs: who hears of a failure, in which words, how grave it must be, and by syslog.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Proxy, dead_address, eventually};
use crate::origin::Origin;

/// What a socket hears next, without the time.
fn heard(socket: &UdpSocket) -> String {
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut bytes = [0; 4096];
    let length = socket.recv(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

#[test]
fn failures_are_told_where_their_route_says_and_when_the_answer_is_there() {
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
    let proxy = Proxy::start(&sections);
    let read = |name: &str| std::fs::read_to_string(path(name)).unwrap_or_default();
    let ask = |target: &str| {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
        proxy.client().ask(&request).status
    };
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
fn lines_go_to_syslog_as_nginx_sends_them() {
    let origin = Origin::saying("ok");
    let folder = tempfile::tempdir().unwrap();
    let (udp, errors) = (UdpSocket::bind("127.0.0.1:0").unwrap(), folder.path().join("errors"));
    let unix = UnixDatagram::bind(&errors).unwrap();
    unix.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
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
