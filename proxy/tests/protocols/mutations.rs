//! Parsers of what strangers send, against seeds changed in thousands of ways, the same on every run. They
//! are given to the targets of `fuzz/`, which go on without end there.

#[expect(dead_code, reason = "run as `fuzz/` has them; seeds are made here")]
pub mod targets;

use fastrand::Rng;

use super::fuzzed;

/// Changed inputs per target.
const ROUNDS: u64 = 4000;
/// What parsers stumble over.
const PIECES: [&[u8]; 16] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b":",
    b",",
    b";",
    b"%2e%2e",
    b"/../",
    b"\xff\xfe",
    b"-1",
    b"99999999999999999999",
    b"chunked",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\n",
];

/// A seed after some changes.
fn mutated(seeds: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = seeds[rng.usize(..seeds.len())].clone();
    for _ in 0..rng.usize(1..5) {
        let at = rng.usize(..=bytes.len());
        match rng.u8(..6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
            1 => bytes.truncate(at),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => drop(bytes.splice(at..at, PIECES[rng.usize(..PIECES.len())].iter().copied())),
            4 => {
                // A part of another seed.
                let other = &seeds[rng.usize(..seeds.len())];
                let from = rng.usize(..=other.len());
                let part = other[from..].iter().take(40).copied().collect::<Vec<_>>();
                drop(bytes.splice(at..at, part));
            }
            _ => bytes.insert(at, rng.u8(..)),
        }
    }
    bytes
}

fn withstands(seeds: &[Vec<u8>], target: fn(&[u8])) {
    for seed in seeds {
        target(seed);
    }
    for round in 0..ROUNDS {
        let input = mutated(seeds, &mut Rng::with_seed(round));
        let result = std::panic::catch_unwind(|| target(&input));
        assert!(result.is_ok(), "round {round}: {:?}", String::from_utf8_lossy(&input));
    }
}

#[test]
fn request_heads() {
    let heads = [
        "GET /a/../b?c=d HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, upgrade\r\nUpgrade: websocket, h2c\r\n\r\n",
        "POST http://a.example:80/x HTTP/1.1\r\nHost: a.example:80\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
        "OPTIONS * HTTP/1.0\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: b\r\n\r\n",
        "GET /%e2%82%ac//x HTTP/1.1\r\nHost: [::1]:8080\r\nCookie: a=b\r\nExpect: 100-continue\r\n\r\n",
    ];
    withstands(&heads.map(|head| head.as_bytes().to_vec()), fuzzed::request_head::run);
}

#[test]
fn fastcgi_records() {
    withstands(&targets::fastcgi_seeds(), fuzzed::fastcgi::run);
}

#[test]
fn proxy_protocol_headers() {
    withstands(&targets::proxy_protocol_seeds(), fuzzed::proxy_protocol::run);
}

#[test]
fn ocsp_answers() {
    withstands(&targets::ocsp_seeds(), fuzzed::ocsp_answer::run);
}

#[test]
fn tokens() {
    withstands(&[targets::good_token().into_bytes()], fuzzed::token::run);
}

#[test]
fn signed_urls() {
    withstands(&[targets::good_query().into_bytes()], fuzzed::signed_url::run);
}
