//! Environments in several files: what is laid over what, and where paths start from.
#![expect(clippy::unwrap_used, reason = "a stage that cannot be set up is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

use forebay_stack::validate;

const PROXY: &str = "version: 1
listeners: { public: { address: 127.0.0.1:8080 } }
routes: [ { name: page, match: { paths: [ { prefix: / } ] }, upstream: origin } ]
";

const BASE: &str = "version: 1
name: base
edge: { proxy: parts/proxy.yaml }
ledger: { accounts: [ { code: cash, name: Cash, currency: EUR, normal_balance: debit } ] }
streams: { clock: { window: 20, width: 320 } }
";

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn files_are_laid_over_one_another_and_paths_start_where_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "shared/parts/proxy.yaml", PROXY);
    write(folder.path(), "shared/base.yaml", BASE);
    write(folder.path(), "middle.yaml", "extends: shared/base.yaml\nname: middle\n");
    let text = "extends: ../middle.yaml\nname: top\nstreams: { clock: { window: 5 } }\n";
    let top = write(folder.path(), "mine/top.yaml", text);
    let environment = validate::environment(&top).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(environment.name, "top");
    assert_eq!(environment.proxy.routes[0].name, "page");
    assert_eq!(environment.ledger.unwrap().accounts[0].code, "cash");
    let clock = &environment.streams["clock"];
    assert_eq!((clock.window, clock.width, clock.height), (5, 320, 360));
}

#[test]
fn a_proxy_document_of_its_own_is_answered_in_its_own_file() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "parts/proxy.yaml", &PROXY.replace("origin", "orign"));
    let base = write(folder.path(), "base.yaml", BASE);
    let told = validate::environment(&base).unwrap_err().to_string();
    assert!(told.contains("parts/proxy.yaml:3:"), "{told}");
    assert!(told.contains("did you mean `origin`?"), "{told}");
    let theirs = format!("{PROXY}upstreams: {{ ledger: {{ servers: [ {{ address: a:1 }} ] }} }}\n");
    write(folder.path(), "parts/proxy.yaml", &theirs);
    let told = validate::environment(&base).unwrap_err().to_string();
    assert!(told.contains("parts/proxy.yaml:4:14"), "{told}");
    assert!(told.contains("upstream `ledger` is provided by the environment"), "{told}");
}

#[test]
fn what_an_overlay_gets_wrong_is_told_in_the_overlay() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "parts/proxy.yaml", PROXY);
    write(folder.path(), "base.yaml", BASE);
    let text = "extends: base.yaml\nstreams: { clock: { width: 321 } }\n";
    let top = write(folder.path(), "top.yaml", text);
    let told = validate::environment(&top).unwrap_err().to_string();
    assert!(told.contains("top.yaml:2:28"), "{told}");
    assert!(told.contains("write 322"), "{told}");
}

#[test]
fn files_named_in_a_proxy_document_start_where_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let tls = "{ certificates: [ { certificate: tls/c.pem, key: /keys/k.pem } ] }";
    let base = format!(
        "version: 1\nname: base\nedge:\n  proxy:\n    version: 1\n    access_log: {{ path: ./a.log }}\n    \
         listeners: {{ public: {{ address: 127.0.0.1:8443, tls: {tls} }} }}\n    \
         routes: [ {{ name: page, match: {{ paths: [ {{ prefix: / }} ] }}, upstream: origin }} ]\n"
    );
    write(folder.path(), "shared/base.yaml", &base);
    let text = "extends: ../shared/base.yaml\nname: top\nedge: { proxy: { access_log: { path: logs/a.log } } }\n";
    let top = write(folder.path(), "mine/top.yaml", text);
    let environment = validate::environment(&top).unwrap_or_else(|problems| panic!("{problems}"));
    let files = &environment.proxy.listeners["public"].tls.as_ref().unwrap().certificates[0];
    // The place of the file that extends is still in the name: `mine/../shared`.
    let of_base = folder.path().join("mine/../shared/tls/c.pem");
    assert_eq!(files.certificate, of_base);
    assert_eq!(files.key, Path::new("/keys/k.pem"));
    let log = folder.path().join("mine/logs/a.log");
    assert_eq!(environment.proxy.access_log.path.to_string(), log.display().to_string());
}
