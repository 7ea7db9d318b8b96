//! What is answered at the front door is what would be answered behind it.

use std::sync::mpsc::channel;
use std::sync::{LazyLock, Mutex};

use rustix::process::Signal;
use serde_json::Value;

use crate::caching::{answer, cached};
use crate::client::Response;
use crate::harness::{PATIENCE, Proxy, dead_address, eventually};
use crate::origin::Origin;

const FIELDS: &str = "Cache-Control: max-age=600\r\nETag: \"v1\"\r\nVary: X-Tongue\r\nX-Own: yes\r\n\
                      Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

/// More than is sent in one turn.
static LARGE: LazyLock<String> =
    LazyLock::new(|| (0..40_000).map(|number| format!("{number:05}")).collect());

/// Requests that find something in the cache once `GET /a` was answered, some that do not, and some that pass
/// through.
const REQUESTS: [(&str, &str, &str); 45] = [
    ("GET", "/a", ""),
    ("HEAD", "/a", ""),
    ("GET", "/a", "Connection: keep-alive\r\n"),
    ("GET", "/a", "If-None-Match: \"v1\"\r\n"),
    ("GET", "/a", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
    ("GET", "/a", "Range: bytes=1-3\r\n"),
    ("GET", "/a", "Range: bytes=900-\r\n"),
    ("GET", "/a", "Range: bytes=-2\r\nIf-Range: \"v2\"\r\n"),
    ("GET", "/a", "If-Match: \"v1\"\r\n"),
    ("GET", "/a", "X-Tongue: de\r\n"),
    ("GET", "/a", "Cache-Control: no-cache\r\n"),
    ("GET", "/a", "Cache-Control: only-if-cached\r\n"),
    ("GET", "/./a", ""),
    ("GET", "/%61", ""),
    ("POST", "/a", "Content-Length: 0\r\n"),
    ("GET", "/a", "Content-Length: 0\r\n"),
    ("GET", "/other", "Cache-Control: only-if-cached\r\n"),
    ("GET", "/closed/a", ""),
    ("GET", "/a", "Origin: https://b.example\r\n"),
    ("GET", "/a", "Upgrade: h2c\r\nConnection: upgrade\r\n"),
    ("GET", "/plain/sized", ""),
    ("HEAD", "/plain/sized", ""),
    ("GET", "/plain/chunked", ""),
    ("GET", "/plain/unframed", ""),
    ("GET", "/plain/none", ""),
    ("GET", "/plain/missing", ""),
    ("GET", "/plain/hints", ""),
    ("GET", "/plain/broken", ""),
    ("GET", "/plain/sized", "X-Forwarded-For: 192.0.2.1\r\nTE: trailers\r\nKeep-Alive: 5\r\n"),
    ("POST", "/plain/echo", "Content-Length: 5\r\n\r\nhello"),
    ("POST", "/plain/echo", "Content-Length: 0\r\n"),
    ("POST", "/plain/echo", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"),
    ("DELETE", "/plain/sized", ""),
    ("GET", "/dead/a", ""),
    ("GET", "/plain/limited/sized", ""),
    ("GET", "/plain/limited/sized", ""),
    ("GET", "/large", ""),
    ("GET", "/large", ""),
    ("HEAD", "/large", ""),
    ("GET", "/large", "Range: bytes=10-149999\r\n"),
    ("GET", "/large", "Range: bytes=-100\r\n"),
    ("GET", "/film/large", ""),
    ("HEAD", "/film/large", ""),
    ("GET", "/film/pieces", ""),
    ("GET", "/film/cut", ""),
];

fn sections(origin: &Origin) -> String {
    format!(
        "upstreams:
  u: {{ servers: [ {{ address: '{}' }} ] }}
  dead: {{ servers: [ {{ address: '{}' }} ] }}
rate_limits: {{ few: {{ rate: 1/h, key: [ client ] }} }}
routes:
  - {{ name: limited, match: {{ paths: [ {{ prefix: /plain/limited/ }} ] }}, upstream: u, rate_limits: [ few ] }}
  - {{ name: plain, match: {{ paths: [ {{ prefix: /plain/ }} ] }}, upstream: u, response_headers: {{ set: {{ X-Path: '${{path}}' }} }} }}
  - {{ name: film, match: {{ paths: [ {{ prefix: /film/ }} ] }}, upstream: u, lane: bulk }}
  - {{ name: dead, match: {{ paths: [ {{ prefix: /dead/ }} ] }}, upstream: dead }}
  - {{ name: closed, match: {{ paths: [ {{ prefix: /closed/ }} ] }}, upstream: u, lane: bulk, cache_policy: p, access: {{ deny: [ 127.0.0.0/8 ] }} }}
  - name: all
    upstream: u
    lane: bulk
    cache_policy: p
    cors: {{ origins: [ 'https://b.example' ] }}
    response_headers: {{ set: {{ X-Path: '${{path}}', X-Address: '${{client}}' }}, remove: [ X-Own ] }}
cache_policies: {{ p: {{ cache: main }} }}
caches: {{ main: {{ memory_max: 64MiB }} }}",
        origin.address,
        dead_address()
    )
}

/// Answers by the last part of the path; most is kept.
fn origin() -> Origin {
    Origin::start(|exchange| {
        let target = exchange.target().to_owned();
        let says = |text: &str| text.to_owned();
        let text = match target.rsplit('/').next() {
            Some("chunked") => says(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            ),
            Some("unframed") => {
                exchange.write("HTTP/1.1 200 OK\r\nX-Own: yes\r\n\r\nto the end");
                return false;
            }
            Some("broken") => {
                exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
                return false;
            }
            Some("large") => return answer(exchange, FIELDS, &LARGE),
            Some("pieces") => {
                let chunks = LARGE.as_bytes().chunks(70_000);
                let chunk = |bytes: &[u8]| {
                    format!("{:x}\r\n{}\r\n", bytes.len(), String::from_utf8_lossy(bytes))
                };
                let body: String = chunks.map(chunk).collect();
                format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}0\r\n\r\n")
            }
            Some("cut") => {
                exchange
                    .write(format!("HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n{}", *LARGE));
                return false;
            }
            Some("none") => says("HTTP/1.1 204 No Content\r\n\r\n"),
            Some("missing") => says("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone"),
            Some("hints") => says(
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            ),
            Some("echo") => {
                let body = exchange.body().unwrap_or_default();
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}",
                    body.len(),
                    String::from_utf8_lossy(&body)
                )
            }
            Some("sized") => {
                // What the upstream is told must not depend on the door either.
                let told = [
                    "x-forwarded-for",
                    "forwarded",
                    "x-forwarded-host",
                    "te",
                    "keep-alive",
                    "connection",
                ];
                let told =
                    told.map(|name| exchange.header(name).unwrap_or("-").to_owned()).join("; ");
                format!("HTTP/1.1 200 OK\r\nX-Told: {told}\r\nContent-Length: 5\r\n\r\nsized")
            }
            _ => return answer(exchange, FIELDS, "0123456789"),
        };
        exchange.write(text)
    })
}

/// What must not depend on the door.
fn seen(response: &Response) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let told = |(name, _): &(String, String)| !matches!(name.to_ascii_lowercase().as_str(), "date");
    let mut headers: Vec<_> = response.headers.iter().filter(|f| told(f)).cloned().collect();
    headers.sort();
    for (_, value) in &mut headers {
        // Seconds may pass between the two.
        if let Some(at) = value.find("ttl=") {
            value.truncate(at);
        }
    }
    (response.status, headers, response.body.clone())
}

/// A line of the log without what differs between any two requests.
fn line(of: &Value) -> Value {
    let mut line = of.clone();
    let fields = line.as_object_mut().unwrap();
    for name in ["time", "request_id", "duration_ms", "first_byte_ms", "upstream_address"] {
        fields.remove(name);
    }
    fields.retain(|name, _| !name.starts_with("upstream_"));
    line
}

fn by_door(proxy: &Proxy, outcome: &str) -> f64 {
    let labels = format!("{{listener=\"public\",outcome=\"{outcome}\"}}");
    proxy.metric(&format!("forebay_proxy_front_door_requests_total{labels}"))
}

fn answered(proxy: &Proxy) -> f64 {
    by_door(proxy, "answered")
}

#[test]
fn the_door_changes_no_answer_no_line_and_no_count() {
    let mut told = Vec::new();
    for setting in ["on", "off"] {
        let origin = origin();
        let proxy = Proxy::with_door(setting, "", &sections(&origin));
        assert_eq!(proxy.get("/a").status, 200);
        let mut answers = Vec::new();
        for (method, path, rest) in REQUESTS {
            // With a body in `rest`, the empty line that ends the head is in there too.
            let end = if rest.contains("hello") && !rest.contains("chunked") { "" } else { "\r\n" };
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: a.example\r\nX-Request-Id: one\r\n{rest}{end}"
            );
            let mut client = proxy.client();
            client.send(&request);
            let answer = client.response(method == "HEAD");
            answers.push(seen(&answer.unwrap_or_else(|| panic!("{request:?}"))));
        }
        let mut lines = eventually("all lines", || {
            let lines = proxy.log();
            (lines.len() == REQUESTS.len() + 1).then(|| lines.iter().map(line).collect::<Vec<_>>())
        });
        // A line is written once its answer is out; the next may overtake it.
        lines.sort_by_key(Value::to_string);
        let series = |name: &str| {
            let metrics = proxy.metrics();
            let lines = metrics.lines().filter(|line| line.starts_with(name));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let counts = [
            series("forebay_proxy_requests_total"),
            series("forebay_proxy_cache_requests_total"),
            series("forebay_proxy_request_body_bytes_total"),
            series("forebay_proxy_response_body_bytes_total"),
            series("forebay_proxy_request_duration_seconds_count"),
            series("forebay_proxy_lane_requests_in_flight"),
        ];
        assert!(counts.iter().all(|series| !series.is_empty()), "{counts:?}");
        let expected = if setting == "on" { (16.0, 19.0) } else { (0.0, 0.0) };
        assert_eq!((answered(&proxy), by_door(&proxy, "passed_through")), expected);
        told.push((answers, lines, counts, origin.requests()));
    }
    let (off, on) = (told.pop().unwrap(), told.pop().unwrap());
    for (number, request) in REQUESTS.iter().enumerate() {
        assert_eq!(on.0[number], off.0[number], "{request:?}");
    }
    assert_eq!(on.1, off.1);
    assert_eq!((on.2, on.3), (off.2, off.3));
}

#[test]
fn pipelined_requests_are_answered_in_order_whoever_answers_them() {
    let origin = Origin::start(|exchange| {
        let body = exchange.target().to_owned();
        answer(exchange, "Cache-Control: max-age=600\r\n", &body)
    });
    let proxy = Proxy::with_door("on", "", &cached(&origin, ""));
    proxy.get("/a");
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let post = "POST /p HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nGET";
    let all = [get("/a"), get("/a"), get("/b"), get("/a"), post.to_owned(), get("/a"), get("/b")];
    for pieces in [all.concat().len(), 7, 1] {
        let mut client = proxy.client();
        for piece in all.concat().as_bytes().chunks(pieces) {
            client.send(piece);
        }
        let bodies: Vec<_> =
            (0..all.len()).map(|_| client.response(false).unwrap().text()).collect();
        assert_eq!(bodies, ["/a", "/a", "/b", "/a", "/p", "/a", "/b"], "{pieces}");
    }
    // What pingora has read behind its own request, it answers.
    assert!(answered(&proxy) >= 3.0, "{}", answered(&proxy));
}

#[test]
fn a_connection_ends_when_it_would_behind_the_door() {
    let origin = origin();
    let limits = ", keep_alive_requests_max: 3";
    let mut proxy = Proxy::with_door("on", limits, &cached(&origin, ""));
    proxy.get("/a");
    let request = "GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let mut client = proxy.client();
    let connections: Vec<_> = (0..3)
        .map(|_| client.ask(request).header("connection").unwrap_or_default().to_owned())
        .collect();
    assert_eq!(connections, ["keep-alive", "keep-alive", "close"]);
    assert!(client.response(false).is_none(), "it is closed");
    let impatient = Proxy::with_door("on", ", timeouts: { idle: 1s }", &cached(&origin, ""));
    let mut idle = impatient.client();
    idle.ask(request);
    assert!(idle.is_closed(), "it is closed after the idle time");
    let mut waiting = proxy.client();
    waiting.ask(request);
    proxy.signal(Signal::TERM);
    assert!(waiting.response(false).is_none(), "a stop closes who waits");
    assert!(proxy.wait().success());
}

#[test]
fn a_reload_holds_for_the_next_request_of_an_open_connection() {
    let origin = origin();
    let proxy = Proxy::with_door("on", "", &cached(&origin, ""));
    let request = "GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let mut client = proxy.client();
    assert_eq!((client.ask(request).status, client.ask(request).status), (200, 200));
    proxy.rewrite(
        &sections(&origin).replace("name: all", "name: all\n    access: { deny: [ 127.0.0.0/8 ] }"),
    );
    assert!(proxy.reload());
    assert_eq!(client.ask(request).status, 403);
    assert_eq!(answered(&proxy), 1.0);
}

#[test]
fn a_full_lane_sheds_hits_too() {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let origin = Origin::start(move |exchange| {
        if exchange.target() == "/slow" {
            released.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        answer(exchange, "Cache-Control: max-age=600\r\n", "x")
    });
    let sections = format!(
        "{}\nlanes: {{ bulk: {{ requests_max: 1, waiting_max: 0 }} }}",
        cached(&origin, "")
    );
    let proxy = Proxy::with_door("on", "", &sections);
    // A place is given back after the answer's last byte.
    let in_flight = "forebay_proxy_lane_requests_in_flight{lane=\"bulk\"}";
    for _ in 0..2 {
        assert_eq!(proxy.get("/a").status, 200);
        eventually("an empty lane", || (proxy.metric(in_flight) == 0.0).then_some(()));
    }
    let mut slow = proxy.client();
    slow.send("GET /slow HTTP/1.1\r\nHost: a.example\r\n\r\n");
    origin.wait_for_requests(2);
    assert_eq!(proxy.get("/a").status, 503);
    release.send(()).unwrap();
    assert_eq!(slow.response(false).unwrap().status, 200);
    assert_eq!(answered(&proxy), 1.0);
}
