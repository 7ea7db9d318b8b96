//! Rules for sections whose mechanism is not there yet. Documents with them are refused, so the
//! rules are asked directly; each case is a fragment, and the path and words of its problem.

use proxy_config::validate::validate;
use proxy_config::{Config, Source, Tree, read};

const SMALLEST: &str = "\
version: 1
listeners: { public: { address: 127.0.0.1:8080 } }
upstreams: { ledger: { servers: [ { address: 127.0.0.1:8081 } ] } }
routes: [ { name: all, upstream: ledger } ]
";

/// What is wrong with the smallest document once the fragment is laid over it.
fn findings(fragment: &str) -> Vec<(String, String)> {
    let parse = |text: &str| {
        Tree::parse(Source::new("rules.yaml", text)).unwrap_or_else(|problems| panic!("{problems}"))
    };
    let tree = parse(SMALLEST).overlaid_by(parse(fragment));
    let config: Config =
        read(&tree, tree.root()).unwrap_or_else(|problems| panic!("{fragment}\n{problems}"));
    let found = validate(&config, tree.root(), "", &[]);
    assert!(found.iter().all(|problem| problem.span.is_some() && problem.hint.is_some()));
    found.into_iter().map(|problem| (problem.path, problem.message)).collect()
}

/// Fragment, path of its one problem, words of the message.
const CASES: &[(&str, &str, &str)] = &[
    (
        "upstreams: { ledger: { protocol: fastcgi, fastcgi: { root: public } } }",
        "upstreams.ledger.fastcgi.root",
        "not an absolute path",
    ),
    (
        "upstreams: { ledger: { protocol: fastcgi, fastcgi: { root: /srv, index: a/b.php } } }",
        "upstreams.ledger.fastcgi.index",
        "not the name of a script",
    ),
    (
        "upstreams: { ledger: { protocol: fastcgi, fastcgi: { root: /srv, split: [php] } } }",
        "upstreams.ledger.fastcgi.split[0]",
        "not what a name ends in",
    ),
    (
        "upstreams: { ledger: { protocol: fastcgi, fastcgi: { root: /srv, params: { app-env: x } } } }",
        "upstreams.ledger.fastcgi.params.app-env",
        "not the name of a parameter",
    ),
    (
        "upstreams: { ledger: { protocol: fastcgi, fastcgi: { root: /srv, params: { APP: $1 } } } }",
        "upstreams.ledger.fastcgi.params.APP",
        "no capture",
    ),
    (
        "upstreams: { ledger: { protocol: fastcgi, fastcgi: { root: /srv }, health_checks: { active: { probe: { http: { path: / } } } } } }",
        "upstreams.ledger.health_checks.active.probe",
        "do not speak HTTP",
    ),
    (
        "routes: [ { name: all, upstream: ledger, compression: { codings: [] } } ]",
        "routes[0].compression.codings",
        "no coding",
    ),
    (
        "routes: [ { name: all, upstream: ledger, compression: { codings: [gzip, gzip] } } ]",
        "routes[0].compression.codings[1]",
        "twice",
    ),
    (
        "routes: [ { name: all, upstream: ledger, compression: { types: [html] } } ]",
        "routes[0].compression.types[0]",
        "not a media type",
    ),
    (
        "routes: [ { name: all, upstream: ledger, compression: { types: [Text/html] } } ]",
        "routes[0].compression.types[0]",
        "written small",
    ),
    (
        "routes: [ { name: all, upstream: ledger, compression: { levels: { zstd: 20 } } } ]",
        "routes[0].compression.levels.zstd",
        "no level 20",
    ),
    (
        "routes: [ { name: all, upstream: ledger, error_pages: [ { statuses: [404] } ] } ]",
        "routes[0].error_pages[0]",
        "what stands in",
    ),
    (
        "routes: [ { name: all, upstream: ledger, error_pages: [ { statuses: [], path: /x } ] } ]",
        "routes[0].error_pages[0].statuses",
        "for no error",
    ),
    (
        "routes: [ { name: all, upstream: ledger, error_pages: [ { statuses: [5xx], path: /x, route: all } ] } ]",
        "routes[0].error_pages[0].route",
        "cannot both",
    ),
    (
        "routes: [ { name: all, upstream: ledger, error_pages: [ { statuses: [404], route: al } ] } ]",
        "routes[0].error_pages[0].route",
        "no route `al`",
    ),
    (
        "routes: [ { name: all, upstream: ledger, error_pages: [ { statuses: [404], path: x } ] } ]",
        "routes[0].error_pages[0].path",
        "begins with `/`",
    ),
    (
        "routes: [ { name: all, upstream: ledger, error_pages: [ { statuses: [404], path: $pat } ] } ]",
        "routes[0].error_pages[0].path",
        "no variable `$pat`",
    ),
    (
        "routes: [ { name: all, upstream: ledger, error_pages: [ { statuses: [404], path: /x, status: 204 } ] } ]",
        "routes[0].error_pages[0].status",
        "has no body",
    ),
    (
        "routes: [ { name: all, upstream: ledger, error_pages: [ { statuses: [404], path: /x, status: 200, own_status: true } ] } ]",
        "routes[0].error_pages[0].own_status",
        "cannot both",
    ),
    (
        "routes: [ { name: all, upstream: ledger, try: [ { status: 200 } ] } ]",
        "routes[0].try[0].status",
        "200",
    ),
    (
        "routes: [ { name: all, upstream: ledger, try: [ { route: all }, { status: 404 } ] } ]",
        "routes[0].try[0]",
        "never tried",
    ),
    (
        "routes: [ { name: all, upstream: ledger, auth: { subrequest: { upstream: ledger, path: a } } } ]",
        "routes[0].auth.subrequest.path",
        "begins with `/`",
    ),
    (
        "routes: [ { name: all, upstream: ledger, auth: { subrequest: { upstream: ledger, path: /a, copy_headers: [te] } } } ]",
        "routes[0].auth.subrequest.copy_headers[0]",
        "belongs to the connection",
    ),
    (
        "routes: [ { name: all, upstream: ledger, mirror: { upstream: ledger, share: 0% } } ]",
        "routes[0].mirror.share",
        "nothing would be copied",
    ),
    (
        "buffer_policies: { v: { responses: { low_water: 1MiB, high_water: 512KiB } } }",
        "buffer_policies.v.responses.low_water",
        "above the high",
    ),
    (
        "buffer_policies: { v: { requests: { high_water: 2MiB } } }",
        "buffer_policies.v.requests.high_water",
        "never be reached",
    ),
    (
        "buffer_policies: { v: { responses: { mode: spill, spill_max: 0 } } }",
        "buffer_policies.v.responses.spill_max",
        "0 would",
    ),
    (
        "buffer_policies: { v: { responses: { spill_max: 1MiB } } }",
        "buffer_policies.v.responses.spill_max",
        "nothing spills",
    ),
    (
        "buffer_policies: { v: { responses: { memory_max: 4KiB } } }",
        "buffer_policies.v.responses.memory_max",
        "does not fit",
    ),
    (
        "buffer_policies: { v: { preset: upload, requests: { mode: off, memory_max: 4MiB } } }",
        "buffer_policies.v.requests.memory_max",
        "nothing is held",
    ),
    (
        "buffer_policies: { v: { responses: { pace_burst: 1MiB } } }",
        "buffer_policies.v.responses.pace_burst",
        "nothing is paced",
    ),
    (
        "buffer_policies: { v: { responses: { mode: spill } } }\nroutes: [ { name: all, upstream: ledger, buffer_policy: v } ]",
        "routes[0].buffer_policy",
        "says nowhere where to",
    ),
    (
        "caches: { main: { memory_max: 64MiB } }\ncache_policies: { v: { cache: man } }",
        "cache_policies.v.cache",
        "no `man` under `caches`",
    ),
    (
        "caches: { main: { memory_max: 64MiB } }\ncache_policies: { v: { cache: main, freshness: { ttl_by_status: { 4o4: 1s } } } }",
        "cache_policies.v.freshness.ttl_by_status.4o4",
        "not a status",
    ),
    (
        "caches: { main: { memory_max: 64MiB } }\ncache_policies: { v: { cache: main, slices: { size: 0 } } }",
        "cache_policies.v.slices.size",
        "are not of use",
    ),
    (
        "caches: { main: { memory_max: 64MiB } }\ncache_policies: { v: { cache: main, slices: { size: 40MiB } } }",
        "cache_policies.v.slices.size",
        "no slice has room",
    ),
    (
        "caches: { main: { memory_max: 64MiB } }\ncache_policies: { v: { cache: main, slices: { read_ahead: 17 } } }",
        "cache_policies.v.slices.read_ahead",
        "too many",
    ),
    (
        "caches: { main: { memory_max: 64MiB } }\ncache_policies: { v: { cache: main, tag_headers: [ x y ] } }",
        "cache_policies.v.tag_headers[0]",
        "not the name of a header",
    ),
    (
        "admin: { tokens: [ { name: a, file: /a, role: viewer }, { name: a, file: /b, role: operator } ] }",
        "admin.tokens[1].name",
        "another token",
    ),
    (
        "caches: { main: { memory_max: 1MiB } }",
        "caches.main.object_memory_max",
        "larger than the whole",
    ),
    (
        "caches: { main: { memory_max: 64MiB, disk: { path: cache, bytes_max: 1GiB } } }",
        "caches.main.disk.path",
        "not an absolute path",
    ),
    (
        "caches: { a: { memory_max: 64MiB, disk: { path: /c, bytes_max: 1GiB } }, b: { memory_max: 64MiB, disk: { path: /c, bytes_max: 1GiB } } }",
        "caches.b.disk.path",
        "another cache",
    ),
    (
        "caches: { main: { memory_max: 64MiB, purge_redis: \"127.0.0.1:6379\" } }",
        "caches.main.purge_redis",
        "not the URL of a Redis",
    ),
    ("rate_limits: { c: { key: [], rate: 1/s } }", "rate_limits.c.key", "nothing to count"),
    ("rate_limits: { c: { key: [ client ] } }", "rate_limits.c", "limits nothing"),
    ("rate_limits: { c: { key: [ { header: x } ], rate: 0/s } }", "rate_limits.c.rate", "0 would"),
    (
        "rate_limits: { c: { key: [ client ], rate: 1/s, cluster: { redis: x, when_unavailable: local } } }",
        "rate_limits.c.cluster.redis",
        "not the URL",
    ),
    (
        "maps: { App: { of: $host, cases: [ { when: { exact: a }, value: b } ] } }",
        "maps.App",
        "name of a variable",
    ),
    ("maps: { app: { of: $host, cases: [] } }", "maps.app.cases", "no case"),
    (
        "telemetry: { otlp_endpoint: \"127.0.0.1:4318\" }",
        "telemetry.otlp_endpoint",
        "URL of a collector",
    ),
    ("protected_paths: [ /a, b ]", "protected_paths[1]", "not an absolute path"),
    ("lanes: { bulk: { connections_max: 0 } }", "lanes.bulk.connections_max", "0"),
    (
        "lanes: { bulk: { upstream_connections_max: 0 } }",
        "lanes.bulk.upstream_connections_max",
        "0",
    ),
    ("lanes: { bulk: { waiting_max: 5 } }", "lanes.bulk.waiting_max", "for ever"),
    ("lanes: { bulk: { memory_max: 1000KiB } }", "lanes.bulk.memory_max", "may need 1MiB"),
    ("lanes: { bulk: { waiting_time_max: 5s } }", "lanes.bulk.waiting_time_max", "at all"),
    (
        "lanes: { bulk: { spill: { path: x, bytes_max: 1GiB } } }",
        "lanes.bulk.spill.path",
        "not an absolute path",
    ),
    (
        "listeners: { public: { proxy_protocol: required } }",
        "listeners.public",
        "no proxy is trusted",
    ),
    (
        "listeners: { public: { tls: { certificates: [ { certificate: /a, key: /b } ], cipher_suites: [ TLS_AES_256_GCM_SHA385 ] } } }",
        "listeners.public.tls.cipher_suites[0]",
        "no cipher suite",
    ),
    (
        "listeners: { public: { tls: { certificates: [ { certificate: /a, key: /b } ], minimum_version: \"1.3\", cipher_suites: [ TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 ] } } }",
        "listeners.public.tls.cipher_suites",
        "one of TLS 1.3",
    ),
    (
        "listeners: { public: { tls: { certificates: [ { certificate: /a, key: /b } ], session_tickets: { lifetime: 0s } } } }",
        "listeners.public.tls.session_tickets.lifetime",
        "a time of 0",
    ),
    (
        "listeners: { public: { tls: { certificates: [ { certificate: /a, key: /b } ], client_certificates: { authorities: \"\" } } } }",
        "listeners.public.tls.client_certificates.authorities",
        "path is empty",
    ),
    (
        "listeners: { public: { timeouts: { head: 0s } } }",
        "listeners.public.timeouts.head",
        "a time of 0",
    ),
    (
        "listeners: { public: { connections_max: 0 } }",
        "listeners.public.connections_max",
        "0 would",
    ),
    (
        "upstreams: { ledger: { balance: consistent_hash } }",
        "upstreams.ledger.balance",
        "needs a `hash_key`",
    ),
    ("upstreams: { ledger: { hash_key: [ client ] } }", "upstreams.ledger.hash_key", "no effect"),
    (
        "upstreams: { ledger: { protocol: fastcgi } }",
        "upstreams.ledger.protocol",
        "needs a `fastcgi`",
    ),
    ("upstreams: { ledger: { fastcgi: { root: /srv } } }", "upstreams.ledger.fastcgi", "no effect"),
    (
        "upstreams: { ledger: { retries: { attempts_max: 0 } } }",
        "upstreams.ledger.retries.attempts_max",
        "0 would",
    ),
    (
        "upstreams: { ledger: { connections: { idle_max: 2000 } } }",
        "upstreams.ledger.connections.idle_max",
        "more unused",
    ),
    (
        "upstreams: { ledger: { connections: { requests_max: 0 } } }",
        "upstreams.ledger.connections.requests_max",
        "0 would",
    ),
    (
        "upstreams: { ledger: { servers: [ { address: \"unix:/a\" } ], tls: {} } }",
        "upstreams.ledger.tls",
        "has no name",
    ),
    (
        "upstreams: { ledger: { tls: { server_name: \"a b\" } } }",
        "upstreams.ledger.tls.server_name",
        "not the name of a server",
    ),
    (
        "upstreams: { ledger: { tls: { verify: false, authorities: /ca.pem } } }",
        "upstreams.ledger.tls.authorities",
        "nothing is verified",
    ),
    (
        "upstreams: { ledger: { tls: { client_certificate: { certificate: \"\", key: /a } } } }",
        "upstreams.ledger.tls.client_certificate.certificate",
        "path is empty",
    ),
    (
        "upstreams: { ledger: { health_checks: { active: { probe: { grpc: app } } } } }",
        "upstreams.ledger.health_checks.active.probe.grpc",
        "needs HTTP/2",
    ),
    (
        "upstreams: { ledger: { resolve: {} } }",
        "upstreams.ledger.resolve",
        "no server of this upstream has a name",
    ),
    (
        "routes: [ { name: all, upstream: ledger, upgrades: [websocket, H2C] } ]",
        "routes[0].upgrades[1]",
        "would pass unseen",
    ),
    (
        "routes: [ { name: all, upstream: ledger, upgrades: ['web socket'] } ]",
        "routes[0].upgrades[0]",
        "not the name of a protocol",
    ),
    (
        "routes: [ { name: all, respond: { status: 200 }, upgrades: [websocket] } ]",
        "routes[0].upgrades",
        "no meaning",
    ),
    (
        "routes: [ { name: all, respond: { status: 200 }, mirror: { upstream: ledger, compare: true } } ]",
        "routes[0].mirror.compare",
        "can be compared",
    ),
    (
        "caches: { c: { memory_max: 64MiB } }\ncache_policies: { p: { cache: c } }\n\
         routes: [ { name: all, upstream: ledger, cache_policy: p, timeouts: { total: 1s } } ]",
        "routes[0].timeouts.total",
        "belongs to no one request",
    ),
    (
        "access_log: { redact: ['a=b'] }",
        "access_log.redact[0]",
        "not the name of a query parameter",
    ),
    (
        "upstreams: { ledger: { servers: [ { address: 'app.internal:80' } ], resolve: { interval_min: 1h } } }",
        "upstreams.ledger.resolve.interval_min",
        "above the longest",
    ),
    (
        "upstreams: { ledger: { health_checks: { active: { timeout: 10s } } } }",
        "upstreams.ledger.health_checks.active.timeout",
        "overlap",
    ),
    (
        "upstreams: { ledger: { health_checks: { active: { probe: { http: { path: x } } } } } }",
        "upstreams.ledger.health_checks.active.probe.http.path",
        "begins with `/`",
    ),
    (
        "upstreams: { ledger: { health_checks: { passive: { statuses: [ 200 ] } } } }",
        "upstreams.ledger.health_checks.passive.statuses[0]",
        "not a status",
    ),
    (
        "routes: [ { name: all, upstream: ledger, cache_policy: v } ]",
        "routes[0].cache_policy",
        "no `v` under",
    ),
    (
        "routes: [ { name: all, upstream: ledger, buffer_policy: v } ]",
        "routes[0].buffer_policy",
        "no `v` under",
    ),
    (
        "routes: [ { name: all, upstream: ledger, rate_limits: [ v ] } ]",
        "routes[0].rate_limits[0]",
        "no `v` under",
    ),
    (
        "routes: [ { name: all, upstream: ledger, respond: { status: 200 } } ]",
        "routes[0].respond",
        "cannot both",
    ),
    (
        "routes: [ { name: all, respond: { status: 99 } } ]",
        "routes[0].respond.status",
        "not a status",
    ),
    (
        "routes: [ { name: all, redirect: { to: /x, status: 200 } } ]",
        "routes[0].redirect.status",
        "does not redirect",
    ),
    (
        "routes: [ { name: all, split: { parts: [ { upstream: ledger, share: 50% } ] } } ]",
        "routes[0].split.parts",
        "50%, not 100%",
    ),
    (
        "routes: [ { name: all, split: { parts: [ { upstream: x, share: 100% } ] } } ]",
        "routes[0].split.parts[0].upstream",
        "no `x` under",
    ),
    (
        "routes: [ { name: all, upstream: ledger, mirror: { upstream: x } } ]",
        "routes[0].mirror.upstream",
        "no `x` under",
    ),
    (
        "routes: [ { name: all, upstream: ledger, auth: { subrequest: { upstream: x, path: / } } } ]",
        "routes[0].auth.subrequest.upstream",
        "no `x` under",
    ),
    (
        "routes: [ { name: all, upstream: ledger, access: { satisfy: any } } ]",
        "routes[0].access.satisfy",
        "nothing to choose",
    ),
    (
        "routes: [ { name: all, upstream: ledger, auth: { basic: { users_file: /a, realm: 'a\\b' } } } ]",
        "routes[0].auth.basic.realm",
        "cannot stand",
    ),
    (
        "routes: [ { name: all, upstream: ledger, auth: { jwt: { issuer: a, audiences: [ b ] } } } ]",
        "routes[0].auth.jwt",
        "one of them",
    ),
    (
        "routes: [ { name: all, upstream: ledger, auth: { jwt: { jwks_url: a, issuer: a, audiences: [ b ] } } } ]",
        "routes[0].auth.jwt.jwks_url",
        "not the URL",
    ),
    (
        "routes: [ { name: all, upstream: ledger, auth: { jwt: { jwks_file: /a, issuer: a, audiences: [] } } } ]",
        "routes[0].auth.jwt.audiences",
        "for nobody",
    ),
    (
        "routes: [ { name: all, upstream: ledger, cors: { origins: [ \"*\" ], credentials: true } } ]",
        "routes[0].cors.origins",
        "refuse `*`",
    ),
    (
        "routes: [ { name: all, upstream: ledger, cors: { origins: [ a.example ] } } ]",
        "routes[0].cors.origins[0]",
        "no scheme",
    ),
    (
        "routes: [ { name: all, upstream: ledger, cors: { origins: [ 'https://a.example' ], methods: [ patch ] } } ]",
        "routes[0].cors.methods[0]",
        "case of methods",
    ),
    ("routes: [ { name: all, redirect: { to: '' } } ]", "routes[0].redirect.to", "leads nowhere"),
    (
        "routes: [ { name: all, upstream: ledger, try: [ { file: $path } ] } ]",
        "routes[0].try",
        "needs a directory",
    ),
    (
        "routes: [ { name: all, upstream: ledger, request_body_max: 0 } ]",
        "routes[0].request_body_max",
        "0 would",
    ),
    (
        "routes: [ { name: all, upstream: ledger, timeouts: { total: 0s } } ]",
        "routes[0].timeouts.total",
        "a time of 0",
    ),
    (
        "routes: [ { name: all, upstream: ledger, match: { listeners: [ x ] } } ]",
        "routes[0].match.listeners[0]",
        "no `x` under",
    ),
    (
        "routes: [ { name: all, upstream: ledger, match: { headers: [ { name: \"a b\" } ] } } ]",
        "routes[0].match.headers[0].name",
        "name of a header",
    ),
    (
        "routes: [ { name: all, upstream: ledger, match: { query: [ { name: a, absent: true, value: { exact: b } } ] } } ]",
        "routes[0].match.query[0]",
        "cannot have a value",
    ),
];

#[test]
fn each_rule_reports_at_its_place() {
    for (fragment, path, words) in CASES {
        let found = findings(fragment);
        assert!(
            found.len() == 1 && found[0].0 == *path && found[0].1.contains(words),
            "{fragment}\nexpected {path}: {words}\nfound {found:?}"
        );
    }
}

const EVERYTHING: &str = include_str!("everything.yaml");

#[test]
fn a_document_that_uses_everything_rightly_breaks_no_rule() {
    assert_eq!(findings(EVERYTHING), []);
}

#[test]
fn everything_is_written_as_it_is_read() {
    let parse = |text: String| {
        let tree = Tree::parse(Source::new("everything.yaml", text))
            .unwrap_or_else(|problems| panic!("{problems}"));
        read::<Config>(&tree, tree.root()).unwrap_or_else(|problems| panic!("{problems}"))
    };
    let config = parse(EVERYTHING.to_owned());
    assert_eq!(parse(config.to_yaml()), config);
    let json = serde_json::to_string(&config).expect("JSON");
    assert_eq!(parse(json.clone()), config);
    assert_eq!(serde_json::from_str::<Config>(&json).expect("the same"), config);
}
