//! Idioms of well-known configurations: what they come to, and that nothing is called exact that is not.

use forebay_nginx::report::Report;
use forebay_nginx::verdict::Exactness;
use proxy_config::captures::Captures;
use proxy_config::facts::{Facts, Maps};
use proxy_config::matching::Target;
use proxy_config::program::{Outcome, Program, Walk};
use proxy_config::steps::PathKind;
use proxy_config::template::Scope;
use proxy_config::{Config, Route};

use Exactness::{Approximate, Exact, Ignored, Unsupported};
use http::translated;

#[path = "translated/http.rs"]
mod http;

fn server(inner: &str) -> (Config, Report) {
    translated(&format!("server {{ listen 80; server_name a.example; {inner} }}"))
}

/// The verdict of the line that begins so.
fn verdict(report: &Report, line: &str) -> (Exactness, String) {
    let found = report.items.iter().find(|item| item.directive.starts_with(line));
    let found = found.unwrap_or_else(|| panic!("{line} is not in the report"));
    (found.exactness, found.text.clone())
}

fn json(route: &Route) -> String {
    serde_json::to_string(route).expect("a route is JSON")
}

/// What the steps of the first route with steps make of a request: what is answered, or what `$name` is then.
fn ran(config: &Config, uri: &str, name: &str) -> String {
    let route =
        config.routes.iter().find(|route| !route.steps.is_empty()).expect("there are steps");
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let target =
        Target { listener: "l", host: "a.example", path, query, method: "GET", headers: None };
    let maps = Maps::new(config);
    let captures = Captures::default();
    let facts = Facts { request_uri: uri, ..Facts::of(target, &captures, &maps) };
    let leads = proxy_config::leads::Leads::new(config);
    let scope = Scope { numbers: 3, ..leads.scope() };
    let program = Program::new(&route.steps, &scope).expect("steps that load");
    let mut walk = Walk::of(path, query);
    match program.run(&facts, &mut walk, &|_| Some(PathKind::File)) {
        Outcome::Stay if name == "path" => walk.path,
        Outcome::Stay => walk.variables.get(name).to_owned(),
        other => format!("{other:?}").chars().take(60).collect(),
    }
}

const GITEA: &str = "location /git/ { rewrite ^ $request_uri; rewrite ^/git(/.*) $1 break; \
    proxy_pass http://10.0.0.1$uri; }";

/// Whether a route says so.
fn any(config: &Config, text: &str) -> bool {
    config.routes.iter().any(|route| json(route).contains(text))
}

#[test]
fn addresses_as_they_were_sent_are_passed_on_so() {
    let (config, report) = server(GITEA);
    for line in ["rewrite ^ $request_uri", "rewrite ^/git", "proxy_pass"] {
        let (exactness, text) = verdict(&report, line);
        let is_http10 = text.contains("HTTP/1.0");
        assert!(exactness == Exact || is_http10, "{line}: {text}");
    }
    let asked = |uri| ran(&config, uri, "address_as_sent");
    assert_eq!(asked("/git/a%2Bb?y=1"), "/a%2Bb?y=1");
    assert_eq!(asked("/git/x?y=1"), "/x?y=1");
    assert!(any(&config, r#"{"to":"${address_as_sent}?"}"#));
    let (config, report) = server(
        "location /a3/ { rewrite ^ $request_uri; rewrite ^/a3/(.*) $1 break; return 400; \
         proxy_pass http://10.0.0.1/$uri; }",
    );
    assert_eq!(verdict(&report, "rewrite ^/a3").0, Exact);
    assert_eq!(ran(&config, "/a3/x%2Fy?z", "address_as_sent"), "x%2Fy?z");
    assert!(ran(&config, "/b/x", "address_as_sent").contains("400"));
    assert!(any(&config, r#"{"to":"/${address_as_sent}?"}"#));
    // Where no `$uri` is passed on, nginx escapes what was sent once more.
    let (_, report) = server(
        "location / { return 204; } location /b/ { rewrite ^ $request_uri break; proxy_pass http://10.0.0.1; }",
    );
    assert_eq!(verdict(&report, "rewrite").0, Unsupported);
    let (_, report) = server(
        "location /b/ { rewrite ^ $request_uri; rewrite ^/c(/.*) $1 break; proxy_pass http://10.0.0.1$uri; }",
    );
    assert_eq!(verdict(&report, "rewrite ^ ").0, Approximate);
}

#[test]
fn paths_without_a_slash_are_never_refused() {
    let (config, report) =
        server("location /a2/ { rewrite ^/a2/(.*) $1 break; proxy_pass http://10.0.0.1:81/$uri; }");
    assert_eq!(verdict(&report, "rewrite").0, Exact);
    assert_eq!(ran(&config, "/a2/x", "path"), "/x");
    assert!(ran(&config, "/a2/", "path").contains("500"));
    assert!(any(&config, r#"{"to":"${path}?"}"#));
    for location in [
        "location /a/ { rewrite ^/a/(.*) $1 break; proxy_pass http://10.0.0.1; }",
        "location /a/ { rewrite ^/a/(.*) $1 break; proxy_set_header X $uri; proxy_pass http://10.0.0.1/$uri; }",
        "location /a/ { rewrite ^/a/(.*) $1 last; } location / { return 404; }",
        "location /a/ { if ($arg_x) { rewrite ^/a/(.*) $1 break; } proxy_pass http://10.0.0.1; }",
    ] {
        let (_, report) = server(location);
        assert_eq!(verdict(&report, "rewrite").0, Approximate, "{location}");
    }
}

#[test]
fn captures_are_called_exact_only_where_they_are() {
    for (location, line, expected) in [
        (
            "location ~* ^/a7/(.*) { set $p $1; proxy_pass http://10.0.0.1/z/$p?$args; }",
            "set",
            Approximate,
        ),
        ("location ~ ^/a/(\\d+) { set $p $1; return 204; }", "set", Exact),
        (
            "location ~ ^/a/(.*) { if ($host ~ x) { return 403; } return 200 $1; }",
            "return 200",
            Approximate,
        ),
        ("location ~ ^/a/(.*) { return 200 $1; }", "return 200", Exact),
        (
            "location ~ ^/a/(.*) { set $x y; proxy_set_header X-P $1; proxy_pass http://10.0.0.1; }",
            "proxy_set_header",
            Exact,
        ),
        (
            "location ~ ^/a/(.*) { if ($host ~ x) { set $x y; } proxy_set_header X-P $1; proxy_pass http://10.0.0.1; }",
            "proxy_set_header",
            Approximate,
        ),
        (
            "location ~ ^/a/(.*) { rewrite ^/(.*) /$1 break; add_header X $1; root /srv; }",
            "add_header",
            Approximate,
        ),
        ("location ~ ^/a/(.*) { add_header X $1; root /srv; }", "add_header", Exact),
    ] {
        let (_, report) = server(location);
        assert_eq!(verdict(&report, line).0, expected, "{location}");
    }
    let (config, _) = server(
        "location ~ ^/add/(.*)$ { add_header X-A $1; add_header X-B $uri; return 200 \"$1 $uri\"; }",
    );
    let route = json(&config.routes[0]);
    for text in
        [r#""value":"${captured_1}""#, r#""value":"${path_text}""#, "${captured_1} ${path_text}"]
    {
        assert!(route.contains(text), "{route}");
    }
}

#[test]
fn parameters_are_found_whatever_their_capitals() {
    let (config, _) = server("location / { set $a \"$arg_token\"; return 204; }");
    for (uri, value) in
        [("/?TOKEN=x", "x"), ("/?token&token=y", "y"), ("/?xtoken=1", ""), ("/?b=2&Token=", "")]
    {
        let route = config.routes.iter().find(|route| !route.steps.is_empty());
        assert!(route.is_some());
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let target = Target { listener: "l", host: "h", path, query, method: "GET", headers: None };
        let (maps, captures) = (Maps::new(&config), Captures::default());
        let leads = proxy_config::leads::Leads::new(&config);
        let template = proxy_config::template::Compiled::new("${arg_token}", &leads.scope());
        let found = template.expect("it is a map").render(&Facts::of(target, &captures, &maps));
        assert_eq!(found, value, "{uri}");
    }
}

#[test]
fn cookies_are_found_whatever_their_capitals() {
    let (config, report) =
        server("location / { if ($cookie_Sid = s3cret) { return 403; } return 204; }");
    assert_eq!(verdict(&report, "if").0, Exact);
    for (cookies, value) in [
        ("sid=x", "x"),
        ("a=b; SID=y; sid=z", "y"),
        ("xsid=1; asid=2", ""),
        ("a=sid=1", ""),
        ("a=b, Sid = c d ;e=f", "c d "),
        ("sid", ""),
    ] {
        let mut headers = ::http::HeaderMap::new();
        headers.insert("cookie", cookies.parse().expect("a field"));
        let target = Target {
            listener: "l",
            host: "h",
            path: "/",
            query: "",
            method: "GET",
            headers: Some(&headers),
        };
        let (maps, captures) = (Maps::new(&config), Captures::default());
        let leads = proxy_config::leads::Leads::new(&config);
        let template = proxy_config::template::Compiled::new("${cookies_sid}", &leads.scope());
        let found = template.expect("it is a map").render(&Facts::of(target, &captures, &maps));
        assert_eq!(found, value, "{cookies}");
    }
    let hashed = |key: &str| {
        let http = format!("upstream u {{ hash {key}; server 10.0.0.1; server 10.0.0.2; }}");
        let inner = "server { listen 80; location / { proxy_pass http://u; } }";
        let (_, report) = translated(&format!("{http} {inner}"));
        verdict(&report, "hash").1
    };
    assert!(hashed("$arg_x").contains("other capitals"), "{}", hashed("$arg_x"));
    assert!(hashed("$cookie_x").contains("other capitals"));
    assert!(!hashed("$http_x").contains("other capitals"));
}

const NEXTCLOUD: &str = r"root /srv; location ~ \.php(?:$|/) {
    rewrite ^/(?!index|remote|public|cron|core\/ajax\/update|status|ocs\/v[12]|updater\/.+|ocs-provider\/.+|.+\/richdocumentscode(_arm64)?\/proxy) /index.php$request_uri;
    fastcgi_split_path_info ^(.+?\.php)(/.*)$; set $path_info $fastcgi_path_info; try_files $fastcgi_script_name =404;
    fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name; fastcgi_param PATH_INFO $path_info;
    fastcgi_param modHeadersAvailable true; fastcgi_param front_controller_active true; fastcgi_pass 10.0.0.1:9000; }";

#[test]
fn nextclouds_configuration_comes_through() {
    let (config, report) = server(NEXTCLOUD);
    let lost: Vec<_> = report.unsupported().map(|item| (&item.directive, &item.text)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(verdict(&report, "rewrite").0, Exact);
    assert_eq!(verdict(&report, "fastcgi_param front_controller_active").0, Exact);
    let params = config.upstreams.values().find_map(|upstream| upstream.fastcgi.as_ref());
    let params = &params.expect("it runs scripts").params;
    assert_eq!(params["modHeadersAvailable"].0, "true");
    assert_eq!(params["front_controller_active"].0, "true");
    let ended = |uri| ran(&config, uri, "path");
    assert_eq!(ended("/apps/x.php"), "/index.php");
    for (spared, script) in [
        ("/index.php", "/index.php"),
        ("/ocs/v2.php/x", "/ocs/v2.php"),
        ("/a/richdocumentscode_arm64/proxy.php", "/a/richdocumentscode_arm64/proxy.php"),
        ("/updater/x.php", "/updater/x.php"),
    ] {
        assert_eq!(ended(spared), script, "{spared}");
    }
}

#[test]
fn lines_of_well_known_configurations_stop_nothing() {
    for (http, inner, line, expected) in [
        ("", "location / { chunked_transfer_encoding on; return 204; }", "chunked", Exact),
        ("", "location / { chunked_transfer_encoding off; return 204; }", "chunked", Unsupported),
        (
            "",
            "location / { if ($request_method = OPTIONS) { add_header 'Content-Length' 0; return 204; } root /srv; }",
            "add_header",
            Ignored,
        ),
        ("", "location / { add_header Content-Length 0; root /srv; }", "add_header", Unsupported),
        (
            "",
            "location / { return 204; } location /merge//x { return 200 m; }",
            "return 200",
            Ignored,
        ),
        (
            "",
            r"location ~ ^/setup/(?!pub/). { deny all; } location / { return 204; }",
            "location ~",
            Exact,
        ),
        (
            "map $upstream_http_docker_distribution_api_version $v { '' registry/2.0; }",
            "location / { add_header Docker-Distribution-Api-Version $v always; proxy_pass http://10.0.0.1; }",
            "add_header",
            Approximate,
        ),
        (
            "map $upstream_http_x $v { '' a; }",
            "location / { add_header X-Other $v; proxy_pass http://10.0.0.1; }",
            "add_header",
            Unsupported,
        ),
    ] {
        let (_, report) = translated(&format!("{http} server {{ listen 80; {inner} }}"));
        let (exactness, text) = verdict(&report, line);
        assert_eq!(exactness, expected, "{inner}: {text}");
    }
}

#[test]
fn what_goes_by_the_type_of_files_goes_by_their_endings() {
    let http = "types { text/html html; text/css css; image/png png; } default_type application/octet-stream; \
        map $sent_http_content_type $csp { ~*text/(html|javascript) \"default-src 'self'\"; } \
        map $sent_http_content_type $expires { default 1M; text/html epoch; ~*image/ off; }";
    let inner = "root /srv; expires $expires; add_header Content-Security-Policy $csp always;";
    let (config, report) = translated(&format!("{http} server {{ listen 80; {inner} }}"));
    let lost: Vec<_> = report.unsupported().map(|item| (&item.directive, &item.text)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(verdict(&report, "map $sent_http_content_type $csp").0, Approximate);
    let value = |path: &str, name: &str| {
        let target =
            Target { listener: "l", host: "h", path, query: "", method: "GET", headers: None };
        let (maps, captures) = (Maps::new(&config), Captures::default());
        let leads = proxy_config::leads::Leads::new(&config);
        let template =
            proxy_config::template::Compiled::new(&format!("${{{name}}}"), &leads.scope());
        template.expect("it is a map").render(&Facts::of(target, &captures, &maps))
    };
    for (path, csp, control) in [
        ("/a.html", "default-src 'self'", "no-cache"),
        ("/", "default-src 'self'", "no-cache"),
        ("/a.CSS", "", "max-age=2592000"),
        ("/a.png", "", ""),
        ("/a", "", "max-age=2592000"),
    ] {
        assert_eq!(value(path, "csp_by_type"), csp, "{path}");
        assert_eq!(value(path, "expires_by_type_2"), control, "{path}");
    }
    // What a type is of an upstream's answer is known only then.
    let inner = "expires $expires; location / { proxy_pass http://10.0.0.1; }";
    let (_, report) = translated(&format!("{http} server {{ listen 80; {inner} }}"));
    assert_eq!(verdict(&report, "expires").0, Unsupported);
}

#[test]
fn pages_that_say_a_text_keep_the_status_of_the_error() {
    for (page, own) in [
        ("location @m7 { return 503 '{}'; }", false),
        ("location @m7 { return 503; }", true),
        ("location @m7 { return 302 /x; }", true),
        ("location @m7 { root /srv; }", true),
    ] {
        let (config, report) =
            server(&format!("location / {{ error_page 403 @m7; return 403; }} {page}"));
        let pages = config.routes.iter().flat_map(|route| &route.error_pages);
        assert!(pages.clone().count() > 0, "{page}");
        assert!(pages.clone().all(|one| one.own_failures == own), "{page}");
        assert_eq!(verdict(&report, "error_page").0, Exact, "{page}");
    }
    let (_, report) = server(
        "location / { error_page 403 @m7; return 403; } \
         location @m7 { if ($arg_x) { return 404; } return 503 x; }",
    );
    assert_eq!(verdict(&report, "error_page").0, Approximate);
}

#[test]
fn names_of_servers_are_told_as_they_are_written() {
    for (written, told) in
        [("*.wild.test", "*.wild.test"), (".dot.test", "dot.test"), ("A.test", "a.test")]
    {
        let (config, _) = translated(&format!(
            "server {{ listen 80; server_name {written}; location / {{ return 200 $server_name; }} }}"
        ));
        let route = json(&config.routes[0]);
        assert!(route.contains(&format!(r#""body":"{told}""#)), "{route}");
    }
}

#[test]
fn what_is_refused_inside_says_what_it_lacks() {
    let (config, report) = server("location /i/ { internal; return 200 x; }");
    assert_eq!(verdict(&report, "internal").0, Exact);
    assert!(config.routes.iter().any(|route| route.internal), "{:?}", config.routes);
    let internal = "location /i/ { internal; alias /srv/; }";
    for (outer, expected) in [
        ("", Exact),
        ("error_page 500 /x;", Exact),
        ("error_page 404 /x;", Approximate),
        ("add_header A b;", Exact),
        ("add_header A b always;", Approximate),
        ("access_log /var/log/site.log;", Approximate),
    ] {
        let (_, report) = server(&format!("{outer} {internal} location /x {{ return 204; }}"));
        assert_eq!(verdict(&report, "internal").0, expected, "{outer}");
    }
}

#[test]
fn scripts_are_told_what_stands_last() {
    let (config, report) = server(
        "root /srv; location / { fastcgi_param DOCUMENT_ROOT $document_root; fastcgi_param X a; fastcgi_param X b; \
         fastcgi_param DOCUMENT_ROOT $realpath_root; fastcgi_pass 10.0.0.1:9000; }",
    );
    assert_eq!(verdict(&report, "fastcgi_param X a").0, Ignored);
    assert_eq!(verdict(&report, "fastcgi_param X b").0, Exact);
    let params = config.upstreams.values().find_map(|upstream| upstream.fastcgi.as_ref());
    assert_eq!(params.expect("it runs scripts").params["X"].0, "b");
}
