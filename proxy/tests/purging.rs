//! Purges over the admin API and by command: who may, what goes, what is asked again.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use serde_json::{Value, json};

use crate::caching::{ask, cached, counting, status, with_cache};
use crate::client::{Client, Response};
use crate::harness::{BINARY, PATIENCE, Proxy, dead_address, eventually};
use crate::origin::Origin;
use crate::redis_server::RedisServer;

pub const TOKEN: &str = "an-operators-token";

/// A proxy whose document has an operator and a viewer, and its tokens' directory.
pub fn purgeable(origin: &Origin, policy: &str) -> (Proxy, tempfile::TempDir) {
    purgeable_with(&cached(origin, policy))
}

fn purgeable_with(sections: &str) -> (Proxy, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("operator"), format!("{TOKEN}\n")).unwrap();
    fs::write(dir.path().join("viewer"), "a-viewers-long-token").unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let proxy = Proxy::with_admin(
        &format!(
            "tokens: [ {{ name: ops, file: '{}', role: operator }}, {{ name: look, file: '{}', role: viewer }} ]",
            path("operator"),
            path("viewer"),
        ),
        sections,
    );
    (proxy, dir)
}

fn post(proxy: &Proxy, token: &str, body: &str) -> Response {
    Client::to(proxy.admin).ask(&format!(
        "POST /purge HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

fn purge(proxy: &Proxy, order: &Value) -> Value {
    let response = post(proxy, TOKEN, &order.to_string());
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

fn bodies(proxy: &Proxy, paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| ask(proxy, path, "").text()).collect()
}

#[test]
fn by_url_by_prefix_and_everything() {
    let origin = counting("Cache-Control: max-age=600\r\nVary: X-Tier\r\n");
    let (proxy, _tokens) = purgeable(&origin, ", key: { query: { except: [utm] } }");
    let paths = ["/a", "/b/1", "/b/2?x=1", "/c"];
    assert_eq!(bodies(&proxy, &paths), ["1", "2", "3", "4"]);
    assert_eq!(ask(&proxy, "/a", "X-Tier: gold\r\n").text(), "5");
    // In the spelling of a person: another case of the host, a path that has to be put in its form,
    // a parameter that does not count.
    let done = purge(&proxy, &json!({ "urls": ["http://A.example/x/../a?utm=1"] }));
    assert_eq!((&done["purged"], &done["caches"]["main"]), (&json!(2), &json!(2)));
    assert_eq!(bodies(&proxy, &paths), ["6", "2", "3", "4"]);
    let done = purge(&proxy, &json!({ "prefixes": ["//a.example/b/"] }));
    assert_eq!(done["purged"], 2);
    assert_eq!(bodies(&proxy, &paths), ["6", "7", "8", "4"]);
    assert_eq!(purge(&proxy, &json!({ "urls": ["https://a.example/a"] }))["purged"], 0);
    assert_eq!(purge(&proxy, &json!({ "all": true, "cache": "main" }))["purged"], 4);
    assert_eq!(bodies(&proxy, &paths), ["9", "10", "11", "12"]);
    let count = "forebay_proxy_cache_purged_objects_total{cache=\"main\"}";
    assert_eq!(proxy.metric(count), 8.0);
    proxy.says("ops");
}

#[test]
fn a_host_is_one_however_it_is_spelled() {
    let origin = counting("Cache-Control: max-age=600\r\n");
    let (proxy, _tokens) = purgeable(&origin, "");
    let asked =
        |host: &str| proxy.client().ask(&format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n")).text();
    let mut count = 0;
    for url in ["http://a.example/a", "http://A.EXAMPLE.:80/a", "//a.example/a"] {
        count += 1;
        for host in ["a.example", "a.example:80", "A.example.", "a.example.:80"] {
            assert_eq!(asked(host), count.to_string(), "{host}");
        }
        assert_eq!(purge(&proxy, &json!({ "urls": [url] }))["purged"], 1, "{url}");
    }
    assert_eq!(asked("a.example:81"), "4", "another port is another origin");
    assert_eq!(asked("a.example"), "5");
    assert_eq!(purge(&proxy, &json!({ "prefixes": ["http://a.example:80/"] }))["purged"], 1);
    assert_eq!(purge(&proxy, &json!({ "urls": ["http://a.example:81/a"] }))["purged"], 1);
}

/// Routes that ask for other URLs than their clients do.
fn leading_elsewhere(origin: &Origin) -> String {
    format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{}' }} ] }} }}
cache_policies: {{ p: {{ cache: main }}, k: {{ cache: main, key: {{ text: 'key-of-$host$request_uri' }} }} }}
caches: {{ main: {{ memory_max: 64MiB }} }}
routes:
- {{ name: prefix, match: {{ paths: [ {{ prefix: /pub/ }} ] }}, rewrite: {{ prefix_to: /priv/ }}, upstream: u, cache_policy: p }}
- {{ name: whole, match: {{ paths: [ {{ exact: /one }} ] }}, rewrite: {{ to: '/two?of=$query_n' }}, upstream: u, cache_policy: p }}
- name: found
  match: {{ paths: [ {{ prefix: /f/ }} ], headers: [ {{ name: x-is, value: {{ exact: f }} }} ] }}
  rewrite: {{ regex: {{ find: '^/f/', replace: /g/ }} }}
  upstream: u
  cache_policy: p
- {{ name: step, match: {{ paths: [ {{ prefix: /s/ }} ] }}, steps: [ {{ then: [ {{ rewrite: {{ find: '^/s/(.*)', to: '/t/$1' }} }} ] }} ] }}
- {{ name: keyed, match: {{ paths: [ {{ prefix: /k/ }} ] }}, upstream: u, cache_policy: k }}
- {{ name: rest, upstream: u, cache_policy: p }}",
        origin.address
    )
}

#[test]
fn by_the_url_that_clients_ask_for() {
    let origin = counting("Cache-Control: max-age=600\r\n");
    let (proxy, _tokens) = purgeable_with(&leading_elsewhere(&origin));
    let paths = ["/pub/a%20b?x=1", "/one?n=5", "/f/a", "/s/a", "/k/a", "/other"];
    let asked = |path: &str| {
        let answer = ask(&proxy, path, "X-Is: f\r\n");
        assert_eq!(answer.status, 200, "{path}");
        answer.text()
    };
    for path in paths {
        let first = asked(path);
        assert_eq!(asked(path), first, "{path} is kept");
        let url = format!("//a.example{path}");
        assert_eq!(purge(&proxy, &json!({ "urls": [url] }))["purged"], 1, "{path}");
        assert_ne!(asked(path), first, "{path} is gone");
    }
    // Others are not touched.
    let before = paths.map(asked);
    for path in ["/pub/a", "/one", "/f/b", "/s/b", "/k/b", "/two"] {
        let url = format!("http://a.example{path}");
        assert_eq!(purge(&proxy, &json!({ "urls": [url] }))["purged"], 0, "{path}");
    }
    assert_eq!(paths.map(asked), before);
}

#[test]
fn by_a_prefix_of_what_clients_ask_for_where_it_can_be_followed() {
    let origin = counting("Cache-Control: max-age=600\r\n");
    let (proxy, _tokens) = purgeable_with(&leading_elsewhere(&origin));
    let path = "/pub/films/a";
    for prefix in ["/pub/films/", "/pub/", "/pu", "/p", "/pub/films/a", ""] {
        let first = ask(&proxy, path, "").text();
        assert_eq!(ask(&proxy, path, "").text(), first);
        let done = purge(&proxy, &json!({ "prefixes": [format!("http://a.example{prefix}")] }));
        assert_eq!(done["purged"], 1, "{prefix}");
        assert_eq!(done.get("not_followed"), None, "{prefix}");
        assert_ne!(ask(&proxy, path, "").text(), first, "{prefix}");
    }
    let lost = |prefix: &str| {
        let done = purge(&proxy, &json!({ "prefixes": [format!("//a.example{prefix}")] }));
        assert_eq!(done["purged"], 0, "{prefix}");
        done.get("not_followed").cloned().unwrap_or(json!([]))
    };
    assert_eq!(lost("/pub/series/"), json!([]));
    assert_eq!(lost("/s/a"), json!(["step"]));
    assert_eq!(lost("/f"), json!(["found"]));
    assert_eq!(lost("/on"), json!(["whole"]));
    assert_eq!(lost("/other/"), json!([]));
}

#[test]
fn by_tag_and_by_group() {
    let origin = Origin::start(|exchange| {
        let fields = match exchange.target() {
            "/film" => "Surrogate-Key: film-1 people\r\nCache-Groups: \"films\"\r\n",
            "/actor" => "Cache-Tag: people,film-2\r\n",
            "/change" => "Cache-Group-Invalidation: \"films\"\r\n",
            _ => "",
        };
        let head = format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n{fields}");
        exchange.body();
        exchange.write(format!("{head}Content-Length: 2\r\n\r\nok"))
    });
    let (proxy, _tokens) = purgeable(&origin, "");
    let warm = |paths: &[&str]| {
        let before = origin.requests();
        bodies(&proxy, paths);
        origin.requests() - before
    };
    let all = ["/film", "/actor", "/other"];
    assert_eq!((warm(&all), warm(&all)), (3, 0));
    assert_eq!(purge(&proxy, &json!({ "tags": ["film-2", "nobody"] }))["purged"], 1);
    assert_eq!(warm(&all), 1);
    assert_eq!(purge(&proxy, &json!({ "tags": ["people"] }))["purged"], 2);
    assert_eq!(warm(&all), 2);
    let change = "POST /change HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(proxy.client().ask(change).status, 200);
    assert_eq!(warm(&["/actor", "/other"]), 0);
    assert_eq!(warm(&["/film"]), 1, "its group was invalidated");
}

#[test]
fn a_soft_purge_leaves_what_stale_answers_are_good_for() {
    let (go_on, told) = channel::<()>();
    let told = Mutex::new(told);
    let origin = Origin::start(move |exchange| {
        told.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        let fields = "Cache-Control: max-age=600, stale-while-revalidate=600\r\n";
        crate::caching::answer(exchange, fields, "body")
    });
    let (proxy, _tokens) = purgeable(&origin, "");
    go_on.send(()).unwrap();
    assert_eq!(ask(&proxy, "/", "").text(), "body");
    assert_eq!(purge(&proxy, &json!({ "all": true, "soft": true }))["purged"], 1);
    // The origin does not answer, and nobody waits for it.
    let stale = ask(&proxy, "/", "");
    // In the millisecond of the purge there are 0 seconds left, later fewer.
    let is_spent = ["hit; ttl=-", "hit; ttl=0"].iter().any(|spent| status(&stale).contains(spent));
    assert!(stale.text() == "body" && is_spent, "{stale:?}");
    origin.wait_for_requests(2);
    go_on.send(()).unwrap();
}

#[test]
fn what_is_on_its_way_during_a_purge_is_not_kept() {
    let (go_on, told) = channel::<()>();
    let told = Mutex::new(told);
    let origin = Origin::start(move |exchange| {
        let tag = "Cache-Control: max-age=600\r\nSurrogate-Key: t\r\n";
        exchange.write(format!("HTTP/1.1 200 OK\r\n{tag}Content-Length: 4\r\n\r\nbo"));
        told.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        exchange.write("dy")
    });
    let (proxy, _tokens) = purgeable(&origin, "");
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    origin.wait_for_requests(1);
    assert_eq!(purge(&proxy, &json!({ "tags": ["t"] }))["purged"], 0);
    go_on.send(()).unwrap();
    assert_eq!(client.response(false).unwrap().text(), "body", "its reader gets it whole");
    go_on.send(()).unwrap();
    assert_eq!((ask(&proxy, "/", "").text().as_str(), origin.requests()), ("body", 2));
}

#[test]
fn only_operators_purge_and_orders_are_read_strictly() {
    let origin = counting("Cache-Control: max-age=600\r\n");
    let (proxy, tokens) = purgeable(&origin, "");
    assert_eq!(ask(&proxy, "/", "").text(), "1");
    assert_eq!(post(&proxy, "wrong-wrong-wrong-wrong", "{\"all\":true}").status, 401);
    assert_eq!(post(&proxy, "a-viewers-long-token", "{\"all\":true}").status, 403);
    let cases = [
        ("", 400, "EOF"),
        ("{}", 400, "nothing to purge"),
        ("{\"everything\":true}", 400, "unknown field"),
        ("{\"urls\":[\"/a\"]}", 400, "does not begin with"),
        ("{\"urls\":[\"http://a/%\"]}", 400, "percent"),
        ("{\"all\":true,\"cache\":\"mian\"}", 404, "mian"),
    ];
    for (body, status, words) in cases {
        let response = post(&proxy, TOKEN, body);
        assert_eq!(response.status, status, "{body}");
        assert!(response.json()["detail"].as_str().unwrap().contains(words), "{response:?}");
    }
    assert_eq!(proxy.admin_get("/purge").status, 405);
    assert_eq!(ask(&proxy, "/", "").text(), "1", "nothing was purged");
    assert_eq!(proxy.metric("forebay_proxy_admin_refused_total{reason=\"role\"}"), 1.0);

    // A token is changed by a reload; a document whose token is gone is refused.
    fs::write(tokens.path().join("operator"), "another-operators-token").unwrap();
    proxy.rewrite(&cached(&origin, ""));
    assert!(proxy.reload());
    assert_eq!(post(&proxy, TOKEN, "{\"all\":true}").status, 401);
    assert_eq!(post(&proxy, "another-operators-token", "{\"all\":true}").status, 200);
    fs::remove_file(tokens.path().join("operator")).unwrap();
    assert!(!proxy.reload());
    proxy.says("the token `ops` cannot be read");
}

#[test]
fn without_tokens_nobody_purges() {
    let origin = counting("Cache-Control: max-age=600\r\n");
    let proxy = Proxy::start(&cached(&origin, ""));
    let response = post(&proxy, TOKEN, "{\"all\":true}");
    assert_eq!(response.status, 403);
    assert!(response.json()["detail"].as_str().unwrap().contains("admin.tokens"));
}

#[test]
fn the_command_purges_a_running_proxy() {
    let origin = counting("Cache-Control: max-age=600\r\nSurrogate-Key: a\r\n");
    let (proxy, _tokens) = purgeable(&origin, "");
    assert_eq!(ask(&proxy, "/", "").text(), "1");
    let run_at = |admin: SocketAddr, arguments: &[&str]| {
        let output = Command::new(BINARY)
            .args(["purge", "proxy.yaml", "--admin", &admin.to_string()])
            .args(arguments)
            .current_dir(proxy.dir.path())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let run = |arguments: &[&str]| run_at(proxy.admin, arguments);
    assert_eq!(run(&["--tag", "b"]), (0, "purged: 0\n".into(), String::new()));
    assert_eq!(run(&["--tag", "a", "--soft"]).1, "made stale: 1\n");
    let json: Value = serde_json::from_str(&run(&["--all", "-o", "json"]).1).unwrap();
    assert_eq!(json, json!({ "purged": 1, "caches": { "main": 1 } }));
    assert_eq!(ask(&proxy, "/", "").text(), "2");
    assert_eq!(run(&[]).0, 2);
    let (code, _, err) = run(&["--url", "a.example/"]);
    assert!(code == 1 && err.contains("does not begin with"), "{err}");
    let nobody = dead_address();
    let (code, _, err) = run_at(nobody, &["--all"]);
    assert!(code == 69 && err.contains(&nobody.to_string()), "{code} {err}");
}

/// A proxy that shares purges through this Redis.
fn sharing(origin: &Origin, redis: &RedisServer) -> (Proxy, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("operator"), format!("{TOKEN}\n")).unwrap();
    let file = dir.path().join("operator").display().to_string();
    let tokens = format!("tokens: [ {{ name: ops, file: '{file}', role: operator }} ]");
    let cache = format!("memory_max: 64MiB, purge_redis: '{}'", redis.url());
    (Proxy::with_admin(&tokens, &with_cache(origin, "", &cache)), dir)
}

fn messages(proxy: &Proxy, result: &str) -> f64 {
    let series = "forebay_proxy_cache_purge_messages_total{cache=\"main\",result=";
    proxy.metric(&format!("{series}\"{result}\"}}"))
}

fn hears(proxy: &Proxy) {
    let connected = "forebay_proxy_cache_purge_redis_connected{cache=\"main\"}";
    eventually("a connection to Redis", || (proxy.metric(connected) == 1.0).then_some(()));
}

#[test]
fn a_purge_reaches_the_other_proxies() {
    let redis = RedisServer::start();
    let origin = counting("Cache-Control: max-age=600\r\nSurrogate-Key: a\r\n");
    let (here, _a) = sharing(&origin, &redis);
    let (there, _b) = sharing(&origin, &redis);
    hears(&here);
    hears(&there);
    assert_eq!(
        (bodies(&here, &["/1"]), bodies(&there, &["/1", "/2"])),
        (vec!["1".into()], vec!["2".into(), "3".into()])
    );
    let done = purge(&here, &json!({ "urls": ["http://a.example/1"] }));
    assert_eq!(done, json!({ "purged": 1, "caches": { "main": 1 } }));
    // It is counted before it is carried out.
    eventually("the purge elsewhere", || (ask(&there, "/1", "").text() == "4").then_some(()));
    assert_eq!(ask(&there, "/2", "").text(), "3", "nothing else");
    assert_eq!(messages(&there, "received"), 1.0);
    assert_eq!((messages(&here, "sent"), messages(&here, "received")), (1.0, 0.0));
    purge(&there, &json!({ "tags": ["a"], "soft": true }));
    eventually("the purge here", || (messages(&here, "received") == 1.0).then_some(()));
    assert_eq!(ask(&here, "/1", "").text(), "5");
}

#[test]
fn who_cannot_tell_others_purges_all_here_at_once() {
    let redis = RedisServer::start();
    let origin = counting("Cache-Control: max-age=600\r\n");
    let (proxy, _tokens) = sharing(&origin, &redis);
    hears(&proxy);
    let paths: Vec<String> = (0..20).map(|n| format!("/{n}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    bodies(&proxy, &paths);
    redis.freeze();
    // Redis has its time once, not for each URL: all together that would be longer than anybody waits here.
    let urls: Vec<_> = paths.iter().map(|path| format!("http://a.example{path}")).collect();
    let done = purge(&proxy, &json!({ "urls": urls }));
    assert_eq!(done, json!({ "purged": 20, "caches": { "main": 20 }, "untold": ["main"] }));
    assert_eq!(messages(&proxy, "unsent"), 20.0);
    bodies(&proxy, &paths);
    assert_eq!(origin.requests(), 40);
    redis.thaw();
}

#[test]
fn each_time_that_redis_goes_is_told_once() {
    let redis = RedisServer::start();
    let origin = counting("Cache-Control: max-age=600\r\n");
    let (proxy, _a) = sharing(&origin, &redis);
    let (other, _b) = sharing(&origin, &redis);
    let told = || proxy.stderr().matches("purges of other proxies are not heard").count();
    for times in 1..=2 {
        hears(&proxy);
        let heard = messages(&proxy, "received");
        eventually("a purge", || {
            purge(&other, &json!({ "all": true }));
            (messages(&proxy, "received") > heard).then_some(())
        });
        redis.freeze();
        eventually("a warning", || (told() == times).then_some(()));
        redis.thaw();
    }
    hears(&proxy);
    assert_eq!(told(), 2);
}

#[test]
fn a_proxy_that_was_cut_off_hears_what_it_missed() {
    let redis = RedisServer::start();
    let origin = counting("Cache-Control: max-age=600\r\n");
    let (here, _a) = sharing(&origin, &redis);
    let (there, _b) = sharing(&origin, &redis);
    hears(&here);
    hears(&there);
    assert_eq!(bodies(&there, &["/"]), ["1"]);
    redis.freeze();
    let response = post(&here, TOKEN, "{\"all\":true}");
    let untold = response.json();
    assert_eq!((response.status, &untold["untold"]), (200, &json!(["main"])), "{untold}");
    redis.thaw();
    // What was sent may still be taken once Redis goes on; another purge certainly is.
    hears(&here);
    purge(&here, &json!({ "all": true }));
    eventually("the purge elsewhere", || (messages(&there, "received") >= 1.0).then_some(()));
    eventually("what it is for", || (bodies(&there, &["/"]) == ["2"]).then_some(()));
}
