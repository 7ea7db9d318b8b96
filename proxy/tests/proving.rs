//! `lanes prove`, with times far too short for figures: what is checked is that they add up.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::BINARY;

const SHORT: [&str; 9] = [
    "lanes",
    "prove",
    "--duration",
    "300ms",
    "--transactions",
    "400",
    "--viewers",
    "4",
    "--p99-max",
];

fn prove(folder: &Path, arguments: &[&str]) -> (Output, Value) {
    let output = Command::new(BINARY).args(SHORT).args(arguments).current_dir(folder).output();
    let output = output.unwrap();
    let report = fs::read(folder.join("lanes-proof/lanes.json")).unwrap_or_default();
    (output, serde_json::from_slice(&report).unwrap_or_default())
}

fn check_latency(latency: &Value, requests: u64) {
    let number = |name: &str| latency[name].as_u64().unwrap();
    assert_eq!((number("requests"), number("failures")), (requests, 0), "{latency}");
    let percentiles = ["p50_us", "p90_us", "p99_us", "p999_us", "max_us"].map(number);
    assert!(percentiles[0] > 0 && percentiles.is_sorted(), "{latency}");
    let curve = latency["curve"].as_array().unwrap();
    assert_eq!(curve.last().unwrap()[1], percentiles[4], "{latency}");
}

#[test]
fn the_figures_of_a_proof_add_up() {
    let dir = tempfile::tempdir().unwrap();
    let (output, report) = prove(dir.path(), &["60000", "--ratio-max", "1e9", "-o", "json"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), report, "{said}");
    for (pair, beside) in [
        ("with_lanes", "alone"),
        ("with_lanes", "overloaded"),
        ("without_lanes", "alone"),
        ("without_lanes", "overloaded"),
    ] {
        let measured = &report[pair][beside];
        check_latency(&measured["transactions"], 120);
        let number = |name: &str| measured[name].as_u64().unwrap();
        let is_loaded = beside == "overloaded";
        // How much there is beside them, a busy machine may decide.
        assert!(is_loaded || number("video_bytes") == 0, "{measured}");
        assert_eq!((number("video_refused"), number("video_failures")), (0, 0), "{measured}");
        assert!(number("video_responses") * (2 << 20) <= number("video_bytes") + 4 * (2 << 20));
        assert!(measured["seconds"].as_f64().unwrap() >= 0.29, "{measured}");
        assert!(measured["proxy"]["memory_peak_bytes"].as_u64().unwrap() > 1 << 20, "{measured}");
    }
    let promises = report["promises"].as_array().unwrap();
    let held = promises.iter().all(|promise| promise["held"] == true);
    assert!(held && report["held"] == true, "{promises:#?}");
    assert_eq!(output.status.code(), Some(0), "{said}");
    let written = |name: &str| fs::read_to_string(dir.path().join("lanes-proof").join(name));
    assert!(written("lanes.md").unwrap().contains("The promise held."));
    assert_eq!(written("lanes.svg").unwrap().matches("<polyline ").count(), 4);
}

#[test]
fn a_promise_that_is_broken_is_the_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let document = "version: 1
listeners: { public: { address: 127.0.0.1:0 } }
upstreams: { u: { servers: [ { address: 127.0.0.1:1 } ] } }
routes: [ { name: all, upstream: u } ]
lanes: { bulk: { requests_max: 1 } }
protected_paths: [ /dev/shm ]
";
    fs::write(dir.path().join("proxy.yaml"), document).unwrap();
    let arguments = ["0.001", "--uncached", "--against", "proxy.yaml"];
    let (output, report) = prove(dir.path(), &arguments);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("did **not** hold") && said.contains("**broken**"), "{said}");
    assert!(output.stderr.is_empty(), "what was told is not told again");
    assert_eq!(report["lanes"]["bulk"]["requests_max"], 1, "those of the document");
    assert_eq!(report["without_lanes"]["overloaded"]["video_refused"], 0);
    assert_eq!(report["with_lanes"]["alone"]["ledger_mount_written_bytes"], Value::Null);
}

#[test]
fn what_cannot_be_proved_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let (output, _) = prove(dir.path(), &["1", "--duration", "10ms"]);
    assert_eq!(output.status.code(), Some(2), "an option given twice is a usage error");
    let output = Command::new(BINARY)
        .args(["lanes", "prove", "--duration", "10ms"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("too few to tell a 99th percentile"), "{said}");
}
