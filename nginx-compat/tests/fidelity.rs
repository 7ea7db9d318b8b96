//! Lines that are easily overlooked: harmless in nginx, they must not stop a start; with an effect there, they must have it
//! here.

use forebay_nginx::include::Includes;
use forebay_nginx::parse::parse_bytes;
use forebay_nginx::report::Report;
use forebay_nginx::translate::translate;
use forebay_nginx::verdict::Exactness;
use http::translated;
use proxy_config::{Config, Route};

#[path = "translated/http.rs"]
mod http;

/// One of which nothing is unsupported.
fn whole(http: &str) -> Config {
    let (config, report) = translated(http);
    let lost: Vec<_> = report.unsupported().map(|item| (&item.directive, &item.text)).collect();
    assert!(lost.is_empty(), "{http}: {lost:?}");
    config
}

fn server(inner: &str) -> String {
    format!("server {{ listen 80; server_name a.example; {inner} }}")
}

fn json(route: &Route) -> String {
    serde_json::to_string(route).expect("a route is JSON")
}

const PASS: &str = "proxy_pass http://10.0.0.1;";

const PASS_ALL: &str = "location / { proxy_pass http://10.0.0.1; }";

#[test]
fn lines_that_are_in_effect_nowhere_stop_nothing() {
    let proxied = server(&format!("location / {{ proxy_set_header Host $host; {PASS} }}"));
    let edited =
        server(&format!("add_header Strict-Transport-Security x; location / {{ {PASS} }}"));
    for (http, line, rest) in [
        ("", "proxy_set_header X-A b;", proxied.as_str()),
        ("", "add_header X-Content-Type-Options nosniff;", edited.as_str()),
        ("", "proxy_hide_header X-Powered-By;", &server("location / { return 204; }")),
        ("", "fastcgi_read_timeout 300;", &proxied),
        ("", "fastcgi_param A b;", &proxied),
        ("", "uwsgi_param A b;", &proxied),
        ("", "gzip_static on;", &proxied),
        ("", "limit_req_status 429;", &proxied),
        ("", "recursive_error_pages on;", &proxied),
        ("", "auth_basic x;", &server(&format!("location / {{ auth_basic off; {PASS} }}"))),
        ("", "deny all;", &server("location / { return 404; }")),
        ("", "proxy_read_timeout 5s;", &server("root /srv; location /x { }")),
    ] {
        let (_, report) = translated(&format!("{http} {line} {rest}"));
        let lost: Vec<_> = report.unsupported().map(|item| (&item.directive, &item.text)).collect();
        assert!(lost.is_empty(), "{line}: {lost:?}");
        let said = report.items.iter().find(|item| format!("{};", item.directive) == line);
        let said = said.unwrap_or_else(|| panic!("{line} is not in the report"));
        assert_eq!(said.exactness, Exactness::Ignored, "{line}: {}", said.text);
    }
}

#[test]
fn lines_that_are_in_effect_somewhere_are_never_taken_for_idle() {
    let own = server(&format!("location / {{ proxy_store off; {PASS} }}"));
    let inherits = format!(
        "server {{ listen 80; server_name b.example; location / {{ location /x {{ {PASS} }} {PASS} }} }}"
    );
    for (line, rest) in [
        ("proxy_store on;", format!("{own} {inherits}")),
        ("userid on;", server(&format!("location /x {{ userid off; {PASS} }}"))),
        ("addition_types text/html;", inherits.clone()),
        ("uwsgi_param A b;", server("location / { uwsgi_pass 10.0.0.1:1; } location /x { }")),
    ] {
        let text = format!("http {{ {line} {rest} }}");
        let parsed = parse_bytes("t", text.as_bytes(), Includes::Unfollowed);
        let report = Report::new(&parsed.document, &translate(&parsed.document));
        let is_line = |directive: &str| format!("{directive};") == line;
        assert!(report.unsupported().any(|item| is_line(&item.directive)), "{line} {rest}");
    }
}

#[test]
fn the_user_of_a_request_is_told_to_whoever_asks() {
    let config = whole(&format!(
        "log_format u '$remote_user'; access_log /var/log/u.log u; \
         map $remote_user $who {{ default some; '' none; }} {}",
        server(&format!(
            "location / {{ proxy_set_header X-U $remote_user; add_header X-W $who; {PASS} }} \
             location /p/ {{ fastcgi_param REMOTE_USER $remote_user; fastcgi_pass 10.0.0.1:9000; }}"
        ))
    ));
    let routes: Vec<String> = config.routes.iter().map(json).collect();
    assert!(routes.iter().any(|route| route.contains(r#""x-u":"${basic_user}""#)), "{routes:?}");
    assert_eq!(config.maps["who"].of.0, "${basic_user}");
    let params = config.upstreams.values().find_map(|upstream| upstream.fastcgi.as_ref());
    assert_eq!(params.expect("it runs scripts").params["REMOTE_USER"].0, "${basic_user}");
    let logs = serde_json::to_string(&config.access_log).expect("logs are JSON");
    assert!(logs.contains(r#""${user}""#), "{logs}");
}

#[test]
fn who_is_introduced_by_nobody_is_no_reason_to_close_all() {
    let http = format!(
        "set_real_ip_from 10.0.0.0/8; real_ip_header proxy_protocol; {} \
         server {{ listen 81 proxy_protocol; location / {{ return 204; }} }}",
        server("location / { return 204; }")
    );
    let config = whole(&http);
    let trusted = |name: &str| config.listeners[name].trusted_proxies.len();
    assert_eq!((trusted("port-80"), trusted("port-81")), (0, 1));
    assert_eq!(config.routes.len(), 2);
}

#[test]
fn servers_lead_requests_on_where_there_is_something_to_lead_to() {
    let internal = "location /int/ { internal; alias /srv/; }";
    let cached = "proxy_cache_path /tmp/c keys_zone=c:1m;";
    for (http, locations, obeyed) in [
        ("", format!("location / {{ {PASS} }} {internal}"), true),
        ("", format!("location / {{ {PASS} }}"), false),
        (
            "",
            format!("location / {{ proxy_ignore_headers X-Accel-Redirect; {PASS} }} {internal}"),
            false,
        ),
        ("", format!("location / {{ fastcgi_pass 10.0.0.1:9000; }} {internal}"), true),
        (
            "",
            format!(
                "location / {{ resolver 127.0.0.1 ipv6=off; proxy_pass http://$host; }} {internal}"
            ),
            true,
        ),
        (
            cached,
            format!("location / {{ proxy_cache c; proxy_cache_valid 1m; {PASS} }} {internal}"),
            false,
        ),
    ] {
        let config = whole(&format!("{http} {}", server(&locations)));
        let upstreams: Vec<bool> = config.upstreams.values().map(|one| one.x_accel).collect();
        assert_eq!(upstreams, [obeyed], "{locations}");
    }
}

#[test]
fn what_a_server_answers_before_any_location_has_its_headers_and_logs() {
    let inner = format!(
        "add_header X-A b always; access_log /var/log/a.log; \
         if ($arg_x) {{ return 403; }} rewrite ^/old /new permanent; location / {{ {PASS} }}"
    );
    let config = whole(&server(&inner));
    let route = config.routes.first().map(json).expect("there are routes");
    let expected = [r#""name":"X-A","value":"b","always":true"#, "access_logs", "403", "301"];
    for text in expected {
        assert!(route.contains(text), "{route}\nlacks {text}");
    }
}

#[test]
fn a_target_with_variables_is_asked_for_as_it_stands() {
    let set = "set $up 10.0.0.1;";
    for (location, to) in [
        (format!("location /v/ {{ {set} proxy_pass http://$up/fixed; }}"), Some("/fixed?")),
        ("location ~ ^/v/(.*) { proxy_pass http://10.0.0.1/x/$1; }".to_owned(), Some("/x/${1}?")),
        (
            "location /v/ { proxy_pass http://10.0.0.1$request_uri; }".to_owned(),
            Some("${request_uri}?"),
        ),
        (format!("location /v/ {{ {set} proxy_pass http://$up; }}"), None),
    ] {
        let config = whole(&server(&location));
        let routes: Vec<String> = config.routes.iter().map(json).collect();
        let rewrites = routes.iter().filter(|route| route.contains(r#""upstream":"10-0-0-1""#));
        let rewrites: Vec<&String> = rewrites.collect();
        assert!(!rewrites.is_empty(), "{location}: {routes:?}");
        for route in rewrites {
            match to {
                Some(to) => assert!(route.contains(&format!(r#"{{"to":"{to}"}}"#)), "{route}"),
                None => assert!(!route.contains("rewrite"), "{route}"),
            }
            // nginx names no prefix in place of what it does not know.
            assert!(!route.contains("refresh"), "{route}");
        }
    }
}

#[test]
fn each_line_is_a_header_of_its_own() {
    let lines = "proxy_set_header X-F a; proxy_set_header X-F b; proxy_set_header X-F c;";
    let config = whole(&server(&format!("location / {{ {lines} {PASS} }}")));
    let route = json(&config.routes[0]);
    assert!(route.contains(r#""x-f":"a""#), "{route}");
    let one = |value: &str| format!(r#"{{"name":"x-f","value":"{value}","always":true}}"#);
    assert!(route.contains(&format!("{},{}", one("b"), one("c"))), "{route}");
}

#[test]
fn all_types_are_compressed_where_all_are_named() {
    let config = whole(&format!("gzip on; gzip_types * TEXT/CSS text/css; {}", server(PASS_ALL)));
    let compression = config.routes[0].compression.clone().expect("it compresses");
    assert!(compression.types.contains(&"application/*".to_owned()), "{:?}", compression.types);
    assert_eq!(compression.types.iter().filter(|kind| *kind == "text/css").count(), 1);
}

#[test]
fn what_differs_everywhere_is_said_where_it_applies() {
    let notes = |inner: &str| translated(&server(inner)).1.notes.join("\n");
    let (proxied, files) = (notes(&format!("location / {{ {PASS} }}")), notes("root /srv;"));
    assert!(proxied.contains("underscores") && !files.contains("underscores"), "{proxied}");
    assert!(files.contains("symbolic links") && !proxied.contains("symbolic links"), "{files}");
    assert!(proxied.contains("%2F") && proxied.contains("X-Accel-Redirect"), "{proxied}");
}
