//! The rules of the house that a program can check. Each rule is a function from files to findings,
//! tried here on a bad sample as well as on the repository, so that a rule that finds nothing is
//! known to be able to find something.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use system_tests::binaries;
use system_tests::tree::{self, File};

const FILE_LINES_MAX: usize = 600;
const MAIN_LINES_MAX: usize = 60;
const FOLDER_DEPTH_MAX: usize = 4;
const VAGUE_NAMES: [&str; 6] = ["common", "helper", "helpers", "misc", "util", "utils"];

/// A library or language that may be named in few places, so that replacing it is one file's work.
struct OneHome {
    what: &'static str,
    /// Whether a line of code names it.
    named: fn(&str) -> bool,
    homes: &'static [&'static str],
}

const ONE_HOME: [OneHome; 4] = [
    OneHome {
        what: "the YAML library (serde_saphyr)",
        named: |line| line.contains("serde_saphyr"),
        homes: &["proxy/config/src/document.rs"],
    },
    OneHome {
        what: "the AWS SDK",
        named: |line| line.contains("aws_sdk_") || line.contains("aws_config::"),
        homes: &["stack/src/cloud.rs", "stack/src/cloud/"],
    },
    OneHome { what: "SQL", named: names_sql, homes: &["ledger-svc/src/store/"] },
    OneHome {
        what: "pingora's error type",
        named: |line| line.contains("pingora::Error") || line.contains("pingora::ErrorType"),
        homes: &["proxy/src/edge.rs", "proxy/src/respond.rs"],
    },
];

fn names_sql(line: &str) -> bool {
    ["SELECT ", "INSERT INTO ", "DELETE FROM ", "CREATE TABLE ", "PRAGMA "]
        .iter()
        .any(|statement| line.contains(statement))
        || (line.contains("UPDATE ") && line.contains(" SET "))
}

fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.split('.').next().unwrap_or(name)
}

/// Lines that hold something of the file's own: the list of its modules is as long as there are modules.
fn lines_of(text: &str) -> usize {
    let is_module = |line: &&str| line.starts_with("mod ") || line.starts_with("pub mod ");
    text.lines().filter(|line| !is_module(line)).count()
}

fn too_long(files: &[File]) -> Vec<String> {
    // The main file of a test binary is a list of its modules.
    let is_main = |path: &str| path.ends_with("main.rs") && !is_test(path);
    let limit = |path: &str| if is_main(path) { MAIN_LINES_MAX } else { FILE_LINES_MAX };
    files
        .iter()
        .map(|file| (file, lines_of(&file.text), limit(&file.path)))
        .filter(|(_, lines, limit)| lines > limit)
        .map(|(file, lines, limit)| {
            format!("{}: {lines} lines, {limit} at most: a file is one idea", file.path)
        })
        .collect()
}

fn badly_named(files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for File { path, .. } in files {
        if path.ends_with("/mod.rs") {
            found.push(format!("{path}: name the file after the module"));
        }
        if path.split('/').any(|part| VAGUE_NAMES.contains(&stem(part))) {
            found.push(format!("{path}: a name must say what is inside"));
        }
        if path.ends_with(".rs") && path.matches('/').count() > FOLDER_DEPTH_MAX {
            found.push(format!("{path}: deeper than {FOLDER_DEPTH_MAX} folders"));
        }
    }
    found
}

fn away_from_home(files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| !is_test(&file.path)) {
        // Unit tests beside the code come last in a file and may name what they like.
        let code = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for OneHome { what, named, homes } in &ONE_HOME {
                if named(line) && !homes.iter().any(|home| file.path.starts_with(home)) {
                    let homes = homes.join(", ");
                    found.push(format!(
                        "{}:{}: {what} is named only in {homes}",
                        file.path,
                        number + 1
                    ));
                }
            }
        }
    }
    found
}

fn skipped_tests(files: &[File]) -> Vec<String> {
    let mark = concat!("#[", "ignore");
    files
        .iter()
        .filter(|file| file.text.contains(mark))
        .map(|file| format!("{}: a test that is skipped proves nothing", file.path))
        .collect()
}

/// Links from one Markdown file to another file of the repository that is not there.
fn broken_links(files: &[File], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for target in file.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if !exists(&format!("{folder}/{target}")) {
                found.push(format!("{}: links to {target}, which is not there", file.path));
            }
        }
    }
    found
}

/// Decisions are `NNNN-title.md`, each number once, and headed by a title. Numbers may be missing:
/// they are given out before what they are for has landed.
fn misnumbered_decisions(files: &[File]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let mut found = Vec::new();
    for file in files {
        let Some(name) = file.path.strip_prefix("docs/decisions/") else { continue };
        let number = name.split_once('-').map_or("", |(number, _)| number);
        if number.len() != 4 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            found.push(format!("{}: begins with a number of four digits", file.path));
        }
        if !taken.insert(number) {
            found.push(format!("{}: the number is taken", file.path));
        }
        if !file.text.starts_with("# ") {
            found.push(format!("{}: begins with a title", file.path));
        }
    }
    found
}

/// Workspace members that a package may not depend on, directly or not; and foreign crates likewise.
const MUST_NOT_REACH: [(&str, &[&str]); 6] = [
    ("proxy-load", &["forebay-proxy", "proxy-config", "pingora"]),
    ("proxy-config", &["forebay-proxy", "forebay-nginx", "forebay-stack", "forebay-ledger"]),
    ("forebay-nginx", &["forebay-proxy", "forebay-stack", "forebay-ledger", "pingora", "sqlx"]),
    ("forebay-proxy", &["forebay-stack", "forebay-ledger", "sqlx"]),
    ("forebay-stack", &["forebay-proxy", "forebay-ledger", "pingora", "sqlx"]),
    ("forebay-ledger", &["forebay-proxy", "forebay-stack", "forebay-nginx", "proxy-config"]),
];

type Graph = BTreeMap<String, BTreeSet<String>>;

/// What is depended on, directly or not; itself only where that leads back.
fn reached<'a>(graph: &'a Graph, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(next) = open.pop() {
        for dependency in graph.get(next).into_iter().flatten() {
            if reached.insert(dependency.as_str()) {
                open.push(dependency);
            }
        }
    }
    reached
}

fn forbidden_dependencies(graph: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    for (package, forbidden) in MUST_NOT_REACH {
        let reached = reached(graph, package);
        found.extend(
            forbidden
                .iter()
                .filter(|name| reached.contains(*name))
                .map(|name| format!("{package} depends on {name}")),
        );
    }
    found
}

/// The ledger's modules from the ground up; each names only those of its own layer and of those below.
const LAYERS: [&[&str]; 11] = [
    &["metrics", "operator_log"],
    &["as_of", "hex", "json", "link", "money", "naming", "trail", "when"],
    &["account", "key", "metadata", "outbox", "signature", "transfer"],
    &["account_set", "behind", "close", "interchange", "posting", "reconcile", "report"],
    &["act", "batch", "chain", "seal"],
    &["store"],
    &["writer"],
    &["delivering", "exporting", "importing", "keyring", "reconciling", "signing", "verify"],
    &["http"],
    &["service"],
    &["command"],
];

/// What stands behind `crate::`: one name, or those of a list.
fn named_first(rest: &str) -> Vec<&str> {
    let end = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let names = match rest.strip_prefix('{') {
        Some(list) => list.split('}').next(),
        None => rest.split(end).next(),
    };
    let names = names.unwrap_or_default().split(',');
    names.map(|path| path.trim().split("::").next().unwrap_or_default()).collect()
}

/// The modules at the top of a package's folder, and which of the others each names. Unit tests may name what they like.
fn modules_of(files: &[File], folder: &str) -> Graph {
    let mut graph = Graph::new();
    for file in files {
        let Some(path) = file.path.strip_prefix(folder) else { continue };
        let module = path.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        if is_test(path) || ["lib", "main"].contains(&module) || path.ends_with("_tests.rs") {
            continue;
        }
        let code = file.text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let code: Vec<&str> =
            code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let code = code.join("\n");
        let named = code.split("crate::").skip(1).flat_map(named_first);
        let others = named.filter(|name| *name != module).map(str::to_owned);
        graph.entry(module.to_owned()).or_default().extend(others);
    }
    graph
}

fn against_layers(graph: &Graph) -> Vec<String> {
    let layer = |module: &str| LAYERS.iter().position(|layer| layer.contains(&module));
    let mut found = Vec::new();
    for (module, named) in graph {
        if layer(module).is_none() {
            found.push(format!("{module} is in no layer: say where it belongs"));
        }
        let above = named.iter().filter(|name| layer(name) > layer(module));
        found.extend(above.map(|name| format!("{module} imports {name}, which is above it")));
    }
    found
}

fn circles(graph: &Graph) -> Vec<String> {
    let within = |module: &&String| reached(graph, module).contains(module.as_str());
    graph.keys().filter(within).map(|module| format!("{module} leads back to itself")).collect()
}

/// Normal and build dependencies by package name, as cargo resolves them for this workspace.
fn dependency_graph() -> Graph {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--offline", "--locked"])
        .current_dir(binaries::repository())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let names: BTreeMap<String, String> = list(&metadata["packages"])
        .iter()
        .map(|package| (package["id"].to_string(), text(&package["name"])))
        .collect();
    let mut graph = Graph::new();
    for node in list(&metadata["resolve"]["nodes"]) {
        let needs = list(&node["deps"])
            .into_iter()
            .filter(|dep| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev"))
            .map(|dep| names[&dep["pkg"].to_string()].clone());
        graph.entry(names[&node["id"].to_string()].clone()).or_default().extend(needs);
    }
    graph
}

fn nothing(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

fn sample(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}

#[test]
fn files_are_short() {
    assert_eq!(too_long(&[sample("a/src/x.rs", &"x\n".repeat(601))]).len(), 1);
    assert_eq!(too_long(&[sample("a/src/main.rs", &"x\n".repeat(61))]).len(), 1);
    nothing(&too_long(&tree::rust_files()));
}

#[test]
fn names_say_what_is_inside() {
    for bad in ["a/src/mod.rs", "a/src/util.rs", "a/helpers/x.rs", "a/b/c/d/e/f.rs"] {
        assert_eq!(badly_named(&[sample(bad, "")]).len(), 1, "{bad}");
    }
    nothing(&badly_named(&tree::files()));
}

#[test]
fn what_may_be_replaced_has_one_home() {
    let bad =
        ["use serde_saphyr::Options;", "\"SELECT 1\"", "\"UPDATE t SET x = 1\"", "aws_sdk_s3::C"];
    for line in bad {
        assert_eq!(away_from_home(&[sample("proxy/src/x.rs", line)]).len(), 1, "{line}");
    }
    assert_eq!(away_from_home(&[sample("ledger-svc/src/store/sqlite.rs", bad[1])]).len(), 0);
    nothing(&away_from_home(&tree::rust_files()));
}

#[test]
fn no_test_is_skipped() {
    assert_eq!(skipped_tests(&[sample("x.rs", concat!("#[", "ignore]"))]).len(), 1);
    nothing(&skipped_tests(&tree::rust_files()));
}

#[test]
fn links_in_documents_lead_somewhere() {
    let bad = sample("docs/X.md", "see [this](missing.md#part) and [that](https://example.com)");
    assert_eq!(broken_links(&[bad], |_| false).len(), 1);
    nothing(&broken_links(&tree::files(), |path| {
        binaries::repository().join(path.trim_start_matches('/')).exists()
    }));
}

#[test]
fn decisions_are_numbered() {
    let twice = ["docs/decisions/0001-x.md", "docs/decisions/0001-y.md"];
    assert_eq!(misnumbered_decisions(&twice.map(|path| sample(path, "# X"))).len(), 1);
    assert_eq!(misnumbered_decisions(&[sample("docs/decisions/12-x.md", "# X")]).len(), 1);
    assert_eq!(misnumbered_decisions(&[sample("docs/decisions/0001-x.md", "no title")]).len(), 1);
    nothing(&misnumbered_decisions(&tree::files()));
}

#[test]
fn dependencies_point_one_way() {
    let bad = Graph::from([
        ("forebay-stack".to_owned(), BTreeSet::from(["between".to_owned()])),
        ("between".to_owned(), BTreeSet::from(["sqlx".to_owned()])),
    ]);
    assert_eq!(forbidden_dependencies(&bad), ["forebay-stack depends on sqlx"]);
    let graph = dependency_graph();
    assert!(graph["forebay-proxy"].contains("pingora"), "the graph is read wrongly");
    nothing(&forbidden_dependencies(&graph));
}

#[test]
fn modules_of_the_ledger_import_one_way() {
    const FOLDER: &str = "ledger-svc/src/";
    let bad = modules_of(
        &[
            sample("ledger-svc/src/posting.rs", "use crate::chain::Head;"),
            sample("ledger-svc/src/chain/acts.rs", "use crate::{link, store::open};"),
            sample("ledger-svc/src/store.rs", "// crate::writer\nuse crate::posting::Limits;"),
            sample("ledger-svc/src/new.rs", ""),
        ],
        FOLDER,
    );
    assert_eq!(circles(&bad).len(), 3);
    let expected = [
        "chain imports store, which is above it",
        "new is in no layer: say where it belongs",
        "posting imports chain, which is above it",
    ];
    assert_eq!(against_layers(&bad), expected);
    let graph = modules_of(&tree::rust_files(), FOLDER);
    assert!(graph["writer"].contains("store"), "the graph is read wrongly");
    nothing(&circles(&graph));
    nothing(&against_layers(&graph));
}

/// Runs `tools/docs.sh` into another folder and compares.
#[test]
fn generated_documents_are_current() {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new(binaries::repository().join("tools/docs.sh"))
        .args([binaries::folder().as_path(), folder.path()])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for name in ["CONFIG.md", "METRICS.md"] {
        let expected = std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(expected.lines().count() > 20, "{name} would be nearly empty");
        let written = std::fs::read_to_string(binaries::repository().join("docs").join(name));
        assert!(
            written.is_ok_and(|text| text == expected),
            "docs/{name} is out of date: run `make docs`"
        );
    }
}

/// Metric names that a document mentions and `METRICS.md` does not know.
fn unknown_metrics(files: &[File], known: &str) -> Vec<String> {
    let documents = files.iter().filter(|file| file.path.ends_with(".md"));
    let words = documents.flat_map(|file| {
        let separator = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        file.text.split(separator).map(|word| (file.path.as_str(), word))
    });
    words
        .filter(|(_, word)| {
            ["forebay_proxy_", "forebay_ledger_"].iter().any(|prefix| word.starts_with(prefix))
        })
        .filter(|(_, word)| !known.contains(&format!("`{word}`")))
        .map(|(path, word)| format!("{path}: there is no metric {word}"))
        .collect()
}

#[test]
fn documents_mention_only_metrics_that_exist() {
    let bad = sample("docs/X.md", "watch `forebay_proxy_nonsense_total{a=\"b\"}`");
    assert_eq!(unknown_metrics(&[bad], "`forebay_proxy_requests_total`").len(), 1);
    let known = std::fs::read_to_string(binaries::repository().join("docs/METRICS.md")).unwrap();
    nothing(&unknown_metrics(&tree::files(), &known));
}
