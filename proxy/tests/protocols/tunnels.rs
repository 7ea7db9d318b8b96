//! Connections that are upgraded, with a WebSocket library at both ends, and raw where every byte counts.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use rustix::process::Signal;
use tungstenite::protocol::WebSocket;
use tungstenite::{Message, client::IntoClientRequest};

use crate::client::Client;
use crate::harness::{PATIENCE, Proxy, eventually, to, upstream};
use crate::origin::Origin;
use crate::raw_http2::{self, Outcome};

type Socket = WebSocket<TcpStream>;

/// A server that greets at once and says everything again.
pub fn chat() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let Ok(mut socket) = tungstenite::accept(stream) else { return };
                let _ = socket.send(Message::text("welcome"));
                while let Ok(message) = socket.read() {
                    if message.is_close() || socket.send(message).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

pub fn connect(proxy: &Proxy, path: &str) -> Socket {
    let stream = TcpStream::connect(proxy.public).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("ws://{}{path}", proxy.public).into_client_request().unwrap();
    let (mut socket, answer) = tungstenite::client(request, stream).unwrap();
    assert_eq!(answer.status(), 101);
    assert_eq!(socket.read().unwrap(), Message::text("welcome"));
    socket
}

pub fn echo(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text(text));
}

fn tunnels(proxy: &Proxy) -> f64 {
    proxy.metric("forebay_proxy_tunnels{lane=\"interactive\",route=\"all\"}")
}

/// A request for an upgrade to this.
fn ask(path: &str, upgrade: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: {upgrade}\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// The answer to it (RFC 6455 section 1.3).
const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[test]
fn a_chat_goes_on_through_a_reload_and_is_told_of_in_the_end() {
    let server = chat();
    let proxy = Proxy::before(&[server]);
    let mut socket = connect(&proxy, "/chat?room=1");
    echo(&mut socket, "before");
    proxy.rewrite(&to(&[Origin::saying("another").address]));
    assert!(proxy.reload());
    echo(&mut socket, "after");
    echo(&mut socket, &"long".repeat(50_000));
    assert_eq!(proxy.get("/").text(), "another", "the new document is in force");
    // It has given its place back when it is told of.
    proxy.log_of("/");
    assert_eq!(tunnels(&proxy), 1.0);
    let held = "forebay_proxy_lane_requests_in_flight{lane=\"interactive\"}";
    assert_eq!(proxy.metric(held), 1.0);
    assert!(proxy.log().iter().all(|line| line["path"] != "/chat"), "it has not ended");
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    drop(socket);
    let line = proxy.log_of("/chat");
    assert_eq!((line["status"].as_u64(), line["generation"].as_u64()), (Some(101), Some(1)));
    assert_eq!(line["aborted"], false);
    assert!(line["tunnel_ended_by"] == "client" || line["tunnel_ended_by"] == "upstream", "{line}");
    let (bytes_in, bytes_out) =
        (line["bytes_in"].as_u64().unwrap(), line["bytes_out"].as_u64().unwrap());
    assert!(bytes_in > 200_000 && bytes_out > 200_000, "{line}");
    let counted = |direction| {
        proxy.metric(&format!(
            "forebay_proxy_tunnel_bytes_total{{direction=\"{direction}\",lane=\"interactive\",route=\"all\"}}"
        ))
    };
    assert_eq!((counted("in"), counted("out")), (bytes_in as f64, bytes_out as f64));
    assert_eq!((tunnels(&proxy), proxy.metric(held)), (0.0, 0.0));
}

#[test]
fn a_tunnel_keeps_its_place_in_the_lane() {
    let proxy = Proxy::start(&format!(
        "lanes: {{ interactive: {{ requests_max: 1 }} }}\n{}",
        to(&[chat()])
    ));
    let mut socket = connect(&proxy, "/chat");
    assert_eq!(proxy.get("/").status, 503);
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    drop(socket);
    eventually("a free place", || (proxy.get("/").status != 503).then_some(()));
}

/// A server of one connection that a test speaks for.
struct SpokenFor {
    origin: Origin,
    /// The request's head and what came after it at once; in the end, whether the client has ended.
    told: Receiver<(String, Vec<u8>)>,
    /// `None`: says good-bye once the client has ended.
    say: Sender<Option<Vec<u8>>>,
}

fn spoken_for() -> SpokenFor {
    let (tell, told) = channel();
    let (say, said) = channel::<Option<Vec<u8>>>();
    let said = std::sync::Mutex::new(said);
    let origin = Origin::start(move |exchange| {
        exchange.write(format!("{AGREED}first"));
        let early = exchange.read(5).unwrap_or_default();
        let _ = tell.send((exchange.head.clone(), early));
        while let Ok(Some(bytes)) = said.lock().unwrap().recv() {
            exchange.write(bytes);
        }
        let _ = tell.send((String::new(), vec![u8::from(exchange.is_closed())]));
        exchange.write("bye");
        false
    });
    SpokenFor { origin, told, say }
}

#[test]
fn what_is_said_early_is_not_lost_and_whoever_has_ended_still_hears() {
    let SpokenFor { origin, told, say } = spoken_for();
    let proxy = Proxy::before(&[origin.address]);
    let mut client = proxy.client();
    client.send(format!("{}early", ask("/raw", "WebSocket")));
    let (status, fields) = client.head().unwrap();
    assert_eq!(status, 101);
    let field = |name: &str| {
        fields.iter().find(|(is, _)| is.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    };
    assert_eq!((field("upgrade"), field("connection")), (Some("websocket"), Some("upgrade")));
    assert_eq!(field("content-length").or(field("transfer-encoding")), None);
    assert_eq!(client.bytes(5), b"first");
    let (head, early) = told.recv().unwrap();
    assert_eq!(early, b"early");
    let head = head.to_ascii_lowercase();
    assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
    assert!(head.contains("\r\nconnection: upgrade\r\n"), "{head}");
    assert!(head.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"), "{head}");
    // What looks like a request is none any more.
    say.send(Some(b"GET / HTTP/1.1\r\n\r\n".to_vec())).unwrap();
    assert_eq!(client.bytes(18), b"GET / HTTP/1.1\r\n\r\n");
    client.end();
    say.send(None).unwrap();
    assert_eq!(told.recv().unwrap().1, [1], "the server is told that the client has ended");
    assert_eq!(client.bytes(3), b"bye");
    assert!(client.is_closed());
    let line = proxy.log_of("/raw");
    assert_eq!(line["tunnel_ended_by"], "client");
    assert_eq!((line["bytes_in"].as_u64(), line["bytes_out"].as_u64()), (Some(5), Some(26)));
}

#[test]
fn both_ways_at_once_and_more_than_anybody_holds() {
    const TOTAL: usize = 8 << 20;
    let origin = Origin::start(|exchange| {
        exchange.write(AGREED);
        while let Some(bytes) = exchange.read(1024) {
            if !exchange.write(bytes) {
                break;
            }
        }
        false
    });
    let proxy = Proxy::before(&[origin.address]);
    let mut stream = TcpStream::connect(proxy.public).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(ask("/echo", "websocket").as_bytes()).unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    let mut writing = stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        let block: Vec<u8> = (0..=255).cycle().take(64 * 1024).collect();
        for _ in 0..TOTAL / block.len() {
            writing.write_all(&block).unwrap();
        }
        writing.shutdown(Shutdown::Write).unwrap();
    });
    let mut echoed = Vec::new();
    stream.read_to_end(&mut echoed).unwrap();
    writer.join().unwrap();
    assert_eq!(echoed.len(), TOTAL);
    assert!(echoed.iter().enumerate().all(|(at, byte)| *byte == at.to_le_bytes()[0]));
}

#[test]
fn an_upgrade_that_is_declined_is_an_ordinary_answer() {
    let origin = Origin::start(|exchange| match exchange.target() {
        "/declined" => {
            exchange.write("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno")
        }
        target => {
            let target = target.to_owned();
            exchange.answer(&target)
        }
    });
    let proxy = Proxy::before(&[origin.address]);
    let mut client = proxy.client();
    // A request behind it is a request, and nothing a tunnel would carry.
    client.send(format!("{}GET /next HTTP/1.1\r\nHost: a\r\n\r\n", ask("/declined", "websocket")));
    assert_eq!(client.response(false).unwrap().status, 426);
    assert_eq!(client.response(false).unwrap().text(), "/next");
    assert_eq!(client.ask(&ask("/ignored", "websocket")).text(), "/ignored");
    assert_eq!(client.ask("GET /more HTTP/1.1\r\nHost: a\r\n\r\n").text(), "/more");
    assert!(origin.heads()[0].to_ascii_lowercase().contains("\r\nupgrade: websocket\r\n"));
    assert!(!origin.heads()[1].to_ascii_lowercase().contains("\r\nupgrade:"));
    assert_eq!(proxy.log_of("/declined")["status"], 426);
}

#[test]
fn only_what_the_route_lets_through_is_offered() {
    let origin = Origin::saying("plain");
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {0}, h2: {{ protocol: http2, servers: [ {{ address: '{1}' }} ] }} }}\nroutes:\n\
         - {{ name: none, match: {{ paths: [ {{ exact: /none }} ] }}, upstream: u, upgrades: [] }}\n\
         - {{ name: other, match: {{ paths: [ {{ exact: /other }} ] }}, upstream: u, upgrades: [irc] }}\n\
         - {{ name: h2, match: {{ paths: [ {{ exact: /h2 }} ] }}, upstream: h2 }}\n\
         - {{ name: file, match: {{ paths: [ {{ exact: /here }} ] }}, respond: {{ status: 200, body: here }} }}\n\
         - {{ name: ws, match: {{ headers: [ {{ name: upgrade, value: {{ exact: websocket }} }} ] }}, upstream: u }}\n\
         - {{ name: all, upstream: u, upgrades: [] }}",
        upstream(&[origin.address]),
        origin.address,
    ));
    let mut client = proxy.client();
    for (path, upgrade, offered) in [
        ("/none", "websocket", None),
        ("/other", "websocket, IRC/6.9, h2c", Some("IRC/6.9")),
        ("/", "websocket", Some("websocket")),
        ("/", "h2c, HTTP/2.0, TLS/1.0", None),
    ] {
        assert_eq!(client.ask(&ask(path, upgrade)).text(), "plain");
        let head = origin.heads().pop().unwrap().to_ascii_lowercase();
        let told = head.lines().find_map(|line| line.strip_prefix("upgrade: "));
        assert_eq!(told, offered.map(str::to_ascii_lowercase).as_deref(), "{path} {upgrade}");
    }
    assert_eq!(client.ask(&ask("/here", "websocket")).text(), "here");
    assert_eq!(client.ask(&ask("/h2", "websocket")).status, 501);
    let mut client = proxy.client();
    let with_body = ask("/", "websocket").replace("GET", "POST").replacen(
        "\r\n\r\n",
        "\r\nContent-Length: 2\r\n\r\nhi",
        1,
    );
    let before = origin.requests();
    client.send(with_body);
    eventually("the request", || (origin.requests() > before).then_some(()));
    assert!(!origin.heads().pop().unwrap().to_ascii_lowercase().contains("\r\nupgrade:"));
    assert_eq!(proxy.client().ask(&ask("/", "web socket")).status, 400);
}

#[test]
fn a_101_without_proof_is_no_agreement() {
    for wrong in [
        AGREED.replace("s3pP", "S3pP"),
        AGREED.replace("websocket", "h2c"),
        AGREED.replace("Upgrade: websocket\r\n", ""),
        AGREED.replace("HTTP/1.1", "HTTP/1.0"),
    ] {
        let answer = wrong.clone();
        let origin = Origin::start(move |exchange| exchange.write(&answer) && exchange.is_closed());
        let proxy = Proxy::before(&[origin.address]);
        assert_eq!(proxy.client().ask(&ask("/", "websocket")).status, 502, "{wrong}");
    }
    // Nor is one that nobody asked for.
    let origin = Origin::start(|exchange| exchange.write(AGREED) && exchange.is_closed());
    let proxy = Proxy::before(&[origin.address]);
    assert_eq!(proxy.get("/").status, 502);
}

#[test]
fn silence_ends_a_tunnel() {
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{}' }} ] }} }}\n\
         routes: [ {{ name: all, upstream: u, timeouts: {{ tunnel: 2s }} }} ]",
        chat(),
    ));
    let mut socket = connect(&proxy, "/idle");
    assert!(socket.read().is_err());
    assert_eq!(proxy.log_of("/idle")["tunnel_ended_by"], "idle");
    let ended = "forebay_proxy_tunnels_ended_total{by=\"idle\",lane=\"interactive\",route=\"all\"}";
    assert_eq!(proxy.metric(ended), 1.0);
}

#[test]
fn a_graceful_stop_waits_for_tunnels_as_long_as_it_may() {
    let mut proxy = Proxy::start(&format!("shutdown: {{ tunnels: 1h }}\n{}", to(&[chat()])));
    let mut socket = connect(&proxy, "/chat");
    proxy.signal(Signal::QUIT);
    eventually("no new connections", || TcpStream::connect(proxy.public).is_err().then_some(()));
    echo(&mut socket, "still here");
    assert!(!proxy.has_ended());
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    drop(socket);
    assert!(proxy.wait().success());

    let mut proxy = Proxy::start(&format!("shutdown: {{ tunnels: 100ms }}\n{}", to(&[chat()])));
    let mut socket = connect(&proxy, "/cut");
    proxy.signal(Signal::QUIT);
    assert!(proxy.wait().success());
    assert!(socket.read().is_err());
    assert_eq!(proxy.log_of("/cut")["tunnel_ended_by"], "stop");
}

#[test]
fn extended_connect_is_refused() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::before(&[origin.address]);
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "a.example"),
        (":path", "/chat"),
        ("sec-websocket-version", "13"),
    ];
    let head: Vec<_> =
        fields.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).into();
    let outcome = raw_http2::ask(proxy.public, &head, None, &[]);
    assert_eq!(outcome, Outcome::Reset, "it was not offered (RFC 8441 section 3)");
    assert_eq!(origin.requests(), 0);
    let _: Client = proxy.client();
    assert_eq!(proxy.get("/").status, 200);
}
