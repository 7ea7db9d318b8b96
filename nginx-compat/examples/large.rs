//! How long a large configuration takes: `cargo run --release -p forebay-nginx --example large`. Reads, translates and
//! reports 1,000 to 100,000 lines of three kinds, and prints the best of five times of each. `-- tenants 10000` does one
//! of them once, for a profiler.

use std::fmt::Write;
use std::time::{Duration, Instant};

use forebay_nginx::include::Includes;
use forebay_nginx::parse::parse_bytes;
use forebay_nginx::report::Report;
use forebay_nginx::translate::translate;

/// Servers that share their upstream, ten lines each.
fn alike(lines: usize) -> String {
    let server = |number: usize, text: &mut String| {
        write!(
            text,
            "  server {{\n    listen 8080;\n    server_name s{number}.example;\n    location / {{\n      \
             proxy_pass http://app;\n      proxy_set_header Host $host;\n    }}\n    location /old {{ return 301 /new; }}\n    \
             gzip on;\n  }}\n"
        )
    };
    all(lines / 10, server)
}

/// Tenants, each with names, an upstream, a log, a certificate and a named location of its own, twenty lines each.
fn tenants(lines: usize) -> String {
    let server = |number: usize, text: &mut String| {
        write!(
            text,
            "  upstream u{number} {{ server 127.0.0.1:{port}; }}\n  server {{\n    listen 8443 ssl;\n    \
             server_name .t{number}.example t{number}.old.example;\n    ssl_certificate /etc/tls/{number}.pem;\n    \
             ssl_certificate_key /etc/tls/{number}.key;\n    access_log /var/log/{number}/access.log;\n    \
             root /srv/{number};\n    set $tenant t{number};\n    if ($http_user_agent ~ bot) {{\n      return 403;\n    }}\n    \
             location / {{\n      try_files $uri @app;\n    }}\n    location @app {{\n      \
             proxy_pass http://u{number};\n      proxy_set_header X-Tenant $tenant;\n    }}\n  }}\n",
            port = 9000 + number % 1000,
        )
    };
    all(lines / 20, server)
}

/// One server with many locations, three lines each.
fn locations(lines: usize) -> String {
    let mut text = String::from(
        "events {}\nhttp { upstream app { server 127.0.0.1:9000; } server { listen 8080;\n",
    );
    for number in 0..lines / 3 {
        let written = match number % 3 {
            0 => write!(text, "location = /old/{number} {{\n return 301 /new/{number};\n}}\n"),
            1 => write!(text, "location /part/{number}/ {{\n proxy_pass http://app;\n}}\n"),
            _ => write!(text, "location ^~ /files/{number} {{\n root /srv;\n}}\n"),
        };
        assert!(written.is_ok(), "a string takes all");
    }
    text.push_str("location ~ \\.php$ { return 403; }\n} }\n");
    text
}

fn all(servers: usize, server: impl Fn(usize, &mut String) -> std::fmt::Result) -> String {
    let mut text = String::from("events {}\nhttp {\n  upstream app { server 127.0.0.1:9000; }\n");
    for number in 0..servers {
        assert!(server(number, &mut text).is_ok(), "a string takes all");
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

/// Makes a configuration of about so many lines.
type Make = fn(usize) -> String;

fn main() {
    let kinds: [(&str, Make); 3] =
        [("alike", alike), ("tenants", tenants), ("locations", locations)];
    let mut wanted = std::env::args().skip(1);
    if let (Some(kind), Some(Ok(lines))) = (wanted.next(), wanted.next().map(|text| text.parse())) {
        let made = kinds.iter().find(|(name, _)| *name == kind).map(|(_, make)| make(lines));
        println!("{:.1} ms", time_of(&made.unwrap_or_default()).as_secs_f64() * 1e3);
        return;
    }
    for (name, make) in kinds {
        for lines in [1_000, 10_000, 100_000] {
            let text = make(lines);
            let best = (0..5).map(|_| time_of(&text)).min().unwrap_or_default();
            println!("{name}: {lines:>7} lines: {:>8.1} ms", best.as_secs_f64() * 1e3);
        }
    }
}
