//! The program replaced while it serves, with requests under way and a WebSocket open.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

use crate::client::Client;
use crate::harness::{Proxy, eventually, upstream};
use crate::origin::Origin;
use crate::protocols::tunnels::{chat, connect, echo};

/// A process that is nobody's child here; stopped whatever happens.
struct Successor(Pid);

impl Successor {
    fn of(proxy: &Proxy) -> Successor {
        let pid = eventually("the process after it", || {
            let addresses = std::fs::read(proxy.path("addresses.json")).ok()?;
            let addresses: Value = serde_json::from_slice(&addresses).ok()?;
            let pid = addresses["pid"].as_i64()?;
            (pid != i64::from(proxy.pid())).then_some(pid)
        });
        Successor(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap())
    }

    fn has_ended(&self) -> bool {
        test_kill_process(self.0).is_err()
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

#[test]
fn no_request_fails_and_a_websocket_is_kept() {
    let origin = Origin::saying("hello");
    let mut proxy = Proxy::start(&format!(
        "shutdown: {{ tunnels: 1h }}\nupstreams: {{ u: {}, chat: {} }}\nroutes:\n\
         - {{ name: chat, match: {{ paths: [ {{ exact: /chat }} ] }}, upstream: chat }}\n\
         - {{ name: all, upstream: u }}",
        upstream(&[origin.address]),
        upstream(&[chat()]),
    ));
    let mut socket = connect(&proxy, "/chat");
    echo(&mut socket, "before");
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..4)
        .map(|number| {
            let (public, stop, asked) = (proxy.public, stop.clone(), asked.clone());
            std::thread::spawn(move || {
                let mut client = Client::to(public);
                while !stop.load(Ordering::Relaxed) {
                    // Half of them ask again and again on a connection, as long as it is said to go on.
                    let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                    assert!(answer.status == 200 && answer.whole, "{answer:?}");
                    if number % 2 == 0 || answer.header("connection") == Some("close") {
                        client = Client::to(public);
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let more = |count: usize| {
        let before = asked.load(Ordering::Relaxed);
        eventually("load", || (asked.load(Ordering::Relaxed) >= before + count).then_some(()));
    };
    more(50);
    proxy.signal(Signal::USR2);
    let successor = Successor::of(&proxy);
    more(200);
    proxy.says("stopping gracefully");
    more(50);
    echo(&mut socket, "after");
    assert!(!proxy.has_ended(), "the old one lives as long as its tunnel");
    let mut another = connect(&proxy, "/chat");
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    drop(socket);
    assert!(proxy.wait().success());
    assert!(proxy.path("addresses.json").exists(), "it is the new one's");
    echo(&mut another, "with the new one");
    more(50);
    stop.store(true, Ordering::Relaxed);
    for thread in load {
        thread.join().unwrap();
    }
    drop(another);
    kill_process(successor.0, Signal::QUIT).unwrap();
    eventually("the new one's end", || successor.has_ended().then_some(()));
    assert!(TcpStream::connect(proxy.public).is_err());
}

#[test]
fn a_program_that_does_not_come_up_replaces_nobody() {
    let origin = Origin::saying("hello");
    let proxy = Proxy::before(&[origin.address]);
    proxy.rewrite("routes: [ { name: r, upstrem: u } ]");
    proxy.signal(Signal::USR2);
    proxy.says("not replaced");
    assert_eq!(proxy.get("/").text(), "hello");
    let addresses: Value =
        serde_json::from_slice(&std::fs::read(proxy.path("addresses.json")).unwrap()).unwrap();
    assert_eq!(addresses["pid"], proxy.pid());
}
