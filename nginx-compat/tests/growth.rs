//! Work grows with the text and no faster. How long it takes is printed by `cargo run --release -p forebay-nginx
//! --example large`.

use std::fmt::Write;
use std::time::Duration;

use forebay_nginx::include::Includes;
use forebay_nginx::parse::parse_bytes;
use forebay_nginx::translate::translate;

/// Servers with locations, of about so many lines.
fn servers(lines: usize) -> String {
    let mut text = String::from("events {}\nhttp {\n  upstream app { server 127.0.0.1:9000; }\n");
    for number in 0..lines / 10 {
        write!(
            text,
            "  server {{\n    listen 8080;\n    server_name s{number}.example;\n    location / {{\n      \
             proxy_pass http://app;\n      proxy_set_header Host $host;\n    }}\n    location /old {{\n      \
             return 301 /new;\n    }}\n  }}\n"
        )
        .expect("a string takes all");
    }
    text.push_str("}\n");
    text
}

#[test]
fn what_is_made_grows_with_the_text() {
    let made = |lines: usize| {
        let parsed = parse_bytes("big.conf", servers(lines).as_bytes(), Includes::Unfollowed);
        let config = translate(&parsed.document).config.expect("it is translated");
        (config.routes.len(), config.listeners.len(), config.upstreams.len())
    };
    let (small, large) = (made(1_000), made(10_000));
    assert_eq!((small.1, small.2), (large.1, large.2), "one address, one upstream");
    assert!(large.0 <= (small.0 / 100 + 1) * 1_000, "{} routes of 1000 servers", large.0);
}

/// Processor time of this thread so far, which is its own however busy the machine is (proc_pid_schedstat).
fn spent() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts it");
    Duration::from_nanos(text.split(' ').next().and_then(|n| n.parse().ok()).expect("nanoseconds"))
}

/// Tenants with names, an upstream, a log, a certificate and a named location of their own, of about so many lines.
fn tenants(lines: usize) -> String {
    let mut text = String::from("events {}\nhttp {\n");
    for number in 0..lines / 16 {
        write!(
            text,
            "upstream u{number} {{ server 127.0.0.1:9000; }}\nserver {{\nlisten 8443 ssl;\n\
             server_name .t{number}.example t{number}.old.example;\nssl_certificate /tls/{number}.pem;\n\
             ssl_certificate_key /tls/{number}.key;\naccess_log /log/{number}/access.log;\nroot /srv/{number};\n\
             set $tenant t{number};\nlocation / {{\ntry_files $uri @app;\n}}\nlocation @app {{\n\
             proxy_pass http://u{number};\nproxy_set_header X-Tenant $tenant;\n}}\n}}\n"
        )
        .expect("a string takes all");
    }
    text.push_str("}\n");
    text
}

/// One server with locations of all kinds, of about so many lines.
fn locations(lines: usize) -> String {
    let mut text = String::from("events {}\nhttp { server { listen 8080;\n");
    for number in 0..lines / 3 {
        let written = match number % 3 {
            0 => write!(text, "location = /old/{number} {{\nreturn 301 /new/{number};\n}}\n"),
            1 => {
                write!(text, "location /part/{number}/ {{\nproxy_pass http://127.0.0.1:9000;\n}}\n")
            }
            _ => write!(text, "location ^~ /files/{number} {{\nroot /srv;\n}}\n"),
        };
        written.expect("a string takes all");
    }
    text.push_str("location ~ \\.php$ { return 403; }\n} }\n");
    text
}

/// The least of a few times that a text takes; what disturbs one disturbs not all.
fn time_of(text: &str) -> Duration {
    let times = (0..3).map(|_| {
        let before = spent();
        let parsed = parse_bytes("big.conf", text.as_bytes(), Includes::Unfollowed);
        assert!(translate(&parsed.document).config.is_some());
        // What ran since the last tick is counted when the thread is put aside.
        std::thread::sleep(Duration::from_millis(1));
        spent().saturating_sub(before)
    });
    times.min().unwrap_or_default()
}

/// Makes a configuration of about so many lines.
type Make = fn(usize) -> String;

#[test]
fn ten_times_the_text_is_nowhere_near_a_hundred_times_the_work() {
    let kinds: [(&str, Make); 3] =
        [("servers", servers), ("tenants", tenants), ("locations", locations)];
    for (kind, make) in kinds {
        let (small, large) = (time_of(&make(3_000)), time_of(&make(30_000)));
        assert!(large < small * 25, "{kind}: {small:?} for 3,000 lines, {large:?} for 30,000");
    }
}
