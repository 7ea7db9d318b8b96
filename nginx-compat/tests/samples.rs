//! Every sample against what is expected of it: problems, report and configuration are compared
//! with the golden files (UPDATE=1 writes them), and rules hold that no golden file could hide.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use forebay_nginx::parse::{Parsed, parse_file};
use forebay_nginx::report::Report;
use forebay_nginx::translate::{Translation, translate};
use forebay_nginx::verdict::Exactness;
use forebay_nginx::{check, convert, print, problem, table, tree};
use proxy_config::{Config, Source};

struct Sample {
    name: String,
    parsed: Parsed,
    translation: Translation,
    report: Report,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples")
}

fn samples() -> Vec<Sample> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder())
        .expect("the samples are there")
        .map(|entry| entry.expect("the samples are there").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 12);
    paths.iter().map(|path| sample(path)).collect()
}

fn sample(path: &Path) -> Sample {
    let mut parsed = parse_file(path, None).expect("the samples are there");
    parsed.problems.extend(check::check(&parsed.document));
    parsed.problems.sort_by_key(|problem| problem.place);
    let translation = translate(&parsed.document);
    let report = Report::new(&parsed.document, &translation);
    let name = path
        .file_stem()
        .expect("the samples are there")
        .to_str()
        .expect("the samples are there")
        .to_owned();
    Sample { name, parsed, translation, report }
}

/// Compares with `golden/NAME`, or writes it.
fn golden(name: &str, text: &str) {
    let folder = folder();
    // Places must not depend on where the repository is.
    let text = text.replace(&format!("{}/", folder.display()), "");
    let path = folder.join("golden").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().expect("the samples are there"))
            .expect("the samples are there");
        std::fs::write(&path, text).expect("the samples are there");
        return;
    }
    let expected = std::fs::read_to_string(&path)
        .unwrap_or_else(|_| panic!("{} is missing; run with UPDATE=1", path.display()));
    assert_eq!(text, expected, "{name} differs; UPDATE=1 rewrites it");
}

#[test]
fn reports_and_configurations_are_as_expected() {
    for sample in samples() {
        let mut text = problem::render(&sample.parsed.problems, &sample.parsed.document.files);
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&table::table(&sample.report));
        golden(&format!("{}.report.txt", sample.name), &text);
        if let Some(config) = &sample.translation.config {
            let name = format!("{}.conf", sample.name);
            let origins = &sample.translation.origins;
            let yaml = convert::document(&name, config, origins, &sample.report);
            golden(&format!("{}.yaml", sample.name), &yaml);
        }
    }
}

#[test]
fn every_directive_stands_in_the_report_once() {
    for sample in samples() {
        let mut expected = BTreeMap::new();
        tree::walk(&sample.parsed.document.directives, &mut |directive| {
            let place = (directive.start.line, directive.start.column);
            assert!(expected.insert(directive.id, place).is_none(), "{}", sample.name);
        });
        assert_eq!(expected.len(), sample.parsed.document.count, "{}", sample.name);
        let mut reported = BTreeMap::new();
        for item in &sample.report.items {
            let twice = reported.insert(item.id, (item.line, item.column));
            assert!(twice.is_none(), "{}: {}", sample.name, item.directive);
            let silent = item.text.is_empty() && item.exactness != Exactness::Exact;
            assert!(!silent, "{}: {} has no reason", sample.name, item.directive);
        }
        assert_eq!(reported, expected, "{}", sample.name);
        let counted: usize = sample.report.shares.iter().map(|share| share.count).sum();
        assert_eq!(counted, sample.report.directives, "{}", sample.name);
    }
}

#[test]
fn every_configuration_loads() {
    let mut loaded = 0;
    for sample in samples() {
        let Some(config) = &sample.translation.config else { continue };
        let load = |text: &str| match Config::load(Source::new(sample.name.as_str(), text)) {
            Ok(config) => config,
            Err(problems) => panic!("{problems}\n{text}"),
        };
        assert_eq!(load(&config.to_yaml()), *config, "{}", sample.name);
        let origins = &sample.translation.origins;
        let document = convert::document(&sample.name, config, origins, &sample.report);
        assert_eq!(load(&document), *config, "{}", sample.name);
        for comment in origins.routes.iter().flatten().chain(origins.listeners.values().flatten()) {
            assert!(document.contains(comment.as_str()), "{}: {comment}", sample.name);
        }
        loaded += 1;
    }
    assert!(loaded >= 10);
}

#[test]
fn printed_samples_read_back_the_same() {
    for sample in samples() {
        let text = print::print(&sample.parsed.document.directives);
        // In the samples' folder, so that what they include is found again.
        let again = forebay_nginx::parse::parse_bytes(
            "printed",
            text.as_bytes(),
            forebay_nginx::include::Includes::Under(folder()),
        );
        let (first, second) = (&sample.parsed.document.directives, &again.document.directives);
        assert!(tree::same(first, second) || sample.name == "broken-include", "{}", sample.name);
    }
}

fn exactness(sample: &str, line: &str) -> (Exactness, String) {
    let sample = sample_named(sample);
    let items = sample.report.items;
    let item = items.into_iter().find(|item| item.directive == line);
    let item = item.unwrap_or_else(|| panic!("no {line} in {}", sample.name));
    (item.exactness, item.text)
}

fn sample_named(name: &str) -> Sample {
    sample(&folder().join(format!("{name}.conf")))
}

#[test]
fn a_plain_site_has_nothing_unsupported() {
    for name in ["simple-proxy", "api-gateway", "nested-includes", "tls-only"] {
        let sample = sample_named(name);
        let lost: Vec<_> = sample.report.unsupported().map(|item| &item.directive).collect();
        assert!(lost.is_empty(), "{name}: {lost:?}");
        assert!(sample.parsed.problems.is_empty(), "{name}");
    }
}

#[test]
fn protected_locations_stay_closed() {
    let sample = sample_named("guarded");
    let config = sample.translation.config.unwrap();
    let router = proxy_config::matching::Router::new(&config);
    let met = |host: &str, path: &str| {
        let target = proxy_config::matching::Target {
            listener: "port-80",
            host,
            path,
            query: "",
            method: "GET",
            headers: None,
        };
        let route = &config.routes[router.find(&target).unwrap()];
        let upstream = route.upstream.clone().unwrap_or_default();
        let respond = route.respond.as_ref().map(|respond| respond.status).unwrap_or_default();
        let guarded = (route.access.is_some(), route.auth.is_some());
        (upstream, respond, route.internal, guarded)
    };
    let cases = [
        ("intranet.example", "/", ("127-0-0-1-5000", 0, false, (false, false))),
        ("intranet.example", "/admin/users", ("127-0-0-1-5000", 0, false, (false, true))),
        ("intranet.example", "/admin/public/x", ("127-0-0-1-5000", 0, false, (false, false))),
        ("intranet.example", "/internal/x", ("127-0-0-1-5001", 0, true, (false, false))),
        ("intranet.example", "/metrics", ("127-0-0-1-5002", 0, false, (true, false))),
        ("intranet.example", "/old", ("", 410, false, (false, false))),
        ("intranet.example", "/older", ("127-0-0-1-5000", 0, false, (false, false))),
        ("mtls.example", "/", ("not-translated", 0, false, (false, false))),
    ];
    for (host, path, (upstream, status, internal, guarded)) in cases {
        let expected = (upstream.to_owned(), status, internal, guarded);
        assert_eq!(met(host, path), expected, "{host}{path}");
    }
}

#[test]
fn hosts_find_the_server_nginx_would_choose() {
    let sample = sample_named("many-servers");
    let config = sample.translation.config.unwrap();
    let router = proxy_config::matching::Router::new(&config);
    let cases = [
        ("port-80", "a.example", "10-0-0-1"),
        ("port-80", "q.y.example", "10-0-0-1"),
        ("port-80", "b.y.example", "10-0-0-2"),
        ("port-80", "q.x.example", "10-0-0-2"),
        ("port-80", "c.x.example", "10-0-0-3"),
        ("port-80", "z.example", "10-0-0-3"),
        ("port-80", "q.z.example", "10-0-0-3"),
        ("port-80", "unknown.example", "10-0-0-6"),
        ("port-80", "q.deep.x.example", ""),
        ("port-80", "other.example", "10-0-0-6"),
        ("port-80", "x.dyn.example", "10-0-0-9"),
        ("port-8080", "other.example", "10-0-0-8"),
        ("port-8080", "a.example", "10-0-0-7"),
        ("port-8080", "unknown.example", "10-0-0-7"),
    ];
    for (listener, host, expected) in cases {
        let target = proxy_config::matching::Target {
            listener,
            host,
            path: "/",
            query: "",
            method: "GET",
            headers: None,
        };
        let index = router.find(&target).unwrap();
        let upstream = config.routes[index].upstream.clone().unwrap_or_default();
        assert_eq!(upstream, expected, "{listener} {host}");
    }
}

#[test]
fn verdicts_that_matter() {
    use Exactness::{Approximate, Exact, Ignored, Unsupported};
    let cases = [
        ("api-gateway", "server 10.0.1.10:8080 weight=3", Exact, ""),
        ("api-gateway", "proxy_set_header Host $host", Exact, ""),
        ("api-gateway", "location /accounts/", Exact, ""),
        ("api-gateway", "keepalive 32", Approximate, "without a limit"),
        ("video-site", "location ~ \\.m3u8$", Exact, ""),
        ("php-site", "location ~ \\.php$", Exact, ""),
        ("php-site", "location ~ /\\.(?!well-known).*", Exact, ""),
        ("video-site", "proxy_buffers 8 16k", Approximate, "waits at the upstream"),
        ("tls-site", "return 301 https://$host$request_uri", Exact, ""),
        ("tls-site", "proxy_set_header X-Real-IP $remote_addr", Exact, ""),
        ("many-servers", "server_name other.example", Exact, ""),
        ("many-servers", "proxy_pass http://10.0.0.5", Ignored, "in nginx either"),
        ("many-servers", "proxy_pass http://10.0.0.7", Exact, ""),
        ("canary", "ip_hash", Exact, ""),
        ("canary", "gzip on", Exact, ""),
        ("canary", "location /lua", Unsupported, "access_by_lua_block"),
        ("default-only", "location no-slash", Ignored, "never matches"),
    ];
    for (sample, line, expected, text) in cases {
        let (found, why) = exactness(sample, line);
        assert_eq!(found, expected, "{sample}: {line}: {why}");
        assert!(why.contains(text), "{sample}: {line}: {why}");
    }
}
