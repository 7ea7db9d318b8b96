//! `proxy_cache_path` and `proxy_cache`, and the same of `fastcgi`: a store for each zone that is used, a policy for each way
//! of using one.

use std::collections::BTreeMap;

use proxy_config::cache::Cache;
use proxy_config::cache_policy::CachePolicy;
use proxy_config::units::{ByteSize, Duration};

use crate::place::Files;
use crate::translate::cache_policy::{self, Lines};
use crate::translate::proxy_pass::PROXY;
use crate::translate::scope::Scope;
use crate::translate::slices;
use crate::translate::value::{size, slug, time, unique};
use crate::translate::variable::{Names, Place};
use crate::tree::Directive;
use crate::verdict::{Verdict, Verdicts};

/// What makes zones.
pub const PATHS: [&str; 2] = ["proxy_cache_path", "fastcgi_cache_path"];
/// nginx's default for `inactive`: how long an answer nobody asks for is kept, stale or not.
const INACTIVE: Duration = Duration::millis(600_000);
/// Where `max_size` says more, or nothing: nginx keeps answers on disk, Forebay in memory.
const MEMORY_MAX: ByteSize = ByteSize::mib(512);

/// A `keys_zone`, which is what locations name.
#[derive(Debug)]
struct Zone<'a> {
    directive: &'a Directive,
    max: Option<ByteSize>,
    inactive: Duration,
}

impl Zone<'_> {
    fn memory_max(&self) -> ByteSize {
        self.max.map_or(MEMORY_MAX, |max| max.min(MEMORY_MAX))
    }
}

/// The zones of a configuration, and what came of those in use.
#[derive(Debug, Default)]
pub struct Caches<'a> {
    zones: BTreeMap<&'a str, Zone<'a>>,
    pub caches: BTreeMap<String, Cache>,
    pub policies: BTreeMap<String, CachePolicy>,
    pub cache_origins: BTreeMap<String, Vec<String>>,
    pub policy_origins: BTreeMap<String, Vec<String>>,
}

impl<'a> Caches<'a> {
    pub fn new(paths: &[&'a Directive], verdicts: &mut Verdicts) -> Self {
        let mut zones = BTreeMap::new();
        for path in paths {
            match zone(path) {
                Ok((name, zone)) => drop(zones.insert(name, zone)),
                Err(why) => verdicts.add(path, Verdict::unsupported(why)),
            }
        }
        Self { zones, ..Self::default() }
    }

    /// The policy of a location, or none when it caches nothing. A location whose cache cannot be
    /// translated goes without: a wrong key would show one person's page to another.
    pub fn policy(
        &mut self,
        (family, location): (&'static str, &Scope<'_>),
        place: &Place,
        names: &mut Names<'_>,
        verdicts: &mut Verdicts,
        files: &Files,
    ) -> Option<String> {
        let lines = Lines { family, scope: location };
        let line = lines.one("cache").filter(|line| !line.has("off"))?;
        let zone = place.zone.as_deref().filter(|_| family == PROXY);
        let name = zone.unwrap_or_else(|| line.argument(0).unwrap_or_default());
        let zone = self.zones.get(name);
        let room = zone.map_or(MEMORY_MAX, Zone::memory_max);
        let policy = match zone {
            Some(zone) => cache_policy::read(lines, zone.inactive, (place, names), verdicts),
            None if name.is_empty() => return None,
            None => Err(format!("no {family}_cache_path has the zone {name:?}")),
        };
        match policy {
            Ok((policy, differences)) => {
                let slices = match family {
                    PROXY => slices::slices(location, room, verdicts),
                    _ => None,
                };
                let policy = CachePolicy { slices, ..policy };
                verdicts.add(line, Verdict::with_differences(&differences));
                Some(self.insert(name, policy, line, verdicts, files))
            }
            Err(why) => {
                let text = format!("goes uncached: {why}");
                verdicts.add(line, Verdict::unsupported(text.clone()));
                // What is in effect from outside may serve another location well.
                for directive in lines.own() {
                    verdicts.add(directive, Verdict::unsupported(text.clone()));
                }
                None
            }
        }
    }

    /// The zones there are, by name.
    pub fn zones(&self) -> Vec<String> {
        self.zones.keys().map(|name| (*name).to_owned()).collect()
    }

    fn insert(
        &mut self,
        zone_name: &str,
        policy: CachePolicy,
        line: &Directive,
        verdicts: &mut Verdicts,
        files: &Files,
    ) -> String {
        let cache = self.cache(zone_name, verdicts, files);
        let policy = CachePolicy { cache: cache.clone(), ..policy };
        if let Some((name, _)) = self.policies.iter().find(|(_, known)| **known == policy) {
            return name.clone();
        }
        let name = unique(&cache, |name| self.policies.contains_key(name));
        let origin = format!("{}: {}", files.line(line.start), line.heading());
        self.policy_origins.insert(name.clone(), vec![origin]);
        self.policies.insert(name.clone(), policy);
        name
    }

    /// The cache of a zone, made when it is first used.
    fn cache(&mut self, zone_name: &str, verdicts: &mut Verdicts, files: &Files) -> String {
        let name = match slug(zone_name) {
            slug if slug.is_empty() => "cache".to_owned(),
            slug => slug,
        };
        let Some(zone) = self.zones.get(zone_name) else { return name };
        if self.caches.contains_key(&name) {
            return name;
        }
        let memory_max = zone.memory_max();
        let cache = Cache::in_memory(memory_max);
        let object_memory_max = cache.object_memory_max.min(memory_max);
        let cache = Cache { object_memory_max, ..cache };
        let text = format!(
            "answers up to {} are kept in {memory_max} of memory, not on disk, the least recently \
             asked for going first; after a restart it is empty",
            cache.object_memory_max
        );
        verdicts.add(zone.directive, Verdict::approximate(text));
        let heading = format!("{}: {}", files.line(zone.directive.start), zone.directive.heading());
        self.cache_origins.insert(name.clone(), vec![heading]);
        self.caches.insert(name.clone(), cache);
        name
    }
}

fn zone(path: &Directive) -> Result<(&str, Zone<'_>), String> {
    let parameter =
        |name: &str| path.texts().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let keys = parameter("keys_zone").ok_or("nginx refuses it: it has no keys_zone")?;
    let (name, _) = keys.split_once(':').ok_or("nginx refuses it: keys_zone has no size")?;
    let max = match parameter("max_size") {
        None => None,
        Some(text) => Some(size(text).ok_or_else(|| format!("max_size={text} is no size"))?),
    };
    let inactive = match parameter("inactive") {
        None => INACTIVE,
        Some(text) => time(text).ok_or_else(|| format!("inactive={text} is no time"))?,
    };
    Ok((name, Zone { directive: path, max, inactive }))
}
