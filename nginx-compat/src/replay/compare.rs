//! Two answers and what the upstream saw of each: how they differ, and whether that was foretold.

use serde::Serialize;

use crate::replay::echo::Seen;
use crate::replay::stated::{self, Stated};
use crate::replay::wire::Answer;

/// One difference. Those with the same cause are one matter for whoever reads the account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub cause: String,
    /// What nginx and Forebay did.
    pub nginx: String,
    pub forebay: String,
    /// Why this was to be expected; none when it was not.
    pub stated: Option<&'static str>,
}

type Side<'a> = (&'a Result<Answer, String>, &'a [Seen]);

/// Fields of an answer that each server writes in its own way, or that belong to the connection.
const OWN_FIELDS: [&str; 10] = [
    "date",
    "server",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "cache-status",
    "age",
    "x-request-id",
    "via",
];

/// Fields of a request that belong to the connection to the upstream.
const HOP_FIELDS: [&str; 4] = ["connection", "keep-alive", "te", "transfer-encoding"];

/// All differences. Of an answer that was not translated only the status is looked at.
pub fn compare(nginx: Side<'_>, forebay: Side<'_>, stated: &Stated) -> Vec<Difference> {
    let ((by_nginx, seen_by_nginx), (by_forebay, seen_by_forebay)) = (nginx, forebay);
    let (by_nginx, by_forebay) = match (by_nginx, by_forebay) {
        (Ok(by_nginx), Ok(by_forebay)) => (by_nginx, by_forebay),
        // Closing without a word is seen as an end or as a reset, whichever comes first.
        (Err(a), Err(b)) if a == b || [a, b].iter().all(|why| closed(why)) => return Vec::new(),
        (a, b) => return vec![difference("no answer", &outcome(a), &outcome(b), None)],
    };
    let mut found = Vec::new();
    if by_nginx.status != by_forebay.status {
        let cause = format!("status {} became {}", by_nginx.status, by_forebay.status);
        let (a, b) = (by_nginx.status.to_string(), by_forebay.status.to_string());
        let why = stated::status(by_nginx, by_forebay, stated);
        found.push(difference(&cause, &a, &b, why));
        return found;
    }
    if stated.not_translated {
        return found;
    }
    if !upstream(seen_by_nginx, seen_by_forebay, stated, &mut found) {
        return found;
    }
    // Pages that neither got from the upstream are each server's own.
    if !seen_by_nginx.is_empty() || by_nginx.status < 300 {
        let why = stated.uncompressed.then_some("Forebay does not compress here; see gzip");
        headers(by_nginx, by_forebay, (why, stated), &mut found);
        if stated::decoded(by_nginx) != stated::decoded(by_forebay) {
            let [a, b] = [by_nginx, by_forebay].map(|answer| excerpt(&answer.body));
            let coded = !field(by_nginx, "content-encoding").is_empty();
            found.push(difference("body", &a, &b, why.filter(|_| coded)));
        }
    } else if let ((300..400, a), b) =
        ((by_nginx.status, field(by_nginx, "location")), field(by_forebay, "location"))
    {
        let (from, to) = (path_of(&a), path_of(&b));
        if from != to {
            found.push(difference("Location", &a, &b, stated::path(from, to)));
        }
    }
    found
}

/// Whether the connection of a client that was heard was closed. One that is left waiting is another matter.
fn closed(why: &str) -> bool {
    ["no answer that is HTTP", "Connection reset", "Broken pipe"]
        .iter()
        .any(|so| why.starts_with(so))
}

/// Whether what the client got can be held side by side after it.
fn upstream(
    nginx: &[Seen],
    forebay: &[Seen],
    stated: &Stated,
    found: &mut Vec<Difference>,
) -> bool {
    if nginx.len() != forebay.len() {
        let [a, b] = [nginx, forebay].map(|seen| format!("{} requests", seen.len()));
        found.push(difference(
            "requests to the upstream",
            &a,
            &b,
            stated::count(nginx, forebay, stated),
        ));
        return !stated.uncached;
    }
    for (a, b) in nginx.iter().zip(forebay) {
        if a.pool != b.pool {
            let lost = stated.lost_pools.contains(&a.pool);
            let why = lost.then_some("what leads to nginx's upstream is not translated");
            found.push(difference("upstream", &a.pool, &b.pool, why));
            return false;
        }
        if a.target != b.target {
            let why = stated::path(&a.target, &b.target);
            found.push(difference("target to the upstream", &a.target, &b.target, why));
        }
        if a.method != b.method {
            found.push(difference("method to the upstream", &a.method, &b.method, None));
        }
        if a.body != b.body {
            let (a, b) = (excerpt(&a.body), excerpt(&b.body));
            found.push(difference("body to the upstream", &a, &b, None));
        }
        request_fields(&a.headers, &b.headers, stated, found);
    }
    true
}

type Fields = [(String, String)];

fn request_fields(nginx: &Fields, forebay: &Fields, stated: &Stated, found: &mut Vec<Difference>) {
    for name in names(nginx, forebay) {
        if HOP_FIELDS.contains(&name) {
            continue;
        }
        let [a, b] = [nginx, forebay].map(|fields| values(fields, name));
        if a == b {
            continue;
        }
        let why = match name {
            // They frame the client's message, and say nothing that scripts are not told otherwise.
            "http_connection" | "http_content_length" | "http_content_type" => continue,
            // The two are asked on connections of their own.
            "remote_port" => continue,
            // nginx sends a length of nothing for a request without a body, Forebay none.
            "content-length" if [a.as_str(), b.as_str()].iter().all(|v| ["", "0"].contains(v)) => {
                continue;
            }
            _ => stated::told(name, &a, &b, stated),
        };
        found.push(difference(&format!("{name} to the upstream"), &a, &b, why));
    }
}

/// Fields that compression adds or changes.
const CODED: [&str; 4] = ["content-encoding", "vary", "etag", "accept-ranges"];

fn headers(
    nginx: &Answer,
    forebay: &Answer,
    (uncompressed, stated): (Option<&'static str>, &Stated),
    found: &mut Vec<Difference>,
) {
    for name in names(&nginx.headers, &forebay.headers) {
        let [a, b] = [nginx, forebay].map(|answer| values(&answer.headers, name));
        // A tag is compared with those of the same server only.
        let tags = name == "etag" && !a.is_empty() && !b.is_empty();
        if a != b && !tags && !OWN_FIELDS.contains(&name) {
            let why = uncompressed.filter(|_| CODED.contains(&name));
            let why = why.or_else(|| stated::field(name, &a, &b, (nginx.status, stated)));
            found.push(difference(&format!("{name} of the answer"), &a, &b, why));
        }
    }
}

fn names<'a>(a: &'a Fields, b: &'a Fields) -> Vec<&'a str> {
    let mut names: Vec<&str> = a.iter().chain(b).map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn values(fields: &Fields, name: &str) -> String {
    let values: Vec<&str> =
        fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect();
    values.join(", ")
}

fn field(answer: &Answer, name: &str) -> String {
    values(&answer.headers, name)
}

/// Without scheme and authority: the two listen on different ports.
fn path_of(location: &str) -> &str {
    match location.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => location,
    }
}

fn outcome(answer: &Result<Answer, String>) -> String {
    match answer {
        Ok(answer) => answer.status.to_string(),
        Err(error) => error.clone(),
    }
}

fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
    format!("{} bytes: {text:?}", body.len())
}

fn difference(cause: &str, nginx: &str, forebay: &str, stated: Option<&'static str>) -> Difference {
    Difference {
        cause: cause.to_owned(),
        nginx: nginx.to_owned(),
        forebay: forebay.to_owned(),
        stated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Result<Answer, String> {
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Ok(Answer { status, headers, body: body.as_bytes().to_vec() })
    }

    fn seen(pool: &str, target: &str, headers: &[(&str, &str)]) -> Vec<Seen> {
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let (method, body) = ("GET".to_owned(), Vec::new());
        vec![Seen { pool: pool.to_owned(), target: target.to_owned(), method, headers, body }]
    }

    fn causes(differences: &[Difference]) -> Vec<(&str, bool)> {
        differences.iter().map(|d| (d.cause.as_str(), d.stated.is_some())).collect()
    }

    #[test]
    fn what_counts_and_what_was_foretold() {
        let stated = Stated::default();
        let plain = answer(200, &[("date", "a"), ("x", "1")], "hi");
        let other = answer(200, &[("date", "b"), ("x", "2")], "ho");
        let (a, b) =
            (seen("p", "/", &[("host", "a")]), seen("p", "/?", &[("host", "b"), ("x", "")]));
        assert_eq!(compare((&plain, &a), (&plain, &a), &stated), []);
        assert_eq!(
            causes(&compare((&plain, &a), (&other, &b), &stated)),
            [
                ("target to the upstream", false),
                ("host to the upstream", false),
                ("x of the answer", false),
                ("body", false),
            ]
        );
        let gone = Err("Connection reset by peer (os error 104)".to_owned());
        assert_eq!(causes(&compare((&plain, &a), (&gone, &[]), &stated)), [("no answer", false)]);
        let [shut, deaf, hung] = [
            "no answer that is HTTP",
            "connect: Connection refused (os error 111)",
            "Resource temporarily unavailable (os error 11)",
        ]
        .map(|why| Err(why.to_owned()));
        assert_eq!(compare((&gone, &[]), (&shut, &[]), &stated), []);
        for other in [&deaf, &hung] {
            assert_eq!(
                causes(&compare((&gone, &[]), (other, &[]), &stated)),
                [("no answer", false)]
            );
        }
    }

    #[test]
    fn another_upstream_is_foretold_only_where_nothing_leads_to_nginxs() {
        let ok = answer(200, &[], "");
        let (a, b) = (seen("p", "/", &[]), seen("q", "/", &[]));
        let lost = Stated { lost_pools: ["p".to_owned()].into(), ..Stated::default() };
        let of = |stated: &Stated| compare((&ok, &a), (&ok, &b), stated);
        assert_eq!(causes(&of(&lost)), [("upstream", true)]);
        assert_eq!(causes(&of(&Stated::default())), [("upstream", false)]);
    }

    #[test]
    fn own_pages_may_differ_and_their_location_may_not() {
        let stated = Stated::default();
        let a = answer(301, &[("location", "http://h:1/x/")], "nginx");
        let b = answer(301, &[("location", "http://h:2/x/")], "");
        let c = answer(301, &[("location", "/y/")], "");
        assert_eq!(compare((&a, &[]), (&b, &[]), &stated), []);
        assert_eq!(causes(&compare((&a, &[]), (&c, &[]), &stated)), [("Location", false)]);
        let [bent, straight] =
            ["http://h/%7Ex", "http://h/~x"].map(|to| answer(301, &[("location", to)], ""));
        assert_eq!(causes(&compare((&bent, &[]), (&straight, &[]), &stated)), [("Location", true)]);
        assert_eq!(
            causes(&compare((&straight, &[]), (&bent, &[]), &stated)),
            [("Location", false)]
        );
    }

    #[test]
    fn what_scripts_and_servers_are_told_differs_by_the_normal_form_of_the_target_alone() {
        let ok = answer(200, &[], "");
        let told = |uri: &str, file: &str| {
            seen("p", uri, &[("request_uri", uri), ("script_filename", file)])
        };
        let of = |a: &[Seen], b: &[Seen]| {
            let found = compare((&ok, a), (&ok, b), &Stated::default());
            found.into_iter().map(|d| (d.cause, d.stated.is_some())).collect::<Vec<_>>()
        };
        let target = |stated| ("target to the upstream".to_owned(), stated);
        let uri = |stated| ("request_uri to the upstream".to_owned(), stated);
        assert_eq!(of(&told("/%7Ea", "/f"), &told("/~a", "/f")), [target(true), uri(true)]);
        assert_eq!(of(&told("/~a", "/f"), &told("/%7Ea", "/f")), [target(false), uri(false)]);
        let file = ("script_filename to the upstream".to_owned(), false);
        assert_eq!(of(&told("/a", "/f%7E"), &told("/a", "/f~")), [file]);
    }
}
