//! How long a large configuration takes: `cargo run --release -p forebay-nginx --example large`. Reads, translates and
//! reports 1,000 to 100,000 lines, and prints the best of ten times of each.

use std::fmt::Write;
use std::time::{Duration, Instant};

use forebay_nginx::include::Includes;
use forebay_nginx::parse::parse_bytes;
use forebay_nginx::report::Report;
use forebay_nginx::translate::translate;

/// Servers with locations, ten lines each.
fn servers(lines: usize) -> String {
    let mut text = String::from("events {}\nhttp {\n  upstream app { server 127.0.0.1:9000; }\n");
    for number in 0..lines / 10 {
        let written = write!(
            text,
            "  server {{\n    listen 8080;\n    server_name s{number}.example;\n    location / {{\n      \
             proxy_pass http://app;\n      proxy_set_header Host $host;\n    }}\n    location /old {{ return 301 /new; }}\n    \
             gzip on;\n  }}\n"
        );
        assert!(written.is_ok(), "a string takes all");
    }
    text.push_str("}\n");
    text
}

fn time_of(text: &str) -> Duration {
    let begun = Instant::now();
    let parsed = parse_bytes("large.conf", text.as_bytes(), Includes::Unfollowed);
    let translation = translate(&parsed.document);
    let report = Report::new(&parsed.document, &translation);
    assert!(translation.config.is_some() && report.unsupported().next().is_none());
    begun.elapsed()
}

fn main() {
    for lines in [1_000, 10_000, 100_000] {
        let text = servers(lines);
        let best = (0..10).map(|_| time_of(&text)).min().unwrap_or_default();
        println!("{lines:>7} lines: {:>8.1} ms", best.as_secs_f64() * 1e3);
    }
}
