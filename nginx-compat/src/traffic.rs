//! How exactly each part of the traffic is translated: the requests of an access log, each held
//! against the route that takes it and the directives behind that route.

use std::collections::BTreeMap;

use proxy_config::matching::{Router, Target};
use serde::Serialize;

use crate::replay::requests::from_log;
use crate::report::{Share, share};
use crate::translate::Translation;
use crate::tree::{Directive, Document, walk};
use crate::verdict::Exactness;

/// Places shown by how many requests go there.
const PLACES_MAX: usize = 20;

#[derive(Clone, Debug, Serialize)]
pub struct Traffic {
    pub requests: usize,
    /// Lines that hold no request.
    pub strange: usize,
    pub shares: Vec<Share>,
    /// Where most of what is not exact goes.
    pub places: Vec<Place>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Place {
    /// `file:line`
    pub place: String,
    pub directive: String,
    pub exactness: Exactness,
    pub requests: usize,
    /// A request that goes there.
    pub example: String,
}

/// The traffic of a log whose requests all are for one host. None when nothing is translated.
pub fn traffic(
    document: &Document,
    translation: &Translation,
    log: &str,
    host: &str,
) -> Option<Traffic> {
    let config = translation.config.as_ref()?;
    let router = Router::new(config);
    let listener = config.listeners.keys().next().map_or("", String::as_str);
    let mut blocks: BTreeMap<usize, &Directive> = BTreeMap::new();
    walk(&document.directives, &mut |directive| {
        blocks.insert(directive.id, directive);
    });
    let (requests, strange) = from_log(log, ([127, 0, 0, 1], 80).into(), host);
    let mut counts: BTreeMap<(Exactness, Option<usize>), (usize, String)> = BTreeMap::new();
    for request in &requests {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let method = request.method.as_str();
        let target = Target { listener, host, path, query, method, headers: None };
        let block = router.find(&target).and_then(|index| translation.origins.blocks.get(index));
        let block = block.and_then(|id| blocks.get(id)).copied();
        let exactness = block.map_or(Exactness::Unsupported, |block| worst(block, translation));
        let key = (exactness, block.map(|block| block.id));
        let (count, _) = counts.entry(key).or_insert_with(|| (0, request.heading()));
        *count += 1;
    }
    let of = |exactness| {
        let fitting = counts.iter().filter(|((is, _), _)| *is == exactness);
        fitting.map(|(_, (count, _))| count).sum::<usize>()
    };
    let shares = Exactness::ALL.map(|exactness| share(exactness, of(exactness), requests.len()));
    let mut places: Vec<Place> = counts
        .iter()
        .filter(|((exactness, _), _)| *exactness != Exactness::Exact)
        .map(|((exactness, id), (requests, example))| {
            let block = id.and_then(|id| blocks.get(&id));
            Place {
                place: block.map_or_else(String::new, |block| document.files.line(block.start)),
                directive: block.map_or_else(|| "no location".to_owned(), |block| block.heading()),
                exactness: *exactness,
                requests: *requests,
                example: example.clone(),
            }
        })
        .collect();
    places.sort_by_key(|place| std::cmp::Reverse(place.requests));
    places.truncate(PLACES_MAX);
    Some(Traffic { requests: requests.len(), strange, shares: shares.to_vec(), places })
}

/// The worst verdict of a block and of what stands in it, locations inside it not counted.
fn worst(block: &Directive, translation: &Translation) -> Exactness {
    let own = translation.verdicts.get(block).map_or(Exactness::Exact, |verdict| verdict.exactness);
    let inner = block.children().iter().filter(|inner| inner.name != "location");
    inner.map(|inner| worst(inner, translation)).fold(own, Exactness::max)
}
