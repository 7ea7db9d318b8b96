//! How long purges take in a cache of a million small answers, and how long they hold its lock.
//!
//! `cargo bench -p forebay-proxy --bench purge`; another number of answers may follow after `--`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use forebay_proxy::cache::budget::Class;
use forebay_proxy::cache::freshness::Times;
use forebay_proxy::cache::key::Key;
use forebay_proxy::cache::object::{Blocks, Body, Head, Stored};
use forebay_proxy::cache::purge::Scope;
use forebay_proxy::cache::store::{Limits, Store};
use forebay_proxy::cache::tags::Tags;
use forebay_proxy::cache::vary::Selection;
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::http::ResponseHeader;

const BODY: &[u8] = &[7; 256];
/// Answers that share a tag.
const TAGGED: usize = 1000;

fn main() {
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let count: usize = count.unwrap_or(1_000_000);
    let scopes = [
        ("one URL", Scope::Uri(uri(7).into())),
        ("a tag of 1000", Scope::Tag("t1".into())),
        ("a prefix of 1/10", Scope::Prefix("http://a.example/films/1".into())),
        ("a tag of all", Scope::Tag("every".into())),
        ("everything", Scope::All),
    ];
    println!(
        "{:<18} {:>9} {:>14} {:>14} {:>16}",
        "purge", "answers", "in force", "taken out", "lock at most"
    );
    for (name, scope) in scopes {
        let mut store = filled(count);
        let begun = Instant::now();
        let id = store.begin_purge(scope, None).expect("no other purge is under way");
        let in_force = begun.elapsed();
        let (mut taken, mut longest) = (0, in_force);
        loop {
            let step = Instant::now();
            let swept = store.sweep(id);
            longest = longest.max(step.elapsed());
            taken += swept.count;
            if swept.done {
                break;
            }
        }
        let whole = begun.elapsed();
        println!(
            "{name:<18} {taken:>9} {:>14} {:>14} {:>16}",
            ms(in_force),
            ms(whole),
            ms(longest)
        );
    }
}

fn ms(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1000.0)
}

fn uri(number: usize) -> String {
    format!("http://a.example/films/{number}/segment.m4s")
}

fn filled(count: usize) -> Store {
    let memory_max = 1 << 40;
    let limits =
        Limits { memory_max, object_max: memory_max, large_max: memory_max, large_min: 1 << 20 };
    let mut store = Store::new(limits);
    let names = [HeaderName::from_static("surrogate-key")];
    let request = HeaderMap::new();
    for number in 0..count {
        let key = Key { uri: uri(number).into(), extras: Arc::new([]) };
        let mut response = ResponseHeader::build(200, None).expect("200 is a status");
        let tags = HeaderValue::from_str(&format!("every t{}", number / TAGGED));
        let tags = tags.expect("letters and digits");
        response.insert_header("surrogate-key", tags).expect("it was a header already");
        let tags = Tags::of(&response.headers, &names, &key.uri).unwrap_or_default();
        let (selection, times) = (Selection::default(), Times::spent(0));
        let length = Some(BODY.len() as u64);
        let head = Head { response, selection, times: None, length, tags, layout: None };
        let head_lease = store.reserve(Class::Small, head.cost(&key)).expect("there is room");
        let lease = store.reserve(Class::Small, BODY.len() as u64).expect("there is room");
        let mut blocks = Blocks::default();
        blocks.push(Bytes::from_static(BODY));
        let body = Arc::new(Body { blocks, pages: None, lease });
        store.put(Arc::new(Stored::new(key, Arc::new(head), times, body, head_lease)), &request);
    }
    store
}
