use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Request;
use tokio::net::TcpStream;
use tokio_rustls::rustls::version::TLS13;

use crate::authority::Authority;
use crate::client::Client;
use crate::harness::{Proxy, eventually};
use crate::http2::{http2, run};
use crate::http2_origin::AsyncOrigin;
use crate::origin::Origin;

#[test]
fn an_origins_older_version_is_not_handed_on() {
    let origin = Origin::start(|exchange| {
        let (fields, body) = match exchange.target().split('?').next().unwrap() {
            "/length" => ("Content-Length: 3\r\n", "abc"),
            "/open" => ("", "abc"),
            "/chunked" => ("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
            _ => return false,
        };
        exchange.write(format!("HTTP/1.0 200 OK\r\n{fields}\r\n{body}"));
        false
    });
    for door in ["on", "off"] {
        let proxy = Proxy::with_door(door, "", &to(&origin.address.to_string(), "x_accel: false"));
        for path in ["/length", "/open"] {
            // The door lets by who does not go on.
            for last in ["", "Connection: close\r\n"] {
                let mut client = proxy.client();
                client.send(format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n{last}\r\n"));
                assert_eq!(client.line().unwrap(), "HTTP/1.1 200 OK", "{door} {path} {last}");
            }
            assert_eq!(proxy.get(path).text(), "abc", "{door} {path}");
        }
        assert_eq!(proxy.get("/chunked").status, 502, "{door}");
        let last = "GET /chunked HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
        assert_eq!(proxy.client().ask(last).status, 502, "{door}");
    }
}

fn to(address: &str, rest: &str) -> String {
    format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{address}' }} ], {rest} }} }}\nroutes: [ {{ name: all, upstream: u }} ]"
    )
}

#[test]
fn what_a_server_has_not_looked_at_is_asked_again_whatever_it_is() {
    // Pingora asks, or this proxy by itself.
    for obeyed in [false, true] {
        let origin = AsyncOrigin::start(None, true);
        let rest = format!("protocol: http2, x_accel: {obeyed}");
        let proxy = Proxy::start(&to(&origin.address.to_string(), &rest));
        assert_eq!(proxy.get("/").text(), "ok");
        let request = "POST /refused HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\n\r\nx";
        let posted = proxy.client().ask(request);
        assert_eq!((posted.status, posted.text().as_str()), (200, "ok"), "{obeyed}");
        let asked = origin.seen().iter().filter(|seen| seen.uri.ends_with("/refused")).count();
        let again = "forebay_proxy_upstream_retries_total{reason=\"unprocessed\",upstream=\"u\"}";
        assert_eq!((asked, proxy.metric(again)), (2, 1.0), "{obeyed}");
    }
}

/// Sends a body as gRPC does and returns what came, its trailers included.
async fn echo(proxy: &Proxy) -> (Vec<u8>, Option<String>) {
    let mut sender = http2(TcpStream::connect(proxy.public).await.unwrap()).await;
    let request = Request::post("http://a.example/echo").header("te", "trailers").body(()).unwrap();
    let (response, mut body) = sender.send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(b"message"), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        bytes.extend_from_slice(&data.unwrap());
    }
    let trailers = body.trailers().await.unwrap();
    let status = trailers.and_then(|all| all.get("grpc-status")?.to_str().ok().map(str::to_owned));
    (bytes, status)
}

#[test]
fn grpc_passes_with_its_trailers_over_http2_with_tls_and_without() {
    let authority = Authority::new();
    let pair = authority.issue("server", &["127.0.0.1"]);
    let tls = authority.server(&pair, false, &[&TLS13], &[b"h2"]);
    for (config, scheme) in [(None, "http"), (Some(tls), "https")] {
        let rest = match config {
            None => "protocol: http2".to_owned(),
            Some(_) => {
                format!("protocol: http2, tls: {{ authorities: {} }}", authority.file().display())
            }
        };
        let origin = AsyncOrigin::start(config, true);
        let proxy = Proxy::start(&to(&origin.address.to_string(), &rest));
        for _ in 0..2 {
            let (body, status) = run(echo(&proxy));
            assert_eq!((&body[..], status.as_deref()), (&b"message"[..], Some("0")), "{scheme}");
        }
        assert_eq!(proxy.get("/plain").text(), "ok", "HTTP/1.1 to HTTP/2");
        let old = Client::to(proxy.public).ask("GET /old HTTP/1.0\r\n\r\n");
        assert_eq!(old.status, 200, "without Host");
        let seen = origin.seen();
        assert_eq!(seen[0].uri, format!("{scheme}://a.example/echo"));
        assert_eq!(seen[0].headers["te"], "trailers");
        assert!(!seen[0].headers.contains_key("host") && !seen[2].headers.contains_key("te"));
        // A request that comes before the one ahead has given the connection back opens another.
        let shared = seen.iter().filter(|one| one.connection == 0).count();
        assert!(shared > 1, "requests share a connection: {seen:?}");
    }
}

#[test]
fn a_server_that_does_not_agree_to_http2_is_spoken_to_in_http1() {
    let authority = Authority::new();
    let pair = authority.issue("server", &["127.0.0.1"]);
    let config = authority.server(&pair, false, &[&TLS13], &[b"http/1.1"]);
    let origin = AsyncOrigin::start(Some(config), false);
    let rest = format!("protocol: http2, tls: {{ authorities: {} }}", authority.file().display());
    let proxy = Proxy::start(&to(&origin.address.to_string(), &rest));
    assert_eq!(proxy.get("/").text(), "ok");
}

#[test]
fn fills_of_a_cache_speak_http2_and_a_torn_one_is_seen() {
    let origin = AsyncOrigin::start(None, true);
    let sections = to(&origin.address.to_string(), "protocol: http2")
        .replace("upstream: u }", "upstream: u, cache_policy: c }");
    let caches = "caches: { m: { memory_max: 16MiB } }\ncache_policies: { c: { cache: m, fill: { resumes_max: 0 } } }";
    let proxy = Proxy::start(&format!("{sections}\n{caches}"));
    assert_eq!(proxy.get("/a").text(), "ok");
    assert_eq!(proxy.get("/a").text(), "ok");
    let seen = origin.seen();
    assert_eq!((seen.len(), seen[0].uri.as_str()), (1, "http://a.example/a"));
    let torn = proxy.get("/torn");
    assert!(torn.status == 502 || !torn.whole, "{torn:?}");
    assert_eq!(proxy.get("/b").text(), "ok");
}

#[test]
fn the_grpc_health_service_says_who_takes_requests() {
    let origin = AsyncOrigin::start(None, true);
    let checks = |service: &str| {
        let active = format!(
            "probe: {{ grpc: {service} }}, interval: 200ms, timeout: 200ms, failures_max: 3, successes_min: 1"
        );
        to(
            &origin.address.to_string(),
            &format!("protocol: http2, health_checks: {{ active: {{ {active} }} }}"),
        )
    };
    let proxy = Proxy::start(&checks("app"));
    let probes = |result: &str| {
        proxy.metric(&format!(
            "forebay_proxy_upstream_probes_total{{result=\"{result}\",server=\"{}\",upstream=\"u\"}}",
            origin.address
        ))
    };
    eventually("good probes", || (probes("good") >= 2.0).then_some(()));
    proxy.rewrite(&checks("other"));
    assert!(proxy.reload());
    eventually("the server out", || (proxy.get("/").status == 503).then_some(()));
}

#[test]
fn a_server_at_a_unix_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                let mut head = String::new();
                while stream.read_line(&mut head).is_ok_and(|count| count > 0) {
                    if head.ends_with("\r\n\r\n") {
                        seen.lock().unwrap().push(std::mem::take(&mut head));
                        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                        stream.get_mut().write_all(answer.as_bytes()).unwrap();
                    }
                }
            });
        }
    });
    let address = format!("unix:{}", path.display());
    let proxy = Proxy::start(&to(&address, ""));
    let mut client = proxy.client();
    for path in ["/a", "/b"] {
        assert_eq!(client.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).text(), "ok");
    }
    assert_eq!(proxy.log_of("/a")["upstream_address"], address);
    assert_eq!(proxy.log_of("/b")["upstream_reused"], true);
    assert_eq!(Client::to(proxy.public).ask("GET /old HTTP/1.0\r\n\r\n").status, 200);
    let heads = heads.lock().unwrap();
    assert!(heads[2].to_ascii_lowercase().contains("\r\nhost: localhost\r\n"), "{}", heads[2]);
}

/// An origin that reads a PROXY protocol header first, of this version, and says what it was.
fn announced(version: u8) -> (SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let headers = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&headers);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                let mut header = Vec::new();
                if version == 1 {
                    stream.read_until(b'\n', &mut header).unwrap();
                } else {
                    header.resize(16, 0);
                    stream.read_exact(&mut header).unwrap();
                    let mut rest = vec![0; usize::from(header[15])];
                    stream.read_exact(&mut rest).unwrap();
                    header.extend(rest);
                }
                seen.lock().unwrap().push(header);
                let mut head = String::new();
                while stream.read_line(&mut head).is_ok_and(|count| count > 0) {
                    if head.ends_with("\r\n\r\n") {
                        head.clear();
                        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: max-age=9\r\n\r\nok";
                        stream.get_mut().write_all(answer.as_bytes()).unwrap();
                    }
                }
            });
        }
    });
    (address, headers)
}

#[test]
fn servers_are_told_whom_a_connection_is_for() {
    let (address, headers) = announced(1);
    let proxy = Proxy::start(&to(&address.to_string(), "proxy_protocol: v1"));
    let mut client = proxy.client();
    let port = client.local().port();
    for path in ["/1", "/2"] {
        assert_eq!(client.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).text(), "ok");
    }
    assert_eq!(proxy.get("/3").text(), "ok");
    let headers = headers.lock().unwrap();
    assert_eq!(headers.len(), 2, "one connection for each client");
    let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} {}\r\n", proxy.public.port());
    assert_eq!(String::from_utf8_lossy(&headers[0]), expected);
    assert_ne!(headers[0], headers[1]);
}

#[test]
fn a_fill_and_a_probe_speak_for_the_proxy_itself() {
    let (address, headers) = announced(2);
    let rest = "proxy_protocol: v2, health_checks: { active: { interval: 1h, timeout: 1s } }";
    let sections =
        to(&address.to_string(), rest).replace("upstream: u }", "upstream: u, cache_policy: c }");
    let caches = "caches: { m: { memory_max: 16MiB } }\ncache_policies: { c: { cache: m } }";
    let proxy = Proxy::start(&format!("{sections}\n{caches}"));
    assert_eq!(proxy.get("/a").text(), "ok");
    let post = "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(proxy.client().ask(post).text(), "ok");
    eventually("three connections", || (headers.lock().unwrap().len() == 3).then_some(()));
    let headers = headers.lock().unwrap();
    let commands: Vec<u8> = headers.iter().map(|header| header[12]).collect();
    assert_eq!(commands.iter().filter(|command| **command == 0x20).count(), 2, "{commands:?}");
    assert_eq!(commands.iter().filter(|command| **command == 0x21).count(), 1, "{commands:?}");
}

#[test]
fn a_server_that_is_not_there_is_the_same_with_an_announcement() {
    let dead = crate::harness::dead_address();
    let origin = Origin::start(|exchange| exchange.answer("never"));
    let proxy = Proxy::start(&to(&dead.to_string(), "proxy_protocol: v1"));
    assert_eq!(proxy.get("/").status, 502);
    assert_eq!(origin.requests(), 0);
}
