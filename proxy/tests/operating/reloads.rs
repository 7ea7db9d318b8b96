use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::client::Client;
use crate::harness::{Proxy, eventually, to};
use crate::origin::Origin;

#[test]
fn a_new_document_takes_over() {
    let (old, new) = (Origin::saying("old"), Origin::saying("new"));
    let proxy = Proxy::before(&[old.address]);
    let mut client = proxy.client();
    let ask = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(client.ask(ask).text(), "old");
    proxy.rewrite(&to(&[new.address]));
    assert_eq!(client.ask(ask).text(), "old", "a written document is not in force before HUP");
    assert!(proxy.reload());
    assert_eq!(client.ask(ask).text(), "new", "open connections meet it too");
    assert_eq!(proxy.metric("forebay_proxy_config_generation"), 2.0);
}

#[test]
fn a_wrong_document_changes_nothing() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::before(&[origin.address]);
    let moved = "shutdown: { drain: 1s }\n";
    for wrong in [
        "routes: [ { name: r, upstrem: u } ]".to_owned(),
        "upstreams: {".to_owned(),
        format!("{}\nrate_limits: {{ l: {{ key: [client], rate: 0/s }} }}", to(&[origin.address])),
    ] {
        proxy.rewrite(&wrong);
        assert!(!proxy.reload(), "{wrong}");
        assert_eq!(proxy.get("/").text(), "ok");
    }
    assert_eq!(proxy.metric("forebay_proxy_config_generation"), 1.0);
    proxy.says("proxy.yaml");
    proxy.says("upstrem");
    proxy.rewrite(&format!("{moved}{}", to(&[origin.address])));
    assert!(proxy.reload(), "a right one is taken afterwards");
}

#[test]
fn listeners_are_opened_changed_and_closed() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::before(&[origin.address]);
    let written = std::fs::read_to_string(proxy.path("proxy.yaml")).unwrap();
    let address_of = |name: &str| -> Option<SocketAddr> {
        let text = std::fs::read_to_string(proxy.path("addresses.json")).unwrap();
        let addresses: serde_json::Value = serde_json::from_str(&text).unwrap();
        addresses["listeners"][name].as_str().map(|address| address.parse().unwrap())
    };
    let with = |listeners: &str| {
        let public = "public: { address: '127.0.0.1:0'";
        let text = written.replace(&format!("{public} }}"), &format!("{public} {listeners} }}"));
        assert_ne!(text, written);
        std::fs::write(proxy.path("proxy.yaml"), text).unwrap();
        proxy.reload()
    };
    let ask = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = proxy.client();
    assert_eq!(client.ask(ask).status, 200);

    assert!(with("}, more: { address: '127.0.0.1:0'"), "{}", proxy.stderr());
    let more = eventually("another address", || address_of("more"));
    let mut other = Client::to(more);
    assert_eq!(other.ask(ask).text(), "ok");
    assert_eq!(client.ask(ask).status, 200, "who was there stays");
    assert_eq!(address_of("public"), Some(proxy.public));

    // What serves is another, at the same socket; who waits for nothing is sent away.
    assert!(with(", timeouts: { idle: 5s } }, more: { address: '127.0.0.1:0'"));
    assert_eq!((address_of("public"), address_of("more")), (Some(proxy.public), Some(more)));
    assert_eq!(proxy.get("/").text(), "ok");
    assert!(client.is_closed());
    assert_eq!(other.ask(ask).status, 200);

    let other_program = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("}}, more: {{ address: '{}'", other_program.local_addr().unwrap());
    assert!(!with(&taken));
    proxy.says("listener `more` cannot listen on");
    assert_eq!(other.ask(ask).status, 200, "nothing has changed");

    std::fs::write(proxy.path("proxy.yaml"), &written).unwrap();
    assert!(proxy.reload());
    eventually("a closed port", || TcpStream::connect(more).is_err().then_some(()));
    assert!(other.is_closed());
    assert_eq!((address_of("more"), proxy.get("/").status), (None, 200));
}

#[test]
fn a_reload_without_descriptors_enough_changes_nothing() {
    const LISTENERS: usize = 40;
    let origin = Origin::saying("ok");
    let proxy = Proxy::before(&[origin.address]);
    let written = std::fs::read_to_string(proxy.path("proxy.yaml")).unwrap();
    let public = "public: { address: '127.0.0.1:0' }";
    let more: String =
        (0..LISTENERS).map(|n| format!("a{n:02}: {{ address: '127.0.0.1:0' }}, ")).collect();
    let text = written.replace(public, &format!("{more}{public}"));
    assert_ne!(text, written);
    std::fs::write(proxy.path("proxy.yaml"), text).unwrap();
    let pid = Pid::from_raw(proxy.pid().cast_signed()).unwrap();
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = |current: usize| {
        let limit = Rlimit { current: Some(current as u64), maximum };
        prlimit(Some(pid), Resource::Nofile, limit).unwrap();
    };
    // Room for each socket once, and not twice.
    let open = std::fs::read_dir(format!("/proc/{}/fd", proxy.pid())).unwrap().count();
    limit(open + LISTENERS * 3 / 2);
    assert!(!proxy.reload());
    proxy.says("Too many open files");
    assert_eq!(proxy.metric("forebay_proxy_config_generation"), 1.0);
    assert_eq!(proxy.get("/").text(), "ok");
    limit(open + LISTENERS * 10);
    assert!(proxy.reload(), "{}", proxy.stderr());
    assert_eq!(proxy.get("/").text(), "ok");
}

#[test]
fn listeners_change_places() {
    let origin = Origin::saying("ok");
    let route = |name: &str| {
        format!(
            "{{ name: {name}, match: {{ listeners: [{name}] }}, respond: {{ status: 200, body: {name} }} }}"
        )
    };
    let proxy = Proxy::before(&[origin.address]);
    let written = std::fs::read_to_string(proxy.path("proxy.yaml")).unwrap();
    // Ports that are free, where no other test looks for one.
    let free = || {
        let socket = TcpListener::bind("127.0.0.88:0").unwrap();
        socket.local_addr().unwrap()
    };
    let (here, there) = (free(), free());
    let with = |one: SocketAddr, two: SocketAddr| {
        let public = "public: { address: '127.0.0.1:0' }";
        let more = format!("{public}, one: {{ address: '{one}' }}, two: {{ address: '{two}' }}");
        let text = written.replace(public, &more);
        let text =
            text.replace("routes: [", &format!("routes: [ {}, {},", route("one"), route("two")));
        std::fs::write(proxy.path("proxy.yaml"), text).unwrap();
        proxy.reload()
    };
    let said = |address| Client::to(address).ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").text();
    assert!(with(here, there), "{}", proxy.stderr());
    assert_eq!((said(here), said(there)), ("one".to_owned(), "two".to_owned()));
    assert!(with(there, here), "{}", proxy.stderr());
    eventually("the other", || (said(here) == "two" && said(there) == "one").then_some(()));
    // One takes over what the other leaves, and the other moves on.
    let third = free();
    assert!(with(here, third), "{}", proxy.stderr());
    eventually("the next", || (said(here) == "one" && said(third) == "two").then_some(()));
    eventually("a closed port", || TcpStream::connect(there).is_err().then_some(()));
}

#[test]
fn another_admin_address_needs_a_restart_and_says_so() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::before(&[origin.address]);
    let text = std::fs::read_to_string(proxy.path("proxy.yaml")).unwrap();
    let moved =
        text.replace("admin: { address: '127.0.0.1:0' }", "admin: { address: '127.0.0.1:9' }");
    assert_ne!(text, moved);
    std::fs::write(proxy.path("proxy.yaml"), moved).unwrap();
    assert!(!proxy.reload());
    proxy.says("restart");
    assert_eq!(proxy.get("/").status, 200);
}

#[test]
fn a_request_in_flight_finishes_on_the_old_generation() {
    let (go_on, told) = channel::<()>();
    let told = Mutex::new(told);
    let old = Origin::start(move |exchange| {
        told.lock().unwrap().recv().unwrap();
        exchange.answer("old")
    });
    let new = Origin::saying("new");
    let proxy = Proxy::before(&[old.address]);
    let mut client = proxy.client();
    client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    old.wait_for_requests(1);
    proxy.rewrite(&to(&[new.address]));
    assert!(proxy.reload());
    assert_eq!(proxy.get("/").text(), "new");
    go_on.send(()).unwrap();
    assert_eq!(client.response(false).unwrap().text(), "old");
    assert_eq!(proxy.log_of("/held")["generation"], 1);
}

#[test]
fn reloads_under_load_fail_no_request() {
    let origins = [Origin::saying("one"), Origin::saying("two")];
    let proxy = Proxy::before(&[origins[0].address]);
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (mut client, stop, asked) = (proxy.client(), stop.clone(), asked.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                    assert!(answer.status == 200 && answer.whole, "{answer:?}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in 0..10 {
        let before = asked.load(Ordering::Relaxed);
        proxy.rewrite(&to(&[origins[(round + 1) % 2].address]));
        assert!(proxy.reload());
        crate::harness::eventually("load", || {
            (asked.load(Ordering::Relaxed) >= before + 20).then_some(())
        });
    }
    stop.store(true, Ordering::Relaxed);
    for thread in load {
        thread.join().unwrap();
    }
    assert!(origins.iter().all(|origin| origin.requests() > 0));
}
