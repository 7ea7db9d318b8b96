use rustix::process::Signal;

use crate::harness::{Proxy, eventually, to};
use crate::origin::Origin;

#[test]
fn a_line_says_what_happened() {
    let origin = Origin::start(|exchange| exchange.body().is_some() && exchange.answer("hello"));
    let proxy = Proxy::before(&[origin.address]);
    let mut client = proxy.client();
    let response = client.ask(
        "POST /v1/transfers?a=b HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\
         User-Agent: te\"st\\\r\nX-Request-Id: id-7\r\n\r\nabc",
    );
    assert_eq!(response.status, 200);
    let line = proxy.log_of("/v1/transfers");
    let expected = serde_json::json!({
        "request_id": "id-7", "client": "127.0.0.1", "listener": "public", "method": "POST",
        "host": "a.example", "path": "/v1/transfers", "query": "a=b", "protocol": "HTTP/1.1",
        "status": 200, "bytes_in": 3, "bytes_out": 5, "route": "all", "lane": "interactive",
        "upstream": "u", "upstream_address": origin.address.to_string(), "upstream_reused": false,
        "aborted": false, "generation": 1, "user_agent": "te\"st\\",
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&line[field], value, "{field} in {line}");
    }
    let millis = |field: &str| line[field].as_f64().unwrap_or_else(|| panic!("{field} in {line}"));
    assert!(millis("duration_ms") >= millis("first_byte_ms"));
    assert!(millis("first_byte_ms") >= millis("upstream_first_byte_ms"));
    assert!(millis("upstream_connect_ms") >= 0.0);
    let time = line["time"].as_str().unwrap();
    assert!(
        time.parse::<jiff::Timestamp>().is_ok() && time.len() == 24 && time.ends_with('Z'),
        "{time}"
    );
    for absent in ["error", "retries", "tls", "referer"] {
        assert!(line.get(absent).is_none(), "{absent} in {line}");
    }
}

#[test]
fn refusals_are_logged_too() {
    let proxy = Proxy::start(
        "upstreams: { u: { servers: [ { address: '127.0.0.1:1' } ] } }\n\
         routes: [ { name: r, match: { hosts: [only.example] }, upstream: u } ]",
    );
    proxy.get("/nowhere");
    let line = proxy.log_of("/nowhere");
    assert_eq!((line["status"].as_u64(), line["error"].as_str()), (Some(404), Some("no_route")));
    assert!(line.get("route").is_none());
    let requests = "forebay_proxy_requests_total{code=\"404\",lane=\"none\",listener=\"public\",route=\"none\"}";
    assert_eq!(proxy.metric(requests), 1.0);
}

#[test]
fn usr1_reopens_the_file() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::before(&[origin.address]);
    proxy.get("/before");
    proxy.log_of("/before");
    std::fs::rename(proxy.path("access.log"), proxy.path("access.log.1")).unwrap();
    proxy.signal(Signal::USR1);
    eventually("a new file", || proxy.path("access.log").exists().then_some(()));
    proxy.get("/after");
    proxy.log_of("/after");
    let rotated = std::fs::read_to_string(proxy.path("access.log.1")).unwrap();
    assert!(rotated.contains("/before") && !rotated.contains("/after"));
}

#[test]
fn a_reload_can_move_the_log_but_not_to_nowhere() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::before(&[origin.address]);
    let document = std::fs::read_to_string(proxy.path("proxy.yaml")).unwrap();
    let move_to = |to: &str| {
        std::fs::write(proxy.path("proxy.yaml"), document.replace("access.log", to)).unwrap();
    };
    move_to("missing/access.log");
    assert!(!proxy.reload());
    move_to("moved.log");
    assert!(proxy.reload());
    proxy.get("/moved");
    eventually("the line in the new file", || {
        let text = std::fs::read_to_string(proxy.path("moved.log")).ok()?;
        text.contains("/moved").then_some(())
    });
}

#[test]
fn many_requests_many_lines() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::start(&to(&[origin.address]));
    let mut client = proxy.client();
    for number in 0..200 {
        client.ask(&format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    let lines = eventually("200 lines", || Some(proxy.log()).filter(|log| log.len() == 200));
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(line["path"], format!("/{number}"));
    }
    assert_eq!(proxy.metric("forebay_proxy_access_log_dropped_total"), 0.0);
}
