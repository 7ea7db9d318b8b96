//! Upstreams whose servers requests name, and names looked up for them.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::harness::Proxy;
use crate::origin::Origin;

/// Names with their addresses.
type Table = Vec<(&'static str, Vec<IpAddr>)>;

/// A name server: each name has addresses, or none and an error. It counts what it is asked of each family.
struct Names {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    table: Arc<Mutex<Table>>,
}

impl Names {
    fn new(table: &[(&'static str, &[&str])]) -> Names {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let parsed = |(name, addresses): &(&'static str, &[&str])| {
            (*name, addresses.iter().map(|address| address.parse().unwrap()).collect())
        };
        let table: Table = table.iter().map(parsed).collect();
        let table = Arc::new(Mutex::new(table));
        let asked = Arc::new(AtomicUsize::new(0));
        let (known, count) = (Arc::clone(&table), Arc::clone(&asked));
        std::thread::spawn(move || {
            let mut bytes = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut bytes) {
                count.fetch_add(1, Ordering::SeqCst);
                let _ = socket.send_to(&answer(&bytes[..length], &known.lock().unwrap()), from);
            }
        });
        Names { address, asked, table }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// The question with an answer behind it; code 2 (the server failed) for names that are not known.
fn answer(question: &[u8], table: &[(&'static str, Vec<IpAddr>)]) -> Vec<u8> {
    let end = question.len() - 4;
    let (mut name, mut at) = (Vec::new(), 12);
    while question[at] != 0 {
        let length = usize::from(question[at]);
        name.push(String::from_utf8(question[at + 1..=at + length].to_vec()).unwrap());
        at += length + 1;
    }
    let name = name.join(".");
    let found = table.iter().find(|(known, _)| *known == name);
    let kind = question[end + 1];
    let of_kind = |address: &&IpAddr| address.is_ipv4() == (kind == 1);
    let addresses: Vec<_> = found.iter().flat_map(|(_, all)| all).filter(of_kind).collect();
    let mut bytes = question.to_vec();
    bytes[2..4].copy_from_slice(if found.is_some() { &[0x81, 0x80] } else { &[0x81, 0x82] });
    bytes[7] = u8::try_from(addresses.len()).unwrap();
    for address in addresses {
        let octets = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        bytes.extend([
            0xc0,
            12,
            0,
            kind,
            0,
            1,
            0,
            0,
            0,
            60,
            0,
            u8::try_from(octets.len()).unwrap(),
        ]);
        bytes.extend(octets);
    }
    bytes
}

/// A proxy whose requests name their server by `?to=`, with these rules.
fn proxy(rules: &str, more: &str, others: &str) -> Proxy {
    Proxy::start(&format!(
        "upstreams: {{ named: {{ by_request: {{ {rules} }}{more} }}{others} }}\n\
         routes: [ {{ name: all, upstream: named, server: $query_to, \
         response_headers: {{ append: [ {{ name: x-tried, value: $tried_servers }}, {{ name: x-said, value: $tried_statuses }} ] }} }} ]"
    ))
}

#[test]
fn a_request_goes_to_the_server_it_names_if_that_may_be_asked() {
    let (a, b) = (Origin::saying("a"), Origin::saying("b"));
    let rules = format!(
        "allow: [ '127.0.0.1:{}' ], upstreams: {{ pool: other }}, host: server, lookups_max: 0",
        a.address.port()
    );
    let others = format!(", other: {{ servers: [ {{ address: '{}' }} ] }}", b.address);
    let proxy = proxy(&rules, "", &others);
    let own = format!("/x?to={}", a.address);
    let answered = proxy.get(&own);
    assert_eq!(answered.text(), "a");
    assert_eq!(answered.header("x-tried"), Some(a.address.to_string().as_str()));
    assert_eq!(answered.header("x-said"), Some("200"));
    let head = a.heads().pop().unwrap();
    assert!(head.starts_with(&format!("GET {own} HTTP/1.1\r\n")), "{head}");
    assert!(head.to_lowercase().contains(&format!("host: {}\r\n", a.address)), "{head}");

    assert_eq!(proxy.get("/x?to=pool/of/b").text(), "b");
    let head = b.heads().pop().unwrap();
    assert!(head.starts_with("GET /of/b HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains("host: pool\r\n"), "{head}");

    for (to, status) in [
        (format!("127.0.0.1:{}", b.address.port()), 403),
        ("169.254.169.254/latest/meta-data/".to_owned(), 403),
        ("localhost".to_owned(), 403),
        ("unix:/run/a.sock".to_owned(), 403),
        ("https://127.0.0.1".to_owned(), 502),
        (String::new(), 502),
    ] {
        assert_eq!(proxy.get(&format!("/?to={to}")).status, status, "{to}");
    }
    let refused = |reason: &str| {
        let name = "forebay_proxy_upstream_naming_refused_total";
        proxy.metric(&format!("{name}{{reason=\"{reason}\",upstream=\"named\"}}"))
    };
    assert!((refused("not_allowed") - 4.0).abs() < 0.5 && (refused("malformed") - 2.0).abs() < 0.5);
    let known = "forebay_proxy_upstream_named_servers{upstream=\"named\"}";
    assert!((proxy.metric(known) - 1.0).abs() < 0.5);
    assert!(!proxy.metrics().contains(&format!("server=\"{}\",upstream=\"named\"", a.address)));
}

#[test]
fn names_are_looked_up_once_and_lead_only_where_they_may() {
    let origin = Origin::saying("here");
    let names = Names::new(&[
        ("app.example", &["127.0.0.1"]),
        ("inside.example", &["10.255.255.1"]),
        ("nothing.example", &[]),
    ]);
    let port = origin.address.port();
    let rules = format!(
        "allow: [ '*.example:{port}' ], networks: [ 127.0.0.0/8 ], lookup_timeout: 20s, servers_max: 1"
    );
    let more = format!(", resolve: {{ servers: [ '{}' ] }}", names.address);
    let proxy = proxy(&rules, &more, "");
    for _ in 0..3 {
        let answered = proxy.get(&format!("/?to=APP.example:{port}"));
        assert_eq!(answered.text(), "here");
    }
    assert_eq!(names.asked(), 2, "of each family once");
    for (name, status) in [("inside", 403), ("nothing", 502), ("unknown", 502)] {
        let answered = proxy.get(&format!("/?to={name}.example:{port}"));
        assert_eq!(answered.status, status, "{name}");
    }
    let asked = names.asked();
    assert_eq!(proxy.get(&format!("/?to=unknown.example:{port}")).status, 502);
    assert_eq!(names.asked(), asked + 2, "that a name is not known is not remembered");
    names.table.lock().unwrap().push(("unknown.example", vec!["127.0.0.1".parse().unwrap()]));
    assert_eq!(proxy.get(&format!("/?to=unknown.example:{port}")).text(), "here");
    assert_eq!(proxy.get(&format!("/?to=app.example:{port}")).text(), "here");
    assert_eq!(names.asked(), asked + 6, "one server is remembered, the last");
}

#[test]
fn answers_of_servers_that_are_named_are_kept_apart() {
    let (a, b) = (Origin::saying("a"), Origin::saying("b"));
    let proxy = Proxy::start(
        "upstreams: { named: { by_request: { allow: [ 127.0.0.1 ] } } }\n\
         caches: { main: { memory_max: 16MiB } }\n\
         cache_policies: { all: { cache: main, freshness: { ttl_default: 1m } } }\n\
         routes: [ { name: all, upstream: named, server: $header_x_to, cache_policy: all } ]",
    );
    let ask = |to: &Origin| {
        let request = format!("GET / HTTP/1.1\r\nHost: one\r\nX-To: {}\r\n\r\n", to.address);
        proxy.client().ask(&request).text()
    };
    assert_eq!(
        (ask(&a), ask(&b), ask(&a), ask(&b)),
        ("a".into(), "b".into(), "a".into(), "b".into())
    );
    assert_eq!((a.requests(), b.requests()), (1, 1), "each is stored");
}
