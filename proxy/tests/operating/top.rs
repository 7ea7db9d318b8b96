//! `forebay-proxy top`, as a script reads it.

use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{BINARY, Proxy, eventually, to};
use crate::origin::Origin;

fn top(proxy: &Proxy, options: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(["top", "proxy.yaml", "--admin", &proxy.admin.to_string()]).args(options);
    command.current_dir(proxy.dir.path()).output().unwrap()
}

#[test]
fn one_page_and_the_figures_on_it() {
    // How long anything takes is the machine's to say: what is slow takes twice as long as what was not.
    let slowly = Arc::new(Mutex::new(Duration::from_millis(60)));
    let held = Arc::clone(&slowly);
    let origin = Origin::start(move |exchange| {
        if exchange.target().starts_with("/slow") {
            let held = *held.lock().unwrap();
            std::thread::sleep(held);
        }
        exchange.answer("hello")
    });
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "a-viewers-long-token").unwrap();
    let admin = format!("tokens: [ {{ name: look, file: '{}', role: viewer }} ]", token.display());
    let proxy = Proxy::with_admin(&admin, &to(&[origin.address]));
    proxy.get("/fast");
    let took =
        Duration::from_secs_f64(proxy.log_of("/fast")["duration_ms"].as_f64().unwrap() / 1e3);
    *slowly.lock().unwrap() += 2 * took;
    proxy.get("/slow?token=secret");
    proxy.get("/slow");
    // A request is counted, noted and then logged, perhaps after its response has arrived.
    eventually("three lines", || (proxy.log().len() == 3).then_some(()));
    let json = top(&proxy, &["--once", "--interval", "50ms", "-o", "json"]);
    let figures: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(figures["generation"], 1.0);
    assert_eq!(figures["routes"][0]["route"], "all");
    assert_eq!(figures["routes"][0]["requests"], 0.0, "none between the two looks");
    let lanes: Vec<&Value> =
        figures["lanes"].as_array().unwrap().iter().map(|lane| &lane["lane"]).collect();
    assert_eq!(lanes, ["bulk", "interactive", "transactions", "upload"]);
    assert_eq!(figures["servers"][0]["up"], true);
    assert_eq!(figures["slowest"][0]["path"], "/slow");
    assert!(figures["slowest"][0]["duration_ms"].as_f64().unwrap() >= 60.0);
    assert_eq!(figures["slowest"].as_array().unwrap().len(), 3);

    let page = String::from_utf8(top(&proxy, &["--once", "--interval", "50ms"]).stdout).unwrap();
    for part in ["ROUTE", "LANE", "UPSTREAM", "GET /slow", "interactive"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("secret"), "{page}");
    let live = top(&proxy, &[]);
    assert_eq!(live.status.code(), Some(2), "no terminal");
    assert_eq!(proxy.admin_get("/slowest").status, 401);
}
