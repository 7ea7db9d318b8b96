//! The proxy as a service manager runs it: sockets passed on, and what it tells.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::client::Client;
use crate::harness::{BINARY, PATIENCE, Proxy, to};
use crate::origin::Origin;

/// What is told next.
fn told(manager: &UnixDatagram) -> String {
    let mut text = [0; 4096];
    let length = manager.recv(&mut text).unwrap();
    String::from_utf8_lossy(&text[..length]).into_owned()
}

/// The same, past signs of life.
fn told_of(manager: &UnixDatagram, what: &str) -> String {
    loop {
        let text = told(manager);
        if text.contains(what) {
            return text;
        }
        assert!(text.starts_with("WATCHDOG=1"), "{text}");
    }
}

#[test]
fn the_service_manager_is_told_and_passes_sockets_on() {
    let origin = Origin::saying("ok");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let public = socket.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let manager = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    // The third descriptor is the first that is passed on.
    let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command
        .args(["-c", script, BINARY])
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", "public")
        .env("NOTIFY_SOCKET", dir.path().join("notify"))
        // Signs of life that nobody hears fill the socket: seldom, as a busy machine may not listen for a while.
        .env("WATCHDOG_USEC", "2000000")
        .stdin(Stdio::from(OwnedFd::from(socket)));
    let mut proxy = Proxy::started_by(command, &to(&[origin.address]));
    assert_eq!(proxy.public, public, "not a socket of its own");
    assert_eq!(Client::to(public).ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").text(), "ok");
    told_of(&manager, "READY=1");
    assert!(told(&manager).starts_with("WATCHDOG=1"), "it lives");
    proxy.signal(Signal::HUP);
    let reloading = told_of(&manager, "RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    told_of(&manager, "READY=1");
    proxy.signal(Signal::QUIT);
    told_of(&manager, "STOPPING=1");
    assert!(proxy.wait().success());
}

#[test]
fn a_socket_that_is_not_where_the_document_says_is_refused() {
    let socket = TcpListener::bind("127.0.0.2:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("proxy.yaml"),
        "version: 1\nlisteners: { public: { address: '127.0.0.1:0' } }\n\
         admin: { address: '127.0.0.1:0' }\nroutes: [ { name: r, respond: { status: 200 } } ]\n",
    )
    .unwrap();
    let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$; exec \"$0\" \"$@\"";
    let ended = Command::new("sh")
        .args(["-c", script, BINARY, "run", "proxy.yaml"])
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", "public")
        .current_dir(dir.path())
        .stdin(Stdio::from(OwnedFd::from(socket)))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(69), "{said}");
    assert!(
        said.contains("listener `public` cannot listen") && said.contains("127.0.0.2"),
        "{said}"
    );
}

#[test]
fn a_switch_that_says_neither_ends_the_start() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("proxy.yaml"),
        "version: 1\nlisteners: { public: { address: '127.0.0.1:0' } }\n\
         admin: { address: '127.0.0.1:0' }\nroutes: [ { name: r, respond: { status: 200 } } ]\n",
    )
    .unwrap();
    for set in ["OFF", "0"] {
        let mut command = Command::new(BINARY);
        command.args(["run", "proxy.yaml"]).env("FOREBAY_FRONT_DOOR", set).current_dir(dir.path());
        let ended = command.output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("FOREBAY_FRONT_DOOR is `{set}`")), "{said}");
    }
}

/// The unit that is shipped, as systemd reads it.
#[test]
fn the_unit_is_one_and_exposes_little() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/forebay-proxy.service");
    let analyze = |arguments: &[&str]| {
        let ran = Command::new("systemd-analyze").args(arguments).output().unwrap();
        String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned()
    };
    let text = analyze(&["security", "--offline=true", "--no-pager", unit]);
    let level = text.lines().find_map(|line| line.split("Overall exposure level for").nth(1));
    let level: Option<f64> = level
        .and_then(|line| line.split(':').nth(1)?.split_ascii_whitespace().next()?.parse().ok());
    assert!(level.is_some_and(|level| level <= 2.5), "{text}");
}
