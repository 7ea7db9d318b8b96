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

#[test]
fn lines_of_text_and_logs_of_routes() {
    let origin = Origin::saying("hello");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let sections = format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{origin}' }} ] }} }}
access_logs:
  combined: {{ path: {combined}, format: combined }}
  chosen:
    path: {chosen}
    format: {{ template: '$path $answer_status ${{answer_content_length}} $query_a $upstream_status $tls' }}
    escape: json
    when: $query_a
routes:
  - {{ name: none, match: {{ paths: [ {{ prefix: /none }} ] }}, upstream: u, access_logs: [] }}
  - {{ name: own, match: {{ paths: [ {{ prefix: /own }} ] }}, upstream: u, access_logs: [combined, chosen] }}
  - {{ name: rest, upstream: u }}",
        origin = origin.address,
        combined = path("combined.log"),
        chosen = path("chosen.log"),
    );
    let proxy = Proxy::start(&sections);
    // On one connection lines are in the order of requests.
    let mut client = proxy.client();
    let mut ask = |target: &str| {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nUser-Agent: q\"\r\nAuthorization: Basic am86cHc=\r\n\r\n"
        );
        assert_eq!(client.ask(&request).text(), "hello");
    };
    for target in ["/none", "/own?a=0", "/own?a=x%22", "/last"] {
        ask(target);
    }
    proxy.log_of("/last");
    assert_eq!(proxy.log().len(), 1, "{:?}", proxy.log());
    let read = |name: &str| std::fs::read_to_string(path(name)).unwrap_or_default();
    let combined = eventually("two lines", || {
        Some(read("combined.log")).filter(|text| text.lines().count() == 2)
    });
    let form = r#"^127\.0\.0\.1 - jo \[\d\d/[A-Z][a-z]{2}/\d{4}(:\d\d){3} [+-]\d{4}\] "GET /own\?a=0 HTTP/1\.1" 200 5 "-" "q\\x22"\n"#;
    let form = form.parse::<proxy_config::pattern::Regex>().unwrap().compile().unwrap();
    assert!(form.is_match(&combined), "{combined}");
    let chosen = eventually("a line", || Some(read("chosen.log")).filter(|text| !text.is_empty()));
    assert_eq!(chosen, "/own 200 5 x%22 200 \n");

    // A reload may move a log; what is wrong with one is refused.
    proxy.rewrite(&sections.replace("chosen.log", "moved.log"));
    assert!(proxy.reload());
    ask("/own?a=1");
    eventually("the moved log", || (read("moved.log") == "/own 200 5 1 200 \n").then_some(()));
    proxy.rewrite(&sections.replace("$answer_status", "$statsu"));
    assert!(!proxy.reload());
    proxy.says("statsu");
}

#[test]
fn a_log_tells_a_part_and_never_what_it_must_not() {
    let origin = Origin::start(|exchange| match exchange.target().starts_with("/bad") {
        true => exchange.write("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"),
        false => exchange.answer("hello"),
    });
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let sections = format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{origin}' }} ] }} }}
access_logs:
  failures: {{ path: {failures}, format: {{ template: '$path $answer_status' }}, sample: 0% }}
  text:
    path: {text}
    format: {{ template: '$request_uri|$query_token|$request_line|$header_referer|$header_x_key|$user|$trace_id' }}
    redact: [token, X-Key, authorization]
  json: {{ path: {json}, redact: [token, User-Agent] }}
routes:
  - {{ name: all, upstream: u, access_logs: [failures, text, json] }}",
        origin = origin.address,
        failures = path("failures.log"),
        text = path("text.log"),
        json = path("json.log"),
    );
    let proxy = Proxy::start(&sections);
    // On one connection lines are in the order of requests.
    let mut client = proxy.client();
    for target in ["/good?a=1&token=s3cret", "/bad?token=s3cret"] {
        client.ask(&format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nUser-Agent: s3cret\r\nX-Key: s3cret\r\n\
             Referer: https://b/?token=s3cret\r\nAuthorization: Basic czNjcmV0OnB3\r\n\
             traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n"
        ));
    }
    let read = |name: &str| std::fs::read_to_string(path(name)).unwrap_or_default();
    let lines = |name: &str, count: usize| {
        eventually(name, || Some(read(name)).filter(|text| text.lines().count() == count))
    };
    assert_eq!(
        lines("text.log", 2).lines().next().unwrap(),
        "/good?a=1&token=-|-|GET /good?a=1&token=- HTTP/1.1|https://b/?token=-|-|-|0af7651916cd43dd8448eb211c80319c"
    );
    assert_eq!(lines("failures.log", 1), "/bad 500\n");
    let json = lines("json.log", 2);
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(first["query"], "a=1&token=-");
    assert_eq!(
        (&first["user_agent"], &first["referer"]),
        (&"-".into(), &"https://b/?token=-".into())
    );
    for name in ["text.log", "json.log", "failures.log"] {
        assert!(!read(name).contains("s3cret"), "{}", read(name));
    }
}
