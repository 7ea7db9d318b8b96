//! Snippets of nginx.conf and what of them stands in the route that takes a request.

use forebay_nginx::include::Includes;
use forebay_nginx::parse::parse_bytes;
use forebay_nginx::report::Report;
use forebay_nginx::translate::translate;
use forebay_nginx::verdict::Exactness;
use proxy_config::Config;
use proxy_config::matching::{Router, Target};

use http::translated;

#[path = "translated/http.rs"]
mod http;

/// The configuration of one server, loaded, and what the report calls unsupported.
fn config(http: &str, server: &str) -> (Config, Vec<String>) {
    let server = format!("server {{ listen 80; server_name a.example; {server} }}");
    let (config, report) = translated(&format!("{http} {server}"));
    let lost = report.unsupported().filter(|item| !item.row);
    (config, lost.map(|item| format!("{}: {}", item.directive, item.text)).collect())
}

/// The route that takes a path, as JSON.
fn route(config: &Config, path: &str) -> String {
    let target = Target {
        listener: "port-80",
        host: "a.example",
        path,
        query: "",
        method: "GET",
        headers: None,
    };
    let router = Router::new(config);
    let route = &config.routes[router.find(&target).expect("every path finds a route")];
    serde_json::to_string(route).expect("a route is JSON")
}

/// Server, path, what must stand in its route.
const ROUTES: &[(&str, &str, &[&str])] = &[
    (
        "location / { proxy_pass http://10.0.0.1:81; }",
        "/x",
        &[
            r#""set":{"host":"10.0.0.1:81"}"#,
            r#""forwarded_headers":"pass_on""#,
            r#""request_body_max":"1MiB""#,
        ],
    ),
    ("location /a/ { proxy_pass http://10.0.0.1/b/; }", "/a/x", &[r#""prefix_to":"/b/""#]),
    ("location /a/ { proxy_pass http://10.0.0.1/b/; }", "/a", &[r#""status":301"#, "/a/"]),
    ("location = /a { proxy_pass http://10.0.0.1/b; }", "/a", &[r#"{"to":"/b"}"#]),
    (
        "location ~ ^/u/(.*)$ { proxy_pass http://10.0.0.1/v/$1?x=$arg_y; }",
        "/u/7",
        &["/v/${1}?x=${arg_y}"],
    ),
    ("location / { return 301 /x$is_args$args; }", "/", &["${origin}/x${question_mark}${query}"]),
    ("location / { return 200 hi; }", "/", &[r#""status":200,"body":"hi""#, "${type_of_path}"]),
    ("location = /a.html { return 200 hi; }", "/a.html", &[r#""content-type":"text/html""#]),
    ("location = /a { return 200 hi; }", "/a", &[r#""content-type":"text/plain""#]),
    (
        "location / { ssi on; ssi_types text/plain; proxy_pass http://10.0.0.1; }",
        "/",
        &[r#""includes":{"types":["text/html","text/plain"]"#],
    ),
    ("location / { proxy_pass http://10.0.0.1; }", "/", &[r#""upgrades":[]"#]),
    ("location / { return 444; }", "/", &[r#""close""#]),
    (
        "location / { if ($http_x ~* ^a) { return 403; } proxy_pass http://10.0.0.1; }",
        "/",
        &[
            r#""of":"${header_x}","is":{"regex":"(?i)^a"}"#,
            r#""status":403"#,
            r#""upstream":"10-0-0-1""#,
        ],
    ),
    (
        "location / { rewrite ^/a/(.*)$ /b/$1 break; rewrite ^/c https://c.example permanent; proxy_pass http://10.0.0.1; }",
        "/",
        &[r#""after":"stay""#, r#""redirect":301"#],
    ),
    (
        "location / { add_header X-A $uri; add_header X-A 2 always; expires 1h; proxy_pass http://10.0.0.1; }",
        "/",
        &[
            r#"{"name":"X-A","value":"${path_text}","always":false}"#,
            r#"{"name":"X-A","value":"2","always":true}"#,
            r#""value":"max-age=3600""#,
            "${date_in_3600}",
        ],
    ),
    (
        "location / { add_header X-Cache $upstream_cache_status; proxy_pass http://10.0.0.1; }",
        "/",
        &["${answer_cache}"],
    ),
    (
        "location / { proxy_redirect http://in.example/ /out/; proxy_cookie_path / /p/; proxy_pass http://10.0.0.1; }",
        "/",
        &["${origin}/out/", "set-cookie"],
    ),
    (
        "allow 10.0.0.0/8; deny all; location / { proxy_pass http://10.0.0.1; }",
        "/",
        &[r#"{"allow":"10.0.0.0/8"}"#, r#"{"deny":"0.0.0.0/0"}"#],
    ),
    (
        "root /srv; location / { try_files $uri $uri/ /index.html; }",
        "/",
        &[r#""root":"/srv""#, r#"{"file":"${path}"}"#, r#"{"path":"/index.html"}"#],
    ),
    (
        "root /srv; location / { try_files $uri @app; } location @app { proxy_pass http://10.0.0.1; }",
        "/",
        &[r#"{"route":"a-example-app"}"#],
    ),
    (
        "location / { error_page 502 503 /e.html; error_page 404 =200 @n; proxy_pass http://10.0.0.1; } location @n { return 200 n; }",
        "/",
        &[r#""statuses":["502","503"],"path":"/e.html""#, r#""route":"a-example-n","status":200"#],
    ),
    ("location /i { internal; proxy_pass http://10.0.0.1; }", "/i", &[r#""internal":true"#]),
    (
        "location /x { auth_request /auth; proxy_pass http://10.0.0.1; } location = /auth { internal; proxy_pass http://10.0.0.2/v; }",
        "/x",
        &[r#""subrequest":{"upstream":"10-0-0-2","path":"/v""#],
    ),
    (
        "location / { proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection Upgrade; proxy_pass http://10.0.0.1; }",
        "/",
        &[r#""upgrades":["*"]"#],
    ),
    (
        "location / { proxy_http_version 1.1; proxy_set_header Upgrade websocket; proxy_set_header Connection \"keep-alive, upgrade\"; proxy_pass http://10.0.0.1; }",
        "/",
        &[r#""upgrades":["websocket"]"#],
    ),
    (
        "ssl_verify_client optional_no_ca; location / { add_header X-V $ssl_client_verify; proxy_pass http://10.0.0.1; }",
        "/",
        &["${client_unverified}"],
    ),
    (
        "location / { proxy_buffers 16 32k; proxy_max_temp_file_size 0; proxy_pass http://10.0.0.1; }",
        "/",
        &[r#""buffer_policy":"buffered""#],
    ),
    ("location /f/ { flv; root /srv; }", "/f/x", &[r#""flv":true"#]),
    (
        "location / { mp4; mp4_max_buffer_size 2m; root /srv; }",
        "/",
        &[r#""mp4":{"tables_max":"2MiB"}"#],
    ),
    (
        "etag off; if_modified_since before; location / { root /srv; }",
        "/",
        &[r#""media_types":"types","index_anew":true,"hidden":true,"etag":false"#],
    ),
    ("location / { if_modified_since off; root /srv; }", "/", &[r#""if_modified_since":"off""#]),
    ("location / { root /srv; }", "/", &[r#""if_modified_since":"exact""#]),
    (
        "location /x { mirror /copy; proxy_pass http://10.0.0.1; } location = /copy { internal; proxy_pass http://10.0.0.2$request_uri; }",
        "/x",
        &[
            r#""mirror":{"upstream":"10-0-0-2","request_headers":{"set":{"host":"10.0.0.2"}},"share":"100%""#,
        ],
    ),
    (
        "mirror /copy/a; location /x { proxy_pass http://10.0.0.1; } location /copy { internal; mirror off; proxy_pass http://10.0.0.2/to; }",
        "/x",
        &[
            r#""mirror":{"upstream":"10-0-0-2","path":"/to/a${question_mark}${query}","request_headers":{"set":{"host":"10.0.0.2"}}"#,
        ],
    ),
    (
        "location /x { mirror /a; mirror /b; mirror_request_body off; proxy_pass http://10.0.0.1; } \
         location /a { proxy_pass http://10.0.0.2$request_uri; } location /b { proxy_pass http://10.0.0.3/c; }",
        "/x",
        &[
            r#""mirror":{"upstream":"10-0-0-2","#,
            r#""body":false"#,
            r#""others":[{"upstream":"10-0-0-3","path":"/c${question_mark}${query}","request_headers":{"set":{"host":"10.0.0.3"}},"body":false}]"#,
        ],
    ),
    (
        "location / { add_header X-Body $request_body; client_body_buffer_size 8k; proxy_pass http://10.0.0.1; }",
        "/",
        &[
            r#""kept_body":{"memory_max":"8KiB","bytes_max":"10GiB"}"#,
            r#""value":"${request_body}""#,
        ],
    ),
    (
        "client_body_temp_path /var/spool/b; location / { client_body_in_file_only on; proxy_pass http://10.0.0.1; }",
        "/",
        &[
            r#""kept_body":{"memory_max":"16KiB","folder":"/var/spool/b","bytes_max":"10GiB","all_in_files":true,"files_stay":true}"#,
        ],
    ),
    (
        "location / { add_header X-Body $request_body; root /srv; }",
        "/",
        &[r#""value":"${request_body}""#],
    ),
    (
        "location / { auth_request /auth; auth_request_set $u $upstream_http_x_user; auth_request_set $s $upstream_status; \
         proxy_set_header X-Remote $u; add_header X-S $s; proxy_pass http://10.0.0.1; } \
         location = /auth { proxy_set_header X-Why $request_uri; proxy_set_header Content-Length \"\"; \
         proxy_pass_request_body off; proxy_pass http://10.0.0.2; }",
        "/",
        &[
            r#""request_headers":{"set":{"host":"10.0.0.2","x-why":"${request_uri}"}}"#,
            r#""set":{"s":"${answer_status}","u":"${answer_x_user}"}"#,
            r#""x-remote":"${u}""#,
            r#""value":"${s}""#,
        ],
    ),
    // As certbot writes it beside its own redirect, to prove whose a name is.
    (
        "rewrite ^(/.well-known/acme-challenge/.*) $1 break; \
         location = /.well-known/acme-challenge/t { default_type text/plain; return 200 t.k; } \
         if ($host = a.example) { return 301 https://$host$request_uri; } return 404;",
        "/.well-known/acme-challenge/t",
        &[r#""body":"t.k""#],
    ),
    (
        "location / { if ($arg_x) { break; } return 404; proxy_pass http://10.0.0.1; }",
        "/",
        &[r#""upstream":"10-0-0-1""#, r#""status":404"#],
    ),
    (
        "location /x { access_log /var/log/own.log; proxy_pass http://10.0.0.1; } location /x/ { access_log off; add_header X-A b always; proxy_pass http://10.0.0.1; }",
        "/x",
        &[r#""access_logs":["#],
    ),
    (
        "location /x/ { access_log off; add_header X-A b always; proxy_pass http://10.0.0.1; }",
        "/x",
        &[r#""status":301"#, r#""access_logs":[]"#, r#""name":"X-A""#],
    ),
    ("location /s/ { alias /srv/t/; }", "/s/x", &[r#""root":"/srv/t/","strip_prefix":"/s/""#]),
    (
        "location / { resolver 127.0.0.1 ipv6=off; proxy_pass http://$host:8080/b; }",
        "/",
        &[r#""upstream":"by-request-of-line-1","server":"${host}:8080/b""#],
    ),
    (
        "location / { set $on 1; if ($on) { proxy_pass http://10.0.0.1; } if ($on) { } }",
        "/",
        &[
            r#"{"set":{"name":"passed_by_if","to":"1"}}"#,
            r#"{"set":{"name":"lost_by_if","to":"1"}}"#,
            r#"{"respond":{"status":500}}"#,
        ],
    ),
    (
        "location / { add_header X-A $upstream_addr; add_trailer X-T ''; proxy_pass http://10.0.0.1; }",
        "/",
        &[r#""value":"${tried_servers}""#, r#""chunked":true"#],
    ),
];

#[test]
fn what_stands_in_routes() {
    let up = "proxy_pass http://10.0.0.1:81;";
    for (server, path, expected) in ROUTES {
        let (config, lost) = config("", server);
        assert!(lost.is_empty(), "{server}: {lost:?}");
        let route = route(&config, path);
        for text in *expected {
            assert!(route.contains(text), "{server}\n{route}\nlacks {text}");
        }
    }
    let (config, _) = config(
        "limit_req_zone $binary_remote_addr zone=z:1m rate=5r/s;",
        &format!("location / {{ limit_req zone=z burst=9 nodelay; {up} }}"),
    );
    assert!(route(&config, "/").contains(r#""rate_limits":["z"]"#));
    let limit = &config.rate_limits["z"];
    assert_eq!((limit.burst, limit.status), (10, 503));
}

#[test]
fn a_variable_that_names_upstreams_has_a_route_for_each() {
    let http = "map $cookie_c $pool { default blue; g green; } upstream blue { server 10.0.0.1; } \
                upstream green { server 10.0.0.2; }";
    let (config, lost) =
        config(http, "location / { allow 10.0.0.1; deny all; proxy_pass http://$pool; }");
    assert!(lost.is_empty(), "{lost:?}");
    let upstreams: Vec<_> =
        config.routes.iter().filter_map(|route| route.upstream.clone()).collect();
    assert_eq!(upstreams, ["green", "blue"]);
    assert!(
        config.routes.iter().filter(|route| route.upstream.is_some()).all(|r| r.access.is_some())
    );
}

#[test]
fn what_cannot_be_kept_stays_closed() {
    for (server, why) in [
        ("location / { proxy_pass $scheme://10.0.0.1; }", "scheme in a variable"),
        ("location / { proxy_pass http://10.0.0.1/$3; }", "capture"),
        ("location ~ (?<=a)b { proxy_pass http://10.0.0.1; }", "cannot be translated"),
        ("location / { auth_request /none; proxy_pass http://10.0.0.1; }", "no location is /none"),
        ("location / { if ($x = y) { return 403; } proxy_pass http://10.0.0.1; }", "not known"),
    ] {
        let server = format!("location /open {{ proxy_pass http://10.0.0.9; }} {server}");
        let (config, lost) = config("", &server);
        assert!(lost.iter().any(|text| text.contains(why)), "{server}: {lost:?}");
        let open =
            config.routes.iter().filter(|route| route.upstream.as_deref() == Some("10-0-0-1"));
        assert_eq!(open.count(), 0, "{server}");
    }
}

#[test]
fn scripts_are_told_what_nginx_tells_them() {
    let http = "map $http_x $plan { default free; a paid; } upstream php { server unix:/run/php.sock; keepalive 4; }";
    let server = "root /srv/app; location ~ [.]php(?:$|/) { fastcgi_split_path_info ^(.+?[.]php)(/.*)$; \
                  set $info $fastcgi_path_info; fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name; \
                  fastcgi_param PATH_INFO $info; fastcgi_param REQUEST_METHOD $request_method; \
                  fastcgi_param PLAN $plan; fastcgi_param HTTPS $https if_not_empty; fastcgi_keep_conn on; \
                  fastcgi_read_timeout 9s; fastcgi_pass php; }";
    let (config, lost) = config(http, server);
    assert!(lost.is_empty(), "{lost:?}");
    let upstream = &config.upstreams["php"];
    let gateway = upstream.fastcgi.as_ref().expect("it runs scripts");
    let params: Vec<_> =
        gateway.params.iter().map(|(name, text)| (name.as_str(), text.0.as_str())).collect();
    assert_eq!(
        params,
        [
            ("PATH_INFO", "${info}"),
            ("PLAN", "${plan}"),
            ("SCRIPT_FILENAME", "/srv/app${fastcgi_script_name}"),
        ]
    );
    assert_eq!((gateway.idle_max, upstream.timeouts.read.as_millis()), (4, 9000));
    let map = &config.maps["fastcgi_script_name"];
    assert_eq!((map.of.0.as_str(), map.cases[0].value.0.as_str()), ("${path_text}", "${1}"));

    let plain = "root /srv/app; location / { fastcgi_index index.php; fastcgi_param SCRIPT_FILENAME \
                 $document_root$fastcgi_script_name; fastcgi_pass 127.0.0.1:9000; }";
    let (config, lost) = self::config("", plain);
    assert!(lost.is_empty(), "{lost:?}");
    let gateway = config.upstreams["127-0-0-1-9000"].fastcgi.clone().expect("it runs scripts");
    assert!(gateway.params.is_empty(), "{gateway:?}");
    assert_eq!(
        (gateway.index.as_deref(), gateway.root.to_str()),
        (Some("index.php"), Some("/srv/app"))
    );
}

/// The ways in which sites write that WebSocket passes, and what is said of the two lines.
#[test]
fn upgrades_pass_where_both_headers_are_sent() {
    const MAP: &str = "map $http_upgrade $connection_upgrade { default upgrade; '' close; }";
    const OTHER: &str = "map $http_upgrade $connection_upgrade { default 'x-hop'; '' close; }";
    let upgrade = "proxy_set_header Upgrade $http_upgrade;";
    let version = "proxy_http_version 1.1;";
    for (http, lines, upgrades, exactness) in [
        (
            MAP,
            format!("{version}{upgrade} proxy_set_header Connection $connection_upgrade;"),
            "[\"*\"]",
            [1, 1],
        ),
        (
            "",
            format!("{version}{upgrade} proxy_set_header connection 'Upgrade';"),
            "[\"*\"]",
            [0, 2],
        ),
        (
            "",
            format!("{version}{upgrade} proxy_set_header Connection $http_connection;"),
            "[\"*\"]",
            [1, 1],
        ),
        ("", format!("{upgrade} proxy_set_header Connection upgrade;"), "[]", [0, 2]),
        ("", format!("{version}{upgrade}"), "[]", [0, 1]),
        ("", format!("{version} proxy_set_header Connection upgrade;"), "[]", [0, 1]),
        ("", format!("{version} proxy_set_header Connection '';"), "[]", [1, 0]),
        ("", format!("{version} proxy_set_header Connection keep-alive;"), "[]", [0, 1]),
        (
            OTHER,
            format!("{version}{upgrade} proxy_set_header Connection $connection_upgrade;"),
            "[]",
            [0, 0],
        ),
    ] {
        let server = format!("location / {{ {lines} proxy_pass http://10.0.0.1; }}");
        let (config, lost) = config(http, &server);
        assert!(route(&config, "/").contains(&format!("\"upgrades\":{upgrades}")), "{lines}");
        assert_eq!(lost.is_empty(), exactness != [0, 0], "{lines}: {lost:?}");
        let text = format!("http {{ {http} server {{ {server} }} }}");
        let parsed = parse_bytes("t", text.as_bytes(), Includes::Unfollowed);
        let report = Report::new(&parsed.document, &translate(&parsed.document));
        let count = |exactness| {
            let lines = report.items.iter().filter(|item| item.name == "proxy_set_header");
            lines.filter(|item| item.exactness == exactness).count()
        };
        let counted = [Exactness::Exact, Exactness::Approximate].map(count);
        assert_eq!(counted, exactness, "{lines}");
    }
}

/// What is said of buffering, and the policies that come of it; the lane's place on disk.
#[test]
fn buffering_that_is_asked_for_is_a_policy() {
    let memory = |size: &str| format!("\"mode\":\"memory\",\"memory_max\":\"{size}\"");
    for (lines, responses, requests, path, exact) in [
        ("", None, None, None, true),
        ("proxy_buffering off; proxy_request_buffering off;", None, None, None, true),
        (
            "proxy_buffers 4 64k; proxy_max_temp_file_size 0;",
            Some(memory("260KiB")),
            None,
            None,
            true,
        ),
        ("proxy_buffering on;", Some(memory("64KiB")), None, None, false),
        (
            "proxy_buffers 8 16k; proxy_temp_path /var/t 1 2;",
            Some("\"mode\":\"spill\",\"memory_max\":\"132KiB\",\"spill_max\":\"1GiB\"".to_owned()),
            None,
            Some("/var/t"),
            true,
        ),
        (
            "proxy_request_buffering on; client_body_buffer_size 128k; client_max_body_size 5m; client_body_temp_path /b;",
            None,
            Some("\"mode\":\"spill\",\"memory_max\":\"128KiB\",\"spill_max\":\"5MiB\"".to_owned()),
            Some("/b"),
            true,
        ),
    ] {
        let server = format!("location / {{ {lines} proxy_pass http://10.0.0.1; }}");
        let (config, lost) = config("", &server);
        assert!(lost.is_empty(), "{lines}: {lost:?}");
        let policy = config.buffer_policies.get("buffered");
        assert_eq!(policy.is_some(), responses.is_some() || requests.is_some(), "{lines}");
        let text = serde_json::to_string(&policy).expect("a policy is JSON");
        for (side, wanted) in [("responses", responses), ("requests", requests)] {
            let wanted = wanted.map(|wanted| format!("\"{side}\":{{{wanted}"));
            let is_there = wanted.as_ref().is_some_and(|wanted| text.contains(wanted.as_str()));
            assert_eq!(is_there, wanted.is_some(), "{lines}: {text}");
        }
        let spill = config.lanes.interactive.spill.as_ref().map(|spill| spill.path.to_str());
        assert_eq!(spill, path.map(Some), "{lines}");
        let text = format!("http {{ server {{ {server} }} }}");
        let parsed = parse_bytes("t", text.as_bytes(), Includes::Unfollowed);
        let report = Report::new(&parsed.document, &translate(&parsed.document));
        let mut said = report.items.iter().filter(|item| item.name.contains("buffer"));
        assert_eq!(said.all(|item| item.exactness == Exactness::Exact), exact, "{lines}");
    }
}

#[test]
fn links_are_checked_before_somebody_asks_what_they_are_worth() {
    let check = r#"{"check_link":{"name":"secure_link","expires":"secure_link_expires","by":{"text":{"given":"${arg_s},${arg_e}","md5_of":"${secure_link_expires}${path_text} x"}}}}"#;
    let md5 = "secure_link $arg_s,$arg_e; secure_link_md5 \"$secure_link_expires$uri x\";";
    let asks = "if ($secure_link = \"\") { return 403; }";
    let (config, lost) = config("", &format!("location / {{ set $a b; {asks} {md5} root /srv; }}"));
    assert!(lost.is_empty(), "{lost:?}");
    let text = route(&config, "/");
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} in {text}"));
    assert!(at(r#""name":"a""#) < at(check) && at(check) < at("403"), "{text}");
    // Of the server, and asked for by a header alone.
    let server = format!("{md5} location / {{ add_header X $secure_link; root /srv; }}");
    assert!(route(&whole_config(&server), "/").contains(check));
    // Where nothing is checked, no link is right.
    let text = route(&whole_config(&format!("location / {{ {asks} root /srv; }}")), "/");
    assert!(!text.contains("check_link") && text.contains("403"), "{text}");
    let secret = "location /p/ { secure_link_secret w; rewrite ^ /k/$secure_link; root /srv; }";
    let text = route(&whole_config(secret), "/p/x");
    assert!(text.contains(r#"{"name":"secure_link","by":{"path":{"word":"w"}}}"#), "{text}");
    let both = format!("location / {{ secure_link_secret w; {md5} {asks} root /srv; }}");
    let text = format!("http {{ server {{ {both} }} }}");
    let parsed = parse_bytes("t", text.as_bytes(), Includes::Unfollowed);
    let report = Report::new(&parsed.document, &translate(&parsed.document));
    assert!(report.unsupported().any(|item| item.text.contains("beside secure_link")));
}

/// A server of which everything is translated.
fn whole_config(server: &str) -> Config {
    let (config, lost) = config("", server);
    assert!(lost.is_empty(), "{server}: {lost:?}");
    config
}

#[test]
fn answers_of_scripts_are_cached_as_fastcgi_cache_says() {
    let http = "fastcgi_cache_path /tmp/c keys_zone=php:1m inactive=7m;";
    let server = "fastcgi_cache_key \"$scheme$request_method$host$request_uri\"; \
                  location / { fastcgi_pass 127.0.0.1:9000; fastcgi_cache php; fastcgi_cache_valid 200 5m; \
                  fastcgi_cache_bypass $arg_fresh; fastcgi_no_cache $arg_fresh; fastcgi_cache_lock on; \
                  fastcgi_cache_use_stale error timeout updating http_500; fastcgi_cache_background_update on; \
                  fastcgi_cache_min_uses 1; fastcgi_cache_revalidate on; fastcgi_cache_methods GET HEAD; \
                  fastcgi_cache_lock_timeout 3s; fastcgi_cache_lock_age 3s; \
                  fastcgi_ignore_headers Cache-Control Expires; fastcgi_cache_max_range_offset 1m; }";
    let (config, lost) = config(http, server);
    assert!(lost.is_empty(), "{lost:?}");
    assert!(route(&config, "/").contains(r#""cache_policy":"php""#));
    let policy = serde_json::to_string(&config.cache_policies["php"]).expect("a policy is JSON");
    for part in [
        r#""200":"5m""#,
        r#""ignore":["cache_control","expires"],"x_accel_expires":true"#,
        r#""set_cookie":"never""#,
        r#""bypass":["${arg_fresh}"]"#,
        r#""stale_if_error":"7m""#,
        r#""collapse_wait_max":"3s""#,
    ] {
        assert!(policy.contains(part), "{part} in {policy}");
    }
    let without = "location / { fastcgi_pass 127.0.0.1:9000; fastcgi_cache php; }";
    let (config, lost) = self::config(http, without);
    assert!(config.cache_policies.is_empty());
    assert!(lost.iter().any(|line| line.contains("there is no fastcgi_cache_key")), "{lost:?}");
}

#[test]
fn large_answers_are_kept_in_slices() {
    let http = "proxy_cache_path /tmp/c keys_zone=film:1m max_size=100m;";
    let server = "slice 1m; location / { proxy_pass http://10.0.0.1; proxy_cache film; proxy_cache_valid 200 206 1h; \
                  proxy_cache_key $uri$is_args$args$slice_range; proxy_set_header Range $slice_range; }";
    let (config, lost) = config(http, server);
    assert!(lost.is_empty(), "{lost:?}");
    let policy = serde_json::to_string(&config.cache_policies["film"]).expect("a policy is JSON");
    let slices = r#""slices":{"size":"1MiB","read_ahead":0,"object_min":"1MiB"}"#;
    assert!(policy.contains(slices), "{policy}");
    assert!(!route(&config, "/").contains("range"), "{}", route(&config, "/"));
    // In a cache without room, and without a cache, nothing is cut.
    for (zone, cache) in [("max_size=1m", "proxy_cache film;"), ("", "")] {
        let http = format!("proxy_cache_path /tmp/c keys_zone=film:1m {zone};");
        let server = format!("location / {{ slice 1m; proxy_pass http://10.0.0.1; {cache} }}");
        let (config, lost) = self::config(&http, &server);
        assert!(config.cache_policies.values().all(|policy| policy.slices.is_none()));
        assert!(lost.iter().any(|line| line.starts_with("slice 1m")), "{lost:?}");
    }
}

#[test]
fn handshakes_are_refused_for_the_names_of_a_server() {
    let of = |first: &str, second: &str| {
        let http = format!(
            "server {{ listen 443 ssl{first}; server_name bad.example; ssl_reject_handshake on; }} \
             server {{ listen 443 ssl{second}; server_name good.example; ssl_certificate /c; \
             ssl_certificate_key /k; return 204; }}"
        );
        let (config, lost) = config(&http, "listen 80; return 204;");
        assert!(lost.is_empty(), "{lost:?}");
        let tls = config.listeners["port-443"].tls.clone().expect("TLS");
        let refused = tls.refused.expect("names");
        assert_eq!((tls.certificates.len(), refused.hosts.len()), (1, 1));
        refused.unknown
    };
    assert!(of("", "") && of(" default_server", ""), "the default server refuses");
    assert!(!of("", " default_server"));
    // A port where nobody is let in.
    let alone = "server { listen 443 ssl default_server; ssl_reject_handshake on; }";
    let (config, lost) = config(alone, "listen 80; return 204;");
    assert!(lost.is_empty(), "{lost:?}");
    assert!(
        config.listeners["port-443"].tls.as_ref().is_some_and(|tls| tls.certificates.is_empty())
    );
}

#[test]
fn stapling_that_is_asked_for_is_asked_for() {
    for (says, stapled) in [
        ("ssl_stapling on; ssl_stapling_verify on; ssl_stapling_responder http://r/;", Some(true)),
        ("ssl_stapling off;", None),
        ("", None),
    ] {
        let http = format!(
            "server {{ listen 443 ssl; {says} ssl_certificate /c; ssl_certificate_key /k; return 204; }}"
        );
        let (config, lost) = config(&http, "listen 80; return 204;");
        assert!(lost.is_empty(), "{lost:?}");
        let tls = config.listeners["port-443"].tls.as_ref().expect("TLS");
        assert_eq!(tls.ocsp_stapling, stapled, "{says}");
    }
}
