//! What a balancer of connections needs of the proxy, of the very document that an instance gets: it says
//! that it is ready, knows who asks by the PROXY protocol, and sends everybody to TLS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use system_tests::binaries::{self, repository};
use system_tests::ports;

/// The files of an edge instance of an environment, by path.
fn edge_files(environment: &str, folder: &Path) -> Value {
    let out = folder.join("stacks");
    let made = binaries::command("forebay")
        .args(["synth", environment, "-o"])
        .arg(&out)
        .current_dir(repository())
        .output()
        .expect("it runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = std::fs::read_to_string(out.join("edge.json")).expect("it is there");
    let template: Value = serde_json::from_str(&text).expect("it is JSON");
    let metadata = &template["Resources"]["EdgeLaunchTemplate"]["Metadata"];
    metadata["AWS::CloudFormation::Init"]["config"]["files"].clone()
}

fn text_of(files: &Value, path: &str) -> String {
    let lines = files[path]["content"]["Fn::Join"][1].as_array().expect("a file of lines");
    lines.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
}

/// A proxy with an instance's document, on ports of this machine.
struct Edge {
    proxy: Child,
    secure: SocketAddr,
    plain: SocketAddr,
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}

impl Edge {
    fn of(environment: &str, folder: &Path) -> Edge {
        let [secure, plain, admin] = ports::free();
        let files = edge_files(environment, folder);
        let here = format!("{}/", folder.display());
        let mut document = text_of(&files, "/etc/forebay/proxy.yaml")
            .replace("/run/forebay-proxy/", &here)
            .replace("/var/log/forebay/", &here)
            // The balancer of this machine.
            .replace("10.20.0.0/16", "127.0.0.0/8")
            .replace("10.60.0.0/16", "127.0.0.0/8");
        for (port, own) in [(8080, secure), (8082, plain), (9090, admin)] {
            document = document.replace(&format!("0.0.0.0:{port}"), &own.to_string());
        }
        // Names of the estate are known nowhere else, and nobody asks for what is behind them here.
        let lines = document.lines().map(|line| match line.split_once("address: ") {
            Some((before, name))
                if name.contains(".internal:") || name.contains(".example.com:") =>
            {
                format!("{before}address: 127.0.0.1:1")
            }
            _ => line.to_owned(),
        });
        let document = lines
            .collect::<Vec<_>>()
            .join("\n")
            .replace("redis://cache:6379", "redis://127.0.0.1:1");
        let path = folder.join("proxy.yaml");
        std::fs::write(&path, &document).expect("it is writable");
        let mut command = binaries::command("forebay-proxy");
        command.arg("run").arg(&path).stdout(Stdio::null()).stderr(Stdio::null());
        let edge = Edge { proxy: command.spawn().expect("it runs"), secure, plain };
        let begun = Instant::now();
        while TcpStream::connect(secure).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "it never listens: {document}");
            std::thread::sleep(Duration::from_millis(20));
        }
        edge
    }
}

/// The head of version 2 as the balancer sends it for its own looks, and for a client at 203.0.113.9.
const LOOK: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
const CLIENT: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\x0a\0\0\x01\x9c\x40\x01\xbb";

fn asked(at: SocketAddr, introduced: &[u8], path: &str) -> String {
    let mut stream = TcpStream::connect(at).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time");
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: stream.example.com\r\nconnection: close\r\n\r\n");
    stream.write_all(&[introduced, request.as_bytes()].concat()).expect("it reads");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_balancer_of_connections_hears_that_the_proxy_is_ready_and_tells_who_asks() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let edge = Edge::of("environments/stream-api.yaml", folder.path());
    let ready = asked(edge.secure, LOOK, "/.forebay/ready");
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    let without = asked(edge.secure, b"", "/.forebay/ready");
    assert!(
        !without.starts_with("HTTP/1.1 200"),
        "whoever does not say who asks is not heard: {without}"
    );
    let sent = asked(edge.plain, CLIENT, "/api/epg/?day=1");
    assert!(sent.starts_with("HTTP/1.1 301"), "{sent}");
    assert!(sent.contains("https://stream.example.com/api/epg/?day=1"), "{sent}");
    asked(edge.secure, CLIENT, "/live/x.m3u8");
    let begun = Instant::now();
    loop {
        let log = std::fs::read_to_string(folder.path().join("access.log")).unwrap_or_default();
        assert!(!log.contains("/.forebay/ready"), "looks of the balancer are not logged: {log}");
        if log.lines().any(|line| line.contains("/live/x.m3u8") && line.contains("203.0.113.9")) {
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "the client's own address is logged: {log}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The script runs as it is on an instance, but for the folder and for `aws`, which answers here.
#[test]
fn tls_ends_at_the_proxy_with_the_certificate_of_the_secret() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let openssl = |arguments: &[&str]| {
        let made = Command::new("openssl").args(arguments).current_dir(folder.path()).output();
        let made = made.expect("openssl runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        String::from_utf8_lossy(&made.stdout).into_owned()
    };
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ed25519",
        "-nodes",
        "-subj",
        "/CN=live.example.com",
        "-keyout",
        "k",
        "-out",
        "c",
    ]);
    let read = |name: &str| std::fs::read_to_string(at(name)).expect("it is there");
    let secret = serde_json::json!({ "certificate": read("c"), "key": read("k") }).to_string();
    std::fs::write(at("secret.json"), secret).expect("it is writable");
    let write = |name: &str, text: &str| std::fs::write(at(name), text).expect("it is writable");
    write("aws", &format!("#!/bin/sh\ncat {}\n", at("secret.json").display()));
    write("chown", "#!/bin/sh\n");
    for program in ["aws", "chown"] {
        let mut command = Command::new("chmod");
        assert!(command.arg("755").arg(at(program)).status().expect("it runs").success());
    }
    let environment = "stack/tests/estates/passthrough.yaml";
    let files = edge_files(environment, folder.path());
    let here = format!("{}/", folder.path().display());
    let script = text_of(&files, "/usr/local/sbin/proxy-certificate");
    write("script.sh", &script.replace("/run/forebay-proxy/", &here));
    let path = format!("{here}:{}", std::env::var("PATH").unwrap_or_default());
    let ran = Command::new("sh").arg(at("script.sh")).env("PATH", path).output().expect("it runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(read("certificate.pem"), read("c"));
    let edge = Edge::of(environment, folder.path());
    // The balancer introduces the client before TLS begins, as for its own looks.
    let plain = asked(edge.secure, LOOK, "/.forebay/ready");
    assert!(!plain.starts_with("HTTP/1.1 200"), "TLS is what is spoken: {plain}");
    let sent = asked(edge.plain, CLIENT, "/");
    assert!(sent.starts_with("HTTP/1.1 301"), "{sent}");
    let through = introduced(edge.secure);
    let target = format!("127.0.0.1:{through}");
    let shown = openssl(&[
        "s_client",
        "-connect",
        &target,
        "-servername",
        "live.example.com",
        "-alpn",
        "h2",
    ]);
    assert!(
        shown.contains("CN = live.example.com") || shown.contains("CN=live.example.com"),
        "{shown}"
    );
    assert!(shown.contains("ALPN protocol: h2"), "{shown}");
}

/// A port whose connections reach `address` introduced as the balancer introduces them.
fn introduced(address: SocketAddr) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it has an address").port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let Ok(mut proxy) = TcpStream::connect(address) else { return };
            if proxy.write_all(CLIENT).is_err() {
                return;
            }
            let (Ok(mut back), Ok(mut answers)) = (client.try_clone(), proxy.try_clone()) else {
                return;
            };
            std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
            std::thread::spawn(move || std::io::copy(&mut client, &mut proxy));
        }
    });
    port
}
