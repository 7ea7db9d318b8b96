use crate::harness::Proxy;
use crate::origin::Origin;

#[test]
fn weights_are_kept_exactly() {
    let origins: Vec<_> = (0..3).map(|_| Origin::saying("ok")).collect();
    let servers: Vec<_> = origins
        .iter()
        .zip([5, 2, 0])
        .map(|(origin, weight)| format!("{{ address: '{}', weight: {weight} }}", origin.address))
        .collect();
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {{ servers: [ {} ], balance: round_robin }} }}\nroutes: [ {{ name: all, upstream: u }} ]",
        servers.join(", ")
    ));
    let mut client = proxy.client();
    for _ in 0..70 {
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    }
    let counts: Vec<_> = origins.iter().map(Origin::requests).collect();
    assert_eq!(counts, [50, 20, 0]);
}

#[test]
fn upstream_connections_are_used_again() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::before(&[origin.address]);
    // On one connection: a request is read when the one before has given its server's back.
    let mut client = proxy.client();
    for _ in 0..10 {
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    }
    assert_eq!((origin.requests(), origin.connections()), (10, 1));
    let connects = |reused| {
        proxy.metric(&format!(
            "forebay_proxy_upstream_connects_total{{reused=\"{reused}\",upstream=\"u\"}}"
        ))
    };
    assert_eq!((connects("false"), connects("true")), (1.0, 9.0));
}
