//! Configurations changed at random, for as long as it is told: `cargo run --release -p forebay-nginx --example mutate -- 120`.
//! Each is lexed, parsed, printed and parsed again, checked, translated and reported; what comes out must load. It is what
//! fuzz/fuzz_targets/nginx_*.rs do, for who has no nightly compiler; a seed as second word repeats a run.

use std::path::Path;
use std::time::{Duration, Instant};

#[path = "../tests/fuzzed/targets.rs"]
mod targets;

/// Changes of one text.
const CHANGES_MAX: usize = 6;
/// Longest text: a splice may double it.
const TEXT_MAX: usize = 64 << 10;
const PIECES: [&str; 30] = [
    "{",
    "}",
    ";",
    "\"",
    "'",
    "\\",
    "#",
    "$",
    "${",
    "}",
    "\n",
    " ",
    "server { ",
    "location ~ ",
    "= /",
    "listen 80;",
    "proxy_pass http://a$b;",
    "*.",
    "\u{0}",
    "\u{e9}",
    "if ($a ~ (b)) { ",
    "\u{feff}",
    "set $a $b;",
    "rewrite ^ /x last;",
    "error_page 404 @a;",
    "try_files $uri =404;",
    "map $a $b { ",
    "error_log syslog:server=a;",
    "valid_referers ~a;",
    "grpc_pass grpc://a;",
];

/// Marsaglia's xorshift: a run is repeated by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (end.max(1) as u64)).unwrap_or(0)
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let files = ["samples", "sites"].map(|folder| std::fs::read_dir(tests.join(folder)));
    let files = files.into_iter().flatten().flatten().flatten().map(|file| file.path());
    files
        .filter(|path| path.extension().is_some_and(|end| end == "conf"))
        .filter_map(|path| std::fs::read(path).ok())
        .collect()
}

fn changed(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut text = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(CHANGES_MAX) {
        let at = random.below(text.len() + 1);
        let end = (at + random.below(80)).min(text.len());
        match random.below(6) {
            0 => drop(text.splice(at..at, PIECES[random.below(PIECES.len())].bytes())),
            1 => drop(text.drain(at..end)),
            2 => {
                let part = text[at..end].to_vec();
                text.splice(at..at, part);
            }
            3 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                text.truncate(at);
                text.extend_from_slice(&other[from..]);
            }
            4 if at < text.len() => text[at] = u8::try_from(random.below(256)).unwrap_or(0),
            _ => {
                let mut lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
                let (one, other) = (random.below(lines.len()), random.below(lines.len()));
                if !lines.is_empty() {
                    lines.swap(one, other);
                }
                text = lines.concat();
            }
        }
        text.truncate(TEXT_MAX);
    }
    text
}

/// Whether anything came of it.
fn goes_through(text: &[u8]) -> bool {
    targets::lexer(text);
    targets::translation(text)
}

fn main() {
    let mut words = std::env::args().skip(1).filter_map(|word| word.parse::<u64>().ok());
    let (seconds, seed) =
        (words.next().unwrap_or(60), words.next().unwrap_or(0x9e37_79b9_7f4a_7c15));
    let (corpus, mut random) = (corpus(), Random(seed.max(1)));
    let (begun, mut count, mut live, mut longest) = (Instant::now(), 0_u64, 0_u64, Duration::ZERO);
    while begun.elapsed() < Duration::from_secs(seconds) {
        let text = changed(&corpus, &mut random);
        let one = Instant::now();
        live += u64::from(goes_through(&text));
        longest = longest.max(one.elapsed());
        count += 1;
    }
    println!(
        "{count} texts of {} files in {seconds} s, {live} of them translated and loaded, the longest in {} ms",
        corpus.len(),
        longest.as_millis()
    );
}
