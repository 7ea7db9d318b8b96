//! Work grows with the text and no faster; counted, not timed.

use std::fmt::Write;

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
