use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use crate::harness::{PATIENCE, Proxy, dead_address, eventually, to, upstream};
use crate::origin::Origin;
use crate::raw_http2::{self, Outcome};

pub fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(PATIENCE, work).await.expect("in time") })
}

pub async fn http2<IO>(io: IO) -> SendRequest<Bytes>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = h2::client::handshake(io).await.unwrap();
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}

fn get(uri: &str) -> Request<()> {
    Request::get(uri).body(()).unwrap()
}

pub async fn ask(sender: &mut SendRequest<Bytes>, request: Request<()>) -> (StatusCode, Vec<u8>) {
    let (response, _) = sender.send_request(request, true).unwrap();
    let response = response.await.unwrap();
    let status = response.status();
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend_from_slice(&data);
    }
    (status, bytes)
}

#[test]
fn prior_knowledge_on_the_plain_port() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::before(&[origin.address]);
    run(async {
        let mut sender = http2(TcpStream::connect(proxy.public).await.unwrap()).await;
        for _ in 0..3 {
            let answer = ask(&mut sender, get("http://a.example/x?y")).await;
            assert_eq!(answer, (StatusCode::OK, b"ok".to_vec()));
        }
    });
    assert_eq!(proxy.get("/h1").status, 200, "HTTP/1.1 on the same port");
    let head = origin.heads().remove(0);
    assert!(head.starts_with("GET /x?y HTTP/1.1\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains("\r\nhost: a.example\r\n"), "{head}");
    let line = proxy.log_of("/x");
    assert_eq!(
        (line["protocol"].as_str(), line["host"].as_str()),
        (Some("HTTP/2.0"), Some("a.example"))
    );
    assert_eq!((line["query"].as_str(), line["bytes_out"].as_u64()), (Some("y"), Some(2)));
}

#[test]
fn requests_of_a_connection_are_counted_and_one_that_breaks_the_rules_is_given_up() {
    let origin = Origin::saying("ok");
    let said = "respond: { status: 200, body: \"$connection_requests\" }";
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {} }}\nroutes: [ {{ name: n, match: {{ paths: [ {{ exact: /n }} ] }}, {said} }}, {{ name: all, upstream: u }} ]",
        upstream(&[origin.address]),
    ));
    run(async {
        let mut sender = http2(TcpStream::connect(proxy.public).await.unwrap()).await;
        for number in 1..=3 {
            let answer = ask(&mut sender, get("http://a.example/n")).await;
            assert_eq!(answer.1, number.to_string().into_bytes());
        }
    });
    let mut client = proxy.client();
    // A window that grows by nothing.
    client.send(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x04\x08\0\0\0\0\0\0\0\0\0",
    );
    let given_up = "forebay_proxy_downstream_http2_given_up_total{listener=\"public\",reason=\"protocol_error\"}";
    eventually("the connection counted", || (proxy.metric(given_up) == 1.0).then_some(()));
    proxy.says("an HTTP/2 connection was given up");
}

#[test]
fn what_is_refused_is_answered_and_logged_as_on_http1() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::before(&[origin.address]);
    let cases: [(&str, &[(&str, &str)]); 5] = [
        ("/two-names", &[(":authority", "a.example"), ("host", "b.example")]),
        ("/user", &[(":authority", "u@a.example")]),
        ("/nobody", &[]),
        ("/twice", &[("host", "a.example"), ("host", "a.example")]),
        (
            "/lengths",
            &[(":authority", "a.example"), ("content-length", "0"), ("content-length", "0")],
        ),
    ];
    for (place, (path, fields)) in cases.into_iter().enumerate() {
        let pseudo = fields.iter().filter(|(name, _)| name.starts_with(':'));
        let rest = fields.iter().filter(|(name, _)| !name.starts_with(':'));
        let first = [(":method", "GET"), (":scheme", "http"), (":path", path)];
        let head = first.iter().chain(pseudo).chain(rest);
        let head: Vec<_> = head
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect();
        let Outcome::Answered(body) = raw_http2::ask(proxy.public, &head, None, &[]) else {
            panic!("{path}: no answer");
        };
        assert!(body.starts_with(b"{"), "{path}: {}", String::from_utf8_lossy(&body));
        let line = eventually("a line", || proxy.log().get(place).cloned());
        let told = (line["status"].as_u64(), line["protocol"].as_str(), line["error"].as_str());
        assert_eq!(told.0.zip(told.1), Some((400, "HTTP/2.0")), "{path}: {line}");
        assert!(told.2.is_some(), "{path}: {line}");
    }
    let tunnel = [(":method", "CONNECT"), (":authority", "a.example:443")];
    let tunnel = tunnel.map(|(name, value)| (name.into(), value.into()));
    assert!(matches!(raw_http2::ask(proxy.public, &tunnel, None, &[]), Outcome::Answered(_)));
    let line = eventually("its line", || proxy.log().get(cases.len()).cloned());
    assert_eq!(line["status"], 405);
    assert_eq!(origin.requests(), 0);
}

#[test]
fn what_fails_is_said_to_who_asks_for_heads_alone_too() {
    let proxy = Proxy::before(&[dead_address()]);
    run(async {
        let mut sender = http2(TcpStream::connect(proxy.public).await.unwrap()).await;
        for method in ["HEAD", "GET", "HEAD"] {
            let uri = "http://a.example/";
            let request = Request::builder().method(method).uri(uri).body(()).unwrap();
            let (status, body) = ask(&mut sender, request).await;
            assert_eq!((status, body.is_empty()), (StatusCode::BAD_GATEWAY, method == "HEAD"));
        }
    });
}

#[test]
fn http2_can_be_switched_off() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::with_listener(", http2: false", &to(&[origin.address]));
    let mut client = proxy.client();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let answer = client.response(false);
    assert!(answer.is_none_or(|answer| answer.status == 400));
    assert_eq!(proxy.get("/").status, 200);
    assert_eq!(origin.requests(), 1);
}

#[test]
fn a_slow_start_of_a_connection_is_not_taken_for_http2() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::before(&[origin.address]);
    let mut client = proxy.client();
    for byte in "PROPFIND / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".bytes() {
        client.send([byte]);
    }
    assert_eq!(client.response(false).unwrap().status, 200);
}

#[test]
fn streams_flow_both_ways_at_once() {
    let origin = Origin::start(|exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        // The request body comes chunked, one chunk for each part the client sends.
        for _ in 0..3 {
            let Some(part) = exchange.read(6) else { return false };
            exchange.write([b"1\r\n", &part[3..4], b"\r\n"].concat());
        }
        exchange.write("0\r\n\r\n")
    });
    let proxy = Proxy::before(&[origin.address]);
    run(async {
        let mut sender = http2(TcpStream::connect(proxy.public).await.unwrap()).await;
        let request = Request::post("http://a.example/").body(()).unwrap();
        let (response, mut upload) = sender.send_request(request, false).unwrap();
        let mut body = response.await.unwrap().into_body();
        for part in ["a", "b", "c"] {
            upload.send_data(Bytes::from(part), false).unwrap();
            assert_eq!(body.data().await.unwrap().unwrap(), part);
        }
        upload.send_data(Bytes::new(), true).unwrap();
        while let Some(rest) = body.data().await {
            assert_eq!(rest.unwrap(), "");
        }
    });
}

#[test]
fn an_origin_that_dies_resets_the_stream_only() {
    let origin = Origin::start(|exchange| {
        if exchange.target() == "/whole" {
            return exchange.answer("ok");
        }
        exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        false
    });
    let proxy = Proxy::before(&[origin.address]);
    run(async {
        let mut sender = http2(TcpStream::connect(proxy.public).await.unwrap()).await;
        let (response, _) = sender.send_request(get("http://a/torn"), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        let mut ended_well = true;
        while let Some(data) = body.data().await {
            ended_well = data.is_ok();
            if !ended_well {
                break;
            }
        }
        assert!(!ended_well, "a torn body must not end like a whole one");
        assert_eq!(ask(&mut sender, get("http://a/whole")).await.1, b"ok");
    });
    assert_eq!(proxy.log_of("/torn")["aborted"], true);
}

#[test]
fn a_reset_stream_gives_its_place_back() {
    let (told, closed) = channel::<bool>();
    let told = Mutex::new(told);
    let origin = Origin::start(move |exchange| {
        told.lock().unwrap().send(exchange.is_closed()).unwrap();
        false
    });
    let proxy = Proxy::before(&[origin.address]);
    run(async {
        let mut sender = http2(TcpStream::connect(proxy.public).await.unwrap()).await;
        let (response, mut stream) = sender.send_request(get("http://a/left"), true).unwrap();
        let waiting = tokio::task::spawn_blocking({
            let origin = origin.clone();
            move || origin.wait_for_requests(1)
        });
        waiting.await.unwrap();
        stream.send_reset(h2::Reason::CANCEL);
        assert!(response.await.is_err());
        // The connection must go on being driven for the reset to be sent.
        tokio::task::spawn_blocking(move || closed.recv_timeout(PATIENCE).unwrap()).await.unwrap();
    });
    let in_flight = "forebay_proxy_lane_requests_in_flight{lane=\"interactive\"}";
    eventually("the place back", || (proxy.metric(in_flight) == 0.0).then_some(()));
    let line = proxy.log_of("/left");
    assert_eq!(
        (line["error"].as_str(), line["aborted"].as_bool()),
        (Some("client_gone"), Some(true))
    );
}

/// A proxy that speaks TLS, and the certificate to trust.
fn with_tls(extra: &str, origin: &Origin) -> (Proxy, tempfile::TempDir, CertificateDer<'static>) {
    let dir = tempfile::tempdir().unwrap();
    let der = write_certificate(dir.path());
    let at = |name: &str| dir.path().join(name).display().to_string();
    let listener = format!(
        ", tls: {{ certificates: [ {{ certificate: {}, key: {} }} ]{extra} }}",
        at("cert.pem"),
        at("key.pem")
    );
    (Proxy::with_listener(&listener, &to(&[origin.address])), dir, der)
}

fn write_certificate(dir: &std::path::Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

type Tls = tokio_rustls::client::TlsStream<TcpStream>;

async fn tls(
    proxy: &Proxy,
    trusted: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&[u8]],
) -> std::io::Result<Tls> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let stream = TcpStream::connect(proxy.public).await?;
    let name = ServerName::try_from("a.example").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

#[test]
fn alpn_chooses_over_tls() {
    let origin = Origin::saying("ok");
    let (proxy, _dir, der) = with_tls("", &origin);
    run(async {
        let stream = tls(&proxy, &der, &[&TLS13], &[b"h2", b"http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut sender = http2(stream).await;
        let answer = ask(&mut sender, get("https://a.example/two")).await;
        assert_eq!(answer, (StatusCode::OK, b"ok".to_vec()));

        for protocols in [&[&b"http/1.1"[..]][..], &[]] {
            let mut stream = tls(&proxy, &der, &[&TLS12], protocols).await.unwrap();
            stream
                .write_all(b"GET /one HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
                .await
                .unwrap();
            let mut answer = Vec::new();
            // How a server ends TLS is no part of this test.
            let _ = stream.read_to_end(&mut answer).await;
            assert!(answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"ok"));
        }
    });
    assert!(origin.heads()[0].to_ascii_lowercase().contains("\r\nx-forwarded-proto: https\r\n"));
    assert_eq!(proxy.log_of("/two")["tls"], "TLSv1.3");
    assert_eq!(proxy.log_of("/one")["tls"], "TLSv1.2");
}

#[test]
fn the_minimum_version_holds() {
    let origin = Origin::saying("ok");
    let (proxy, _dir, der) = with_tls(", minimum_version: \"1.3\"", &origin);
    run(async {
        assert!(tls(&proxy, &der, &[&TLS12], &[]).await.is_err());
        assert!(tls(&proxy, &der, &[&TLS13], &[]).await.is_ok());
    });
    let failures = "forebay_proxy_tls_handshake_failures_total{listener=\"public\"}";
    eventually("the failure counted", || (proxy.metric(failures) == 1.0).then_some(()));
}

#[test]
fn a_reload_takes_a_renewed_certificate_and_refuses_a_broken_one() {
    let origin = Origin::saying("ok");
    let (proxy, dir, old) = with_tls("", &origin);
    let new = write_certificate(dir.path());
    assert!(proxy.reload());
    std::fs::write(dir.path().join("cert.pem"), "nothing").unwrap();
    assert!(!proxy.reload());
    run(async {
        assert!(tls(&proxy, &new, &[&TLS13], &[]).await.is_ok());
        assert!(tls(&proxy, &old, &[&TLS13], &[]).await.is_err());
    });
}

#[test]
fn fills_and_hits_over_http2_and_a_broken_one_resets_the_stream() {
    let origin = Origin::start(|exchange| {
        let fields = "Cache-Control: max-age=60\r\nETag: W/\"a\"\r\n";
        if exchange.target() == "/torn" {
            exchange.write(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 9\r\n\r\nhello"));
            return false;
        }
        crate::caching::answer(exchange, fields, "0123456789")
    });
    let proxy = Proxy::start(&crate::caching::cached(&origin, ""));
    run(async {
        let mut sender = http2(TcpStream::connect(proxy.public).await.unwrap()).await;
        for _ in 0..3 {
            let answer = ask(&mut sender, get("http://a.example/whole")).await;
            assert_eq!(answer, (StatusCode::OK, b"0123456789".to_vec()));
        }
        let part = Request::get("http://a.example/whole").header("range", "bytes=1-2").body(());
        let answer = ask(&mut sender, part.unwrap()).await;
        assert_eq!(answer, (StatusCode::PARTIAL_CONTENT, b"12".to_vec()));
        let head = Request::head("http://a.example/whole").body(()).unwrap();
        assert_eq!(ask(&mut sender, head).await, (StatusCode::OK, Vec::new()));
        assert_eq!(origin.requests(), 1);
        let (response, _) = sender.send_request(get("http://a.example/torn"), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        let broken = loop {
            match body.data().await {
                None => break false,
                Some(Ok(_)) => {}
                Some(Err(error)) => break error.is_reset(),
            }
        };
        assert!(broken, "a torn body ends with RST_STREAM");
        assert_eq!(ask(&mut sender, get("http://a.example/whole")).await.0, StatusCode::OK);
    });
}

/// Bodies that a policy holds, over TLS: the origin is free while the client's window is shut.
#[test]
fn a_slow_stream_does_not_hold_the_upstream() {
    const BYTES: usize = 3 << 20;
    let origin = Origin::start(|exchange| {
        let said = exchange.body().map(|body| body.len());
        exchange.write(format!(
            "HTTP/1.1 200 OK\r\nX-Said: {said:?}\r\nContent-Length: {BYTES}\r\n\r\n"
        )) && exchange.write((0..=250_u8).cycle().take(BYTES).collect::<Vec<_>>())
    });
    let dir = tempfile::tempdir().unwrap();
    let der = write_certificate(dir.path());
    let at = |name: &str| dir.path().join(name).display().to_string();
    let listener = format!(
        ", tls: {{ certificates: [ {{ certificate: {}, key: {} }} ] }}",
        at("cert.pem"),
        at("key.pem")
    );
    let sections = format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{}' }} ] }} }}\n\
         routes: [ {{ name: all, upstream: u, lane: bulk, buffer_policy: p }} ]\n\
         buffer_policies: {{ p: {{ responses: {{ memory_max: 4MiB }}, requests: {{}} }} }}",
        origin.address
    );
    let proxy = Proxy::with_listener(&listener, &sections);
    run(async {
        let stream = tls(&proxy, &der, &[&TLS13], &[b"h2"]).await.unwrap();
        let mut sender = http2(stream).await;
        let request = Request::post("https://a.example/film").body(()).unwrap();
        let (response, mut upload) = sender.send_request(request, false).unwrap();
        upload.send_data(Bytes::from("hello "), false).unwrap();
        upload.send_data(Bytes::from("world"), true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.headers()["x-said"], "Some(11)", "it came as a whole, with its length");
        let through = "forebay_proxy_buffered_bytes_total{policy=\"p\",way=\"responses\"}";
        eventually("all of the body", || (proxy.metric(through) >= BYTES as f64).then_some(()));
        let mut body = response.into_body();
        let mut count = 0;
        while let Some(part) = body.data().await {
            let part = part.unwrap();
            assert!(part.iter().zip(count..).all(|(byte, at)| usize::from(*byte) == at % 251));
            count += part.len();
            body.flow_control().release_capacity(part.len()).unwrap();
        }
        assert_eq!(count, BYTES);
    });
}
