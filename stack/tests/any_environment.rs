//! Any valid environment passes every offline check. Environments are drawn as the files people write,
//! with every section there is, and read by what reads theirs: one that is refused is a fault here, of
//! the validator's or of what draws.

#![expect(clippy::unwrap_used, reason = "a stage that cannot be set up is a failed test")]

use std::path::Path;

use forebay_stack::{check, estate, template, validate};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Numbers that decide, one after another; where they end, the first of all choices is taken. They
/// shrink, and what is drawn becomes simpler with them.
struct Choices<'a>(std::slice::Iter<'a, u16>);

impl Choices<'_> {
    fn number(&mut self, from: u32, to: u32) -> u32 {
        from + u32::from(*self.0.next().unwrap_or(&0)) % (to - from + 1)
    }

    fn maybe(&mut self) -> bool {
        self.number(0, 1) == 1
    }

    fn one_of<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.number(0, u32::try_from(of.len()).unwrap() - 1) as usize]
    }

    /// Some of them, in their order.
    fn some_of(&mut self, of: &[String]) -> Vec<String> {
        of.iter().filter(|_| self.maybe()).cloned().collect()
    }

    /// The first few of some names.
    fn names(&mut self, of: [&str; 3]) -> Vec<String> {
        let count = self.number(0, 3) as usize;
        of[..count].iter().map(|name| (*name).to_owned()).collect()
    }
}

/// What other sections may name.
struct Names {
    uses: Vec<String>,
    storage: Vec<String>,
    queues: Vec<String>,
}

/// Whether the loss of a zone must be survived.
#[derive(Clone, Copy)]
struct Robust(bool);

impl Robust {
    fn least(self) -> u32 {
        if self.0 { 2 } else { 1 }
    }
}

fn database(c: &mut Choices<'_>, robust: Robust, proxy: bool) -> Value {
    let engine = c.one_of(&["mysql", "mariadb", "postgres", "aurora-mysql", "aurora-postgresql"]);
    let classes: &[&str] = match engine.starts_with("aurora") {
        true => &["db.r7g.large", "db.r6g.4xlarge", "db.t4g.medium"],
        false => &["db.r7g.large", "db.m7i.4xlarge", "db.t4g.medium"],
    };
    let class = c.one_of(classes);
    let backups = format!("{}d", c.number(1, 35));
    let mut told = json!({ "engine": engine, "class": class, "backups": backups });
    if proxy {
        told["proxy"] = c.maybe().into();
    }
    if engine.starts_with("aurora") {
        told["readers"] = c.number(robust.least() - 1, 15).into();
        return told;
    }
    told["storage"] = format!("{}GiB", c.number(20, 16_384)).into();
    told["multi_az"] = (robust.0 || c.maybe()).into();
    if engine == "mysql" && c.maybe() {
        told["parameters"] = json!({ "max_allowed_packet": "67108864", "wait_timeout": "600" });
    }
    told
}

/// What a worker or a function may reach, and values that would do harm where they were not values.
fn reaching(c: &mut Choices<'_>, names: &Names, told: &mut Value) {
    told["uses"] = c.some_of(&names.uses).into();
    told["reads"] = c.some_of(&names.storage).into();
    told["writes"] = c.some_of(&names.storage).into();
    told["sends"] = c.some_of(&names.queues).into();
    if c.maybe() {
        told["environment"] = json!({ "NOTE": "it's \"${AWS::Region}\" `id` $(id)\nand more" });
    }
}

fn worker(c: &mut Choices<'_>, names: &Names, machines: bool, region: &str) -> Value {
    let image = format!("123456789012.dkr.ecr.{region}.amazonaws.com/work:1");
    let mut told = json!({ "image": image, "max": c.number(4, 1_000) });
    if machines {
        (told["capacity"], told["cpu"], told["memory"]) =
            ("machines".into(), c.number(128, 16_384).into(), "3GiB".into());
    } else {
        let (cpu, least, most) =
            [(256, 1, 2), (1024, 2, 8), (16_384, 32, 120)][c.number(0, 2) as usize];
        (told["cpu"], told["memory"]) =
            (cpu.into(), format!("{}GiB", c.number(least, most)).into());
        told["spot"] = c.maybe().into();
        if c.maybe() {
            told["disk"] = format!("{}GiB", c.number(21, 200)).into();
        }
    }
    if c.maybe() {
        told["command"] = json!(["run", "it's `id`", "${AWS::Region}"]);
    }
    told["media_convert"] = c.maybe().into();
    reaching(c, names, &mut told);
    told
}

fn workers(c: &mut Choices<'_>, names: &Names, robust: Robust, region: &str) -> Map<String, Value> {
    let mut found = Map::new();
    for queue in &names.queues {
        let machines = c.maybe();
        let mut it = worker(c, names, machines, region);
        (it["queue"], it["min"]) = (queue.clone().into(), c.number(0, 4).into());
        it["backlog_per_task"] = c.number(1, 100).into();
        found.insert(format!("takes-{queue}"), it);
    }
    for (number, name) in c.names(["api", "chat", "portal"]).into_iter().enumerate() {
        let machines = c.maybe();
        let mut it = worker(c, names, machines, region);
        (it["port"], it["min"]) = ((8_000 + number).into(), c.number(robust.least(), 4).into());
        found.insert(name, it);
    }
    found
}

fn functions(c: &mut Choices<'_>, names: &Names) -> Map<String, Value> {
    let mut found = Map::new();
    for name in c.names(["artwork", "search", "a-function-of-24-letters"]) {
        let mut told = json!({
            "code": "functions/a-1.zip", "handler": "index.handler",
            "runtime": c.one_of(&["nodejs22.x", "python3.13", "provided.al2023"]),
            "memory": format!("{}MiB", c.number(128, 10_240)),
            "timeout": format!("{}s", c.number(1, 900)), "concurrency": c.number(1, 1_000),
        });
        reaching(c, names, &mut told);
        found.insert(name, told);
    }
    found
}

fn cdn(c: &mut Choices<'_>, origins: &[String], buckets: &[String]) -> Value {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../environments/keys/signing.pem");
    let target = |c: &mut Choices<'_>| {
        let origin = &origins[c.number(0, u32::try_from(origins.len()).unwrap() - 1) as usize];
        let classes: &[&str] = match buckets.contains(origin) {
            true => &["segment", "page", "playlist"],
            false => &["segment", "page", "playlist", "api"],
        };
        json!({ "origin": origin, "class": c.one_of(classes), "signed": c.maybe() })
    };
    let otherwise = target(c);
    let behaviours: Vec<Value> = (0..c.number(0, 8))
        .map(|number| {
            let mut told = target(c);
            told["paths"] = format!("/part-{number}/*").into();
            told
        })
        .collect();
    json!({
        "domain": "cdn.example.com",
        "certificate": "arn:aws:acm:us-east-1:123456789012:certificate/0a1b2c3d-0000-4000-8000-000000000000",
        "firewall": "arn:aws:wafv2:us-east-1:123456789012:global/webacl/w/0a1b2c3d-0000-4000-8000-000000000001",
        "signing_key": keys, "price_class": c.one_of(&["all", "most", "least"]),
        "countries": if c.maybe() { json!(["DE", "AT"]) } else { json!([]) },
        "behaviours": behaviours, "default": otherwise,
    })
}

fn edge(
    c: &mut Choices<'_>,
    region: &str,
    robust: Robust,
    upstreams: &[String],
    cache: bool,
) -> Value {
    let min = c.number(robust.least(), 100);
    let mut told = json!({
        "domain": "live.example.com", "hosted_zone": "Z0123456789ABCDEFGHIJ",
        "balancer": c.one_of(&["application", "network", "passthrough"]),
        "instances": {
            "type": c.one_of(&["c7g.large", "m7i.4xlarge", "t4g.small"]),
            "min": min, "max": min + c.number(1, 100), "cpu_target": format!("{}%", c.number(20, 90)),
        },
    });
    match told["balancer"].as_str() {
        Some("application") => told["waf"] = c.maybe().into(),
        Some("passthrough") => {
            let secret = format!("arn:aws:secretsmanager:{region}:123456789012:secret:it's-live");
            told["certificate"] = secret.into();
        }
        _ => {}
    }
    if upstreams.iter().any(|it| it == "origin") {
        told["origin"] = "packager.example.com:80".into();
    }
    let mut limit = json!({ "key": ["client"], "rate": "100/s", "burst": 200 });
    if cache && c.maybe() {
        limit["cluster"] = json!({ "redis": "redis://cache:6379", "when_unavailable": "local" });
    }
    let route = |name: &String| {
        let paths = json!([{ "prefix": format!("/{name}/") }]);
        json!({
            "name": name, "match": { "paths": paths }, "upstream": name, "lane": "interactive",
            "rate_limits": ["clients"],
        })
    };
    let mut routes: Vec<Value> = upstreams.iter().map(route).collect();
    routes.push(json!({
        "name": "well", "match": { "paths": [{ "prefix": "/" }] }, "lane": "interactive",
        "rate_limits": ["clients"], "respond": { "status": 204 },
    }));
    told["proxy"] = json!({
        "version": 1, "listeners": { "public": { "address": "127.0.0.1:8080" } },
        "admin": { "address": "127.0.0.1:9090" }, "access_log": { "path": "stdout" },
        "lanes": { "interactive": { "requests_max": 512 } },
        "rate_limits": { "clients": limit }, "routes": routes,
    });
    told
}

/// Where it is, and its network.
fn place(c: &mut Choices<'_>, robust: Robust) -> Value {
    let nats: &[&str] = if robust.0 { &["per_zone", "none"] } else { &["per_zone", "none", "one"] };
    let regions = json!(["us-east-1", "eu-central-1", "eu-west-1"]);
    json!({
        "version": 1,
        "name": c.one_of(&["a", "live-accounting", "an-environment-with-a-name"]),
        "aws": {
            "account": "123456789012", "releases": "acme-forebay-releases",
            "region": c.one_of(&["eu-central-1", "us-east-1"]),
            "zone_loss": if robust.0 { "survive" } else { "accept" },
            "regions": if c.maybe() { regions } else { json!([]) },
            "tags": { "team": "r-d: a=b @c/d + é_." },
        },
        "network": {
            "cidr": format!("10.{}.0.0/{}", c.number(0, 255), c.number(16, 22)),
            "zones": c.number(2, 3), "nat": c.one_of(nats),
            "flow_logs": c.one_of(&["1d", "30d", "365d"]),
            "endpoints": if c.maybe() { json!(["sqs", "ecr.api"]) } else { json!([]) },
        },
    })
}

/// What keeps something: databases and the cache where somebody uses them, buckets, queues.
fn keeping(c: &mut Choices<'_>, told: &mut Value, robust: Robust, databases: &[String]) {
    // One of the two may have a proxy before its databases.
    let (ledger, proxy_of_ledger) = (told["ledger"].is_object(), c.maybe());
    if ledger {
        told["database"] = database(c, robust, proxy_of_ledger);
    }
    let clients = &told["edge"]["proxy"]["rate_limits"]["clients"];
    if clients["cluster"].is_object() || is_used(told, "cache") {
        told["cache"] = json!({
            "engine": c.one_of(&["valkey", "redis"]), "node": "cache.r7g.large",
            "replicas": c.number(robust.least() - 1, 5),
        });
        if c.maybe() {
            told["cache"]["rotate"] = format!("{}d", c.number(7, 365)).into();
        }
    }
    let mut own = Map::new();
    for name in databases.iter().filter(|name| is_used(told, name)) {
        own.insert(name.clone(), database(c, robust, !(ledger && proxy_of_ledger)));
    }
    if ledger || !own.is_empty() {
        told["backup"] = json!({ "daily": format!("{}d", c.number(1, 365)), "lock": c.maybe() });
    }
    told["databases"] = own.into();
}

fn buckets(c: &mut Choices<'_>, names: &[String]) -> Map<String, Value> {
    let pages = json!(["https://portal.example.com"]);
    let bucket = |name: &String| {
        let expire = format!("{}d", c.number(1, 400));
        (name.clone(), json!({ "expire": expire, "uploads_from": pages }))
    };
    names.iter().map(bucket).collect()
}

fn queues(c: &mut Choices<'_>, names: &[String]) -> Map<String, Value> {
    let queue = |name: &String| {
        let (visibility, tries) = (format!("{}s", c.number(1, 43_200)), c.number(1, 27));
        (name.clone(), json!({ "visibility": visibility, "tries": tries, "retention": "14d" }))
    };
    names.iter().map(queue).collect()
}

fn drawn(c: &mut Choices<'_>) -> Value {
    let robust = Robust(c.maybe());
    let mut told = place(c, robust);
    let region = told["aws"]["region"].as_str().unwrap().to_owned();
    let (ledger, cache) = (c.maybe(), c.maybe());
    let databases = c.names(["portal", "catalogue", "a-database-of-24-letters"]);
    let mut uses = databases.clone();
    uses.extend(ledger.then(|| "ledger".to_owned()));
    uses.extend(cache.then(|| "cache".to_owned()));
    let storage = c.names(["films", "uploads", "a-bucket-named-with-much"]);
    let names = Names { uses, storage, queues: c.names(["jobs", "encode", "mails"]) };
    let workers = workers(c, &names, robust, &region);
    let functions = functions(c, &names);
    let answers = workers.iter().filter(|(_, it)| it["port"].is_u64());
    let mut upstreams: Vec<String> = answers.map(|(name, _)| name.clone()).collect();
    upstreams.extend(ledger.then(|| "ledger".to_owned()));
    let isolated = told["network"]["nat"] == "none";
    upstreams.extend((!isolated && c.maybe()).then(|| "origin".to_owned()));
    told["edge"] = edge(c, &region, robust, &upstreams, cache);
    let mut origins: Vec<String> = names.storage.iter().chain(functions.keys()).cloned().collect();
    match origins.is_empty() || c.maybe() {
        true if c.maybe() => told["edge"]["only_from"] = json!(["10.0.0.0/8", "192.168.7.0/24"]),
        _ => origins.push("edge".to_owned()),
    }
    if !origins.is_empty() && c.maybe() {
        told["cdn"] = cdn(c, &origins, &names.storage);
    }
    if ledger {
        let count = c.number(robust.least(), 3);
        told["ledger"] = json!({ "instances": { "type": "m7g.large", "count": count } });
    }
    if workers.values().any(|it| it["capacity"].is_string()) {
        told["capacity"] = json!({ "machines": {
            "types": ["c7g.4xlarge", "m7g.4xlarge"], "max": c.number(1, 500), "spot": c.maybe(),
        } });
    }
    (told["workers"], told["functions"]) = (workers.into(), functions.into());
    keeping(c, &mut told, robust, &databases);
    told["storage"] = buckets(c, &names.storage).into();
    told["queues"] = queues(c, &names.queues).into();
    if c.maybe() {
        told["alarms"] = json!({ "email": "sre@example.com", "errors_max": "0.5%" });
        told["budget"] = json!({ "monthly": c.number(1, 9_000), "email": "sre@example.com" });
    }
    told
}

/// Whether a worker or a function uses it.
fn is_used(told: &Value, name: &str) -> bool {
    let sections = [&told["workers"], &told["functions"]];
    let all = sections.into_iter().filter_map(Value::as_object).flat_map(Map::values);
    all.flat_map(|it| it["uses"].as_array().unwrap()).any(|it| it == name)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn any_environment_that_is_valid_passes_every_offline_check(
        tape in proptest::collection::vec(any::<u16>(), 0..300)
    ) {
        let told = drawn(&mut Choices(tape.iter()));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("any.yaml");
        std::fs::write(&path, serde_json::to_string_pretty(&told).unwrap()).unwrap();
        let environment = validate::environment(&path);
        let environment = match environment {
            Ok(environment) => environment,
            Err(problems) => return Err(TestCaseError::fail(format!("{problems}\n{told:#}"))),
        };
        let plan = estate::resolve(&environment).unwrap().unwrap();
        let templates = template::build(&plan).unwrap();
        let findings: Vec<String> =
            check::all(&plan, &templates).iter().map(ToString::to_string).collect();
        prop_assert!(findings.is_empty(), "{findings:#?}\n{told:#}");
        for template in &templates {
            // Values that people write are never text that CloudFormation fills in.
            let filled = template.to_json().lines().any(|line| {
                line.contains("Fn::Sub") && (line.contains("it's") || line.contains("`id`"))
            });
            prop_assert!(!filled, "{}", template.name);
        }
    }
}
