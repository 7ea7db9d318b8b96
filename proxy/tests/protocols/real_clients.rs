//! Clients that others have written: h2load, nghttp and curl.

use std::path::Path;
use std::process::Command;

use crate::authority::Authority;
use crate::harness::{Proxy, to};
use crate::origin::Origin;

const BODY: &str = "the same to everybody\n";

/// An origin that says how it was asked, and what it was sent.
fn telling() -> Origin {
    Origin::start(|exchange| {
        let asked = exchange.target().to_owned();
        match exchange.body() {
            Some(body) if !body.is_empty() => exchange.answer(&format!("{asked} {}", body.len())),
            Some(_) => exchange.answer(BODY),
            None => false,
        }
    })
}

/// A proxy that speaks TLS, and where it does.
fn secure(origin: &Origin, authority: &Authority) -> (Proxy, String) {
    let pair = authority.issue("localhost", &["localhost"]).yaml();
    let tls = format!(", tls: {{ certificates: [ {pair} ] }}");
    let proxy = Proxy::with_listener(&tls, &to(&[origin.address]));
    let url = format!("https://localhost:{}", proxy.public.port());
    (proxy, url)
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {out}{err}");
    format!("{out}{err}")
}

#[test]
fn h2load_gets_every_answer_of_every_version_and_over_tls() {
    let (origin, authority) = (Origin::saying(BODY), Authority::new());
    let plain = Proxy::before(&[origin.address]);
    let (_secure, https) = secure(&origin, &authority);
    let http = format!("http://{}", plain.public);
    for (url, more) in [(&http, ""), (&http, "--h1"), (&https, ""), (&https, "--h1")] {
        let mut arguments = vec!["-n", "600", "-c", "6", "-m", "10"];
        arguments.extend(Some(more).filter(|more| !more.is_empty()));
        let url = format!("{url}/load");
        arguments.push(&url);
        let text = said("h2load", &arguments);
        let all = "600 total, 600 started, 600 done, 600 succeeded, 0 failed, 0 errored, 0 timeout";
        assert!(text.contains(all) && text.contains("600 2xx"), "{url} {more}: {text}");
        if url.starts_with("https") {
            let version = if more.is_empty() { "h2" } else { "http/1.1" };
            assert!(text.contains(&format!("Application protocol: {version}")), "{text}");
        }
    }
    assert_eq!(origin.requests(), 2400);
}

#[test]
fn nghttp_uploads_downloads_and_sends_many_streams_at_once() {
    let origin = telling();
    let proxy = Proxy::before(&[origin.address]);
    let file = proxy.path("body");
    std::fs::write(&file, vec![b'x'; 300_000]).unwrap();
    let url = format!("http://{}/up", proxy.public);
    let upload = said("nghttp", &["-d", &file.display().to_string(), &url]);
    assert_eq!(upload, "/up 300000");
    // In a lane that is half full with one request, its body comes before it has its place.
    let lanes = "lanes: { interactive: { requests_max: 1 } }";
    let crowded = Proxy::start(&format!("{}\n{lanes}", to(&[origin.address])));
    std::fs::write(&file, vec![b'x'; 60_000]).unwrap();
    let url = format!("http://{}/small", crowded.public);
    let small = said("nghttp", &["-d", &file.display().to_string(), &url]);
    assert_eq!(small, "/small 60000");
    let many = said("nghttp", &["-m", "40", &format!("http://{}/down", proxy.public)]);
    assert_eq!(many, BODY.repeat(40));
    let verbose = said("nghttp", &["-nv", &format!("http://{}/down", proxy.public)]);
    assert!(verbose.contains(":status: 200") && !verbose.contains("recv GOAWAY"), "{verbose}");
    assert_eq!(proxy.log_of("/down")["protocol"], "HTTP/2.0");
}

#[test]
fn curl_speaks_each_version_with_a_certificate_it_verifies() {
    let (origin, authority) = (telling(), Authority::new());
    let (proxy, https) = secure(&origin, &authority);
    let trusted = authority.file();
    let upload = proxy.path("upload");
    std::fs::write(&upload, vec![b'y'; 100_000]).unwrap();
    let curl = |version: &str, more: &[&str], path: &str| {
        let url = format!("{https}{path}");
        let mut arguments = vec!["-sS", version, "--cacert", utf8(&trusted)];
        arguments.extend(["-w", " %{http_version} %{http_code}"]);
        arguments.extend(more);
        arguments.push(&url);
        said("curl", &arguments)
    };
    let data = format!("@{}", upload.display());
    for (version, spoken) in [("--http1.0", "1.0"), ("--http1.1", "1.1"), ("--http2", "2")] {
        // An answer to HTTP/1.0 has the proxy's own version, as RFC 9110 section 2.5 has it.
        let spoken = if spoken == "1.0" { "1.1" } else { spoken };
        assert_eq!(curl(version, &[], "/get"), format!("{BODY} {spoken} 200"), "{version}");
        let posted = curl(version, &["--data-binary", &data], "/post");
        assert_eq!(posted, format!("/post 100000 {spoken} 200"), "{version}");
    }
    // Waits for leave to send, and is given it.
    let large = curl("--http1.1", &["-H", "Expect: 100-continue", "-T", utf8(&upload)], "/put");
    assert_eq!(large, "/put 100000 1.1 200");
}

fn utf8(path: &Path) -> &str {
    path.to_str().unwrap()
}
