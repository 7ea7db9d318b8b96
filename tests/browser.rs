//! The stream page in a real browser: Debian's Chromium, driven by tests/browser/play.mjs.

use std::process::Command;

use serde_json::Value;
use system_tests::binaries::repository;
use system_tests::running::Running;

/// Runs the script against the page and gives back the one line of JSON it prints.
fn watch(page: &str, width: u32, seconds: u32) -> Value {
    let output = Command::new("node")
        .arg("play.mjs")
        .arg(page)
        .args(["--seconds", &seconds.to_string(), "--width", &width.to_string()])
        .current_dir(repository().join("tests/browser"))
        .output()
        .expect("node is installed by `make test`");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[test]
fn the_live_picture_plays_for_twenty_seconds_while_transfers_are_posted() {
    let running = Running::start();
    let page = running.url("page");
    let seen = watch(&page, 1440, 20);
    let player = seen["player"].as_str().unwrap_or_default();
    assert!(player.starts_with("hls.js"), "`make` builds hls.js in: {seen}");
    assert_eq!(seen["watched"]["stalls"], 0, "{seen}");
    assert_eq!(seen["page"]["stalls"], 0, "the page's own count agrees: {seen}");
    let played = seen["playedSeconds"].as_f64().expect("a number");
    assert!(played > 18.0, "20 seconds of watching showed {played} s of picture: {seen}");
    assert!(seen["framesPlayed"].as_u64() > Some(300), "{seen}");
    assert!(seen["clicks"].as_u64() > Some(5), "{seen}");
    assert!(seen["page"]["posted"].as_u64() >= seen["clicks"].as_u64(), "{seen}");
    assert_eq!(seen["complaints"], serde_json::json!([]), "the console is silent: {seen}");
    assert_eq!(
        seen["origins"],
        serde_json::json!([page]),
        "everything comes through the proxy: {seen}"
    );

    let keys = seen["keys"].as_array().expect("the keys of three postings");
    assert_eq!(
        keys[0], keys[1],
        "a posting whose answer was lost is sent with its old key: {seen}"
    );
    assert_ne!(keys[1], keys[2], "one that was answered is not: {seen}");

    let report = ureq::get(running.url("trial_balance"))
        .call()
        .and_then(|mut response| response.body_mut().read_json::<Value>())
        .expect("the ledger answers");
    let currencies = report["currencies"].as_array().expect("currencies");
    assert!(
        currencies.iter().any(|currency| currency["debits"] != currency["difference"]),
        "{report}"
    );
    for currency in currencies {
        let difference = currency["difference"].as_str().expect("amounts are strings");
        assert_eq!(difference.parse::<f64>(), Ok(0.0), "{report}");
    }

    for width in [360, 768] {
        let seen = watch(&page, width, 2);
        assert_eq!(seen["overflow"], false, "the page scrolls sideways at {width} px: {seen}");
        assert_eq!(seen["complaints"], serde_json::json!([]), "{width} px: {seen}");
    }
}
