//! The sections for AWS: what the types cannot say of each, and whether together they are whole.

mod backup;
mod by_hand;
mod cdn;
mod front;
pub(super) mod in_clear;
mod isolation;
mod kinds;
mod machines;
mod overrides;
mod regions;
mod runtimes;
mod unused;
mod versions;
mod work;

use std::collections::BTreeMap;

use proxy_config::{Config, Problem, Tree};

use super::readable;
use crate::environment::aws::{
    Alarms, Aws, Balancer, Budget, Cache, Database, Fleet, Network, Standby, ZoneLoss,
};
use crate::environment::{Document, Edge, Estate, ORIGIN, cache_uses};
use crate::estate::parameters;
use kinds::kind;
pub use regions::is_region;

/// Tags that a stack, and each resource in it, may have.
const TAGS_MAX: usize = 50;

/// Sections and keys that mean something on AWS only.
const FOR_AWS: [&str; 25] = [
    "aws",
    "network",
    "database",
    "databases",
    "cache",
    "storage",
    "queues",
    "workers",
    "capacity",
    "functions",
    "cdn",
    "backup",
    "alarms",
    "budget",
    "resources",
    "patches",
    "edge.domain",
    "edge.hosted_zone",
    "edge.origin",
    "edge.instances",
    "edge.balancer",
    "edge.only_from",
    "edge.certificate",
    "edge.waf",
    "ledger.instances",
];

const DAY_MS: u64 = 86_400_000;
const GIB: u64 = 1 << 30;

/// Which of the keys for AWS a file has; `up` states them.
pub(super) fn keys_for_aws(tree: &Tree) -> Vec<String> {
    FOR_AWS.iter().filter(|key| tree.get(key).is_some()).map(|key| (*key).to_owned()).collect()
}

/// One fault: the key below the section, what is wrong, what to do.
type Fault = (String, String, String);

/// Everything wrong with a section that can be read.
pub(super) fn faults(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut told = |section: &str, faults: Vec<Fault>| {
        for (key, message, hint) in faults {
            let path = format!("{section}.{key}");
            let path = path.trim_end_matches('.').to_owned();
            let span = tree.get(&path).or_else(|| tree.get(section)).map(|node| node.span);
            problems.push(Problem::new(path, span, message).hint(hint));
        }
    };
    told("aws", readable(tree, "aws").map(|it| aws(&it)).unwrap_or_default());
    told("network", readable(tree, "network").map(|it| network(&it)).unwrap_or_default());
    told("database", readable(tree, "database").map(|it| database(&it, true)).unwrap_or_default());
    told("cache", readable(tree, "cache").map(|it| cache(&it)).unwrap_or_default());
    told("alarms", readable(tree, "alarms").map(|it| alarms(&it)).unwrap_or_default());
    told("budget", readable(tree, "budget").map(|it| budget(&it)).unwrap_or_default());
    told("backup", readable(tree, "backup").map(|it| backup::faults(&it)).unwrap_or_default());
    let fleet_path = "edge.instances";
    told(fleet_path, readable(tree, fleet_path).map(|it| fleet(&it)).unwrap_or_default());
    let standby_path = "ledger.instances";
    told(standby_path, readable(tree, standby_path).map(|it| standby(&it)).unwrap_or_default());
    told("edge", names(tree));
    problems.extend(work::faults(tree));
    problems.extend(by_hand::faults(tree));
    problems
}

fn fault(key: &str, message: String, hint: &str) -> Fault {
    (key.to_owned(), message, hint.to_owned())
}

fn aws(aws: &Aws) -> Vec<Fault> {
    let mut faults = Vec::new();
    if aws.account.len() != 12 || !aws.account.bytes().all(|c| c.is_ascii_digit()) {
        let message = format!("`{}` is not an account", aws.account);
        faults.push(fault("account", message, "write its twelve digits in quotes"));
    }
    for (key, region) in
        [("region", &aws.region)].into_iter().chain(aws.regions.iter().map(|it| ("regions", it)))
    {
        faults.extend(regions::fault_of(key, region));
    }
    if !aws.regions.is_empty() && !aws.regions.contains(&aws.region) {
        let message = format!("`{}` is not one of `aws.regions`", aws.region);
        let hint = format!("nothing may be but in {}", aws.regions.join(", "));
        faults.push(fault("region", message, &hint));
    }
    let known = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if !(3..=63).contains(&aws.releases.len()) || !aws.releases.bytes().all(known) {
        let message = format!("`{}` is not the name of a bucket", aws.releases);
        faults.push(fault("releases", message, "use 3 to 63 small letters, digits and `-`"));
    }
    faults.extend(tags(&aws.tags));
    faults
}

/// Tags as every service takes them that a stack hands them on to.
fn tags(tags: &BTreeMap<String, String>) -> Vec<Fault> {
    let known = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c);
    let mut faults = Vec::new();
    for (name, value) in tags {
        let fits =
            |text: &str, most: usize| text.chars().count() <= most && text.chars().all(known);
        if name.is_empty() || name.starts_with("aws:") || !fits(name, 128) || !fits(value, 256) {
            let message = format!("the tag `{name}` is not one AWS takes");
            let hint = "a name has 1 to 128 characters and does not begin with `aws:`, a value at \
                most 256; both are letters, digits, spaces and `_.:/=+-@`";
            faults.push(fault("tags", message, hint));
        }
    }
    if tags.len() > TAGS_MAX {
        let message = format!("a stack has {} tags", tags.len());
        faults.push(fault("tags", message, &format!("keep {TAGS_MAX} at most")));
    }
    faults
}

fn network(network: &Network) -> Vec<Fault> {
    let mut faults = Vec::new();
    match crate::estate::subnets::range(&network.cidr) {
        Some((address, prefix)) if address.is_private() && (16..=22).contains(&prefix) => {}
        _ => {
            let message = format!("`{}` is not a range for a network", network.cidr);
            let hint = "write a private one of /16 to /22 that begins at its first address: \
                `10.20.0.0/16`";
            faults.push(fault("cidr", message, hint));
        }
    }
    if !(2..=3).contains(&network.zones) {
        let message = format!("`zones` is {}", network.zones);
        faults.push(fault("zones", message, "it may be 2 or 3; a balancer needs two"));
    }
    let days = network.flow_logs.as_millis() / DAY_MS;
    if !crate::estate::RETENTION_DAYS.contains(&days) {
        let message = format!("logs cannot be kept for {}", network.flow_logs);
        faults.push(fault(
            "flow_logs",
            message,
            "CloudWatch takes 1d, 3d, 5d, 7d, 14d, 30d, 60d, 90d, 120d, 150d, 180d or 365d",
        ));
    }
    faults.extend(isolation::endpoints(network));
    faults
}

fn database(database: &Database, of_ledger: bool) -> Vec<Fault> {
    let mut faults = kinds::of_database(database);
    let aurora = database.engine.is_aurora();
    let room = "write whole GiB, 20GiB to 16TiB";
    match database.storage {
        None if !aurora => {
            faults.push(fault("", "`storage` is missing".to_owned(), room));
        }
        Some(_) if aurora => {
            let message = "Aurora's room is what is used".to_owned();
            faults.push(fault("storage", message, "leave it out"));
        }
        Some(storage) => {
            let bytes = storage.as_bytes();
            if !(20 * GIB..=16_384 * GIB).contains(&bytes) || !bytes.is_multiple_of(GIB) {
                let message = format!("a database cannot have {storage} of storage");
                faults.push(fault("storage", message, room));
            }
        }
        None => {}
    }
    if database.readers > 15 {
        let message = format!("`readers` is {}", database.readers);
        faults.push(fault("readers", message, "it may be 0 to 15"));
    }
    let backups = database.backups.as_millis();
    if !(DAY_MS..=35 * DAY_MS).contains(&backups) || !backups.is_multiple_of(DAY_MS) {
        let message = format!("backups cannot be kept for {}", database.backups);
        faults.push(fault("backups", message, "write whole days, 1d to 35d"));
    }
    faults.extend(versions::faults(database, of_ledger));
    for name in database.parameters.keys() {
        if let Some(why) = parameters::fixed(database.engine, name) {
            let message = format!("`{name}` cannot be set: {why}");
            faults.push(fault(&format!("parameters.{name}"), message, "leave it out"));
        }
    }
    faults
}

fn cache(cache: &Cache) -> Vec<Fault> {
    let mut faults = kind("node", &cache.node, "cache.", "cache.r7g.large");
    if cache.replicas > 5 {
        let message = format!("`replicas` is {}", cache.replicas);
        faults.push(fault("replicas", message, "it may be 0 to 5"));
    }
    if let Some(time) = cache.rotate {
        let ms = time.as_millis();
        if !(7 * DAY_MS..=365 * DAY_MS).contains(&ms) || !ms.is_multiple_of(DAY_MS) {
            let message = format!("a password cannot be another every {time}");
            faults.push(fault("rotate", message, "write whole days, 7d to 365d"));
        }
    }
    faults
}

fn alarms(alarms: &Alarms) -> Vec<Fault> {
    alarms.email.as_deref().map(email).unwrap_or_default()
}

fn budget(budget: &Budget) -> Vec<Fault> {
    let mut faults = email(&budget.email);
    if budget.monthly == 0 {
        faults.push(fault(
            "monthly",
            "a budget of nothing is passed at once".to_owned(),
            "write US dollars a month",
        ));
    }
    faults
}

/// Whether a text is an address of mail, of those that AWS takes.
pub fn is_email(address: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || ".+-_@".contains(c);
    let (user, host) = address.split_once('@').unwrap_or_default();
    !user.is_empty() && is_domain(host) && address.chars().all(known)
}

fn email(address: &str) -> Vec<Fault> {
    if !is_email(address) {
        let message = format!("`{address}` is not an address of mail");
        return vec![fault("email", message, "write one: `sre@example.com`")];
    }
    Vec::new()
}

fn fleet(fleet: &Fleet) -> Vec<Fault> {
    let mut faults = kind("type", &fleet.kind, "", "c7g.large");
    if !(1..=100).contains(&fleet.min) {
        faults.push(fault("min", format!("`min` is {}", fleet.min), "it may be 1 to 100"));
    }
    if fleet.max <= fleet.min || fleet.max > 200 {
        let message = format!("`max` is {}, and `min` {}", fleet.max, fleet.min);
        let hint = "write more than `min`, at most 200: an update starts the new before it stops the \
            old";
        faults.push(fault("max", message, hint));
    }
    if !(2_000..=9_000).contains(&fleet.cpu_target.hundredths()) {
        let message = format!("`cpu_target` is {}", fleet.cpu_target);
        faults.push(fault("cpu_target", message, "it may be 20% to 90%"));
    }
    faults
}

fn standby(standby: &Standby) -> Vec<Fault> {
    let mut faults = kind("type", &standby.kind, "", "m7g.large");
    if !(1..=3).contains(&standby.count) {
        let message = format!("`count` is {}", standby.count);
        faults.push(fault("count", message, "it may be 1 to 3; one is active, the others wait"));
    }
    faults
}

fn names(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    if let Some(domain) = readable::<String>(tree, "edge.domain").filter(|text| !is_domain(text)) {
        let message = format!("`{domain}` is not a domain");
        faults.push(fault(
            "domain",
            message,
            "write it without scheme and port: `live.example.com`",
        ));
    }
    if let Some(zone) = readable::<String>(tree, "edge.hosted_zone") {
        let known = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit();
        if !zone.starts_with('Z') || zone.len() > 32 || !zone.bytes().all(known) {
            let message = format!("`{zone}` is not the id of a hosted zone");
            faults.push(fault("hosted_zone", message, "it begins with Z: `Z0123456789ABCDEFGHIJ`"));
        }
    }
    faults
}

/// Whether a text is a domain of at least two labels.
pub fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
    };
    text.len() <= 253 && text.contains('.') && text.split('.').all(label)
}

/// The estate, when the file has an `aws` section; what is missing to it, each with what to write.
pub(super) fn complete(
    tree: &Tree,
    document: &Document,
    proxy: &Config,
) -> Result<Option<Estate>, Vec<Problem>> {
    let Some(aws) = document.aws.clone() else { return Ok(None) };
    let edge = &document.edge;
    let to_origin = proxy.routes.iter().any(|route| uses(route, ORIGIN));
    let mut problems = missing(tree, document, to_origin);
    problems.extend(cache_missing(tree, document, proxy));
    let signing_key = signing_key(tree, document, &mut problems);
    problems.extend(backup::of_something(tree, &aws, document));
    let templates = overrides::read(tree, &aws, &mut problems);
    problems.extend(of_one_zone(tree, &aws, document));
    problems.extend(front::faults(tree, &aws, document, proxy));
    problems.extend(isolation::faults(tree, document, proxy));
    problems.extend(unused::faults(tree, document, proxy));
    let fleet = edge.instances.clone();
    let (Some(domain), Some(hosted_zone), Some(instances), true) =
        (edge.domain.clone(), edge.hosted_zone.clone(), fleet, problems.is_empty())
    else {
        return Err(problems);
    };
    let standby = document.ledger.as_ref().and_then(|ledger| ledger.instances.clone());
    Ok(Some(Estate {
        aws,
        network: document.network.clone().unwrap_or_default(),
        edge: Edge {
            domain,
            hosted_zone,
            origin: edge.origin.clone().filter(|_| to_origin),
            instances,
            balancer: edge.balancer,
            only_from: edge.only_from.clone(),
            certificate: edge.certificate.clone(),
            waf: edge.waf.unwrap_or(edge.balancer == Balancer::Application),
        },
        ledger: standby.zip(document.database.clone()),
        cache: document.cache.clone(),
        databases: document.databases.clone(),
        storage: document.storage.clone(),
        queues: document.queues.clone(),
        workers: document.workers.clone(),
        capacity: document.capacity.clone(),
        functions: document.functions.clone(),
        cdn: document.cdn.clone(),
        signing_key,
        templates,
        backup: document.backup.clone(),
        alarms: document.alarms.clone().unwrap_or_default(),
        budget: document.budget.clone(),
        resources: document.resources.clone(),
        patches: document.patches.clone(),
    }))
}

/// What every estate needs and the file does not have.
fn missing(tree: &Tree, document: &Document, to_origin: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut missing = |key: &str, why: &str, hint: &str| {
        let span = key.split('.').next().and_then(|s| tree.place_of(s)).or(tree.place_of("aws"));
        problems.push(Problem::new(key, span, format!("`{key}` is missing: {why}")).hint(hint));
    };
    let edge = &document.edge;
    if edge.domain.is_none() {
        missing("edge.domain", "AWS makes the certificate for it", "`domain: live.example.com`");
    }
    if edge.hosted_zone.is_none() {
        let why = "the certificate is proved and the domain pointed there";
        missing("edge.hosted_zone", why, "`hosted_zone: Z…`, the id in Route 53");
    }
    if edge.instances.is_none() {
        let hint = "`instances: { type: c7g.large, min: 3, max: 9 }`";
        missing("edge.instances", "the proxy runs on them", hint);
    }
    if to_origin && edge.origin.is_none() {
        let why = "a route passes requests to the upstream `origin`";
        missing("edge.origin", why, "`origin: packager.example.com:80`");
    }
    if let Some(ledger) = &document.ledger {
        if ledger.instances.is_none() {
            let hint = "`instances: { type: m7g.large }`";
            missing("ledger.instances", "the ledger runs on them", hint);
        }
        if document.database.is_none() {
            let hint = "`database: { engine: mysql, class: db.r7g.large, storage: 100GiB }`";
            missing("database", "the ledger keeps its entries there", hint);
        }
    } else if let Some(node) = tree.get("database") {
        let message = "there is a `database` and no `ledger` to use it";
        let hint = "leave it out; databases of workers and functions go under `databases`";
        problems.push(Problem::new("database", Some(node.span), message).hint(hint));
    }
    problems
}

/// A cache that the proxy document calls and that is not there.
fn cache_missing(tree: &Tree, document: &Document, proxy: &Config) -> Option<Problem> {
    let use_of_it = cache_uses(proxy).into_iter().next().filter(|_| document.cache.is_none())?;
    let message = match use_of_it.starts_with("caches.") {
        true => "`cache` is missing: purges are carried by `redis://cache:6379`",
        false => "`cache` is missing: a rate limit counts in `redis://cache:6379`",
    };
    let problem = Problem::new("cache", tree.place_of("aws"), message);
    Some(problem.hint("`cache: { node: cache.t4g.small }`"))
}

/// The text of the public key that signed URLs are checked with.
fn signing_key(tree: &Tree, document: &Document, problems: &mut Vec<Problem>) -> Option<String> {
    let path = document.cdn.as_ref()?.signing_key.as_ref()?;
    let node = tree.get("cdn.signing_key")?;
    let file = crate::paths::folder(tree, node).join(path);
    let problem = match std::fs::read_to_string(&file) {
        Ok(text) if text.trim_start().starts_with("-----BEGIN PUBLIC KEY-----") => {
            return Some(text);
        }
        Ok(_) => format!("{} is not a public key in PEM", file.display()),
        Err(error) => format!("{} cannot be read: {error}", file.display()),
    };
    let hint = "`openssl rsa -pubout` writes one: -----BEGIN PUBLIC KEY-----";
    problems.push(Problem::new("cdn.signing_key", Some(node.span), problem).hint(hint));
    None
}

fn uses(route: &proxy_config::Route, upstream: &str) -> bool {
    route.upstream.as_deref() == Some(upstream)
}

/// What would be lost with a single zone, where the file says that nothing may be.
fn of_one_zone(tree: &Tree, aws: &Aws, document: &Document) -> Vec<Problem> {
    if aws.zone_loss == ZoneLoss::Accept {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let mut refuse = |key: &str, message: String, hint: &str| {
        let span = tree.get(key).map(|node| node.span);
        let hint = format!("{hint}, or say `aws.zone_loss: accept`");
        problems.push(Problem::new(key, span, message).hint(hint));
    };
    if let Some(network) = &document.network
        && network.nat == crate::environment::aws::Nat::One
    {
        let message = "one NAT gateway: when its zone is lost, no instance reaches the internet";
        refuse("network.nat", message.to_owned(), "write `nat: per_zone`");
    }
    if let Some(fleet) = document.edge.instances.as_ref().filter(|fleet| fleet.min < 2) {
        let message = format!("{} instance: when its zone is lost, there is no edge", fleet.min);
        refuse("edge.instances.min", message, "write 2 or more");
    }
    let standby = document.ledger.as_ref().and_then(|ledger| ledger.instances.as_ref());
    if standby.is_some_and(|standby| standby.count < 2) {
        let message = "one instance: when its zone is lost, there is no ledger".to_owned();
        refuse("ledger.instances.count", message, "write 2 or more");
    }
    let ledgers = document.database.iter().map(|database| ("database".to_owned(), database));
    let others = document.databases.iter();
    let others = others.map(|(name, database)| (format!("databases.{name}"), database));
    for (key, database) in ledgers.chain(others) {
        let message = "the database is in one zone: when that is lost, so is what uses it";
        if database.engine.is_aurora() && database.readers == 0 {
            refuse(&format!("{key}.readers"), message.to_owned(), "write 1 or more");
        } else if !database.engine.is_aurora() && !database.multi_az {
            refuse(&format!("{key}.multi_az"), message.to_owned(), "leave it out, it is true");
        }
    }
    for (name, worker) in document.workers.iter().filter(|(_, it)| it.port.is_some()) {
        if worker.min() < 2 {
            let message =
                format!("{} task of `{name}`: when its zone is lost, it is gone", worker.min());
            refuse(&format!("workers.{name}.min"), message, "write 2 or more");
        }
    }
    if document.cache.as_ref().is_some_and(|cache| cache.replicas == 0) {
        let message = "no replica: when its zone is lost, so is the cache".to_owned();
        refuse("cache.replicas", message, "write 1 or more");
    }
    problems
}
