use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Proxy, eventually, to};
use crate::origin::Origin;

/// An origin that answers when told.
fn waiting() -> (Origin, std::sync::mpsc::Sender<()>) {
    let (go_on, told) = channel::<()>();
    let told = Mutex::new(told);
    let origin = Origin::start(move |exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
        told.lock().unwrap().recv().is_ok() && exchange.write("lf")
    });
    (origin, go_on)
}

#[test]
fn quit_finishes_what_is_under_way() {
    let (origin, go_on) = waiting();
    let mut proxy = Proxy::before(&[origin.address]);
    let mut idle = proxy.client();
    let mut client = proxy.client();
    client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head().unwrap();
    assert_eq!(client.bytes(2), b"ha");
    proxy.signal(Signal::QUIT);
    let draining = || (proxy.admin_get("/readyz").status == 503).then_some(());
    eventually("readiness withdrawn", draining);
    assert_eq!(proxy.admin_get("/healthz").status, 200);
    assert_eq!(proxy.metric("forebay_proxy_draining"), 1.0);
    eventually("no new connections", || TcpStream::connect(proxy.public).is_err().then_some(()));
    assert!(idle.is_closed(), "an idle connection is closed at once");
    assert!(!proxy.has_ended());
    go_on.send(()).unwrap();
    assert_eq!(client.bytes(2), b"lf");
    let begun = Instant::now();
    assert!(proxy.wait().success());
    assert!(begun.elapsed() < Duration::from_secs(20), "not the whole drain time of 30 s");
    let line = proxy.log_of("/held");
    assert_eq!((line["status"].as_u64(), line["aborted"].as_bool()), (Some(200), Some(false)));
    assert!(!proxy.path("addresses.json").exists());
}

#[test]
fn quit_ends_at_once_when_idle() {
    let origin = Origin::saying("ok");
    let mut proxy = Proxy::before(&[origin.address]);
    let mut client = proxy.client();
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    let begun = Instant::now();
    proxy.signal(Signal::QUIT);
    assert!(proxy.wait().success());
    assert!(begun.elapsed() < Duration::from_secs(20), "not the whole drain time of 30 s");
    assert!(client.is_closed());
}

#[test]
fn quit_does_not_wait_for_an_idle_http2_client_that_sleeps() {
    let origin = Origin::saying("ok");
    let mut proxy = Proxy::before(&[origin.address]);
    let mut client = proxy.client();
    // Preface and empty SETTINGS; whatever is sent to this client is never acknowledged.
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    assert_eq!(client.bytes(9)[3], 4, "the proxy's own SETTINGS");
    let begun = Instant::now();
    proxy.signal(Signal::QUIT);
    assert!(proxy.wait().success());
    assert!(begun.elapsed() < Duration::from_secs(20), "not the whole drain time of 30 s");
}

#[test]
fn quit_waits_no_longer_than_the_drain_time() {
    let (origin, _go_on) = waiting();
    let mut proxy =
        Proxy::start(&format!("shutdown: {{ drain: 200ms }}\n{}", to(&[origin.address])));
    let mut client = proxy.client();
    client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head().unwrap();
    proxy.signal(Signal::QUIT);
    assert!(proxy.wait().success());
    proxy.says("cut off");
}

#[test]
fn term_and_int_do_not_wait() {
    for signal in [Signal::TERM, Signal::INT] {
        let (origin, _go_on) = waiting();
        let mut proxy = Proxy::before(&[origin.address]);
        let mut client = proxy.client();
        client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
        client.head().unwrap();
        proxy.signal(signal);
        assert!(proxy.wait().success());
    }
}

#[test]
fn term_cuts_a_graceful_stop_short() {
    let (origin, _go_on) = waiting();
    let mut proxy = Proxy::before(&[origin.address]);
    let mut client = proxy.client();
    client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head().unwrap();
    proxy.signal(Signal::QUIT);
    eventually("draining", || (proxy.admin_get("/readyz").status == 503).then_some(()));
    proxy.signal(Signal::TERM);
    assert!(proxy.wait().success());
}
