//! What must hold for any text and any tree.

use forebay_nginx::include::Includes;
use forebay_nginx::parse::{Parsed, parse_bytes};
use forebay_nginx::{print, tree};
use proptest::prelude::*;

#[path = "fuzzed/targets.rs"]
mod targets;

fn parse(bytes: &[u8]) -> Parsed {
    parse_bytes("generated", bytes, Includes::Unfollowed)
}

/// All the way; nothing may panic, nothing may be left out, and what comes out must load.
fn survives(bytes: &[u8]) {
    targets::lexer(bytes);
    targets::translation(bytes);
}

const SAMPLES: [&str; 8] = [
    include_str!("samples/simple-proxy.conf"),
    include_str!("samples/api-gateway.conf"),
    include_str!("samples/tls-site.conf"),
    include_str!("samples/many-servers.conf"),
    include_str!("samples/guarded.conf"),
    include_str!("samples/canary.conf"),
    include_str!("samples/quoting.conf"),
    include_str!("samples/broken-words.conf"),
];

const PIECES: [&str; 22] = [
    "{",
    "}",
    ";",
    "\"",
    "'",
    "\\",
    "#",
    "$",
    "${",
    "\n",
    " ",
    "server",
    "location",
    "~",
    "= /",
    "listen 80",
    "proxy_pass http://a",
    "*.",
    "\u{0}",
    "é",
    "if",
    "\u{feff}",
];

#[derive(Clone, Debug)]
enum Change {
    Insert(usize),
    Remove(usize),
    Repeat(usize),
}

fn change() -> impl Strategy<Value = (usize, Change)> {
    let what = prop_oneof![
        (0..PIECES.len()).prop_map(Change::Insert),
        (1..40_usize).prop_map(Change::Remove),
        (1..200_usize).prop_map(Change::Repeat),
    ];
    (any::<usize>(), what)
}

fn changed(sample: &str, changes: &[(usize, Change)]) -> String {
    let mut text: Vec<char> = sample.chars().collect();
    for (at, change) in changes {
        let at = at % (text.len() + 1);
        match change {
            Change::Insert(piece) => {
                text.splice(at..at, PIECES[*piece].chars());
            }
            Change::Remove(count) => {
                text.drain(at..(at + count).min(text.len()));
            }
            Change::Repeat(count) => {
                let copy: Vec<char> = text[at..(at + count).min(text.len())].to_vec();
                text.splice(at..at, copy);
            }
        }
    }
    text.into_iter().collect()
}

/// A tree as text that the printer had no part in would need a second printer; trees are built
/// from words instead and printed by the simplest rule there is: everything quoted.
#[derive(Clone, Debug)]
struct Plain {
    words: Vec<String>,
    inner: Option<Vec<Plain>>,
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_]{1,12}",
        "[ -~\u{e9}\u{4e2d}\t\n\r]{0,12}",
        "[\"'\\\\;{}#$ntr ]{0,8}",
        Just("${a}b".to_owned()),
        Just(r"\.php$".to_owned()),
    ]
}

fn tree_of_words() -> impl Strategy<Value = Vec<Plain>> {
    let leaf = (prop::collection::vec(word(), 1..4)).prop_map(|words| Plain { words, inner: None });
    let directive = leaf.prop_recursive(4, 40, 5, |inner| {
        (prop::collection::vec(word(), 1..4), prop::collection::vec(inner, 0..5))
            .prop_map(|(words, inner)| Plain { words, inner: Some(inner) })
    });
    prop::collection::vec(directive, 0..6)
}

fn quoted(directives: &[Plain], text: &mut String) {
    for directive in directives {
        for word in &directive.words {
            text.push('"');
            text.push_str(&word.replace('\\', "\\\\").replace('"', "\\\""));
            text.push_str("\" ");
        }
        match &directive.inner {
            None => text.push_str(";\n"),
            Some(inner) => {
                text.push_str("{\n");
                quoted(inner, text);
                text.push_str("}\n");
            }
        }
    }
}

fn as_written(directives: &[tree::Directive], expected: &[Plain]) -> bool {
    directives.len() == expected.len()
        && directives.iter().zip(expected).all(|(directive, plain)| {
            let words = std::iter::once(directive.name.as_str()).chain(directive.texts());
            let inner = match (&directive.body, &plain.inner) {
                (tree::Body::Simple, None) => true,
                (tree::Body::Block(inner), Some(plain)) => as_written(inner, plain),
                _ => false,
            };
            inner && words.eq(plain.words.iter().map(String::as_str))
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        survives(&bytes);
    }

    #[test]
    fn pieces_of_grammar_never_panic(pieces in prop::collection::vec(0..PIECES.len(), 0..60)) {
        let text: Vec<&str> = pieces.into_iter().map(|piece| PIECES[piece]).collect();
        survives(text.join(" ").as_bytes());
        survives(text.concat().as_bytes());
    }

    #[test]
    fn mutated_samples_never_panic(
        sample in 0..SAMPLES.len(),
        changes in prop::collection::vec(change(), 1..8),
    ) {
        survives(changed(SAMPLES[sample], &changes).as_bytes());
    }

    #[test]
    fn trees_are_read_as_written_and_printed_back(tree in tree_of_words()) {
        let mut text = String::new();
        quoted(&tree, &mut text);
        let first = parse(text.as_bytes());
        prop_assert!(first.problems.is_empty(), "{:?}", first.problems);
        prop_assert!(as_written(&first.document.directives, &tree));
        let printed = print::print(&first.document.directives);
        let second = parse(printed.as_bytes());
        prop_assert!(second.problems.is_empty(), "{:?}\n{}", second.problems, printed);
        prop_assert!(tree::same(&first.document.directives, &second.document.directives));
    }
}

#[test]
fn large_and_deep_files_are_bounded() {
    survives("a {".repeat(200_000).as_bytes());
    survives("}".repeat(200_000).as_bytes());
    survives("\"".repeat(20_001).as_bytes());
    survives(
        format!(
            "http {{ {} }}",
            "server { location / { proxy_pass http://10.0.0.1; } } ".repeat(2_000)
        )
        .as_bytes(),
    );
    let nested =
        format!("http {{ server {{ {}{} }} }}", "location /a {".repeat(60), "}".repeat(60));
    survives(nested.as_bytes());
}
