//! Traces (`telemetry`): what a collector is told of requests, and what servers are told of their trace.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Proxy, dead_address, eventually, upstream};
use crate::origin::Origin;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A collector that answers with these heads in turn, the last of them for ever.
struct Collector {
    origin: Origin,
    batches: Arc<Mutex<Vec<Value>>>,
}

const TAKES: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

const BUSY: &str =
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
/// More seconds than any clock has.
const BUSY_FOR_EVER: &str = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 18446744073709551615\r\n\
    Content-Length: 0\r\n\r\n";
const NEVER: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
const TAKES_SOME: &str =
    "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{\"partialSuccess\":{\"rejectedSpans\":\"1\"}}";

impl Collector {
    fn answering(answers: &'static [&'static str]) -> Collector {
        let (batches, asked) = (Arc::new(Mutex::new(Vec::new())), AtomicUsize::new(0));
        let kept = Arc::clone(&batches);
        let origin = Origin::start(move |exchange| {
            assert_eq!(exchange.target(), "/v1/traces");
            assert_eq!(exchange.header("content-type"), Some("application/json"));
            let Some(body) = exchange.body() else { return false };
            kept.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
            let turn = asked.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
            exchange.write(answers[turn])
        });
        Collector { origin, batches }
    }

    fn batches(&self) -> Vec<Value> {
        self.batches.lock().unwrap().clone()
    }

    fn spans(&self) -> Vec<Span> {
        let of = |batch: &Value| {
            batch["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone()
        };
        self.batches().iter().flat_map(of).map(Span).collect()
    }

    /// So many spans, in the order in which they ended.
    fn wait_for(&self, count: usize) -> Vec<Span> {
        eventually("spans at the collector", || {
            Some(self.spans()).filter(|spans| spans.len() >= count)
        })
    }

    fn section(&self, rest: &str) -> String {
        format!("telemetry: {{ otlp_endpoint: 'http://{}'{rest} }}\n", self.origin.address)
    }
}

#[derive(Clone, Debug)]
struct Span(Value);

impl Span {
    fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_default()
    }

    fn nanos(&self, key: &str) -> u64 {
        self.text(key).parse().unwrap()
    }

    fn attribute(&self, key: &str) -> Option<String> {
        let all = self.0["attributes"].as_array().unwrap();
        let value = &all.iter().find(|one| one["key"] == key)?["value"];
        let of = ["stringValue", "intValue", "boolValue"].map(|kind| &value[kind]);
        let value = of.into_iter().find(|value| !value.is_null())?;
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }

    fn is(&self, expected: &[(&str, Option<&str>)]) {
        for (key, value) in expected {
            assert_eq!(self.attribute(key).as_deref(), *value, "{key} of {self:?}");
        }
    }
}

fn traceparent(head: &str) -> Option<&str> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("traceparent").then_some(value)
    })
}

fn routes(origin: &Origin) -> String {
    format!(
        "upstreams: {{ u: {} }}\nroutes: [ {{ name: all, upstream: u }} ]\n",
        upstream(&[origin.address])
    )
}

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a.example:8443\r\n{fields}\r\n")
}

#[test]
fn a_request_and_what_it_asks_are_spans_of_one_trace() {
    let (collector, origin) = (Collector::answering(&[TAKES]), Origin::saying("ok"));
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("own.log");
    let logs =
        format!("access_logs: {{ own: {{ path: {}, redact: [ token ] }} }}\n", own.display());
    let sections = format!(
        "{}{logs}{}",
        collector.section(", sample: 100%, service_name: edge-1"),
        routes(&origin)
    );
    let sections = sections.replace("name: all,", "name: all, access_logs: [ own ],");
    let proxy = Proxy::start(&sections);
    let request = get("/a/b?token=secret&y=1", "User-Agent: tests\r\n");
    assert_eq!(proxy.client().ask(&request).status, 200);
    let spans = collector.wait_for(2);
    let resource = collector.batches()[0]["resourceSpans"][0]["resource"]["attributes"].clone();
    assert_eq!(resource[0]["value"]["stringValue"], "edge-1");
    let (asked, served) = (&spans[0], &spans[1]);
    assert_eq!((&asked.0["kind"], &served.0["kind"]), (&3.into(), &2.into()));
    assert_eq!((asked.text("name"), served.text("name")), ("GET", "GET all"));
    assert_eq!(asked.text("traceId"), served.text("traceId"));
    assert_eq!(asked.text("parentSpanId"), served.text("spanId"));
    assert_eq!(served.text("parentSpanId"), "", "it is the first");
    assert_eq!((served.text("traceId").len(), served.text("spanId").len()), (32, 16));
    // What the server was told names the question it answered, and that it is recorded.
    let heads = origin.heads();
    let told = format!("00-{}-{}-03", asked.text("traceId"), asked.text("spanId"));
    assert_eq!(traceparent(&heads[0]), Some(told.as_str()));
    served.is(&[
        ("http.request.method", Some("GET")),
        ("url.scheme", Some("http")),
        ("url.path", Some("/a/b")),
        ("url.query", Some("token=-&y=1")),
        ("server.address", Some("a.example")),
        ("server.port", Some("8443")),
        ("client.address", Some("127.0.0.1")),
        ("network.protocol.version", Some("1.1")),
        ("user_agent.original", Some("tests")),
        ("http.response.status_code", Some("200")),
        ("http.response.body.size", Some("2")),
        ("error.type", None),
        ("forebay.route", Some("all")),
        ("forebay.lane", Some("interactive")),
        ("forebay.listener", Some("public")),
        ("forebay.upstream", Some("u")),
    ]);
    let full = format!("http://{}/a/b?token=-&y=1", origin.address);
    asked.is(&[
        ("http.request.method", Some("GET")),
        ("url.full", Some(full.as_str())),
        ("server.address", Some("127.0.0.1")),
        ("http.response.status_code", Some("200")),
        ("network.protocol.version", Some("1.1")),
        ("forebay.connection_reused", Some("false")),
        ("error.type", None),
    ]);
    assert!(served.0["status"].is_null() && asked.0["status"].is_null());
    assert!(served.nanos("startTimeUnixNano") <= asked.nanos("startTimeUnixNano"));
    assert!(asked.nanos("startTimeUnixNano") <= asked.nanos("endTimeUnixNano"));
    let line = eventually("a line", || {
        let text = std::fs::read_to_string(&own).ok()?;
        serde_json::from_str::<Value>(text.lines().next()?).ok()
    });
    assert_eq!(line["trace_id"], served.text("traceId"));
    assert_eq!(line["span_id"], served.text("spanId"));
    eventually("the count", || {
        (proxy.metric("forebay_proxy_spans_sent_total") >= 2.0).then_some(())
    });
    assert_eq!(proxy.metric("forebay_proxy_spans_waiting"), 0.0);
}

#[test]
fn the_clients_traceparent_decides() {
    let (collector, origin) = (Collector::answering(&[TAKES]), Origin::saying("ok"));
    let of = |sample: &str| {
        Proxy::start(&format!(
            "{}{}",
            collector.section(&format!(", sample: {sample}")),
            routes(&origin)
        ))
    };
    let all = of("100%");
    let fields = format!("traceparent: 00-{TRACE}-{PARENT}-00\r\n");
    assert_eq!(all.client().ask(&get("/unsampled", &fields)).status, 200);
    let told = origin.heads()[0].clone();
    let told = traceparent(&told).unwrap();
    assert!(told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-00"), "{told}");
    let none = of("0%");
    let fields = format!("traceparent: 00-{TRACE}-{PARENT}-01\r\ntracestate: a=1\r\n");
    assert_eq!(none.client().ask(&get("/sampled", &fields)).status, 200);
    assert_eq!(none.client().ask(&get("/neither", "")).status, 200);
    let spans = collector.wait_for(2);
    let served = &spans[1];
    assert_eq!((served.text("traceId"), served.text("parentSpanId")), (TRACE, PARENT));
    assert_eq!((served.text("traceState"), &served.0["flags"]), ("a=1", &1.into()));
    // Whoever comes next is told that it is not recorded, and so need not decide.
    let heads = origin.heads();
    assert!(traceparent(&heads[2]).unwrap().ends_with("-02"), "{}", heads[2]);
    drop((all, none));
    let paths: Vec<_> = collector.spans().iter().filter_map(|s| s.attribute("url.path")).collect();
    assert_eq!(paths, ["/sampled"]);
}

#[test]
fn each_attempt_is_a_span_however_it_ends() {
    let (collector, origin) = (Collector::answering(&[TAKES]), Origin::saying("ok"));
    let dead = dead_address();
    let chunked = "POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    // The front door asks, or pingora does.
    for (index, request) in [get("/plain", ""), chunked.to_owned()].iter().enumerate() {
        let servers = upstream(&[dead, origin.address]);
        let sections = format!(
            "{}upstreams: {{ u: {servers} }}\nroutes: [ {{ name: all, upstream: u }} ]\n",
            collector.section(", sample: 100%"),
        );
        let proxy = Proxy::start(&sections);
        assert_eq!(proxy.client().ask(request).status, 200);
        let spans = collector.wait_for(3 * (index + 1));
        let of_this = &spans[3 * index..];
        let (failed, answered, served) = (&of_this[0], &of_this[1], &of_this[2]);
        failed.is(&[("error.type", Some("connect")), ("http.response.status_code", None)]);
        assert_eq!(failed.0["status"]["code"], 2);
        answered.is(&[
            ("http.response.status_code", Some("200")),
            ("http.request.resend_count", Some("1")),
            ("error.type", None),
        ]);
        served.is(&[("forebay.retries", Some("1")), ("error.type", None)]);
        let head = origin.heads().pop().unwrap();
        assert!(traceparent(&head).unwrap().contains(answered.text("spanId")), "{head}");
        assert_ne!(failed.text("spanId"), answered.text("spanId"));
    }
}

#[test]
fn a_fill_is_asked_for_by_the_request_that_began_it() {
    let collector = Collector::answering(&[TAKES]);
    let origin = Origin::start(|exchange| {
        exchange
            .write("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok")
    });
    let sections = format!(
        "{}caches: {{ c: {{ memory_max: 64MiB }} }}\ncache_policies: {{ p: {{ cache: c }} }}\n{}",
        collector.section(", sample: 100%"),
        routes(&origin).replace("name: all,", "name: all, cache_policy: p,"),
    );
    let proxy = Proxy::start(&sections);
    assert_eq!(proxy.get("/x").status, 200);
    collector.wait_for(2);
    assert_eq!(proxy.get("/x").status, 200);
    let spans = collector.wait_for(3);
    let served: Vec<_> = spans.iter().filter(|span| span.0["kind"] == 2).collect();
    let asked: Vec<_> = spans.iter().filter(|span| span.0["kind"] == 3).collect();
    assert_eq!((served.len(), asked.len()), (2, 1));
    assert_eq!(asked[0].text("parentSpanId"), served[0].text("spanId"));
    served[0].is(&[("forebay.cache", Some("miss"))]);
    served[1].is(&[("forebay.cache", Some("hit"))]);
    assert_ne!(served[0].text("traceId"), served[1].text("traceId"));
}

#[test]
fn a_failure_is_told_as_one() {
    let collector = Collector::answering(&[TAKES]);
    let sections = format!(
        "{}upstreams: {{ u: {} }}\nroutes: [ {{ name: all, upstream: u }} ]\n",
        collector.section(", sample: 100%"),
        upstream(&[dead_address()]),
    );
    let proxy = Proxy::start(&sections);
    assert_eq!(proxy.get("/x").status, 502);
    let served = collector.wait_for(2).pop().unwrap();
    served.is(&[
        ("error.type", Some("upstream_unreachable")),
        ("http.response.status_code", Some("502")),
    ]);
    assert_eq!(served.0["status"]["code"], 2);
}

#[test]
fn what_may_be_sent_again_is_and_the_rest_is_counted() {
    let collector = Collector::answering(&[BUSY, TAKES_SOME, NEVER]);
    let origin = Origin::saying("ok");
    let proxy =
        Proxy::start(&format!("{}{}", collector.section(", sample: 100%"), routes(&origin)));
    assert_eq!(proxy.get("/first").status, 200);
    eventually("the second attempt", || (collector.batches().len() >= 2).then_some(()));
    let batches = collector.batches();
    assert_eq!(batches[0], batches[1], "the same once more");
    let dropped = |reason: &str| {
        proxy.metric(&format!("forebay_proxy_spans_dropped_total{{reason=\"{reason}\"}}"))
    };
    eventually("one that was rejected", || (dropped("rejected") >= 1.0).then_some(()));
    let sent = || proxy.metric("forebay_proxy_spans_sent_total");
    eventually("one that was taken", || (sent() == 1.0).then_some(()));
    assert_eq!(proxy.get("/second").status, 200);
    eventually("two that were refused", || (dropped("refused") >= 2.0).then_some(()));
    assert_eq!(collector.batches().len(), 3, "it is not sent again");
    proxy.says("spans cannot be sent");
    proxy.says("it answers 400");
}

#[test]
fn a_collector_that_never_wants_to_be_asked_again_loses_its_batch_alone() {
    let collector = Collector::answering(&[BUSY_FOR_EVER, TAKES]);
    let origin = Origin::saying("ok");
    let proxy =
        Proxy::start(&format!("{}{}", collector.section(", sample: 100%"), routes(&origin)));
    assert_eq!(proxy.get("/first").status, 200);
    let lost = "forebay_proxy_spans_dropped_total{reason=\"unavailable\"}";
    eventually("a batch that is given up", || (proxy.metric(lost) >= 1.0).then_some(()));
    assert_eq!(proxy.get("/second").status, 200);
    let sent = "forebay_proxy_spans_sent_total";
    eventually("the next is sent", || (proxy.metric(sent) >= 2.0).then_some(()));
}

#[test]
fn what_waits_is_sent_before_a_graceful_stop_ends() {
    let (collector, origin) = (Collector::answering(&[TAKES]), Origin::saying("ok"));
    let mut proxy =
        Proxy::start(&format!("{}{}", collector.section(", sample: 100%"), routes(&origin)));
    for _ in 0..5 {
        assert_eq!(proxy.get("/x").status, 200);
    }
    proxy.signal(Signal::QUIT);
    assert!(proxy.wait().success());
    assert_eq!(collector.spans().len(), 10);
}

#[test]
fn a_collector_that_is_not_there_stops_nobody() {
    let origin = Origin::saying("ok");
    let sections = format!(
        "telemetry: {{ otlp_endpoint: 'http://{}', sample: 100% }}\n{}",
        dead_address(),
        routes(&origin),
    );
    let mut proxy = Proxy::start(&sections);
    assert_eq!(proxy.get("/x").status, 200);
    proxy.signal(Signal::QUIT);
    assert!(proxy.wait().success(), "it ends all the same");
}

#[test]
fn a_reload_begins_and_ends_it() {
    let (collector, origin) = (Collector::answering(&[TAKES]), Origin::saying("ok"));
    let proxy = Proxy::start(&routes(&origin));
    assert_eq!(proxy.get("/before").status, 200);
    assert_eq!(traceparent(&origin.heads()[0]), None, "no trace is begun without telemetry");
    proxy.rewrite(&format!("{}{}", collector.section(", sample: 100%"), routes(&origin)));
    assert!(proxy.reload());
    assert_eq!(proxy.get("/within").status, 200);
    collector.wait_for(2);
    proxy.rewrite(&routes(&origin));
    assert!(proxy.reload());
    assert_eq!(proxy.get("/after").status, 200);
    assert_eq!(traceparent(&origin.heads()[2]), None);
}
