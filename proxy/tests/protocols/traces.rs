//! Traces that requests are a part of.

use crate::harness::{Proxy, upstream};
use crate::origin::Origin;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn a_trace_goes_on_and_is_logged() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {} }}\nroutes:\n\
         - {{ name: as_is, match: {{ paths: [ {{ exact: /as-is }} ] }}, upstream: u, forwarded_headers: pass_on }}\n\
         - {{ name: all, upstream: u }}",
        upstream(&[origin.address]),
    ));
    let mut client = proxy.client();
    let mut ask = |path: &str, fields: &str| {
        client.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        let head = origin.heads().pop().unwrap().to_ascii_lowercase();
        let field = |name: &str| {
            head.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .map(str::to_owned)
        };
        (field("traceparent"), field("tracestate"))
    };
    let fields = format!("traceparent: {PARENT}\r\ntracestate: a=1,b=2\r\n");
    let (parent, state) = ask("/traced", &fields);
    let parent = parent.unwrap();
    let line = proxy.log_of("/traced");
    let span = line["span_id"].as_str().unwrap();
    assert_eq!(parent, format!("00-0af7651916cd43dd8448eb211c80319c-{span}-01"));
    assert_ne!(span, "b7ad6b7169203331");
    assert_eq!(line["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(line["parent_span_id"], "b7ad6b7169203331");
    assert_eq!(state.as_deref(), Some("a=1,b=2"));
    let (parent, _) = ask("/as-is", &fields);
    assert_eq!(parent.as_deref(), Some(PARENT));
    assert_eq!(ask("/broken", "traceparent: 00-0-0-0\r\ntracestate: a=1\r\n"), (None, None));
    assert_eq!(ask("/none", ""), (None, None));
    assert!(proxy.log_of("/none").get("trace_id").is_none());
}
