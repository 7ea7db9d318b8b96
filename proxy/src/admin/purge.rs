//! An order to purge, as the admin API takes it: which answers of which cache.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::task::JoinHandle;

use crate::admin::followed::{self, Place};
use crate::cache::Cache;
use crate::cache::caches::Caches;
use crate::cache::key::put_authority;
use crate::cache::purge::{Busy, SWEEPS_MAX, Scope};
use crate::generation::Generation;
use crate::path::{TargetFault, normalize_target};

/// URLs, prefixes and tags in one order together.
const ITEMS_MAX: usize = 1024;
/// Of what one order purges, so much is under way at once: others order too.
const AT_ONCE_MAX: usize = SWEEPS_MAX / 2;
/// How soon is tried again where others have all room.
const AGAIN: Duration = Duration::from_millis(10);

/// What to purge. `http://`, `https://`, or `//` for both, begin a URL or prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Order {
    /// One cache; without it, all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<String>,
    /// All answers to these, whatever they vary by.
    pub urls: Vec<String>,
    /// All whose URL begins so; a prefix is compared as it is written.
    pub prefixes: Vec<String>,
    pub tags: Vec<String>,
    /// Everything.
    pub all: bool,
    /// Stale instead of gone: what stale answers may be used for, these are.
    pub soft: bool,
}

/// What was purged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Answers in all caches.
    pub purged: usize,
    pub caches: BTreeMap<String, usize>,
    /// Caches whose `purge_redis` did not take it, so that other proxies do not know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub untold: Vec<String>,
    /// Routes that may have led URLs with these prefixes elsewhere, nobody can tell where: what they keep is left.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub not_followed: BTreeSet<String>,
}

/// Why an order was not carried out.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PurgeFault {
    #[error("nothing to purge: give `urls`, `prefixes`, `tags` or `all`")]
    Nothing,
    #[error("more than {ITEMS_MAX} URLs, prefixes and tags in one order")]
    TooMany,
    #[error("there is no cache `{0}`")]
    NoCache(String),
    #[error("`{0}` does not begin with http://HOST/, https://HOST/ or //HOST/")]
    NoUrl(String),
    #[error("`{url}`: {fault}")]
    Target { url: String, fault: TargetFault },
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error(
        "the order could not be planned, which is a fault of this proxy: its log has a line of it"
    )]
    Unplanned,
}

impl PurgeFault {
    pub fn status(&self) -> StatusCode {
        match self {
            PurgeFault::NoCache(_) => StatusCode::NOT_FOUND,
            PurgeFault::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            PurgeFault::Unplanned => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// Carries an order out. All of it is read before anything is purged.
pub async fn purge(
    order: Order,
    generation: Arc<Generation>,
    caches: &Caches,
) -> Result<Done, PurgeFault> {
    let count = order.urls.len() + order.prefixes.len() + order.tags.len();
    if count == 0 && !order.all {
        return Err(PurgeFault::Nothing);
    }
    if count > ITEMS_MAX {
        return Err(PurgeFault::TooMany);
    }
    let mut chosen = caches.all();
    if let Some(name) = &order.cache {
        chosen.retain(|cache| cache.name == *name);
        if chosen.is_empty() {
            return Err(PurgeFault::NoCache(name.clone()));
        }
    }
    let soft = order.soft;
    // Routes are many, and so may the URLs be.
    let planning = tokio::task::spawn_blocking(move || {
        let mut not_followed = BTreeSet::new();
        let mut work = Work::new();
        for cache in chosen {
            let scopes = scopes(&order, &generation, &cache, &mut not_followed)?;
            work.push((cache, scopes));
        }
        Ok::<_, PurgeFault>((work, not_followed))
    });
    let (work, not_followed) = planning.await.map_err(|_| PurgeFault::Unplanned)??;
    // Both at once: neither waits for what the other takes. What is refused here is told nobody.
    let telling = async { Ok(elsewhere(&work, soft).await) };
    let (counts, told) = tokio::try_join!(biased; here(&work, soft), telling)?;
    let mut done = Done {
        purged: counts.iter().sum(),
        caches: BTreeMap::new(),
        untold: Vec::new(),
        not_followed,
    };
    for ((cache, _), (count, told)) in work.iter().zip(counts.into_iter().zip(told)) {
        done.caches.insert(cache.name.clone(), count);
        if !told {
            done.untold.push(cache.name.clone());
        }
    }
    Ok(done)
}

/// What to purge in each cache.
type Work = Vec<(Arc<Cache>, Vec<Scope>)>;

/// Purges under way, each with the place of its cache.
type UnderWay = VecDeque<(usize, JoinHandle<usize>)>;

/// Purges here, and says how many answers of each cache; each scope is in force before the one before it is done.
///
/// Errors: there was no room for the first, and nothing was purged. The others wait for it: an order is carried out
/// whole.
async fn here(work: &Work, soft: bool) -> Result<Vec<usize>, Busy> {
    let mut counts = vec![0; work.len()];
    let mut under_way = UnderWay::new();
    let mut has_begun = false;
    for (at, (cache, scopes)) in work.iter().enumerate() {
        for scope in scopes {
            let begun = loop {
                match cache.begin_purge(scope, soft) {
                    Ok(begun) => break begun,
                    Err(busy) if !has_begun => return Err(busy),
                    Err(Busy) if under_way.is_empty() => tokio::time::sleep(AGAIN).await,
                    Err(Busy) => finish_oldest(&mut under_way, &mut counts).await,
                }
            };
            has_begun = true;
            let cache = Arc::clone(cache);
            // What is in force is carried out, whatever becomes of who ordered it.
            under_way.push_back((at, tokio::spawn(async move { cache.finish_purge(begun).await })));
            if under_way.len() >= AT_ONCE_MAX {
                finish_oldest(&mut under_way, &mut counts).await;
            }
        }
    }
    while !under_way.is_empty() {
        finish_oldest(&mut under_way, &mut counts).await;
    }
    Ok(counts)
}

async fn finish_oldest(under_way: &mut UnderWay, counts: &mut [usize]) {
    let Some((at, sweep)) = under_way.pop_front() else { return };
    // A panic there is a bug; the purge is in force all the same.
    counts[at] += sweep.await.unwrap_or_default();
}

/// Tells the other proxies; says of each cache whether they were.
async fn elsewhere(work: &Work, soft: bool) -> Vec<bool> {
    let mut told = Vec::new();
    for (cache, scopes) in work {
        told.push(cache.tell_others(scopes, soft).await);
    }
    told
}

fn scopes(
    order: &Order,
    generation: &Generation,
    cache: &Arc<Cache>,
    not_followed: &mut BTreeSet<String>,
) -> Result<Vec<Scope>, PurgeFault> {
    if order.all {
        return Ok(vec![Scope::All]);
    }
    let mut scopes = Vec::new();
    for prefix in &order.prefixes {
        let (schemes, host, rest) = parts(prefix)?;
        let begin = |scheme: &&str| {
            let mut begin = format!("{scheme}://");
            match rest {
                // It may be the beginning of a host.
                "" => begin.push_str(host),
                _ => put_authority(scheme, host, &mut begin),
            }
            begin.make_ascii_lowercase();
            begin + rest
        };
        for scheme in schemes {
            scopes.push(Scope::Prefix(begin(scheme).into()));
            let (begins, lost) =
                followed::prefixes(generation, Place { scheme, host, target: rest });
            scopes.extend(begins.into_iter().map(|begin| Scope::Prefix(begin.into())));
            not_followed.extend(lost);
        }
    }
    for url in &order.urls {
        let (schemes, host, target) = parts(url)?;
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let target = normalize_target(target.as_bytes())
            .map_err(|fault| PurgeFault::Target { url: url.clone(), fault })?;
        let target = String::from_utf8_lossy(&target);
        // What a URL is stored under depends on the policy: some of its parameters may not count.
        for policy in generation.routes.cache_policies().filter(|p| Arc::ptr_eq(&p.cache, cache)) {
            let uris = schemes.iter().flat_map(|scheme| {
                let key = &policy.key;
                [key.uri(scheme, host, &target), key.uri_as_written(scheme, host, &target)]
            });
            scopes.extend(uris.map(Scope::Uri));
        }
        for scheme in schemes {
            let place = Place { scheme, host, target: &target };
            scopes.extend(
                followed::uris(generation, place).into_iter().map(|uri| Scope::Uri(uri.into())),
            );
        }
    }
    scopes.extend(order.tags.iter().map(|tag| Scope::Tag(tag.as_str().into())));
    // Policies that agree would purge the same twice.
    let mut once: Vec<Scope> = Vec::new();
    for scope in scopes {
        if !once.contains(&scope) {
            once.push(scope);
        }
    }
    Ok(once)
}

/// Schemes, host, and what follows them.
fn parts(url: &str) -> Result<(&'static [&'static str], &str, &str), PurgeFault> {
    let begins =
        |begin: &str| url.get(..begin.len()).is_some_and(|is| is.eq_ignore_ascii_case(begin));
    let (schemes, rest): (&'static [&'static str], _) = if begins("http://") {
        (&["http"], &url[7..])
    } else if begins("https://") {
        (&["https"], &url[8..])
    } else if begins("//") {
        (&["http", "https"], &url[2..])
    } else {
        return Err(PurgeFault::NoUrl(url.to_owned()));
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, rest) = rest.split_at(end);
    if host.is_empty() {
        return Err(PurgeFault::NoUrl(url.to_owned()));
    }
    Ok((schemes, host, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_come_apart() {
        let both: &[&str] = &["http", "https"];
        assert_eq!(parts("HTTP://A.example/b?c"), Ok((&both[..1], "A.example", "/b?c")));
        assert_eq!(parts("https://a.example?c"), Ok((&both[1..], "a.example", "?c")));
        assert_eq!(parts("//a.example:8080"), Ok((both, "a.example:8080", "")));
        for wrong in ["", "/a", "a.example/b", "http:///b", "//", "ftp://a/b", "é"] {
            assert_eq!(parts(wrong), Err(PurgeFault::NoUrl(wrong.to_owned())), "{wrong}");
        }
    }
}
