//! Malformed and smuggling requests, as files of raw cases (`corpus/*.txt`), against an origin that guesses at nothing.

use crate::client::Client;
use crate::harness::Proxy;
use crate::raw_http2::{self, Field, Outcome};
use crate::strict_origin::{StrictOrigin, read_leniently};

/// A whole request that nobody must ever see.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";
const GET: &str = ":method = GET\n:scheme = http\n:authority = a.example\n:path = /x";
const POST: &str = ":method = POST\n:scheme = http\n:authority = a.example\n:path = /x";

struct Case<'a> {
    name: &'a str,
    expected: &'a str,
    lines: Vec<&'a str>,
}

fn cases(text: &str) -> Vec<Case<'_>> {
    let mut cases: Vec<Case<'_>> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            cases.push(Case { name, expected: "", lines: Vec::new() });
        } else if let Some(case) = cases.last_mut() {
            match line.strip_prefix("> ") {
                Some(expected) => case.expected = expected,
                None if !line.is_empty() => case.lines.push(line),
                None => {}
            }
        }
    }
    cases
}

/// The bytes a text stands for.
fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (taken, made) = match first {
            '{' => {
                let end = rest.find('}').unwrap();
                (end + 1, abbreviated(&rest[1..end]))
            }
            '\\' => escaped(&rest[1..]),
            other => (other.len_utf8(), other.to_string().into_bytes()),
        };
        out.extend(made);
        rest = &rest[taken..];
    }
    out
}

fn abbreviated(name: &str) -> Vec<u8> {
    match name {
        "H" => b"Host: a.example\r\n".to_vec(),
        "C" => b"Transfer-Encoding: chunked\r\n".to_vec(),
        "M" => SMUGGLED.as_bytes().to_vec(),
        many => {
            let (count, text) = many.split_once('*').unwrap();
            bytes(text).repeat(count.parse().unwrap())
        }
    }
}

fn escaped(text: &str) -> (usize, Vec<u8>) {
    match text.as_bytes()[0] {
        b'r' => (2, b"\r".to_vec()),
        b'n' => (2, b"\n".to_vec()),
        b't' => (2, b"\t".to_vec()),
        b'\\' => (2, b"\\".to_vec()),
        b'x' => (4, vec![u8::from_str_radix(&text[1..3], 16).unwrap()]),
        other => panic!("\\{}", char::from(other)),
    }
}

fn proxy(origin: &StrictOrigin) -> Proxy {
    let upstream = crate::harness::upstream(&[origin.address]);
    let private = "{ name: private, match: { paths: [ { prefix: /private/ }, { exact: /private } ] }, respond: { status: 403 } }";
    Proxy::with_listener(
        ", timeouts: { head: 2s, body: 2s }",
        &format!(
            "upstreams: {{ u: {upstream} }}\nroutes: [ {private}, {{ name: all, upstream: u }} ]"
        ),
    )
}

/// What is wrong with how a case went.
fn judge(case: &Case<'_>, statuses: &[u16], bodies: &[String], seen: &[String]) -> Option<String> {
    let fine = match case.expected.split_once(' ').unwrap_or((case.expected, "")) {
        ("refused" | "broken", "") => {
            seen.is_empty() && statuses.iter().all(|status| *status >= 400)
        }
        ("safe", "") => seen.iter().all(|line| {
            let path = read_leniently(line.split_once(' ').map_or("", |(_, target)| target));
            !path.starts_with("/private") && !path.starts_with("/smuggled")
        }),
        ("taken", line) => statuses == [200] && bodies == [line] && seen == [line],
        ("pipelined", lines) => {
            let lines: Vec<&str> = lines.split(" | ").collect();
            bodies == lines.as_slice() && seen == lines.as_slice()
        }
        _ => panic!("{}: expected what? {:?}", case.name, case.expected),
    };
    (!fine).then(|| {
        format!(
            "{}: expected {}, got {statuses:?} {bodies:?}; the origin saw {seen:?}",
            case.name, case.expected
        )
    })
}

fn lines(origin: &StrictOrigin) -> Vec<String> {
    origin.whole().iter().map(|whole| format!("{} {}", whole.method, whole.target)).collect()
}

#[test]
fn no_request_over_http1_is_read_in_two_ways() {
    let origin = StrictOrigin::start();
    let proxy = proxy(&origin);
    let cases = cases(include_str!("corpus/http1.txt"));
    assert!(cases.len() >= 200, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let before = origin.whole().len();
        let sent: Vec<u8> = case.lines.iter().flat_map(|line| bytes(line)).collect();
        let mut client = Client::to(proxy.public);
        // A proxy that has refused what came first need not read the rest.
        let _ = client.try_send(sent);
        if case.expected == "broken" {
            client.end();
        }
        let answers = case.expected.split(" | ").count();
        let (mut statuses, mut bodies) = (Vec::new(), Vec::new());
        while let Some(answer) = client.response(false) {
            statuses.push(answer.status);
            bodies.push(String::from_utf8_lossy(&answer.body).into_owned());
            if statuses.len() == answers {
                // Whatever comes now was not asked for.
                client.end();
            }
        }
        wrong.extend(judge(case, &statuses, &bodies, &lines(&origin)[before..]));
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert_eq!(origin.faults(), Vec::<String>::new());
    assert_eq!(proxy.get("/after").status, 200);
    assert!(!lines(&origin).iter().any(|line| line.contains("smuggled")));
}

fn field(text: &str) -> Field {
    let (name, value) = text.split_once(" =").unwrap();
    (bytes(name), bytes(value.strip_prefix(' ').unwrap_or(value)))
}

#[test]
fn no_request_over_http2_becomes_another_over_http1() {
    let origin = StrictOrigin::start();
    let proxy = proxy(&origin);
    let cases = cases(include_str!("corpus/http2.txt"));
    assert!(cases.len() >= 40, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let before = origin.whole().len();
        let (mut head, mut body, mut trailers) = (Vec::new(), None, Vec::new());
        for line in case.lines.iter().flat_map(|line| match *line {
            "{G}" => GET.lines().collect(),
            "{P}" => POST.lines().collect(),
            line => vec![line],
        }) {
            match (line.strip_prefix("body = "), line.strip_prefix("trailer ")) {
                (Some(text), _) => body = Some(bytes(text)),
                (None, Some(text)) => trailers.push(field(text)),
                (None, None) => head.push(field(line)),
            }
        }
        let outcome = raw_http2::ask(proxy.public, &head, body.as_deref(), &trailers);
        let seen = &lines(&origin)[before..];
        // What the origin says names the request; the proxy's own answers are JSON or empty.
        let (statuses, bodies) = match &outcome {
            Outcome::Answered(body) => {
                let body = String::from_utf8_lossy(body).into_owned();
                let own = body.is_empty() || body.starts_with('{');
                (vec![if own { 400 } else { 200 }], vec![body])
            }
            Outcome::Reset | Outcome::Closed => (Vec::new(), Vec::new()),
        };
        wrong.extend(judge(case, &statuses, &bodies, seen));
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert_eq!(origin.faults(), Vec::<String>::new());
    assert_eq!(proxy.get("/after").status, 200);
}
