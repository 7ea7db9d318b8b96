//! What stands there for nobody, and what two would share that may not: neither could be deployed.

use proxy_config::{Config, Problem, Tree};

use crate::environment::{Document, uses_cache};

pub(super) fn faults(tree: &Tree, document: &Document, proxy: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |path: String, message: String, hint: &str| {
        let place = tree.place_of(&path);
        problems.push(Problem::new(path, place, message).hint(hint));
    };
    let workers = document.workers.values().map(|it| &it.uses);
    let uses: Vec<&String> =
        workers.chain(document.functions.values().map(|it| &it.uses)).flatten().collect();
    let used = |name: &str| uses.iter().any(|it| *it == name);
    if document.cache.is_some() && !uses_cache(proxy) && !used("cache") {
        let hint = "let a rate limit or the purges of a cache use it, name it in a worker's `uses`, or leave it out";
        refuse("cache".to_owned(), "nobody uses the cache".to_owned(), hint);
    }
    for name in document.databases.keys().filter(|name| !used(name)) {
        let hint = "name it in the `uses` of a worker or a function, or leave it out";
        refuse(format!("databases.{name}"), format!("nobody uses `{name}`"), hint);
    }
    if document.database.as_ref().is_some_and(|database| database.proxy) {
        for (name, _) in document.databases.iter().filter(|(_, database)| database.proxy) {
            let message = "whoever reaches it would reach the ledger's database too, which has a \
                proxy as well";
            let hint = "leave `proxy` out here, or in `database`";
            refuse(format!("databases.{name}.proxy"), message.to_owned(), hint);
        }
    }
    problems
}
