//! A service that says who may ask, over the wire.

use crate::client::Response;
use crate::harness::{Proxy, dead_address};
use crate::origin::Origin;

fn ask(proxy: &Proxy, line: &str, fields: &str) -> Response {
    proxy.client().ask(&format!("{line} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"))
}

/// Answers by the status in `X-Token`.
fn service() -> Origin {
    Origin::start(|exchange| {
        let status = exchange.header("x-token").unwrap_or("401").to_owned();
        exchange.write(format!(
            "HTTP/1.1 {status} X\r\nContent-Length: 4\r\nX-User: ann\r\nX-Groups: a\r\nX-Groups: b\r\n\
             WWW-Authenticate: Basic realm=\"x\"\r\nWWW-Authenticate: Bearer\r\n\r\nskip"
        ))
    })
}

#[test]
fn another_service_says_who_may_ask() {
    let service = service();
    let origin = Origin::start(|exchange| {
        let Some(body) = exchange.body() else { return false };
        let user = exchange.header("x-user").unwrap_or("-").to_owned();
        let groups = exchange.head.to_ascii_lowercase().matches("x-groups:").count();
        let role = exchange.header("x-role").unwrap_or("-").to_owned();
        exchange.answer(&format!("{user} {groups} {role} {}", body.len()))
    });
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{}' }} ] }}, auth: {{ servers: [ {{ address: '{}' }} ] }}, dead: {{ servers: [ {{ address: '{}' }} ] }} }}\n\
         routes:\n\
         - {{ name: dead, match: {{ paths: [ {{ prefix: /dead/ }} ] }}, upstream: u, auth: {{ subrequest: {{ upstream: dead, path: /auth }} }} }}\n\
         - {{ name: all, upstream: u, cors: {{ origins: ['https://w.example'] }}, auth: {{ subrequest: {{ upstream: auth, path: '/auth?v=1', copy_headers: [x-user, x-groups, x-role] }} }} }}",
        origin.address,
        service.address,
        dead_address(),
    ));
    let token = "X-Token: 204\r\nX-User: mallory\r\nX-Role: admin\r\n";
    let passed = ask(&proxy, "POST /pay?x=1", &format!("{token}Content-Length: 5\r\n\r\nhello"));
    assert_eq!(passed.text(), "ann 2 - 5", "the service's word, not the client's");
    let asked = &service.heads()[0].to_ascii_lowercase();
    assert!(asked.starts_with("get /auth?v=1 http/1.1\r\n"), "{asked}");
    for field in
        ["x-original-uri: /pay?x=1\r\n", "x-original-method: post\r\n", "host: a.example\r\n"]
    {
        assert!(asked.contains(field), "{asked}");
    }
    assert!(!asked.contains("content-length: 5"), "{asked}");
    let refused = ask(&proxy, "GET /", "");
    assert_eq!(refused.status, 401);
    let challenges =
        refused.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case("www-authenticate"));
    assert_eq!(challenges.count(), 2);
    assert_eq!(ask(&proxy, "GET /", "X-Token: 403\r\n").status, 403);
    for (path, fields) in [("/", "X-Token: 500\r\n"), ("/", "X-Token: 302\r\n"), ("/dead/", "")] {
        assert_eq!(ask(&proxy, &format!("GET {path}"), fields).status, 500, "{path} {fields}");
    }
    let preflight = "Origin: https://w.example\r\nAccess-Control-Request-Method: GET\r\n";
    assert_eq!(ask(&proxy, "OPTIONS /", preflight).status, 204, "a preflight proves nothing");
    assert_eq!(origin.requests(), 1, "nobody who was refused got through");
    let count = |result: &str, route: &str| {
        let name = "forebay_proxy_auth_subrequests_total";
        proxy.metric(&format!("{name}{{result=\"{result}\",route=\"{route}\"}}"))
    };
    assert_eq!(
        (count("allowed", "all"), count("refused", "all"), count("failed", "all")),
        (1.0, 2.0, 2.0)
    );
    assert_eq!(count("failed", "dead"), 1.0);
    assert_eq!(proxy.log_of("/dead/")["error"].as_str(), Some("auth_failed"));
}

#[test]
fn what_the_service_answers_may_be_named_by_the_routes_other_texts() {
    let service = service();
    let origin = Origin::start(|exchange| {
        let name = exchange.header("x-name").unwrap_or("-").to_owned();
        exchange.answer(&name)
    });
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{}' }} ] }}, auth: {{ servers: [ {{ address: '{}' }} ] }} }}\n\
         routes:\n\
         - name: all\n\
         \x20 upstream: u\n\
         \x20 auth: {{ subrequest: {{ upstream: auth, path: /auth, set: {{ who: $answer_x_user, said: $answer_status }}, \
         request_headers: {{ set: {{ x-why: $request_uri, host: auth.example }}, remove: [ cookie ] }} }} }}\n\
         \x20 request_headers: {{ set: {{ x-name: '$who/$said' }} }}\n\
         \x20 response_headers: {{ set: {{ x-who: $who }} }}\n\
         \x20 error_pages: [ {{ statuses: [ 401 ], path: /sign-in, status: 403 }} ]",
        origin.address, service.address,
    ));
    let passed = ask(&proxy, "GET /x?y", "X-Token: 204\r\nCookie: a=b\r\n");
    assert_eq!((passed.status, passed.text()), (200, "ann/204".to_owned()));
    assert_eq!(passed.header("x-who"), Some("ann"));
    let asked = &service.heads()[0].to_ascii_lowercase();
    assert!(
        asked.contains("x-why: /x?y\r\n") && asked.contains("host: auth.example\r\n"),
        "{asked}"
    );
    assert!(!asked.contains("cookie:") && !asked.contains("x-original"), "{asked}");
}
