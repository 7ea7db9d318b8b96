//! Policies changed while the proxy runs: by command and by the admin API, with a way back.

use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::mpsc::channel;

use serde_json::{Value, json};

use crate::caching::{ask, counting};
use crate::client::{Client, Response};
use crate::harness::{BINARY, PATIENCE, Proxy};
use crate::origin::Origin;
use crate::purging::{TOKEN, purgeable};

fn send(proxy: &Proxy, method: &str, path: &str, token: &str, body: &str) -> Response {
    Client::to(proxy.admin).ask(&format!(
        "{method} {path} HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

fn change(proxy: &Proxy, order: &Value) -> Response {
    send(proxy, "POST", "/policies", TOKEN, &order.to_string())
}

fn policy(proxy: &Proxy, arguments: &[&str]) -> Output {
    let (what, rest) = arguments.split_first().unwrap();
    Command::new(BINARY)
        .args(["policy", what, "proxy.yaml", "--admin", &proxy.admin.to_string()])
        .args(rest)
        .current_dir(proxy.dir.path())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

const TTL: &str = "cache_policies.p.freshness.ttl_default";

#[test]
fn a_policy_is_changed_shown_and_taken_back_by_command() {
    let origin = counting("");
    let (proxy, _tokens) = purgeable(&origin, ", freshness: { ttl_default: 600s }");
    let bodies = |proxy: &Proxy| [ask(proxy, "/a", "").text(), ask(proxy, "/b", "").text()];
    assert_eq!(bodies(&proxy), ["1", "2"]);
    assert!(said(&policy(&proxy, &["list"])).contains("cache_policies.p\n"));
    let dry = said(&policy(&proxy, &["set", "--dry-run", &format!("{TTL}=1ms")]));
    assert_eq!(dry, format!("would change:\n  {TTL}: 10m → 1ms\nroutes that go by it: all\n"));
    assert!(
        said(&policy(&proxy, &["show", "cache_policies.p.freshness"])).contains("ttl_default: 10m")
    );

    let set = said(&policy(&proxy, &["set", "--note", "match day", &format!("{TTL}=0ms")]));
    assert!(set.starts_with("in force as number 2:\n"), "{set}");
    assert_eq!(ask(&proxy, "/c", "").text(), "3");
    assert_eq!(ask(&proxy, "/c", "").text(), "4", "nothing new is kept");
    assert_eq!(bodies(&proxy), ["1", "2"], "what was stored keeps its time");

    let history = said(&policy(&proxy, &["history"]));
    assert!(history.contains("set by ops: match day"), "{history}");
    assert!(said(&policy(&proxy, &["rollback"])).starts_with("in force as number 3:\n"));
    assert_eq!(
        (ask(&proxy, "/d", "").text(), ask(&proxy, "/d", "").text()),
        ("5".into(), "5".into())
    );
    let again = policy(&proxy, &["rollback", "1"]);
    let stderr = String::from_utf8_lossy(&again.stderr);
    assert!(!again.status.success() && stderr.contains("1 is in force already"), "{stderr}");
    assert!(proxy.reload());
    let history = send(&proxy, "GET", "/policies/history", TOKEN, "").json();
    let causes: Vec<&Value> =
        history["history"].as_array().unwrap().iter().map(|record| &record["cause"]).collect();
    assert_eq!(causes, ["start", "set", "rollback", "reload"]);
}

#[test]
fn a_response_under_way_ends_as_it_began() {
    let (go_on, told) = channel::<()>();
    let told = Mutex::new(told);
    let origin = Origin::start(move |exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc");
        told.lock().unwrap().recv_timeout(PATIENCE).is_ok() && exchange.write("def")
    });
    let (proxy, _tokens) = purgeable(&origin, "");
    let mut client = proxy.client();
    client.send("GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(client.head().unwrap().0, 200);
    assert_eq!(client.bytes(3), b"abc");
    let order =
        json!({ "set": { "lanes.bulk.requests_max": 9, "caches.main.memory_max": "32MiB" } });
    let answer = change(&proxy, &order);
    assert_eq!((answer.status, &answer.json()["routes"]), (200, &json!(["all"])));
    go_on.send(()).unwrap();
    assert_eq!(client.bytes(3), b"def");
    assert_eq!(proxy.metric("forebay_proxy_lane_requests_max{lane=\"bulk\"}"), 9.0);
}

#[test]
fn what_is_wrong_or_not_allowed_changes_nothing() {
    let origin = counting("");
    let (proxy, _tokens) = purgeable(&origin, "");
    for (order, status, part) in [
        (json!({ "set": { "listeners.public.address": "x" } }), 400, "is no policy"),
        (json!({ "set": { "lanes.bulk.request_max": 1 } }), 400, "did you mean"),
        (json!({ "set": { "lanes.bulk.requests_max": 1 }, "back": true }), 400, "only one"),
        (json!({ "back": true }), 404, "nothing to go back to"),
        (json!({ "back_to": 77 }), 404, "no configuration 77"),
        (json!({ "set": { "lanes.bulk.requests_max": 4096 } }), 409, "changes nothing"),
        (json!({ "sets": {} }), 400, "unknown field"),
        (json!({ "back": true, "note": "a\n9  now  set by boss" }), 400, "control character"),
    ] {
        let answer = change(&proxy, &order);
        assert_eq!(answer.status, status, "{order} {answer:?}");
        assert!(answer.text().contains(part), "{order} {answer:?}");
    }
    let viewer = "a-viewers-long-token";
    let order = json!({ "set": { "lanes.bulk.requests_max": 1 } }).to_string();
    assert_eq!(send(&proxy, "POST", "/policies", viewer, &order).status, 403);
    assert_eq!(send(&proxy, "GET", "/policies", viewer, "").json()["number"], 1);
    assert_eq!(send(&proxy, "GET", "/policies", "no-token-of-this-one", "").status, 401);
    assert_eq!(send(&proxy, "DELETE", "/policies", TOKEN, "").status, 405);
}

#[test]
fn of_two_values_for_one_place_none_is_taken() {
    let origin = counting("");
    let (proxy, _tokens) = purgeable(&origin, "");
    let twice = format!("{{\"set\":{{\"{TTL}\":\"1m\",\"{TTL}\":\"2m\"}}}}");
    let answer = send(&proxy, "POST", "/policies", TOKEN, &twice);
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("is set twice"), "{}", answer.text());
    let [first, second] = ["1m", "2m"].map(|time| format!("{TTL}={time}"));
    let refused = policy(&proxy, &["set", &first, &second]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is set twice"));
    assert_eq!(send(&proxy, "GET", "/policies", TOKEN, "").json()["number"], 1);
}
