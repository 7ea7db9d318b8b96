//! Rules for lanes, policies, caches, limits, maps and the rest.

use std::collections::BTreeSet;
use std::path::Path;

use crate::cache_policy::{CachePolicy, Slices};
use crate::config::Config;
use crate::findings::{Findings, child, item};
use crate::lane::BODIES_AT_WORST;
use crate::rate_limit::{RateLimit, WhenOver};
use crate::telemetry::Endpoint;
use crate::units::ByteSize;
use crate::validate_buffers;

/// Slices fetched ahead of one reader at most.
const READ_AHEAD_MAX: u32 = 16;

pub(crate) fn check(config: &Config, findings: &mut Findings<'_>) {
    check_lanes(config, findings);
    findings.names("buffer_policies", &config.buffer_policies, "a buffer policy");
    for (name, policy) in &config.buffer_policies {
        validate_buffers::check(policy, &child("buffer_policies", name), findings);
    }
    findings.names("cache_policies", &config.cache_policies, "a cache policy");
    for (name, policy) in &config.cache_policies {
        check_cache_policy(config, policy, &child("cache_policies", name), findings);
    }
    check_caches(config, findings);
    findings.names("rate_limits", &config.rate_limits, "a rate limit");
    for (name, limit) in &config.rate_limits {
        check_rate_limit(limit, &child("rate_limits", name), findings);
    }
    check_maps(config, findings);
    check_rest(config, findings);
}

fn check_lanes(config: &Config, findings: &mut Findings<'_>) {
    for (name, lane) in config.lanes.iter() {
        let path = child("lanes", name.as_str());
        let limits = [
            ("requests_max", Some(lane.requests_max)),
            ("connections_max", lane.connections_max),
            ("upstream_connections_max", lane.upstream_connections_max),
            ("origin_concurrency_max", lane.origin_concurrency_max),
        ];
        for (key, limit) in limits {
            if let Some(limit) = limit {
                findings.not_zero(format!("{path}.{key}"), limit);
            }
        }
        if lane.memory_max.is_some_and(|memory| memory < BODIES_AT_WORST) {
            let message = format!("the bodies of one request may need {BODIES_AT_WORST}");
            let hint = format!("at least {BODIES_AT_WORST}, times the requests at once");
            findings.add(format!("{path}.memory_max"), message, hint);
        }
        if let Some(bandwidth) = lane.bandwidth_max {
            findings.not_zero(format!("{path}.bandwidth_max"), bandwidth.0.as_bytes());
        }
        if lane.waiting_max.is_some_and(|max| max > 0)
            && config.lanes.waiting(name).time_max.is_zero()
        {
            let hint = "add `waiting_time_max: 1s`";
            findings.add(format!("{path}.waiting_max"), "requests would wait for ever", hint);
        }
        if lane.waiting_time_max.is_some() && config.lanes.waiting(name).max == 0 {
            let hint = "add `waiting_max`, how many requests may wait";
            findings.add(format!("{path}.waiting_time_max"), "no request may wait at all", hint);
        }
        if let Some(spill) = &lane.spill {
            absolute(&spill.path, format!("{path}.spill.path"), findings);
            findings.not_zero(format!("{path}.spill.bytes_max"), spill.bytes_max.as_bytes());
        }
    }
}

fn check_cache_policy(
    config: &Config,
    policy: &CachePolicy,
    path: &str,
    findings: &mut Findings<'_>,
) {
    findings.must_exist(format!("{path}.cache"), &policy.cache, "caches", &config.caches);
    if let Some(origin) = &policy.key.origin {
        let wrong = origin.is_empty() || !origin.bytes().all(|b| b.is_ascii_graphic() && b != b'?');
        let message = match (wrong, policy.key.text.is_some()) {
            (true, _) => Some(format!("`{origin}` is no origin")),
            (_, true) => Some("with `text` nothing else counts".to_owned()),
            (false, false) => None,
        };
        if let Some(message) = message {
            let hint = "write one such as `http://backend`, or leave it out";
            findings.add(format!("{path}.key.origin"), message, hint);
        }
    }
    if !policy.key.claims.is_empty() && policy.key.text.is_some() {
        let message = "with `text` nothing else counts";
        let hint = "write the claim into the text, as `$claim_NAME`, or leave `text` out";
        findings.add(format!("{path}.key.claims"), message, hint);
    }
    findings.not_zero(format!("{path}.uses_min"), policy.uses_min);
    for status in policy.freshness.ttl_by_status.keys() {
        let is_status = status.parse::<u16>().is_ok_and(|status| (200..600).contains(&status));
        if !is_status {
            let place = child(&format!("{path}.freshness.ttl_by_status"), status);
            findings.add(place, format!("`{status}` is not a status"), "write one such as `404`");
        }
    }
    for (index, name) in policy.tag_headers.iter().enumerate() {
        if name.parse::<http::HeaderName>().is_err() {
            let place = item(format!("{path}.tag_headers"), index);
            let message = format!("`{name}` is not the name of a header");
            findings.add(place, message, "write one such as `Surrogate-Key`");
        }
    }
    if let Some(slices) = &policy.slices {
        check_slices(config, policy, slices, &format!("{path}.slices"), findings);
    }
    if let Some(body_max) = policy.body_max {
        findings.not_zero(format!("{path}.body_max"), body_max.as_bytes());
    }
}

/// Slices small enough to be kept and large enough to be worth a request, and few of them at once.
fn check_slices(
    config: &Config,
    policy: &CachePolicy,
    slices: &Slices,
    path: &str,
    findings: &mut Findings<'_>,
) {
    let (least, most) = (ByteSize::kib(64), ByteSize::mib(64));
    if slices.size < least || slices.size > most {
        let message = format!("slices of {} are not of use", slices.size);
        let hint = format!("write a size from {least} to {most}");
        findings.add(format!("{path}.size"), message, hint);
    } else if let Some(cache) = config.caches.get(&policy.cache) {
        let share = u128::from(cache.large_objects_max.hundredths());
        let room = u128::from(cache.memory_max.as_bytes()) * share / 10_000;
        if u128::from(slices.size.as_bytes()) > room {
            let message = "no slice has room in what the cache gives to large objects";
            let hint = "make it smaller, or the cache's `memory_max` or `large_objects_max` larger";
            findings.add(format!("{path}.size"), message, hint);
        }
    }
    if slices.read_ahead > READ_AHEAD_MAX {
        let message = format!("{} slices ahead of each reader are too many", slices.read_ahead);
        let hint = format!("write at most {READ_AHEAD_MAX}");
        findings.add(format!("{path}.read_ahead"), message, hint);
    }
}

fn check_caches(config: &Config, findings: &mut Findings<'_>) {
    findings.names("caches", &config.caches, "a cache");
    let mut folders = BTreeSet::new();
    for (name, cache) in &config.caches {
        let path = child("caches", name);
        findings.not_zero(format!("{path}.memory_max"), cache.memory_max.as_bytes());
        if cache.object_memory_max > cache.memory_max {
            let hint = format!("make it at most `memory_max` ({})", cache.memory_max);
            let message = "one object may be larger than the whole memory";
            findings.add(format!("{path}.object_memory_max"), message, hint);
        }
        if let Some(disk) = &cache.disk {
            absolute(&disk.path, format!("{path}.disk.path"), findings);
            if !folders.insert(&disk.path) {
                let message = format!("another cache is on disk in {}", disk.path.display());
                findings.add(format!("{path}.disk.path"), message, "give each its own directory");
            }
            findings.not_zero(format!("{path}.disk.bytes_max"), disk.bytes_max.as_bytes());
        }
        if let Some(url) = &cache.purge_redis {
            redis_url(url, format!("{path}.purge_redis"), findings);
        }
    }
}

fn check_rate_limit(limit: &RateLimit, path: &str, findings: &mut Findings<'_>) {
    findings.status(format!("{path}.status"), limit.status, 400, 599);
    if limit.key.is_empty() && limit.key_text.is_none() {
        findings.add(format!("{path}.key"), "nothing to count by", "write `key: [client]`");
    }
    if limit.rate.is_none() && limit.concurrency_max.is_none() && limit.bandwidth_max.is_none() {
        findings.add(path, "this limits nothing", "add `rate: 100/s`");
    }
    if let Some(rate) = limit.rate {
        findings.not_zero(format!("{path}.rate"), rate.count);
    }
    if let Some(concurrency) = limit.concurrency_max {
        findings.not_zero(format!("{path}.concurrency_max"), concurrency);
    }
    if let Some(bandwidth) = limit.bandwidth_max {
        findings.not_zero(format!("{path}.bandwidth_max"), bandwidth.0.as_bytes());
    }
    findings.not_zero(format!("{path}.burst"), limit.burst);
    findings.not_zero(format!("{path}.keys_max"), limit.keys_max);
    check_delay(limit, path, findings);
    if let Some(cluster) = &limit.cluster {
        redis_url(&cluster.redis, format!("{path}.cluster.redis"), findings);
        findings.time_not_zero(format!("{path}.cluster.timeout"), cluster.timeout);
    }
}

fn check_delay(limit: &RateLimit, path: &str, findings: &mut Findings<'_>) {
    if limit.when_over == WhenOver::Reject {
        return;
    }
    findings.time_not_zero(format!("{path}.delay_max"), limit.delay_max);
    findings.not_zero(format!("{path}.delayed_max"), limit.delayed_max);
    if limit.rate.is_none() {
        let hint = "add `rate: 100/s`; what is over `concurrency_max` is refused";
        findings.add(format!("{path}.when_over"), "nothing is delayed without a rate", hint);
    }
}

fn check_maps(config: &Config, findings: &mut Findings<'_>) {
    for (name, map) in &config.maps {
        let path = child("maps", name);
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.is_empty() || !name.chars().all(legal) {
            let message = format!("`{name}` cannot be the name of a variable");
            findings.add(&path, message, "use `a-z`, `0-9` and `_`");
        }
        if map.cases.is_empty() && map.shares.is_empty() {
            let hint = "add a case: `- { when: { exact: a }, value: b }`";
            findings.add(format!("{path}.cases"), "there is no case", hint);
        }
    }
}

fn check_rest(config: &Config, findings: &mut Findings<'_>) {
    let mut names = BTreeSet::new();
    for (index, token) in config.admin.tokens.iter().enumerate() {
        if !names.insert(&token.name) {
            let message = format!("another token is named `{}`", token.name);
            let place = format!("{}.name", item("admin.tokens", index));
            findings.add(place, message, "give each token a name of its own");
        }
    }
    findings.time("shutdown.drain", config.shutdown.drain);
    findings.time("shutdown.tunnels", config.shutdown.tunnels);
    if let Some(telemetry) = &config.telemetry {
        if Endpoint::parse(&telemetry.otlp_endpoint).is_none() {
            let message = format!("`{}` is not the URL of a collector", telemetry.otlp_endpoint);
            let hint = "write `http://127.0.0.1:4318`: scheme, host and port of OTLP over HTTP";
            findings.add("telemetry.otlp_endpoint", message, hint);
        }
        if telemetry.service_name.trim().is_empty() {
            let hint = "take it out, or write a name";
            findings.add("telemetry.service_name", "a service without a name", hint);
        }
    }
    for (index, path) in config.protected_paths.iter().enumerate() {
        absolute(path, item("protected_paths", index), findings);
    }
}

fn absolute(path: &Path, place: String, findings: &mut Findings<'_>) {
    if !path.is_absolute() {
        let message = format!("`{}` is not an absolute path", path.display());
        findings.add(place, message, "begin it with `/`");
    }
}

fn redis_url(url: &str, place: String, findings: &mut Findings<'_>) {
    if !url.starts_with("redis://") && !url.starts_with("rediss://") {
        let message = format!("`{url}` is not the URL of a Redis");
        findings.add(place, message, "write `redis://127.0.0.1:6379`");
    }
}
