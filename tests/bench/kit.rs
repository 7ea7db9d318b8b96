//! The kit on peers that every developer has, with times far too short for figures.

use std::process::Command;

use system_tests::binaries;

#[test]
fn every_peer_is_measured_and_the_page_written() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.md");
    let output = Command::new(env!("CARGO_BIN_EXE_forebay-bench"))
        .args(["--rounds", "1", "--seconds", "0.3", "--peers", "Forebay,nginx"])
        .args(["--workloads", "W1,W2r,W4,W7,W8,W9,W10"])
        .arg("--programs")
        .arg(binaries::path("forebay-proxy").parent().unwrap())
        .arg("--write")
        .arg(&page)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(!text.contains("Without a figure"), "{text}");
    let row = |id: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("| {id} |"))).unwrap();
        let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('*')).collect();
        [4, 5].map(|column| cells[column].parse::<f64>().unwrap())
    };
    for id in ["W1", "W2r", "W4", "W7", "W8"] {
        assert!(row(id).iter().all(|figure| *figure > 0.0), "{text}");
    }
    assert_eq!(row("W10")[0], 0.0, "a reload fails no request: {text}");
}

#[test]
fn what_is_not_there_is_said() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_forebay-bench")).args(arguments).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = run(&["--peers", "nginxx"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("there is no peer nginxx; there are Forebay, nginx"), "{said}");
    let (code, said) = run(&["--workloads", "W99"]);
    assert!(code == Some(1) && said.contains("there is no workload W99"), "{said}");
}

/// Counts, which hold however busy the machine is; the times are for `make video-edge`.
#[test]
fn the_edge_of_a_video_service_is_measured() {
    let output = Command::new(env!("CARGO_BIN_EXE_video-edge"))
        .args(["--peers", "nginx", "--cases", "herd,dying,tail", "--programs"])
        .arg(binaries::path("forebay-proxy").parent().unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    for row in ["cold herd", "origin dies mid-body", "64 KB tail", "  the same again"] {
        let line = text.lines().find(|line| line.starts_with(row)).unwrap_or_default();
        assert!(line.contains(" pass"), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(text.lines().next().unwrap().contains("nginx"), "{text}");
}

/// That the books agree with what was answered holds however slow it is.
#[test]
fn transfers_beside_video_are_in_the_books_once() {
    binaries::path("forebay-ledger");
    let output = Command::new(env!("CARGO_BIN_EXE_estate"))
        .args(["--transfers", "100", "--viewers", "10", "--seconds", "1"])
        .args(["--p99-max", "1e6", "--ratio-max", "1e6", "--programs"])
        .arg(binaries::path("forebay-proxy").parent().unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{said}");
    assert!(
        text.contains("| Forebay | 200 | 0 |") && text.contains("| nginx | 200 | 0 |"),
        "{text}{said}"
    );
    assert!(text.ends_with("is in the books once, and the books verify\n"), "{text}");
}

/// That no ordinary request fails holds however slow it is.
#[test]
fn ordinary_requests_are_answered_beside_attacks_and_idle_connections() {
    let output = Command::new(env!("CARGO_BIN_EXE_crowd"))
        .args(["--requests", "50", "--attackers", "300", "--idle", "500", "--seconds", "1"])
        .args(["--alone", "--p99-max", "1e6", "--idle-max", "1e6", "--programs"])
        .arg(binaries::path("forebay-proxy").parent().unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for what in ["slow heads", "slow bodies", "many ranges", "slow reading"] {
        assert!(text.lines().any(|line| line.starts_with(&format!("| {what} | "))), "{text}");
    }
    assert!(text.contains("| idle | 500 | 0 | – | 50 | 0 |"), "{text}");
}

#[test]
fn a_soak_samples_memory_and_judges_it() {
    let output = Command::new(env!("CARGO_BIN_EXE_forebay-soak"))
        .args(["--minutes", "0.04", "--programs"])
        .arg(binaries::path("forebay-proxy").parent().unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    // So short a soak is all warm-up: what it comes to is not asked here.
    assert!(text.contains(" MB\nmemory: ") && text.contains(" samples, median "), "{text}");
    assert!(text.lines().last().unwrap().starts_with("peak "), "{text}");
}
