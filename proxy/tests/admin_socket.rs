//! The admin listener at a Unix socket: who may connect, what is left over, what is left behind.

use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{BINARY, Proxy, eventually, to};
use crate::origin::Origin;

const TOKEN: &str = "0123456789abcdef-operator";

/// A proxy with its admin listener at `admin.sock` beside its document, as wide open as `access` says.
fn proxy(dir: &Path, access: &str, origin: &Origin) -> Proxy {
    std::fs::write(dir.join("token"), TOKEN).unwrap();
    let (socket, token) = (dir.join("admin.sock"), dir.join("token"));
    let admin = format!(
        "address: 'unix:{}'{access}, tokens: [ {{ name: ops, file: {}, role: operator }} ]",
        socket.display(),
        token.display(),
    );
    Proxy::with_admin_at(&admin, &to(&[origin.address]))
}

fn ask(path: &Path, target: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o777
}

fn command(proxy: &Proxy, arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).current_dir(proxy.dir.path()).output().unwrap()
}

#[test]
fn the_admin_api_at_a_unix_socket() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::saying("ok"));
    let path = dir.path().join("admin.sock");
    // Left over from one that was killed.
    drop(UnixListener::bind(&path).unwrap());
    let mut proxy = proxy(dir.path(), "", &origin);
    assert_eq!(mode(&path), 0o600);
    assert!(ask(&path, "/readyz").ends_with("ready\n"));
    assert_eq!(proxy.get("/").status, 200);
    eventually("a request counted", || {
        ask(&path, "/metrics").contains("forebay_proxy_requests_total{").then_some(())
    });
    let addresses = std::fs::read_to_string(proxy.path("addresses.json")).unwrap();
    assert!(addresses.contains(&format!("unix:{}", path.display())), "{addresses}");

    let top = command(&proxy, &["top", "proxy.yaml", "--once", "--interval", "10ms", "-o", "json"]);
    let figures: Value = serde_json::from_slice(&top.stdout).unwrap();
    assert!(figures["slowest"].is_array(), "{figures}");
    let set = "lanes.bulk.requests_max=7";
    let tuned = command(&proxy, &["policy", "set", "proxy.yaml", set]);
    assert!(tuned.status.success(), "{}", String::from_utf8_lossy(&tuned.stderr));
    assert!(ask(&path, "/metrics").contains("lane_requests_max{lane=\"bulk\"} 7"));
    let at = format!("unix:{}", path.display());
    let by_option = ["policy", "history", "proxy.yaml", "--admin", at.as_str()];
    assert!(command(&proxy, &by_option).status.success());

    // Another one does not take it away.
    let second = command(&proxy, &["run", "proxy.yaml"]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("the admin listener cannot listen on unix:"), "{said}");
    assert!(said.contains("another program already does"), "{said}");
    assert!(ask(&path, "/readyz").ends_with("ready\n"));

    proxy.signal(Signal::QUIT);
    assert!(proxy.wait().success());
    assert!(!path.exists(), "the file goes with the proxy");
    let gone = command(&proxy, &["top", "proxy.yaml", "--once"]);
    let said = String::from_utf8_lossy(&gone.stderr).into_owned();
    assert_eq!(gone.status.code(), Some(69));
    assert!(said.contains(&at), "{said}");
}

#[test]
fn who_may_connect_is_said_and_a_reload_does_not_move_it() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::saying("ok"));
    let path = dir.path().join("admin.sock");
    let proxy = proxy(dir.path(), ", socket_access: group", &origin);
    assert_eq!(mode(&path), 0o660);
    assert!(std::fs::metadata(&path).unwrap().file_type().is_socket());
    let document = std::fs::read_to_string(proxy.path("proxy.yaml")).unwrap();
    let wider = document.replace("socket_access: group", "socket_access: everyone");
    std::fs::write(proxy.path("proxy.yaml"), wider).unwrap();
    proxy.signal(Signal::HUP);
    proxy.says("admin.socket_access");
    assert_eq!(mode(&path), 0o660);
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let (dir, origin) = (tempfile::tempdir().unwrap(), Origin::saying("ok"));
    let path = dir.path().join("admin.sock");
    std::fs::write(&path, "notes").unwrap();
    let document = format!(
        "version: 1\nlisteners: {{ public: {{ address: '127.0.0.1:0' }} }}\nadmin: {{ address: 'unix:{}' }}\n{}\n",
        path.display(),
        to(&[origin.address]),
    );
    std::fs::write(dir.path().join("proxy.yaml"), document).unwrap();
    let run =
        Command::new(BINARY).args(["run", "proxy.yaml"]).current_dir(dir.path()).output().unwrap();
    assert!(!run.status.success());
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(said.contains("the admin listener cannot listen on unix:"), "{said}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "notes");
}
