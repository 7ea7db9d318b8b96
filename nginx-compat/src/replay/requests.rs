//! What is asked: requests made from the configuration itself, or those of an access log.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::replay::http2::can_say;
use crate::translate::listen;
use crate::tree::{Body, Directive, Document, flattened, walk};

/// Requests of one replay.
pub const REQUESTS_MAX: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// The address of the configuration it is sent to.
    pub listen: SocketAddr,
    pub host: String,
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// Asked by HTTP/2, and not by HTTP/1.1.
    pub http2: bool,
}

impl Request {
    pub fn get(listen: SocketAddr, host: &str, target: &str) -> Request {
        Request {
            listen,
            host: host.to_owned(),
            method: "GET".to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: String::new(),
            http2: false,
        }
    }

    pub fn has(&self, header: &str) -> bool {
        self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(header))
    }

    /// `GET shop.example/cart (Range: bytes=0-1)`
    pub fn heading(&self) -> String {
        let over = if self.http2 { " over HTTP/2" } else { "" };
        let headers: Vec<String> =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let with =
            if headers.is_empty() { String::new() } else { format!(" ({})", headers.join("; ")) };
        format!("{} {}{}{with}{over}", self.method, self.host, self.target)
    }
}

/// The same by HTTP/2, behind them, where the listener speaks it and HTTP/2 can say it.
pub fn with_http2(requests: &[Request], speaking: &BTreeSet<SocketAddr>) -> Vec<Request> {
    let sayable = |request: &&Request| speaking.contains(&request.listen) && can_say(request);
    let again = requests.iter().filter(sayable).cloned();
    let again = again.map(|request| Request { http2: true, ..request });
    requests.iter().cloned().chain(again).collect()
}

/// When the files of a replay were written, and what its upstream answers with.
pub const WRITTEN: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

/// For every server, name and location: the path itself, beside it, below it, without its slash,
/// with a query, escaped; each location with HEAD and POST, in part and under conditions too; a host nobody has.
pub fn generated(document: &Document) -> Vec<Request> {
    let mut requests = BTreeSet::new();
    walk(&document.directives, &mut |server| {
        if server.name == "server" && matches!(server.body, Body::Block(_)) {
            of_server(server, &mut requests);
        }
    });
    requests.into_iter().take(REQUESTS_MAX).collect()
}

fn of_server(server: &Directive, requests: &mut BTreeSet<Request>) {
    let lines = flattened(server.children());
    let listens: Vec<SocketAddr> = lines
        .iter()
        .filter(|line| line.name == "listen")
        .filter_map(|line| listen::parse(line).ok()?.address.socket())
        .collect();
    let listens = if listens.is_empty() { vec![listen::ASSUMED] } else { listens };
    let mut hosts: Vec<String> = lines
        .iter()
        .filter(|line| line.name == "server_name")
        .flat_map(|line| line.texts())
        .filter_map(host)
        .collect();
    hosts.push("nobody.invalid".to_owned());
    let mut paths = Vec::new();
    locations(server, &mut paths);
    paths.push("/".to_owned());
    for listen in listens {
        for host in &hosts {
            for path in &paths {
                for target in targets(path) {
                    requests.insert(Request::get(listen, host, &target));
                }
                let get = Request::get(listen, host, path);
                let body = "amount=1250&currency=EUR".to_owned();
                requests.insert(Request { method: "HEAD".to_owned(), ..get.clone() });
                requests.insert(Request { method: "POST".to_owned(), body, ..get.clone() });
                for headers in [
                    &[("Accept-Encoding", "gzip"), ("X-Forwarded-For", "192.0.2.7")][..],
                    &[("If-Modified-Since", WRITTEN)],
                    &[("If-Modified-Since", "Fri, 02 Jan 2026 00:00:00 GMT")],
                    &[("Range", "bytes=2-5")],
                    &[("Range", "bytes=0-0,-2"), ("Referer", "http://elsewhere.invalid/")],
                ] {
                    let own =
                        |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
                    let headers = headers.iter().map(own).collect();
                    requests.insert(Request { headers, ..get.clone() });
                }
            }
        }
    }
}

fn locations(block: &Directive, paths: &mut Vec<String>) {
    for location in flattened(block.children()).into_iter().filter(|l| l.name == "location") {
        let words: Vec<&str> = location.texts().collect();
        let path = match words.as_slice() {
            ["~" | "~*", pattern] => sample(pattern),
            ["=" | "^~", path] | [path] if path.starts_with('/') => Some((*path).to_owned()),
            _ => None,
        };
        // What needs escapes in a target is not what a location's text asks.
        paths.extend(path.filter(|path| path.bytes().all(|byte| byte.is_ascii_graphic())));
        locations(location, paths);
    }
}

fn targets(path: &str) -> Vec<String> {
    let mut targets = vec![
        path.to_owned(),
        format!("{path}?a=1&b=%2F"),
        format!("{path}x"),
        format!("{path}/deep/er.txt"),
        format!("{path}%7Eescaped"),
        format!("{path}/a/../b"),
    ];
    if let Some(bare) = path.strip_suffix('/').filter(|bare| !bare.is_empty()) {
        targets.push(bare.to_owned());
    }
    targets
}

/// A name a server answers to; none for a regular expression.
fn host(name: &str) -> Option<String> {
    match name {
        "_" | "" => None,
        name if name.starts_with('~') => None,
        name if name.starts_with("*.") => Some(format!("deep.er{}", &name[1..])),
        name if name.starts_with('.') => Some(name[1..].to_owned()),
        name if name.ends_with(".*") => Some(format!("{}example", &name[..name.len() - 1])),
        name => Some(name.to_owned()),
    }
}

/// A path that an expression of the usual forms takes: `\.php$`, `^/api/`, `\.(jpg|png)$`.
fn sample(pattern: &str) -> Option<String> {
    let mut path = String::new();
    let mut rest = pattern.trim_start_matches('^').chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => path.push(rest.next().filter(|c| !c.is_ascii_alphanumeric())?),
            '$' if rest.peek().is_none() => {}
            '(' => {
                let group: String = rest.by_ref().take_while(|c| *c != ')').collect();
                let group = group.trim_start_matches("?:");
                path.push_str(group.split('|').next().filter(|word| is_plain(word))?);
            }
            '.' if rest.peek().is_some_and(|c| "*+".contains(*c)) => {
                rest.next();
                path.push_str("any");
            }
            c if "[]{}*+?|)^$".contains(c) => return None,
            c => path.push(c),
        }
    }
    Some(if path.starts_with('/') { path } else { format!("/page{path}") })
}

fn is_plain(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_alphanumeric() || "-_/".contains(c))
}

/// The requests of an access log in which each line has the request in quotes, as `combined` has:
/// `"GET /path HTTP/1.1"`. Other lines are counted. They all go to one listener and host.
pub fn from_log(text: &str, listen: SocketAddr, host: &str) -> (Vec<Request>, usize) {
    let (mut requests, mut strange) = (Vec::new(), 0);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match logged(line) {
            Some((method, target)) if requests.len() < REQUESTS_MAX => {
                let method = method.to_owned();
                requests.push(Request { method, ..Request::get(listen, host, target) });
            }
            Some(_) => {}
            None => strange += 1,
        }
    }
    (requests, strange)
}

fn logged(line: &str) -> Option<(&str, &str)> {
    line.split('"').find_map(|quoted| {
        let mut words = quoted.split(' ');
        let (method, target, protocol) = (words.next()?, words.next()?, words.next()?);
        let is_request = protocol.starts_with("HTTP/")
            && words.next().is_none()
            && target.starts_with('/')
            && method.bytes().all(|byte| byte.is_ascii_uppercase());
        (is_request && !target.contains('\\')).then_some((method, target))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::include::Includes;
    use crate::parse::parse_bytes;

    #[test]
    fn expressions_of_the_usual_forms_have_a_sample() {
        let cases = [
            (r"\.php$", Some("/page.php")),
            (r"^/api/v1/", Some("/api/v1/")),
            (r"\.(jpg|png)$", Some("/page.jpg")),
            (r"^/user/(?:a|b)/.*$", Some("/user/a/any")),
            (r"/\.(?!well-known)", None),
            (r"[a-z]+", None),
            (r"\d+", None),
        ];
        for (pattern, expected) in cases {
            assert_eq!(sample(pattern).as_deref(), expected, "{pattern}");
        }
    }

    #[test]
    fn every_server_name_and_location_is_asked() {
        let text = "http { server { listen 81; server_name a.example *.b.example; location /x/ { } \
                    location = /y { } } }";
        let document = parse_bytes("t", text.as_bytes(), Includes::Unfollowed).document;
        let requests = generated(&document);
        let asked = |heading: &str| requests.iter().any(|request| request.heading() == heading);
        for heading in [
            "GET a.example/x/",
            "GET a.example/x",
            "POST deep.er.b.example/y",
            "HEAD nobody.invalid/",
            "GET a.example/y?a=1&b=%2F",
        ] {
            assert!(asked(heading), "{heading}");
        }
        assert!(requests.iter().all(|request| request.listen.port() == 81));
    }

    #[test]
    fn what_a_listener_of_http2_is_asked_it_is_asked_by_it_too() {
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let requests = [81, 82].map(|port| Request::get(at(port), "a.example", "/x"));
        let all = with_http2(&requests, &BTreeSet::from([at(82)]));
        assert_eq!(all.len(), 3);
        assert_eq!(all[2].heading(), "GET a.example/x over HTTP/2");
        assert_eq!(all[2].listen, at(82));
    }

    #[test]
    fn a_log_gives_its_requests_and_counts_what_it_cannot_read() {
        let log = "192.0.2.1 - - [27/Nov/2026:10:00:00 +0000] \"GET /a?b HTTP/1.1\" 200 12 \"-\" \"x\"\n\
                   192.0.2.1 - - [27/Nov/2026:10:00:00 +0000] \"\\x16\\x03\" 400 0 \"-\" \"-\"\n\n";
        let (requests, strange) = from_log(log, ([127, 0, 0, 1], 80).into(), "a.example");
        assert_eq!((requests.len(), strange), (1, 1));
        assert_eq!(requests[0].heading(), "GET a.example/a?b");
    }
}
