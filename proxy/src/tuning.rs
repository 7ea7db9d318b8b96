//! Changes of policies while the proxy runs: what they would do, who made them, and the way back. The
//! document on disk is left alone; the next reload or restart puts it in force again.

pub mod history;

use std::collections::{BTreeMap, BTreeSet};

use proxy_config::{Config, Problems, Source};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

/// The sections of a document that are policies.
pub const SECTIONS: [&str; 5] =
    ["buffer_policies", "cache_policies", "caches", "lanes", "rate_limits"];
/// Values changed in one go.
const CHANGES_MAX: usize = 64;

/// One value that is changed, added (`from` is null) or taken out (`to` is null).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Its place in the document: `cache_policies.live.freshness.ttl_default`.
    pub path: String,
    pub from: Value,
    pub to: Value,
}

/// A configuration with changes made.
#[derive(Clone, Debug)]
pub struct Tuned {
    pub config: Config,
    pub changes: Vec<Change>,
    /// Names of the routes that go by what was changed.
    pub routes: Vec<String>,
}

#[derive(Debug, Error)]
pub enum TuningFault {
    #[error("`{0}` is no policy; what can be changed begins with one of {list}", list = SECTIONS.join(", "))]
    NotAPolicy(String),
    #[error("`{path}` leads nowhere: `{at}` is a value, not a section")]
    NotASection { path: String, at: String },
    #[error("give 1 to {CHANGES_MAX} values to change")]
    Count,
    #[error("it changes nothing")]
    NothingNew,
    #[error("the configuration would be wrong:\n{0}")]
    Wrong(Problems),
}

/// The policies of a configuration, with every default written out.
pub fn policies(config: &Config) -> Value {
    let all = written(config);
    SECTIONS.iter().filter_map(|name| Some(((*name).to_owned(), all.get(name)?.clone()))).collect()
}

/// Sets values by their places; null takes one out, so that its default counts.
pub fn tune(config: &Config, sets: &BTreeMap<String, Value>) -> Result<Tuned, TuningFault> {
    if sets.is_empty() || sets.len() > CHANGES_MAX {
        return Err(TuningFault::Count);
    }
    let before = written(config);
    let mut after = before.clone();
    for (path, value) in sets {
        let section = path.split('.').next().unwrap_or_default();
        if !SECTIONS.contains(&section) || section == path {
            return Err(TuningFault::NotAPolicy(path.clone()));
        }
        set(&mut after, path, value)?;
    }
    // JSON is YAML: it is read and checked as any document is.
    let source = Source::new("the changed configuration", after.to_string());
    let config = Config::load(source).map_err(TuningFault::Wrong)?;
    let changes = differences(&before, &written(&config));
    if changes.is_empty() {
        return Err(TuningFault::NothingNew);
    }
    let routes = affected(&config, &changes);
    Ok(Tuned { config, changes, routes })
}

fn written(config: &Config) -> Value {
    serde_json::to_value(config).expect("a configuration has no keys but text")
}

fn set(root: &mut Value, path: &str, value: &Value) -> Result<(), TuningFault> {
    let mut at = root;
    let mut steps = path.split('.').peekable();
    while let Some(step) = steps.next() {
        let nowhere = TuningFault::NotASection { path: path.to_owned(), at: at.to_string() };
        let section = at.as_object_mut().ok_or(nowhere)?;
        if steps.peek().is_none() {
            match value {
                Value::Null => section.remove(step),
                value => section.insert(step.to_owned(), value.clone()),
            };
            return Ok(());
        }
        at = section.entry(step).or_insert_with(|| Value::Object(serde_json::Map::new()));
    }
    Ok(())
}

/// What differs between two configurations, by leaves, in the order of their places.
pub fn differences(before: &Value, after: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(&mut String::new(), before, after, &mut changes);
    changes
}

fn compare(path: &mut String, from: &Value, to: &Value, changes: &mut Vec<Change>) {
    let is_section = |value: &Value| matches!(value, Value::Object(_) | Value::Null);
    if from == to {
        return;
    }
    if !(is_section(from) && is_section(to))
        || (from.is_null() && to == &Value::Object(serde_json::Map::new()))
    {
        changes.push(Change { path: path.clone(), from: from.clone(), to: to.clone() });
        return;
    }
    let names = |value: &Value| -> BTreeSet<String> {
        value.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    let length = path.len();
    for name in names(from).union(&names(to)) {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
        let part = |value: &Value| value.get(name).cloned().unwrap_or(Value::Null);
        compare(path, &part(from), &part(to), changes);
        path.truncate(length);
    }
}

/// Routes by whose lane, limits, policy or cache a change matters.
pub fn affected(config: &Config, changes: &[Change]) -> Vec<String> {
    let touched = |section: &str, name: &str| {
        let place = format!("{section}.{name}");
        changes.iter().any(|change| {
            change.path.strip_prefix(&place).is_some_and(|r| r.is_empty() || r.starts_with('.'))
        })
    };
    let by_policy = |name: &String| {
        let cache = config.cache_policies.get(name).map(|policy| policy.cache.as_str());
        touched("cache_policies", name) || cache.is_some_and(|cache| touched("caches", cache))
    };
    let routes = config.routes.iter().filter(|route| {
        touched("lanes", route.lane.as_str())
            || route.cache_policy.as_ref().is_some_and(by_policy)
            || route.rate_limits.iter().any(|limit| touched("rate_limits", limit))
            || route.buffer_policy.as_ref().is_some_and(|name| touched("buffer_policies", name))
    });
    routes.map(|route| route.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config() -> Config {
        let text = "version: 1
listeners: { a: { address: '127.0.0.1:0' } }
upstreams: { u: { servers: [ { address: '127.0.0.1:1' } ] } }
routes:
  - { name: live, match: { paths: [ { prefix: /live/ } ] }, upstream: u, lane: bulk, cache_policy: live }
  - { name: api, upstream: u, rate_limits: [ calls ] }
cache_policies: { live: { cache: main } }
caches: { main: { memory_max: 64MiB } }
rate_limits: { calls: { key: [ client ], rate: 9/s } }
";
        Config::load(Source::new("a.yaml", text)).unwrap()
    }

    fn tuned(sets: &[(&str, Value)]) -> Result<Tuned, TuningFault> {
        let sets = sets.iter().map(|(path, value)| ((*path).to_owned(), value.clone()));
        tune(&config(), &sets.collect())
    }

    #[test]
    fn a_change_is_shown_with_what_it_is_about() {
        let ttl = "cache_policies.live.freshness.ttl_default";
        let tuned = tuned(&[(ttl, json!("250ms")), ("lanes.bulk.requests_max", json!(7))]).unwrap();
        let change =
            |path: &str, from: Value, to: Value| Change { path: path.to_owned(), from, to };
        let expected = [
            change(ttl, Value::Null, json!("250ms")),
            change("lanes.bulk.requests_max", json!(4096), json!(7)),
        ];
        assert_eq!(
            (tuned.changes.as_slice(), tuned.routes),
            (expected.as_slice(), vec!["live".to_owned()])
        );
        assert_eq!(tuned.config.lanes.bulk.requests_max, 7);
    }

    #[test]
    fn routes_are_found_by_cache_and_limit_too() {
        let routes = |path: &str, value: Value| tuned(&[(path, value)]).unwrap().routes;
        assert_eq!(routes("caches.main.memory_max", json!("32MiB")), ["live"]);
        assert_eq!(routes("rate_limits.calls.rate", json!("5/s")), ["api"]);
        assert_eq!(routes("lanes.upload.requests_max", json!(3)), Vec::<String>::new());
    }

    #[test]
    fn null_brings_the_default_back() {
        let once = tuned(&[("lanes.bulk.requests_max", json!(7))]).unwrap().config;
        let sets = BTreeMap::from([("lanes.bulk.requests_max".to_owned(), Value::Null)]);
        assert_eq!(tune(&once, &sets).unwrap().config, config());
    }

    #[test]
    fn what_is_wrong_changes_nothing_and_says_why() {
        let told = |path: &str, value: Value| tuned(&[(path, value)]).unwrap_err().to_string();
        assert!(told("routes.0.lane", json!("bulk")).starts_with("`routes.0.lane` is no policy"));
        assert!(told("lanes", json!({})).contains("is no policy"));
        assert!(told("lanes.bulk.request_max", json!(1)).contains("did you mean `requests_max`"));
        assert!(told("lanes.bulk.requests_max", json!("many")).contains("requests_max"));
        assert!(told("caches.main.memory_max.x", json!(1)).contains("leads nowhere"));
        assert!(told("cache_policies.live.cache", json!("none")).contains("none"));
        assert!(told("lanes.bulk.requests_max", json!(4096)).contains("changes nothing"));
    }
}
