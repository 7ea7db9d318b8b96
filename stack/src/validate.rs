//! From a tree to an [`Environment`]: types, and what types cannot say.

mod estate;

pub use estate::{is_domain, is_email, is_region};

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

use proxy_config::address::{ListenAddress, ServerAddress};
use proxy_config::tree::Entry;
use proxy_config::{Config, Node, Problem, Problems, Tree, Upstream};
use serde::de::DeserializeOwned;

use crate::document::{self, Loaded};
use crate::environment::{Account, Currency, Document, Environment, LEDGER, ORIGIN, Stream};
use crate::paths;

/// Reads and validates the environment at `path`; every problem at once.
pub fn environment(path: &Path) -> Result<Environment, Problems> {
    validate(&document::load(path)?)
}

/// Validates a loaded environment.
pub fn validate(loaded: &Loaded) -> Result<Environment, Problems> {
    let Loaded { tree, proxy: own_proxy, .. } = loaded;
    let mut problems = Vec::new();
    let document = collect(proxy_config::read::<Document>(tree, tree.root()), &mut problems);
    problems.extend(meaning(tree));
    let for_aws = tree.get("aws").is_some();
    if for_aws {
        problems.extend(estate::in_clear::faults(tree, false));
    }
    let provided = provided(tree);
    let proxy = match own_proxy {
        None => proxy_document(tree, "edge.proxy", &provided, &mut problems),
        Some(own) => {
            let mut of_its_own = Vec::new();
            let proxy = proxy_document(own, "", &provided, &mut of_its_own);
            if for_aws {
                of_its_own.extend(estate::in_clear::faults(own, true));
            }
            // Problems of two documents cannot be told as one: the environment's come first.
            if problems.is_empty() && !of_its_own.is_empty() {
                return Err(Problems::new(own, of_its_own));
            }
            proxy
        }
    };
    match (document, proxy) {
        (Some(document), Some(proxy)) if problems.is_empty() => {
            let estate = estate::complete(tree, &document, &proxy)
                .map_err(|missing| Problems::new(tree, missing))?;
            Ok(Environment {
                estate,
                name: document.name,
                proxy,
                ledger: document.ledger,
                streams: document.streams,
                for_aws: estate::keys_for_aws(tree),
            })
        }
        _ => Err(Problems::new(tree, problems)),
    }
}

/// The proxy document at `path` of `tree`; none when it is absent, which the typed reading reports.
fn proxy_document(
    tree: &Tree,
    path: &str,
    provided: &BTreeMap<String, Upstream>,
    problems: &mut Vec<Problem>,
) -> Option<Config> {
    let node = tree.get(path)?;
    if node.as_map().is_none() {
        let message = format!("this is {}, not a proxy document", node.kind_name());
        let problem = Problem::new(path, Some(node.span), message);
        problems.push(problem.hint("write a proxy document here, or the path of one"));
        return None;
    }
    problems.extend(taken_upstreams(node, path, provided));
    let mut config = collect(Config::from_node(tree, node, provided), problems)?;
    paths::make_absolute(&mut config, tree, node);
    problems.extend(listeners_of_this_machine(node, path, &config));
    Some(config)
}

/// The upstreams the environment provides, at addresses only `resolve` knows: the ledger, the origin
/// of this machine, and every worker with a port.
fn provided(tree: &Tree) -> BTreeMap<String, Upstream> {
    let at =
        |port: u16| Upstream::of([ServerAddress::Socket(SocketAddr::from(([127, 0, 0, 1], port)))]);
    let mut provided = BTreeMap::new();
    for entry in tree.get("workers").and_then(Node::as_map).unwrap_or_default() {
        let name = &entry.key.text;
        if let Some(port) = readable::<u16>(tree, &format!("workers.{name}.port")) {
            provided.insert(name.clone(), at(port));
        }
    }
    provided.insert(ORIGIN.to_owned(), at(crate::plan::ORIGIN_PORT));
    if tree.get("ledger").is_some() {
        provided.insert(LEDGER.to_owned(), at(crate::plan::LEDGER_PORT));
    }
    provided
}

fn collect<T>(result: Result<T, Problems>, problems: &mut Vec<Problem>) -> Option<T> {
    result.map_err(|found| problems.extend(found.iter().cloned())).ok()
}

fn taken_upstreams(
    proxy: &Node,
    path: &str,
    provided: &BTreeMap<String, Upstream>,
) -> Vec<Problem> {
    let upstreams = proxy.child("upstreams");
    let entries = provided.keys().filter_map(|name| upstreams?.entry(name));
    let refuse = |entry: &Entry| {
        let name = &entry.key.text;
        let message = format!("upstream `{name}` is provided by the environment");
        Problem::new(inner(path, &format!("upstreams.{name}")), Some(entry.key.span), message)
            .hint("leave it out here, or give yours another name")
    };
    entries.map(refuse).collect()
}

/// A path within the proxy document, from the root of its tree.
fn inner(path: &str, rest: &str) -> String {
    if path.is_empty() { rest.to_owned() } else { format!("{path}.{rest}") }
}

/// What the types cannot say, of every part that can be read: a fault in one account must not hide
/// those of the others.
fn meaning(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(version) = readable::<u32>(tree, "version").filter(|version| *version != 1) {
        let message = format!("version {version} is not known");
        let problem = Problem::new("version", tree.get("version").map(|node| node.span), message);
        problems.push(problem.hint("write `version: 1`"));
    }
    if let Some(name) = readable::<String>(tree, "name").filter(|name| !is_name(name)) {
        let message = format!("`{name}` is not a name for an environment");
        let problem = Problem::new("name", tree.get("name").map(|node| node.span), message);
        problems.push(problem.hint(NAME_HINT));
    }
    for entry in tree.get("streams").and_then(Node::as_map).unwrap_or_default() {
        let name = &entry.key.text;
        if !is_name(name) {
            problems.push(
                Problem::new(
                    format!("streams.{name}"),
                    Some(entry.key.span),
                    format!("`{name}` is not a name for a stream"),
                )
                .hint(NAME_HINT),
            );
        }
        let faults = proxy_config::read::<Stream>(tree, &entry.value).map(|s| stream_faults(&s));
        for (field, message, hint) in faults.unwrap_or_default() {
            let span = entry.value.child(field).unwrap_or(&entry.value).span;
            let path = format!("streams.{name}.{field}");
            problems.push(Problem::new(path, Some(span), message).hint(hint));
        }
    }
    problems.extend(ledger_faults(tree));
    problems.extend(estate::faults(tree));
    problems
}

/// The value at a path, where it is there and of its type; the typed reading reports the rest.
fn readable<T: DeserializeOwned>(tree: &Tree, path: &str) -> Option<T> {
    proxy_config::read(tree, tree.get(path)?).ok()
}

const NAME_HINT: &str = "use at most 40 small letters, digits and `-`, a letter first";

/// Whether a text may be the name of an environment.
pub fn is_name(text: &str) -> bool {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.len() <= 40
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(known)
}

/// (field, message, hint) of everything a stream asks for that cannot be made.
fn stream_faults(stream: &Stream) -> Vec<(&'static str, String, String)> {
    let Stream { width, height, frames_per_second, window, bitrate_kbit, .. } = stream;
    let limits = [
        ("window", *window, 3, 60),
        ("width", *width, 160, 1920),
        ("height", *height, 90, 1080),
        ("frames_per_second", *frames_per_second, 5, 60),
        ("bitrate_kbit", *bitrate_kbit, 100, 8000),
    ];
    let mut faults: Vec<(&'static str, String, String)> = limits
        .into_iter()
        .filter(|(_, value, min, max)| !(min..=max).contains(&value))
        .map(|(field, value, min, max)| {
            let message = format!("`{field}` is {value}");
            (field, message, format!("it may be {min} to {max}"))
        })
        .collect();
    for (field, value) in [("width", width), ("height", height)] {
        if !value.is_multiple_of(2) {
            let hint = format!("H.264 needs an even number: write {}", value + 1);
            faults.push((field, format!("`{field}` is {value}, an odd number"), hint));
        }
    }
    let segment_ms = stream.segment.as_millis();
    if !(1_000..=10_000).contains(&segment_ms) {
        let message = format!("a segment of {} cannot be made", stream.segment);
        faults.push(("segment", message, "it may be 1s to 10s".to_owned()));
    } else if !(segment_ms * u64::from(*frames_per_second)).is_multiple_of(1000) {
        let message = format!(
            "a segment of {} at {frames_per_second} frames per second is not a whole number of frames",
            stream.segment
        );
        faults.push(("segment", message, "whole seconds always fit".to_owned()));
    }
    faults
}

fn ledger_faults(tree: &Tree) -> Vec<Problem> {
    const CURRENCY: &str = "use 3 to 12 capital letters and digits, a letter first: `EUR`";
    let list = |path: &str| tree.get(path).and_then(Node::as_list).unwrap_or_default();
    let mut problems = Vec::new();
    let mut refuse = |path: String, item: &Node, field: &str, message: String, hint: &str| {
        let span = item.child(field).unwrap_or(item).span;
        problems.push(Problem::new(format!("{path}.{field}"), Some(span), message).hint(hint));
    };
    for (n, item) in list("ledger.currencies").iter().enumerate() {
        let Ok(Currency { code, scale }) = proxy_config::read(tree, item) else { continue };
        let path = format!("ledger.currencies[{n}]");
        if !is_currency(&code) {
            let message = format!("`{code}` is not the code of a currency");
            refuse(path.clone(), item, "code", message, CURRENCY);
        }
        if scale > 12 {
            let message = format!("a currency cannot have {scale} decimals");
            refuse(path, item, "scale", message, "it may be 0 to 12");
        }
    }
    let mut seen = BTreeSet::new();
    for (n, item) in list("ledger.accounts").iter().enumerate() {
        let Ok(Account { code, name, currency, .. }) = proxy_config::read(tree, item) else {
            continue;
        };
        let path = || format!("ledger.accounts[{n}]");
        if name.trim().is_empty() || name.chars().count() > 200 {
            let message = "the name is empty or too long".to_owned();
            refuse(path(), item, "name", message, "use 1 to 200 characters");
        }
        if !is_currency(&currency) {
            let message = format!("`{currency}` is not the code of a currency");
            refuse(path(), item, "currency", message, CURRENCY);
        }
        if !is_account_code(&code) {
            let hint = "use parts of small letters, digits, `-` and `_`, joined by colons: \
                `assets:cash:eur`";
            refuse(path(), item, "code", format!("`{code}` is not the code of an account"), hint);
        } else if !seen.insert(code.clone()) {
            let message = format!("account `{code}` is listed twice");
            refuse(path(), item, "code", message, "an account is created once; leave one out");
        }
    }
    problems
}

fn is_currency(code: &str) -> bool {
    (3..=12).contains(&code.len())
        && code.starts_with(|c: char| c.is_ascii_uppercase())
        && code.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
}

fn is_account_code(code: &str) -> bool {
    let small = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    code.len() <= 128
        && code.split(':').all(|part| {
            part.starts_with(small) && part.chars().all(|c| small(c) || c == '-' || c == '_')
        })
}

/// `up` moves taken ports, which only addresses with ports have.
fn listeners_of_this_machine(proxy: &Node, path: &str, config: &Config) -> Vec<Problem> {
    let addresses = config
        .listeners
        .iter()
        .map(|(name, listener)| (format!("listeners.{name}.address"), &listener.address))
        .chain([("admin.address".to_owned(), &config.admin.address)]);
    addresses
        .filter(|(_, address)| matches!(address, ListenAddress::Unix(_)))
        .map(|(rest, address)| {
            let span = proxy.get(&rest).map(|node| node.span);
            let message = format!("an environment cannot listen on `{address}`");
            Problem::new(inner(path, &rest), span, message).hint("write an IP address and a port")
        })
        .collect()
}
