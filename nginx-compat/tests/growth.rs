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

/// The least of a few times that a text takes; what disturbs one disturbs not all.
fn time_of(text: &str) -> Duration {
    let times = (0..5).map(|_| {
        let before = spent();
        let parsed = parse_bytes("big.conf", text.as_bytes(), Includes::Unfollowed);
        assert!(translate(&parsed.document).config.is_some());
        // What ran since the last tick is counted when the thread is put aside.
        std::thread::sleep(Duration::from_millis(1));
        spent().saturating_sub(before)
    });
    times.min().unwrap_or_default()
}

#[test]
fn ten_times_the_text_is_nowhere_near_a_hundred_times_the_work() {
    let (small, large) = (time_of(&servers(1_000)), time_of(&servers(10_000)));
    assert!(large < small * 40, "{small:?} for 1,000 lines, {large:?} for 10,000");
}
