//! PHP behind the proxy: a real php-fpm.

use std::fs;
use std::process::Command;

use crate::client::{Client, Response};
use crate::harness::Proxy;
use crate::protocols::php_server::PhpServer;

/// What a script was told, as JSON.
const TOLD: &str = "<?php header('Content-Type: application/json');\n\
    echo json_encode(['body' => strlen(file_get_contents('php://input')), 'pid' => getmypid()] + $_SERVER);";

fn upstream(php: &PhpServer, settings: &str) -> String {
    format!(
        "upstreams: {{ php: {{ servers: [ {{ address: '{}' }} ], protocol: fastcgi, fastcgi: {{ root: {}, index: index.php{settings} }} }} }}\n",
        php.address,
        php.root(),
    )
}

fn ask(client: &mut Client, line: &str, fields: &str) -> Response {
    client.ask(&format!("{line} HTTP/1.1\r\nHost: a.example:81\r\n{fields}\r\n"))
}

/// The layout Laravel documents for nginx: a file if there is one, otherwise the front controller,
/// the only script that runs.
#[test]
fn an_application_with_a_front_controller_runs() {
    let php = PhpServer::start(&[
        ("index.php", TOLD),
        ("css/a.css", "p {}"),
        (".env", "SECRET=1"),
        ("other.php", TOLD),
    ]);
    let proxy = Proxy::start(&format!(
        "{}routes:\n\
         - {{ name: php, match: {{ paths: [ {{ regex: '^/index[.]php(/|$)' }} ] }}, upstream: php }}\n\
         - {{ name: scripts, match: {{ paths: [ {{ regex: '[.]php' }} ] }}, respond: {{ status: 404 }} }}\n\
         - {{ name: site, files: {{ root: {}, index: [] }}, try: [ {{ file: $path }}, {{ file: $path/ }}, {{ path: '/index.php?$query' }} ] }}",
        upstream(&php, ", params: { APP_ENV: testing, APP_HOST: 'at $host' }"),
        php.root(),
    ));
    let mut client = proxy.client();
    let told = ask(&mut client, "GET /users/5?a=1&b=%20", "X-Forwarded-For: 9.9.9.9\r\nX_Forwarded_For: 8.8.8.8\r\nProxy: http://evil\r\nCookie: a=b\r\n").json();
    for (name, expected) in [
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_URI", "/users/5?a=1&b=%20"),
        ("QUERY_STRING", "a=1&b=%20"),
        ("SCRIPT_NAME", "/index.php"),
        ("DOCUMENT_URI", "/index.php"),
        ("SCRIPT_FILENAME", &format!("{}/index.php", php.root())),
        ("DOCUMENT_ROOT", &php.root()),
        ("SERVER_NAME", "a.example"),
        ("HTTP_HOST", "a.example:81"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REQUEST_SCHEME", "http"),
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("SERVER_ADDR", "127.0.0.1"),
        ("HTTP_COOKIE", "a=b"),
        ("HTTP_X_FORWARDED_FOR", "9.9.9.9, 127.0.0.1"),
        ("APP_ENV", "testing"),
        ("APP_HOST", "at a.example"),
    ] {
        assert_eq!(told[name].as_str(), Some(expected), "{name} in {told}");
    }
    assert_eq!(told["SERVER_PORT"], proxy.public.port().to_string());
    assert!(told.get("HTTP_PROXY").is_none() && told.get("HTTPS").is_none());
    let info = ask(&mut client, "GET /index.php/a/b", "").json();
    assert_eq!((&info["SCRIPT_NAME"], &info["PATH_INFO"]), (&"/index.php".into(), &"/a/b".into()));
    let home = ask(&mut client, "GET /", "").json();
    assert_eq!((&home["SCRIPT_NAME"], &home["REQUEST_URI"]), (&"/index.php".into(), &"/".into()));
    let css = ask(&mut client, "GET /css/a.css", "");
    assert_eq!((css.text().as_str(), css.header("content-type")), ("p {}", Some("text/css")));
    for closed in ["/other.php", "/.env"] {
        assert!(
            !ask(&mut client, &format!("GET {closed}"), "").text().contains("SECRET"),
            "{closed}"
        );
    }
    assert_eq!(ask(&mut client, "GET /other.php", "").status, 404);
    let posted = ask(
        &mut client,
        "POST /login",
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\na=1&b=2",
    )
    .json();
    assert_eq!((&posted["REQUEST_METHOD"], &posted["body"]), (&"POST".into(), &7.into()));
    assert_eq!(posted["CONTENT_LENGTH"], "7");
    assert_eq!(posted["CONTENT_TYPE"], "application/x-www-form-urlencoded");
    assert_eq!(proxy.log_of("/users/5")["upstream"], "php");
}

#[test]
fn heads_bodies_and_errors_of_scripts_arrive() {
    let php = PhpServer::start(&[
        (
            "status.php",
            "<?php http_response_code(404); header('X-A: 1'); header('X-A: 2', false); setcookie('s', '1'); echo 'none';",
        ),
        ("moved.php", "<?php header('Location: /there');"),
        (
            "big.php",
            "<?php for ($i = 0; $i < 80; $i++) { echo str_repeat(chr(65 + $i % 26), 65536); }",
        ),
        ("short.php", "<?php header('Content-Length: 1000'); echo 'abc';"),
        ("says.php", "<?php error_log('something odd'); echo 'fine';"),
        ("fatal.php", "<?php echo 'x'; nothing();"),
        (
            "slow.php",
            "<?php echo 'first'; flush(); while (!file_exists('../go')) { usleep(1000); clearstatcache(); } echo ' then';",
        ),
        ("length.php", "<?php header('Content-Length: 5'); echo 'hello';"),
    ]);
    let proxy = Proxy::start(&format!(
        "{}routes: [ {{ name: all, upstream: php, compression: {{ codings: [gzip] }} }} ]",
        upstream(&php, "")
    ));
    let mut client = proxy.client();
    let missing = ask(&mut client, "GET /status.php", "");
    assert_eq!((missing.status, missing.text().as_str()), (404, "none"));
    let twice: Vec<_> =
        missing.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-a")).collect();
    assert_eq!(twice.len(), 2);
    assert!(missing.header("set-cookie").is_some());
    let moved = ask(&mut client, "GET /moved.php", "");
    assert_eq!((moved.status, moved.header("location")), (302, Some("/there")));
    let big = ask(&mut client, "GET /big.php", "");
    assert!(big.whole && big.body.len() == 80 * 65536 && big.body.ends_with(b"BBB"));
    let head = ask(&mut client, "HEAD /length.php", "");
    assert_eq!((head.status, head.header("content-length")), (200, Some("5")));
    assert_eq!(ask(&mut client, "GET /length.php", "").text(), "hello");
    assert_eq!(ask(&mut client, "GET /none.php", "").status, 404, "PHP's own");
    assert!(
        !ask(&mut proxy.client(), "GET /short.php", "").whole,
        "a body that is too short breaks"
    );
    assert_eq!(ask(&mut client, "GET /says.php", "").text(), "fine");
    proxy.says("something odd");
    assert!(matches!(ask(&mut client, "GET /fatal.php", "").status, 200 | 500));
    let mut slow = proxy.client();
    slow.send("GET /slow.php HTTP/1.1\r\nHost: a.example\r\n\r\n");
    slow.head().unwrap();
    assert_eq!(slow.chunk().unwrap(), b"first", "what is flushed arrives before the end");
    fs::write(php.dir.path().join("go"), "").unwrap();
    assert_eq!(slow.chunk().unwrap(), b" then");
}

#[test]
fn bodies_of_any_size_and_framing_reach_a_script() {
    let hash = "<?php $b = file_get_contents('php://input'); echo strlen($b), ' ', crc32($b), ' ', $_SERVER['CONTENT_LENGTH'];";
    let echo =
        "<?php $in = fopen('php://input', 'r'); while (!feof($in)) { echo fread($in, 8192); }";
    let early = "<?php http_response_code(403); echo 'no';";
    let php = PhpServer::start(&[("hash.php", hash), ("echo.php", echo), ("early.php", early)]);
    let proxy = Proxy::start(&format!(
        "{}routes: [ {{ name: all, upstream: php, request_body_max: 20MB }} ]",
        upstream(&php, ""),
    ));
    let url = |path: &str| format!("http://{}{path}", proxy.public);
    for (size, chunked) in [
        (0, false),
        (10, false),
        (65_536, false),
        (65_537, false),
        (8_000_000, false),
        (300_000, true),
    ] {
        let body: Vec<u8> = (0u32..).flat_map(u32::to_le_bytes).take(size).collect();
        let file = php.dir.path().join("body");
        fs::write(&file, &body).unwrap();
        let data = format!("@{}", file.display());
        let mut curl = Command::new("curl");
        curl.args(["-s", "--data-binary", &data, "-H", "Content-Type: application/octet-stream"]);
        if chunked {
            curl.args(["-H", "Transfer-Encoding: chunked"]);
        }
        let out = curl.arg(url("/hash.php")).output().unwrap();
        let length = if size == 0 { String::new() } else { size.to_string() };
        let expected = format!("{size} {} {length}", crc32fast::hash(&body));
        assert_eq!(String::from_utf8(out.stdout).unwrap(), expected, "{size} {chunked}");
        let mut curl = Command::new("curl");
        curl.args(["-s", "--data-binary", &data, "-H", "Content-Type: application/octet-stream"]);
        let back = curl.arg(url("/echo.php")).output();
        assert!(back.unwrap().stdout == body, "{size} bytes come back");
    }
    let mut client = proxy.client();
    let large = "x".repeat(200_000);
    let refused = ask(
        &mut client,
        "POST /early.php",
        &format!("Content-Length: {}\r\n\r\n{large}", large.len()),
    );
    assert_eq!((refused.status, refused.text().as_str()), (403, "no"));
    let too_large = ask(&mut proxy.client(), "POST /hash.php", "Content-Length: 30000000\r\n");
    assert_eq!(too_large.status, 413);
    let unknown = format!(
        "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        2_000_000,
        "y".repeat(2_000_000)
    );
    assert_eq!(ask(&mut proxy.client(), "POST /hash.php", &unknown).status, 411);
}

/// With a policy a script is asked when the body is whole: its length is known, whatever the client said.
#[test]
fn uploads_are_taken_in_before_a_script_is_asked() {
    let hash = "<?php $in = file_get_contents('php://input'); echo strlen($in), ' ', crc32($in), ' ', $_SERVER['CONTENT_LENGTH'];";
    let php = PhpServer::start(&[("hash.php", hash)]);
    let spill = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(&format!(
        "{}routes: [ {{ name: php, upstream: php, lane: upload, buffer_policy: p }} ]\n\
         buffer_policies: {{ p: {{ requests: {{ mode: spill, memory_max: 128KiB }}, responses: {{}} }} }}\n\
         lanes: {{ upload: {{ spill: {{ path: {}, bytes_max: 64MiB }} }} }}",
        upstream(&php, ""),
        spill.path().display()
    ));
    let body: String = (0..400_000).map(|number| format!("{number:06}")).collect();
    let expected = format!("{} {} {}", body.len(), crc32fast::hash(body.as_bytes()), body.len());
    let said = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(ask(&mut proxy.client(), "POST /hash.php", &said).text(), expected);
    let chunks =
        format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    assert_eq!(ask(&mut proxy.client(), "POST /hash.php", &chunks).text(), expected);
    let spilled = "forebay_proxy_lane_spilled_bytes_total{lane=\"upload\"}";
    assert!(proxy.metric(spilled) > 4e6);
    // Only answers are held: the body goes on as it comes.
    let proxy = Proxy::start(&format!(
        "{}routes: [ {{ name: php, upstream: php, buffer_policy: p }} ]\n\
         buffer_policies: {{ p: {{ responses: {{}} }} }}",
        upstream(&php, ""),
    ));
    assert_eq!(ask(&mut proxy.client(), "POST /hash.php", &said).text(), expected);
    let through = "forebay_proxy_buffered_bytes_total{policy=\"p\",way=\"responses\"}";
    assert_eq!(proxy.metric(through), expected.len() as f64);
}

#[test]
fn connections_are_kept_answers_cached_and_files_handed_out() {
    let count = "<?php header('Cache-Control: max-age=60'); file_put_contents('../runs', 'x', FILE_APPEND); echo 'kept';";
    let accel = "<?php header('X-Accel-Redirect: /protected/film'); header('Content-Type: video/mp4'); echo 'not this';";
    let php = PhpServer::start(&[
        ("told.php", TOLD),
        ("count.php", count),
        ("accel.php", accel),
        ("fails.php", "<?php http_response_code(500); echo 'trace';"),
    ]);
    fs::create_dir(php.dir.path().join("protected")).unwrap();
    fs::write(php.dir.path().join("protected/film"), "0123456789").unwrap();
    let proxy = Proxy::start(&format!(
        "upstreams: {{ php: {{ servers: [ {{ address: '{}' }} ], protocol: fastcgi, x_accel: true, fastcgi: {{ root: {}, idle_max: 1 }} }} }}\n\
         caches: {{ main: {{ memory_max: 16MiB }} }}\ncache_policies: {{ p: {{ cache: main }} }}\n\
         routes:\n\
         - {{ name: film, internal: true, match: {{ paths: [ {{ prefix: /protected/ }} ] }}, files: {{ root: {} }} }}\n\
         - {{ name: sorry, internal: true, respond: {{ status: 200, body: sorry }} }}\n\
         - {{ name: kept, match: {{ paths: [ {{ exact: /count.php }} ] }}, upstream: php, cache_policy: p }}\n\
         - {{ name: all, upstream: php, error_pages: [ {{ statuses: [5xx], route: sorry, upstream_errors: true }} ] }}",
        php.address,
        php.root(),
        php.dir.path().display(),
    ));
    let mut client = proxy.client();
    let pids: Vec<_> =
        (0..5).map(|_| ask(&mut client, "GET /told.php", "").json()["pid"].clone()).collect();
    assert!(pids.windows(2).all(|two| two[0] == two[1]), "one connection is one process: {pids:?}");
    let reused =
        proxy.metric("forebay_proxy_upstream_connects_total{reused=\"true\",upstream=\"php\"}");
    assert_eq!(reused, 4.0);
    for _ in 0..3 {
        assert_eq!(ask(&mut client, "GET /count.php", "").text(), "kept");
    }
    assert_eq!(
        fs::read(php.dir.path().join("runs")).unwrap().len(),
        1,
        "the cache asks scripts, too"
    );
    let film = ask(&mut client, "GET /accel.php", "Range: bytes=1-3\r\n");
    assert_eq!((film.status, film.text().as_str()), (206, "123"));
    assert_eq!(film.header("content-type"), Some("video/mp4"));
    let body = format!("Content-Length: 100000\r\n\r\n{}", "z".repeat(100_000));
    let film = ask(&mut client, "POST /accel.php", &body);
    assert_eq!((film.status, film.text().as_str()), (200, "0123456789"));
    let failed = ask(&mut client, "GET /fails.php", "");
    assert_eq!((failed.status, failed.text().as_str()), (500, "sorry"));
    assert_eq!(
        ask(&mut client, "GET /told.php", "").status,
        200,
        "the client's connection outlives it all"
    );
}

#[test]
fn scripts_are_asked_over_a_unix_socket() {
    let php = PhpServer::at_unix_socket(&[("index.php", TOLD)]);
    let routes = "routes: [ { name: php, upstream: php } ]";
    let proxy = Proxy::start(&format!("{}{routes}", upstream(&php, ", idle_max: 1")));
    let mut client = proxy.client();
    let pids: Vec<_> = (0..3)
        .map(|_| {
            let told = ask(&mut client, "GET /index.php", "").json();
            assert_eq!(told["SERVER_NAME"], "a.example");
            told["pid"].clone()
        })
        .collect();
    assert_eq!(pids[0], pids[2], "the connection is kept");
    let large = "x".repeat(300_000);
    client.send(format!(
        "POST /index.php HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{large}",
        large.len()
    ));
    assert_eq!(client.response(false).unwrap().json()["body"], 300_000);
}

/// One script makes every page of a site, and knows them apart by what the client asked for.
#[test]
fn pages_of_one_script_are_cached_apart() {
    let page = "<?php header('Cache-Control: max-age=60'); file_put_contents('../runs', 'x', FILE_APPEND); \
                echo $_SERVER['REQUEST_URI'];";
    let php = PhpServer::start(&[("index.php", page)]);
    let proxy = Proxy::start(&format!(
        "{}caches: {{ main: {{ memory_max: 16MiB }} }}\ncache_policies: {{ p: {{ cache: main }} }}\n\
         routes:\n\
         - {{ name: script, match: {{ paths: [ {{ exact: /index.php }} ] }}, upstream: php, cache_policy: p }}\n\
         - {{ name: site, files: {{ root: {} }}, try: [ {{ file: $path }}, {{ path: /index.php }} ] }}",
        upstream(&php, ""),
        php.root(),
    ));
    let mut client = proxy.client();
    let runs = || fs::read(php.dir.path().join("runs")).unwrap().len();
    for _ in 0..2 {
        for target in ["/posts/1", "/posts/2", "/posts/2?page=3", "/index.php"] {
            assert_eq!(ask(&mut client, &format!("GET {target}"), "").text(), target);
        }
    }
    assert_eq!(runs(), 4);
    // What has changed is the page that was asked for.
    ask(&mut client, "POST /posts/1", "Content-Length: 0\r\n");
    for target in ["/posts/1", "/posts/2"] {
        assert_eq!(ask(&mut client, &format!("GET {target}"), "").text(), target);
    }
    assert_eq!(runs(), 6);
}
