//! What is simulated from an access log agrees with what the proxy that wrote it did.

use std::process::Command;

use serde_json::Value;

use crate::caching::{answer, ask, with_cache};
use crate::harness::{BINARY, Proxy, eventually};
use crate::origin::Origin;

const OBJECTS: u64 = 60;
const REQUESTS: u64 = 600;

/// Popular objects more often than others: the square of an even draw.
fn object(draw: u64) -> u64 {
    let even = draw.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    let part = even % 1000;
    part * part * OBJECTS / 1_000_000
}

fn simulated(proxy: &Proxy, policies: &[&str]) -> Value {
    let mut command = Command::new(BINARY);
    command.args(["simulate", "proxy.yaml", "--trace", "access.log", "-o", "json"]);
    command.args(["--origin-says", "max-age=600", "--plot", "curves.svg"]);
    for policy in policies {
        command.args(["--policy", policy]);
    }
    let output = command.current_dir(proxy.dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn near(real: f64, simulated: f64) -> bool {
    (real - simulated).abs() <= real * 0.05
}

#[test]
fn hit_ratio_and_memory_agree_with_the_run_that_wrote_the_log() {
    let origin = Origin::start(|exchange| {
        let number: usize = exchange.target()[1..].parse().unwrap();
        answer(exchange, "Cache-Control: max-age=600\r\n", &"x".repeat(20_000 + number * 500))
    });
    let mut sections = with_cache(&origin, "", "memory_max: 1MiB, object_memory_max: 256KiB");
    sections = sections
        .replace(
            "cache_policies: { p:",
            "cache_policies: { none: { cache: large, freshness: { ttl_override: 0s } }, p:",
        )
        .replace("caches: {", "caches: { large: { memory_max: 64MiB },");
    let proxy = Proxy::start(&sections);
    let mut peak: f64 = 0.0;
    let bytes = |class| {
        proxy.metric(&format!("forebay_proxy_cache_bytes{{cache=\"main\",class=\"{class}\"}}"))
    };
    for draw in 0..REQUESTS {
        assert_eq!(ask(&proxy, &format!("/{}", object(draw)), "").status, 200);
        if draw % 40 == 0 {
            peak = peak.max(bytes("small") + bytes("large"));
        }
    }
    let real = eventually("the whole log", || {
        let log = proxy.log();
        let hits = log.iter().filter(|line| line["cache"] == "hit").count();
        (log.len() as u64 == REQUESTS).then_some(hits as f64 / REQUESTS as f64)
    });
    assert!(real > 0.2 && real < 0.9, "a trace that tells nothing: {real}");
    let report = simulated(&proxy, &["p", "none"]);
    let ratio = report["hit_ratios"][0].as_f64().unwrap();
    assert!(near(real, ratio), "{real} was, {ratio} was simulated");
    let figures = &report["policies"][0];
    let simulated_peak = figures["memory_peak_bytes"].as_f64().unwrap();
    assert!(near(peak, simulated_peak), "{peak} was, {simulated_peak} was simulated");
    let origin_bytes = figures["origin_bytes"].as_f64().unwrap();
    let series = "forebay_proxy_cache_fill_bytes_total{cache=\"main\"}";
    assert!(near(proxy.metric(series), origin_bytes), "{origin_bytes}");
    assert_eq!(report["policies"][1]["hits"], 0);
    let curves = std::fs::read_to_string(proxy.path("curves.svg")).unwrap();
    assert!(curves.starts_with("<svg") && curves.matches("<polyline").count() == 4);
}

#[test]
fn what_cannot_be_simulated_is_told() {
    let origin = Origin::saying("x");
    let proxy =
        Proxy::start(&with_cache(&origin, "", "memory_max: 1MiB, object_memory_max: 256KiB"));
    std::fs::write(proxy.path("nginx.log"), "127.0.0.1 - - \"GET / HTTP/1.1\" 200 1\n").unwrap();
    ask(&proxy, "/a", "");
    proxy.log_of("/a");
    for (arguments, code, told) in [
        (["--trace", "nginx.log", "--policy", "p"], 1, "line 1: "),
        (["--trace", "access.log", "--policy", "q"], 2, "no cache policy `q`; there are: p"),
        (["--trace", "none.log", "--policy", "p"], 69, "cannot read none.log"),
    ] {
        let mut command = Command::new(BINARY);
        let output = command
            .args(["simulate", "proxy.yaml"])
            .args(arguments)
            .current_dir(proxy.dir.path())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(told), "{stderr}");
    }
}
