use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::authority::Authority;
use crate::harness::{Proxy, eventually, free_port};
use crate::http2_origin::AsyncOrigin;

/// A route per upstream, `/NAME` to `NAME`, all with the same server.
fn proxy(origin: &AsyncOrigin, upstreams: &[(&str, String)]) -> Proxy {
    let address = origin.address;
    let upstreams = upstreams.iter().map(|(name, rest)| {
        let route = format!(
            "{{ name: {name}, match: {{ paths: [ {{ prefix: /{name} }} ] }}, upstream: {name} }}"
        );
        (format!("{name}: {{ servers: [ {{ address: '{address}' }} ], {rest} }}"), route)
    });
    let (upstreams, routes): (Vec<_>, Vec<_>) = upstreams.unzip();
    Proxy::start(&format!(
        "upstreams: {{ {} }}\nroutes: [ {} ]",
        upstreams.join(", "),
        routes.join(", ")
    ))
}

#[test]
fn servers_are_verified_unless_the_document_says_otherwise() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let pair = authority.issue("server", &["origin.example", "127.0.0.1"]);
    let origin =
        AsyncOrigin::start(Some(authority.server(&pair, false, &[&TLS12, &TLS13], &[])), false);
    let trusted = format!("authorities: {}", authority.file().display());
    let other = format!("authorities: {}", stranger.file().display());
    let proxy = proxy(
        &origin,
        &[
            ("named", format!("tls: {{ {trusted}, server_name: origin.example }}")),
            ("by-address", format!("tls: {{ {trusted} }}")),
            ("wrong-name", format!("tls: {{ {trusted}, server_name: other.example }}")),
            ("stranger", format!("tls: {{ {other}, server_name: origin.example }}")),
            ("system", "tls: { server_name: origin.example }".to_owned()),
            ("unverified", "tls: { verify: false, server_name: other.example }".to_owned()),
            ("cleartext", String::new()),
        ],
    );
    for (path, status) in [
        ("/unverified", 200),
        ("/named", 200),
        ("/by-address", 200),
        // Connections of those above are no way around.
        ("/wrong-name", 502),
        ("/stranger", 502),
        ("/system", 502),
        ("/cleartext", 502),
        ("/named", 200),
    ] {
        assert_eq!(proxy.get(path).status, status, "{path}");
    }
    assert_eq!(proxy.log_of("/wrong-name")["error"], "upstream_unreachable");
    assert_eq!(origin.seen().len(), 4);
}

#[test]
fn a_certificate_is_shown_where_the_server_asks_for_one() {
    let authority = Authority::new();
    let pair = authority.issue("server", &["origin.example"]);
    let proxys = authority.issue("proxy", &["proxy.example"]);
    let foreign = Authority::new().issue("proxy", &["proxy.example"]);
    drop(foreign);
    let origin = AsyncOrigin::start(Some(authority.server(&pair, true, &[&TLS13], &[])), false);
    let common =
        format!("authorities: {}, server_name: origin.example", authority.file().display());
    let proxy = proxy(
        &origin,
        &[
            ("shown", format!("tls: {{ {common}, client_certificate: {} }}", proxys.yaml())),
            ("none", format!("tls: {{ {common} }}")),
        ],
    );
    assert_eq!(proxy.get("/shown").status, 200);
    assert_eq!(proxy.get("/none").status, 502);
    assert_eq!(proxy.get("/shown").status, 200);
}

#[test]
fn an_old_version_is_refused_on_every_way_to_a_server() {
    let authority = Authority::new();
    let pair = authority.issue("server", &["127.0.0.1"]);
    let origin = AsyncOrigin::start(Some(authority.server(&pair, false, &[&TLS12], &[])), false);
    let tls = |version: &str| {
        format!(
            "tls: {{ authorities: {}, minimum_version: '{version}' }}",
            authority.file().display()
        )
    };
    let probed = format!(
        "{}, health_checks: {{ active: {{ interval: 50ms, timeout: 50ms, failures_max: 1 }} }}",
        tls("1.3")
    );
    let proxy = proxy(&origin, &[("old", tls("1.2")), ("new", tls("1.3")), ("probed", probed)]);
    assert_eq!(proxy.get("/old").status, 200);
    assert_eq!(proxy.get("/new").status, 502);
    let up = format!(
        "forebay_proxy_upstream_server_up{{server=\"{}\",upstream=\"probed\"}}",
        origin.address
    );
    eventually("a probe that fails", || (proxy.metric(&up) == 0.0).then_some(()));
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn files_are_read_again_by_a_reload_which_refuses_what_cannot_be_used() {
    let (authority, other) = (Authority::new(), Authority::new());
    let pair = authority.issue("server", &["127.0.0.1"]);
    let origin = AsyncOrigin::start(Some(authority.server(&pair, false, &[&TLS13], &[])), false);
    let proxy =
        proxy(&origin, &[("a", format!("tls: {{ authorities: {} }}", authority.file().display()))]);
    assert_eq!(proxy.get("/a").status, 200);
    std::fs::write(authority.file(), "nothing").unwrap();
    assert!(!proxy.reload());
    proxy.says("upstreams.a.tls");
    proxy.says("authority.pem");
    assert_eq!(proxy.get("/a").status, 200);
    std::fs::copy(other.file(), authority.file()).unwrap();
    assert!(proxy.reload());
    assert_eq!(proxy.get("/a").status, 502, "a connection that was trusted before is not used");
}

#[test]
fn a_server_nobody_verifies_may_show_a_certificate_of_version_1() {
    let dir = tempfile::tempdir().unwrap();
    let openssl = |arguments: &[&str]| {
        std::process::Command::new("openssl")
            .args(arguments)
            .current_dir(dir.path())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    // Without extensions it is one of version 1.
    std::fs::write(dir.path().join("plain.cnf"), "[req]\ndistinguished_name = dn\n[dn]\n").unwrap();
    let made = [
        "req",
        "-x509",
        "-new",
        "-nodes",
        "-config",
        "plain.cnf",
        "-subj",
        "/CN=old",
        "-newkey",
        "rsa:2048",
        "-keyout",
        "old.key",
        "-out",
        "old.pem",
    ];
    assert!(openssl(&made).wait().unwrap().success());
    let port = free_port().to_string();
    let address = format!("127.0.0.1:{port}");
    let mut server =
        openssl(&["s_server", "-accept", &port, "-cert", "old.pem", "-key", "old.key", "-www"]);
    let proxy = Proxy::start(&format!(
        "upstreams: {{ old: {{ servers: [ {{ address: '{address}' }} ], tls: {{ verify: false }} }},\n\
         strict: {{ servers: [ {{ address: '{address}' }} ], tls: {{}} }} }}\n\
         routes: [ {{ name: strict, match: {{ paths: [ {{ exact: /strict }} ] }}, upstream: strict }}, \
         {{ name: old, upstream: old }} ]"
    ));
    let body = eventually("the server", || {
        let answered = proxy.get("/");
        (answered.status == 200).then(|| answered.text())
    });
    assert!(body.contains("TLSv1.3"), "{body}");
    assert_eq!(proxy.get("/strict").status, 502);
    server.kill().unwrap();
    server.wait().unwrap();
}
