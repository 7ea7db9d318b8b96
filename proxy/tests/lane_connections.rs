//! Connections that lanes hold: clients' (`connections_max`) and those to servers (`upstream_connections_max`).

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use tokio::net::TcpStream;

use crate::client::Client;
use crate::harness::{Proxy, eventually};
use crate::http2::{ask, http2, run};
use crate::http2_origin::AsyncOrigin;
use crate::origin::Origin;
use crate::protocols::tunnels::{chat, connect, echo};

/// Films, chats and all that is fast, in three lanes; `bulk` has this budget.
fn sections(server: SocketAddr, more: &str, bulk: &str) -> String {
    format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{server}' }} ]{more} }}, chat: {{ servers: [ {{ address: '{}' }} ] }} }}
routes:
  - {{ name: films, match: {{ paths: [ {{ prefix: /film/ }} ] }}, upstream: u, lane: bulk }}
  - {{ name: chats, match: {{ paths: [ {{ prefix: /chat }} ] }}, upstream: chat, lane: bulk }}
  - {{ name: pay, upstream: u, lane: transactions }}
lanes: {{ bulk: {{ {bulk} }}, transactions: {{ connections_max: 100, upstream_connections_max: 100 }} }}",
        chat()
    )
}

fn start(origin: &Origin, bulk: &str) -> Proxy {
    Proxy::start(&sections(origin.address, "", bulk))
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn lane(proxy: &Proxy, family: &str, lane: &str) -> f64 {
    proxy.metric(&format!("forebay_proxy_lane_{family}{{lane=\"{lane}\"}}"))
}

fn shed(proxy: &Proxy, side: &str) -> f64 {
    proxy.metric(&format!(
        "forebay_proxy_lane_connections_shed_total{{lane=\"bulk\",side=\"{side}\"}}"
    ))
}

/// Requests for films are held until the test says so; everything else is answered at once.
fn holding() -> (Origin, Sender<()>) {
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let origin = Origin::start(move |exchange| {
        if exchange.target().starts_with("/film/") {
            let _ = held.lock().unwrap().recv();
        }
        exchange.body().is_some() && exchange.answer("ok")
    });
    (origin, release)
}

#[test]
fn connections_that_wait_for_their_next_request_count_in_the_lane_of_the_last() {
    let origin = Origin::saying("ok");
    let proxy = start(&origin, "connections_max: 2");
    let (mut one, mut two) = (proxy.client(), proxy.client());
    assert_eq!(one.ask(&get("/film/1")).status, 200);
    assert_eq!(two.ask(&get("/film/2")).status, 200);
    assert_eq!(lane(&proxy, "connections", "bulk"), 2.0);
    assert_eq!(lane(&proxy, "connections_max", "bulk"), 2.0);

    let mut three = proxy.client();
    let refused = three.ask(&get("/film/3"));
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(refused.header("connection"), Some("close"));
    assert!(three.response(false).is_none(), "it is closed");
    assert_eq!(proxy.log_of("/film/3")["error"], "lane_full");
    assert_eq!(shed(&proxy, "client"), 1.0);
    assert_eq!(proxy.get("/pay").status, 200, "another lane is not touched");
    assert_eq!(one.ask(&get("/film/4")).status, 200, "it counts already");

    // One that goes on elsewhere leaves the lane, and comes back only where there is room.
    assert_eq!(one.ask(&get("/pay/1")).status, 200);
    assert_eq!(lane(&proxy, "connections", "bulk"), 1.0);
    let mut four = proxy.client();
    assert_eq!(four.ask(&get("/film/5")).status, 200);
    assert_eq!(one.ask(&get("/film/6")).status, 503);
    drop((two, four));
    eventually("closed connections count no more", || {
        (lane(&proxy, "connections", "bulk") == 0.0).then_some(())
    });
    assert_eq!(proxy.get("/film/7").status, 200);
}

#[test]
fn a_request_waits_for_a_connections_place_as_its_lane_says() {
    let origin = Origin::saying("ok");
    let proxy = start(&origin, "connections_max: 1, waiting_max: 1, waiting_time_max: 1m");
    let mut one = proxy.client();
    assert_eq!(one.ask(&get("/film/1")).status, 200);
    let mut two = proxy.client();
    two.send(get("/film/2"));
    let waiting = "forebay_proxy_lane_waiting{for=\"connection\",lane=\"bulk\"}";
    eventually("one that waits", || (proxy.metric(waiting) == 1.0).then_some(()));
    assert_eq!(proxy.get("/film/3").status, 503, "no two wait");
    drop(one);
    assert_eq!(two.response(false).unwrap().status, 200);
    assert_eq!(proxy.metric(waiting), 0.0);
}

#[test]
fn a_connection_of_http2_counts_in_each_lane_it_carries_a_request_of() {
    let (origin, release) = holding();
    let proxy = start(&origin, "connections_max: 1");
    run(async {
        let request =
            |path: &str| http::Request::get(format!("http://a.example{path}")).body(()).unwrap();
        let mut two = http2(TcpStream::connect(proxy.public).await.unwrap()).await;
        let (film, _) = two.send_request(request("/film/1"), true).unwrap();
        let at = origin.clone();
        tokio::task::spawn_blocking(move || at.wait_for_requests(1)).await.unwrap();
        assert_eq!(ask(&mut two, request("/pay/1")).await.0, 200);
        assert_eq!(lane(&proxy, "connections", "bulk"), 1.0);
        // What was asked there is over a moment after its last byte.
        eventually("a connection that waits for a film alone", || {
            (lane(&proxy, "connections", "transactions") == 0.0).then_some(())
        });
        // Another one is refused its film, and keeps all the rest.
        let mut three = http2(TcpStream::connect(proxy.public).await.unwrap()).await;
        assert_eq!(ask(&mut three, request("/film/2")).await.0, 503);
        assert_eq!(ask(&mut three, request("/pay/2")).await.0, 200);
        assert_eq!(lane(&proxy, "connections", "transactions"), 1.0);
        drop(release);
        assert_eq!(film.await.unwrap().status(), 200);
    });
    eventually("no connections", || {
        let lanes = ["bulk", "transactions"];
        lanes.iter().all(|name| lane(&proxy, "connections", name) == 0.0).then_some(())
    });
}

#[test]
fn a_websocket_counts_on_both_sides_until_it_ends() {
    let origin = Origin::saying("ok");
    let bulk = "connections_max: 1, upstream_connections_max: 1, origin_concurrency_max: 1";
    let proxy = start(&origin, bulk);
    let mut socket = connect(&proxy, "/chat");
    echo(&mut socket, "hello");
    assert_eq!(lane(&proxy, "connections", "bulk"), 1.0);
    assert_eq!(lane(&proxy, "upstream_connections", "bulk"), 1.0);
    assert_eq!(lane(&proxy, "origin_requests", "bulk"), 0.0, "nothing is asked any more");
    assert_eq!(proxy.get("/film/1").status, 503);
    assert_eq!(proxy.get("/pay").status, 200, "another lane is not touched");
    echo(&mut socket, "still there");
    drop(socket);
    eventually("the end of the tunnel", || {
        let families = ["connections", "upstream_connections"];
        families.iter().all(|family| lane(&proxy, family, "bulk") == 0.0).then_some(())
    });
    assert_eq!(proxy.get("/film/2").status, 200);
}

#[test]
fn tunnels_leave_room_for_questions() {
    let origin = Origin::saying("ok");
    let proxy = start(&origin, "upstream_connections_max: 3, origin_concurrency_max: 1");
    let mut sockets = [connect(&proxy, "/chat"), connect(&proxy, "/chat")];
    assert_eq!(proxy.get("/film/1").status, 200, "a question and a connection are to be had");
    sockets.iter_mut().for_each(|socket| echo(socket, "hello"));
    // A question gives back what it had a moment after its answer's last byte.
    eventually("what the question had", || {
        let families = ["origin_requests", "upstream_connections"];
        (families.map(|family| lane(&proxy, family, "bulk")) == [0.0, 2.0]).then_some(())
    });
    let _third = connect(&proxy, "/chat");
    assert_eq!(proxy.get("/film/2").status, 503, "no connection is");
    assert_eq!(shed(&proxy, "upstream"), 1.0);
    let top = std::process::Command::new(crate::harness::BINARY)
        .args(["top", "proxy.yaml", "--once", "--interval", "10ms", "--admin"])
        .arg(proxy.admin.to_string())
        .current_dir(proxy.dir.path())
        .output()
        .unwrap();
    let page = String::from_utf8(top.stdout).unwrap();
    assert!(page.contains("CONNS UP") && page.contains("3/3"), "{page}");
}

#[test]
fn servers_are_connected_to_so_many_times_at_once() {
    let (origin, release) = holding();
    let proxy = start(&origin, "upstream_connections_max: 1");
    // The front door asks, or pingora does.
    let chunked = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    };
    let mut held = proxy.client();
    held.send(get("/film/1"));
    origin.wait_for_requests(1);
    for request in [get("/film/2"), chunked("/film/3")] {
        let refused = proxy.client().ask(&request);
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    }
    assert_eq!((origin.requests(), shed(&proxy, "upstream")), (1, 2.0));
    assert_eq!(proxy.client().ask(&chunked("/pay")).status, 200, "another lane is not touched");
    release.send(()).unwrap();
    assert_eq!(held.response(false).unwrap().status, 200);
    held.send(chunked("/film/4"));
    origin.wait_for_requests(3);
    assert_eq!(proxy.get("/film/5").status, 503);
    drop(release);
    assert_eq!(held.response(false).unwrap().status, 200);
    eventually("nothing in use", || {
        (lane(&proxy, "upstream_connections", "bulk") == 0.0).then_some(())
    });
}

#[test]
fn a_connection_of_http2_to_a_server_counts_once() {
    let server = AsyncOrigin::start(None, true);
    let sections = sections(server.address, ", protocol: http2", "upstream_connections_max: 1");
    let proxy = Proxy::start(&sections);
    assert_eq!(proxy.get("/film/0").status, 200);
    // The server answers when it has the whole body.
    let mut held: Vec<Client> = (0..3).map(|_| proxy.client()).collect();
    // A connection is given back a moment after its answer's last byte: who comes sooner would want another.
    eventually("nothing in use", || {
        (lane(&proxy, "upstream_connections", "bulk") == 0.0).then_some(())
    });
    for (before, client) in held.iter_mut().enumerate() {
        client.send("POST /film/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nhalf");
        eventually("a question at the server", || {
            (server.seen().len() >= before + 2).then_some(())
        });
    }
    assert_eq!(lane(&proxy, "upstream_connections", "bulk"), 1.0);
    assert_eq!(proxy.get("/film/1").status, 200, "it shares the connection");
    let connections: Vec<_> = server.seen().iter().map(|seen| seen.connection).collect();
    assert!(connections.iter().all(|connection| *connection == connections[0]), "{connections:?}");
    drop(held);
    eventually("nothing in use", || {
        (lane(&proxy, "upstream_connections", "bulk") == 0.0).then_some(())
    });
}
