//! Properties that hold for every document: what is written loads back equal, and no text makes
//! reading panic.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proxy_config::access_log::LogTarget;
use proxy_config::address::{ListenAddress, ServerAddress};
use proxy_config::host::HostPattern;
use proxy_config::lane::Lanes;
use proxy_config::listener::{CertificateFiles, Listener, ListenerTls, TlsVersion};
use proxy_config::matching::{Router, Target};
use proxy_config::route::{PathMatch, RouteMatch};
use proxy_config::units::Duration;
use proxy_config::upstream::{Server, UpstreamTimeouts};
use proxy_config::{Config, LaneName, Route, Source, Tree, Upstream};

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9][a-z0-9_-]{0,12}"
}

fn time() -> impl Strategy<Value = Duration> {
    (1u64..10_000_000_000).prop_map(Duration::millis)
}

fn server() -> impl Strategy<Value = Server> {
    let named = ("[a-z][a-z0-9]{0,8}([.][a-z]{1,6}){0,2}", 1u16..)
        .prop_map(|(host, port)| ServerAddress::Name { host, port });
    let numbered = (any::<[u8; 4]>(), 1u16..9000)
        .prop_map(|(ip, port)| ServerAddress::Socket((ip, port).into()));
    (prop_oneof![named, numbered], 1u32..)
        .prop_map(|(address, weight)| Server { weight, ..Server::at(address) })
}

fn upstream() -> impl Strategy<Value = Upstream> {
    let servers = prop::collection::vec(server(), 1..4);
    (servers, time(), time(), time(), time()).prop_map(|(servers, connect, read, write, idle)| {
        let mut upstream = Upstream::of([]);
        for server in servers {
            if upstream.servers.iter().all(|known| known.address != server.address) {
                upstream.servers.push(server);
            }
        }
        upstream.timeouts =
            UpstreamTimeouts { connect, first_byte: Some(read), read, write, idle, tunnel: idle };
        upstream
    })
}

/// Listeners on ports of their own, above those of servers.
fn listeners() -> impl Strategy<Value = BTreeMap<String, Listener>> {
    let tls = prop::option::of(("/[ -~]{1,20}", any::<bool>())).prop_map(|tls| {
        tls.map(|(file, newest)| ListenerTls {
            refused: None,
            certificates: vec![CertificateFiles {
                certificate: format!("{file}.pem").into(),
                key: format!("{file}.key").into(),
                password_file: None,
                hosts: Vec::new(),
            }],
            minimum_version: if newest { TlsVersion::V1_3 } else { TlsVersion::V1_2 },
            cipher_suites: Vec::new(),
            client_certificates: None,
            session_tickets: None,
            acme: None,
            ocsp_stapling: None,
        })
    });
    let one = (any::<bool>(), any::<bool>(), tls);
    prop::collection::btree_map(name(), one, 1..4).prop_map(|listeners| {
        let numbered = (9200u16..).zip(listeners);
        numbered
            .map(|(port, (name, (v6, http2, tls)))| {
                let ip = if v6 { "[::1]" } else { "127.0.0.1" };
                let address: ListenAddress = format!("{ip}:{port}").parse().expect("an address");
                (name, Listener { http2, tls, ..Listener::at(address) })
            })
            .collect()
    })
}

fn route_match() -> impl Strategy<Value = RouteMatch> {
    let host = "([*][.])?[A-Za-z][a-z0-9]{0,6}([.][a-z]{1,5}){0,2}"
        .prop_map(|host| HostPattern::Name(host.parse().expect("a host")));
    let path = prop_oneof![
        "(/[a-zA-Z0-9_~!$&'(),;=:@-]{1,6}){1,3}/?".prop_map(PathMatch::Prefix),
        "(/[a-zA-Z0-9_~-]{1,6}){1,3}".prop_map(PathMatch::Exact),
        Just(PathMatch::Exact("/caf%C3%A9".to_owned())),
    ];
    let hosts = prop::collection::vec(host, 0..3);
    let paths = prop::collection::vec(path, 0..3);
    let methods = prop::sample::subsequence(vec!["GET", "POST", "PUT", "PURGE"], 0..4);
    (hosts, paths, methods).prop_map(|(hosts, paths, methods)| RouteMatch {
        hosts,
        paths,
        methods: methods.into_iter().map(str::to_owned).collect(),
        ..RouteMatch::default()
    })
}

fn config() -> impl Strategy<Value = Config> {
    let upstreams = prop::collection::btree_map(name(), upstream(), 1..4);
    let lane = prop::sample::select(LaneName::ALL.to_vec());
    let route = (route_match(), lane, any::<prop::sample::Index>());
    let routes = prop::collection::vec(route, 0..6);
    let log = prop_oneof![
        Just(LogTarget::Stdout),
        Just(LogTarget::Stderr),
        Just(LogTarget::Off),
        "/[ -~]{0,10}[a-z]".prop_map(|path| LogTarget::File(path.into())),
    ];
    let limits = prop::array::uniform4(1u32..=10_000_000);
    (listeners(), upstreams, routes, limits, log, time()).prop_map(
        |(listeners, upstreams, routes, limits, log, drain)| {
            let names: Vec<&String> = upstreams.keys().collect();
            let mut all: Vec<Route> = Vec::new();
            for (index, (when, lane, upstream)) in routes.into_iter().enumerate() {
                let mut route = Route::to(format!("route-{index}"), upstream.get(&names).as_str());
                (route.when, route.lane) = (when, lane);
                all.push(route);
            }
            all.push(Route::to("rest", names[0].as_str()));
            let mut lanes = Lanes::default();
            lanes.transactions.requests_max = limits[0];
            lanes.interactive.requests_max = limits[1];
            lanes.bulk.requests_max = limits[2];
            lanes.upload.requests_max = limits[3];
            let smallest = "version: 1\nlisteners: { a: { address: '127.0.0.1:1' } }\n\
                            upstreams: { u: { servers: [ { address: '127.0.0.1:2' } ] } }\n\
                            routes: [ { name: r, upstream: u } ]";
            let mut config = Config::load(Source::new("smallest.yaml", smallest)).expect("valid");
            config.listeners = listeners;
            config.upstreams = upstreams;
            config.routes = all;
            config.lanes = lanes;
            config.access_log.path = log;
            config.shutdown.drain = drain;
            config
        },
    )
}

const VALID: &str = include_str!("valid/05-live-and-money.yaml");

proptest! {
    #[test]
    fn a_document_loads_back_equal(mut config in config()) {
        let load = |config: &Config| Config::load(Source::new("written.yaml", config.to_yaml()));
        if let Err(problems) = load(&config) {
            // Random routes may hide one another or name a host twice; nothing else may be wrong.
            for problem in &problems {
                let expected = problem.message.contains("never matches")
                    || problem.message.contains("is listed twice");
                prop_assert!(expected, "{}\n{}", problems, config.to_yaml());
            }
            config.routes.drain(..config.routes.len() - 1);
        }
        match load(&config) {
            Ok(again) => prop_assert_eq!(again, config),
            Err(problems) => prop_assert!(false, "{}\n{}", problems, config.to_yaml()),
        }
    }

    #[test]
    fn no_bytes_make_reading_panic(bytes: Vec<u8>) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Err(problems) = Config::load(Source::new("noise.yaml", text)) {
            prop_assert!(!problems.is_empty());
            let _ = (problems.to_string(), problems.to_json());
        }
    }

    #[test]
    fn no_yaml_looking_text_makes_reading_panic(text in "[a-z:\\-\\[\\]{}&*!|>'\"#,\n \t0-9.%é]{0,80}") {
        if let Err(problems) = Config::load(Source::new("noise.yaml", text)) {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.iter().all(|problem| problem.span.is_some()));
            let _ = (problems.to_string(), problems.to_json());
        }
    }

    #[test]
    fn no_mutation_of_a_valid_document_makes_reading_panic(
        at in 0..VALID.len(),
        removed in 0usize..40,
        put in prop_oneof!["[ -~\n]{0,6}".boxed(), Just("\u{1F600}".to_owned()).boxed()],
    ) {
        let end = (at + removed).min(VALID.len());
        let text = format!("{}{put}{}", &VALID[..at], &VALID[end..]);
        if let Err(problems) = Config::load(Source::new("mutated.yaml", text)) {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.iter().all(|problem| problem.span.is_some()));
            let _ = (problems.to_string(), problems.to_json());
        }
    }

    #[test]
    fn overlaying_never_panics_and_a_tree_over_itself_is_itself(text in "[a-c: \n\\[\\]{},]{0,40}") {
        if let Ok(tree) = Tree::parse(Source::new("a.yaml", text.clone())) {
            let over = Tree::parse(Source::new("b.yaml", text)).expect("parsed before");
            let merged = tree.clone().overlaid_by(over);
            prop_assert_eq!(values(merged.root()), values(tree.root()));
        }
    }

    /// The index by host never changes which route is found.
    #[test]
    fn the_route_found_is_the_first_that_does_not_mismatch(
        config in config(),
        host in "([a-z]{1,3}[.])?[A-Za-z][a-z0-9]{0,2}([.][a-z]{1,2}){0,1}",
        path in "(/[a-z.%0-9]{0,4}){1,3}",
        pick: prop::sample::Index,
    ) {
        let router = Router::new(&config);
        let hosts: Vec<String> = config.routes.iter().flat_map(|route| &route.when.hosts).map(
            |pattern| match pattern {
                HostPattern::Name(name) => name.as_written().replace('*', "x"),
                HostPattern::Regex(_) => String::new(),
            },
        ).chain([host]).collect();
        let target = Target { listener: "a", host: pick.get::<String>(&hosts), path: &path, query: "", method: "GET", headers: None };
        let first = (0..config.routes.len()).find(|at| router.mismatch(*at, &target).is_none());
        prop_assert_eq!(router.find(&target), first);
    }
}

/// The values of a tree without their places.
fn values(node: &proxy_config::Node) -> String {
    use proxy_config::tree::Value;
    match &node.value {
        Value::Scalar(scalar) => format!("{scalar:?}"),
        Value::List(items) => format!("[{}]", items.iter().map(values).collect::<String>()),
        Value::Map(entries) => {
            let entries: String =
                entries.iter().map(|e| format!("{}={};", e.key.text, values(&e.value))).collect();
            format!("{{{entries}}}")
        }
    }
}
