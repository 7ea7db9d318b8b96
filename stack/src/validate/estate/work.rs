//! The sections of queues, workers, functions and buckets: what the types cannot say.

use std::collections::BTreeMap;

use proxy_config::suggest;
use proxy_config::units::Duration;
use proxy_config::{Node, Problem, Tree};

use super::super::readable;
use super::{DAY_MS, Fault, GIB, cdn, fault, is_domain, machines, runtimes};
use crate::environment::aws::Database;
use crate::environment::delivery::{Bucket, Cdn};
use crate::environment::work::{Capacity, Function, Queue, Wants, Worker};

/// Fargate's sizes: shares of processors, and the least and most memory in GiB with them.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html>
const SIZES: [(u32, u64, u64); 7] = [
    (256, 0, 2),
    (512, 1, 4),
    (1024, 2, 8),
    (2048, 4, 16),
    (4096, 8, 30),
    (8192, 16, 60),
    (16_384, 32, 120),
];

/// The sections as far as they can be read.
struct Named {
    storage: Vec<String>,
    queues: Vec<String>,
    databases: Vec<String>,
    functions: Vec<String>,
    capacity: Vec<String>,
    cache: bool,
    ledger: bool,
}

pub(super) fn faults(tree: &Tree) -> Vec<Problem> {
    let keys = |section: &str| -> Vec<String> {
        let entries = tree.get(section).and_then(Node::as_map).unwrap_or_default();
        entries.iter().map(|entry| entry.key.text.clone()).collect()
    };
    let named = Named {
        storage: keys("storage"),
        queues: keys("queues"),
        databases: keys("databases"),
        functions: keys("functions"),
        capacity: keys("capacity"),
        cache: tree.get("cache").is_some(),
        ledger: tree.get("ledger").is_some(),
    };
    let mut problems = Vec::new();
    each::<Bucket>(tree, "storage", &mut problems, |_, it| bucket(it));
    each::<Queue>(tree, "queues", &mut problems, |_, it| queue(it));
    each::<Database>(tree, "databases", &mut problems, |name, it| {
        let mut faults = super::database(it, false);
        if ["cache", "ledger"].contains(&name) {
            let message = format!("a database cannot be called `{name}`");
            faults.push(fault("", message, "`uses` means something else by it; choose another"));
        }
        faults
    });
    each::<Worker>(tree, "workers", &mut problems, |name, it| {
        let mut faults = worker(name, it);
        faults.extend(place(tree, &named, it));
        faults.extend(wanted(&named, Wants::from(it)));
        faults
    });
    let workers = tree.get("workers").and_then(Node::as_map).unwrap_or_default();
    each::<Capacity>(tree, "capacity", &mut problems, |name, it| {
        let mut faults = machines::faults(it);
        let runs = |worker: &Node| worker.child("capacity").and_then(Node::as_text) == Some(name);
        if !workers.iter().any(|entry| runs(&entry.value)) {
            let message = format!("no worker runs on `{name}`");
            faults.push(fault("", message, "name it in a worker, `capacity: …`, or leave it out"));
        }
        faults
    });
    each::<Function>(tree, "functions", &mut problems, |_, it| {
        let mut faults = function(it);
        faults.extend(wanted(&named, Wants::from(it)));
        faults
    });
    problems.extend(ports_twice(tree));
    if let Some(cdn) = readable::<Cdn>(tree, "cdn") {
        let origins = [&named.storage[..], &named.functions[..]];
        let account = readable::<String>(tree, "aws.account");
        for (key, message, hint) in cdn::faults(&cdn, origins, account.as_deref()) {
            problems.push(at(tree, &format!("cdn.{key}"), message, &hint));
        }
    }
    problems
}

fn at(tree: &Tree, path: &str, message: String, hint: &str) -> Problem {
    let path = path.trim_end_matches('.');
    let span = tree.place_of(path).or_else(|| {
        let outer = path.rsplit_once('.').map_or(path, |(outer, _)| outer);
        tree.place_of(outer)
    });
    Problem::new(path, span, message).hint(hint)
}

/// Names of a section, and what is wrong with each of its entries that can be read.
fn each<T: serde::de::DeserializeOwned>(
    tree: &Tree,
    section: &str,
    problems: &mut Vec<Problem>,
    faults: impl Fn(&str, &T) -> Vec<Fault>,
) {
    for entry in tree.get(section).and_then(Node::as_map).unwrap_or_default() {
        let name = &entry.key.text;
        let path = format!("{section}.{name}");
        if !super::super::is_name(name) || name.len() > 24 {
            let message = format!("`{name}` is not a name here");
            let hint = "use at most 24 small letters, digits and `-`, a letter first";
            problems.push(Problem::new(path.clone(), Some(entry.key.span), message).hint(hint));
        }
        let Ok(value) = proxy_config::read::<T>(tree, &entry.value) else { continue };
        for (key, message, hint) in faults(name, &value) {
            problems.push(at(tree, &format!("{path}.{key}"), message, &hint));
        }
    }
}

fn bucket(bucket: &Bucket) -> Vec<Fault> {
    let mut faults = Vec::new();
    let days = bucket.expire.map(proxy_config::units::Duration::as_millis);
    if days.is_some_and(|ms| ms < DAY_MS || !ms.is_multiple_of(DAY_MS)) {
        let message = "objects expire after whole days".to_owned();
        faults.push(fault("expire", message, "write `1d` or more"));
    }
    for origin in &bucket.uploads_from {
        if !origin.strip_prefix("https://").is_some_and(is_domain) {
            let message = format!("`{origin}` is not where a page comes from");
            faults.push(fault("uploads_from", message, "write `https://portal.example.com`"));
        }
    }
    faults
}

fn queue(queue: &Queue) -> Vec<Fault> {
    let mut faults = Vec::new();
    let limits = [
        ("visibility", queue.visibility, 1_000, 12 * 3_600_000, "1s to 12h"),
        ("retention", queue.retention, 60_000, 14 * DAY_MS, "1m to 14d"),
    ];
    for (key, value, min, max, range) in limits {
        let ms = value.as_millis();
        if !(min..=max).contains(&ms) || !ms.is_multiple_of(1_000) {
            let message = format!("`{key}` is {value}");
            faults.push(fault(key, message, &format!("write whole seconds, {range}")));
        }
    }
    if !(1..=100).contains(&queue.tries) {
        let message = format!("`tries` is {}", queue.tries);
        faults.push(fault("tries", message, "it may be 1 to 100"));
    }
    // SQS counts from when the job was sent: one that is gone before its last try is over is no dead letter.
    let all_tries = Duration::millis(queue.visibility.as_millis() * u64::from(queue.tries));
    if faults.is_empty() && queue.retention <= all_tries {
        let Queue { visibility, tries, retention } = queue;
        let message = format!(
            "`retention` is {retention}, and {tries} tries of {visibility} each take {all_tries}: a \
             job that fails is gone before it is set aside as a dead letter"
        );
        let hint = match all_tries.as_millis() < 14 * DAY_MS {
            true => format!("write more than {all_tries}, up to 14d, or fewer `tries`"),
            false => {
                "write a shorter `visibility` or fewer `tries`: no job is kept longer than 14d"
                    .to_owned()
            }
        };
        faults.push(fault("retention", message, &hint));
    }
    faults
}

fn worker(name: &str, worker: &Worker) -> Vec<Fault> {
    let mut faults = Vec::new();
    if worker.queue.is_some() == worker.port.is_some() {
        let message = format!(
            "`{name}` has {}",
            if worker.port.is_some() {
                "both `queue` and `port`"
            } else {
                "neither `queue` nor `port`"
            }
        );
        faults.push(fault(
            "",
            message,
            "give it a `queue` to take jobs from or a `port` to answer on",
        ));
    }
    if !is_private_image(&worker.image) {
        let message = format!("`{}` is not an image of a private registry", worker.image);
        let hint = "write it with registry and tag: \
            `123456789012.dkr.ecr.eu-central-1.amazonaws.com/encode:1.4`";
        faults.push(fault("image", message, hint));
    }
    if worker.max == 0 || worker.max < worker.min() || worker.max > 1_000 {
        let message = format!("`max` is {}, and `min` {}", worker.max, worker.min());
        faults.push(fault("max", message, "write at least `min` and 1, at most 1000"));
    }
    if worker.backlog_per_task == 0 {
        let message = "a task for every nothing".to_owned();
        faults.push(fault("backlog_per_task", message, "write 1 or more"));
    }
    if worker.port.is_some() && worker.min() == 0 {
        let message = "a service without tasks answers nobody".to_owned();
        faults.push(fault("min", message, "write 1 or more"));
    }
    if !worker.health.starts_with('/') {
        let message = format!("`{}` is not a path", worker.health);
        faults.push(fault("health", message, "it begins with `/`"));
    }
    faults
}

/// Where its tasks run: on machines that there are, or on Fargate, which has its sizes.
fn place(tree: &Tree, named: &Named, worker: &Worker) -> Vec<Fault> {
    let Some(name) = &worker.capacity else { return on_fargate(worker) };
    let capacity = readable::<Capacity>(tree, &format!("capacity.{name}"));
    let mut faults = machines::worker(worker, capacity.as_ref());
    if !named.capacity.contains(name) {
        let known: Vec<&str> = named.capacity.iter().map(String::as_str).collect();
        let hint = suggest::hint(name, &known, "names");
        faults.push(fault("capacity", format!("there is no `{name}`"), &hint));
    }
    faults
}

fn on_fargate(worker: &Worker) -> Vec<Fault> {
    let mut faults = Vec::new();
    let gib = worker.memory.as_bytes() / GIB;
    let whole = worker.memory.as_bytes().is_multiple_of(GIB);
    match SIZES.iter().find(|(cpu, ..)| *cpu == worker.cpu) {
        None => {
            let message = format!("`cpu` is {}", worker.cpu);
            let hint = "it may be 256, 512, 1024, 2048, 4096, 8192 or 16384";
            faults.push(fault("cpu", message, hint));
        }
        Some((_, min, max)) if !whole || gib == 0 || !(*min..=*max).contains(&gib) => {
            let message =
                format!("{} of memory does not go with `cpu: {}`", worker.memory, worker.cpu);
            let least = (*min).max(1);
            faults.push(fault(
                "memory",
                message,
                &format!("write whole GiB, {least}GiB to {max}GiB"),
            ));
        }
        Some(_) => {}
    }
    let disk = worker.disk.map(proxy_config::units::ByteSize::as_bytes);
    if disk.is_some_and(|disk| !(21 * GIB..=200 * GIB).contains(&disk) || !disk.is_multiple_of(GIB))
    {
        let message = "a task cannot have that much room".to_owned();
        faults.push(fault("disk", message, "write whole GiB, 21GiB to 200GiB"));
    }
    faults
}

/// `ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME:TAG` or `…@sha256:…`.
fn is_private_image(image: &str) -> bool {
    let Some((host, rest)) = image.split_once('/') else { return false };
    let parts: Vec<&str> = host.split('.').collect();
    let known = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    parts.len() == 6
        && parts[0].len() == 12
        && parts[1..3] == ["dkr", "ecr"]
        && parts[4..] == ["amazonaws", "com"]
        && rest.contains([':', '@'])
        && rest.chars().all(known)
}

fn function(function: &Function) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !function.code.ends_with(".zip") {
        let message = format!("`{}` is not an archive", function.code);
        faults.push(fault(
            "code",
            message,
            "write its key in the bucket of releases: `functions/api-1.4.zip`",
        ));
    }
    faults.extend(runtimes::fault_of(&function.runtime));
    let mib = function.memory.as_bytes() >> 20;
    if !(128..=10_240).contains(&mib) {
        let message = format!("`memory` is {}", function.memory);
        faults.push(fault("memory", message, "it may be 128MiB to 10GiB"));
    }
    let ms = function.timeout.as_millis();
    if !(1_000..=900_000).contains(&ms) || !ms.is_multiple_of(1_000) {
        let message = format!("`timeout` is {}", function.timeout);
        faults.push(fault("timeout", message, "write whole seconds, 1s to 15m"));
    }
    if !(1..=1_000).contains(&function.concurrency) {
        let message = format!("`concurrency` is {}", function.concurrency);
        faults.push(fault("concurrency", message, "it may be 1 to 1000"));
    }
    faults
}

/// Names that lead nowhere.
fn wanted(named: &Named, wants: Wants<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut uses = named.databases.clone();
    uses.extend(named.cache.then(|| "cache".to_owned()));
    uses.extend(named.ledger.then(|| "ledger".to_owned()));
    let takes: Vec<String> = wants.takes.into_iter().map(str::to_owned).collect();
    let lists: [(&str, &[String], &[String]); 5] = [
        ("uses", wants.uses, &uses),
        ("reads", wants.reads, &named.storage),
        ("writes", wants.writes, &named.storage),
        ("sends", wants.sends, &named.queues),
        ("queue", &takes, &named.queues),
    ];
    for (key, written, known) in lists {
        for name in written.iter().filter(|name| !known.contains(name)) {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let hint = suggest::hint(name, &known, "names");
            faults.push(fault(key, format!("there is no `{name}`"), &hint));
        }
    }
    faults
}

/// All services are behind one balancer, which tells them apart by port.
fn ports_twice(tree: &Tree) -> Vec<Problem> {
    let mut taken: BTreeMap<u16, String> = BTreeMap::new();
    let mut problems = Vec::new();
    for entry in tree.get("workers").and_then(Node::as_map).unwrap_or_default() {
        let name = &entry.key.text;
        let path = format!("workers.{name}.port");
        let Some(port) = readable::<u16>(tree, &path) else { continue };
        if let Some(first) = taken.insert(port, name.clone()) {
            let message = format!("`{first}` has port {port} already");
            problems.push(at(tree, &path, message, "give each service a port of its own"));
        }
    }
    problems
}
