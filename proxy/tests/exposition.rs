use std::collections::BTreeSet;
use std::process::Command;

use crate::client::Client;
use crate::harness::{BINARY, Proxy, dead_address, eventually, to, upstream};
use crate::origin::Origin;
use crate::protocols::tunnels::{chat, connect};

fn families(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn every_metric_exported_is_documented_and_the_other_way_round() {
    let origin = Origin::saying("ok");
    let pages = tempfile::tempdir().unwrap();
    std::fs::write(pages.path().join("p.html"), "<!--#include virtual=\"/c/\" -->").unwrap();
    // One request of each kind, so that every family with labels has a series.
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {}, v: {}, w: {{ servers: [ {{ address: 'localhost:{}' }} ], resolve: {{}} }}, x: {{ by_request: {{ allow: [ a.example ] }} }} }}\nroutes:\n\
         - {{ name: t, match: {{ paths: [ {{ prefix: /t/ }} ] }}, upstream: w, mirror: {{ upstream: v, compare: true }} }}\n\
         - {{ name: a, match: {{ paths: [ {{ prefix: /a/ }} ] }}, upstream: u, cache_policy: p, mirror: {{ upstream: u }} }}\n\
         - {{ name: b, match: {{ paths: [ {{ prefix: /b/ }} ] }}, upstream: v, rate_limits: [ l ], auth: {{ subrequest: {{ upstream: u, path: / }} }} }}\n\
         - {{ name: s, match: {{ paths: [ {{ exact: /p.html }} ] }}, files: {{ root: '{3}' }}, includes: {{}} }}\n\
         - {{ name: k, match: {{ paths: [ {{ prefix: /k/ }} ] }}, upstream: u, kept_body: {{ folder: '{3}', all_in_files: true }} }}\n\
         rate_limits: {{ l: {{ key: [ client ], rate: 9/s }} }}\n\
         cache_policies: {{ p: {{ cache: main, video: {{}} }} }}\ncaches: {{ main: {{ memory_max: 64MiB, disk: {{ path: '{3}/kept', bytes_max: 64MiB }} }} }}",
        upstream(&[origin.address]),
        upstream(&[dead_address(), dead_address()])
            .replace("] }", "], health_checks: { active: { interval: 2s } } }"),
        chat().port(),
        pages.path().display(),
    ));
    let told = "CMCD=br%3D800%2Cbl%3D2000%2Cmtp%3D9000%2Cmsd%3D300%2Ccid%3D%22x%22";
    assert_eq!(proxy.get(&format!("/a/?{told}")).status, 200);
    assert_eq!(proxy.get("/b/").status, 502);
    assert_eq!(proxy.get("/c/").status, 404);
    assert_eq!(proxy.get("/p.html").status, 200);
    let post = "POST /k/ HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\n\r\nx";
    assert_eq!(proxy.client().ask(post).status, 200);
    drop(connect(&proxy, "/t/"));
    proxy.log_of("/t/");
    proxy.log_of("/c/");
    let output = Command::new(BINARY).args(["docs", "metrics"]).output().unwrap();
    let documented: BTreeSet<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(str::to_owned))
        .collect();
    let of_tls = ["tls_handshake", "_certificate_", "_acme_", "_ocsp_"];
    let is_of_tls = |name: &str| of_tls.iter().any(|part| name.contains(part));
    // Copies and probes go on by themselves, and are counted when they have ended.
    let mut missed = Vec::new();
    let exported = eventually("every family that is documented", || {
        let exported = families(&proxy.metrics());
        let unseen = documented.difference(&exported).filter(|name| !is_of_tls(name));
        let unseen: Vec<_> = unseen.cloned().collect();
        if std::mem::replace(&mut missed, unseen) != missed {
            println!("not there: {missed:?}");
        }
        missed.is_empty().then_some(exported)
    });
    let undocumented: Vec<_> = exported.difference(&documented).collect();
    assert!(undocumented.is_empty(), "{undocumented:?}");
}

#[test]
fn figures_agree_with_what_was_asked() {
    let origin = Origin::saying("hello");
    let proxy = Proxy::before(&[origin.address]);
    let mut client = proxy.client();
    for _ in 0..5 {
        client.ask("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    }
    // A request is counted, then logged; both may come after its response has arrived.
    eventually("5 lines", || (proxy.log().len() == 5).then_some(()));
    let labels = "lane=\"interactive\",route=\"all\"";
    let figure = |name: &str| proxy.metric(&format!("forebay_proxy_{name}{{{labels}}}"));
    assert_eq!(figure("request_body_bytes_total"), 15.0);
    assert_eq!(figure("response_body_bytes_total"), 25.0);
    assert_eq!(figure("request_duration_seconds_count"), 5.0);
    assert_eq!(figure("first_byte_seconds_count"), 5.0);
    assert_eq!(figure("requests_aborted_total"), 0.0);
    let open = "forebay_proxy_downstream_connections{listener=\"public\"}";
    assert_eq!(proxy.metric(open), 1.0);
    let requests = "forebay_proxy_requests_total{code=\"200\",lane=\"interactive\",listener=\"public\",route=\"all\"}";
    assert_eq!(proxy.metric(requests), 5.0);
}

#[test]
fn the_admin_pages_are_on_the_admin_listener_only() {
    let origin = Origin::saying("the origin's own");
    let proxy = Proxy::start(&to(&[origin.address]));
    for page in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(proxy.admin_get(page).status, 200, "{page}");
        assert_eq!(proxy.get(page).text(), "the origin's own", "{page}");
    }
    assert_eq!(proxy.admin_get("/other").status, 404);
    let post =
        "POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(Client::to(proxy.admin).ask(post).status, 405);
    assert_eq!(proxy.admin_get("/readyz").text(), "ready\n");
}
