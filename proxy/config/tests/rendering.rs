//! How problems look: where the caret stands, in what order, and what never reaches a terminal.

use proxy_config::{Config, Source};

fn rendered(text: &str) -> String {
    Config::load(Source::new("site.yaml", text)).expect_err("a problem").to_string()
}

#[test]
fn columns_count_characters_and_the_caret_stands_under_them() {
    let text = rendered("version: 1\n\"grün\": { täglich: 1 }\nlisteners: {}\nroutes: []\n");
    assert!(text.contains("unknown key `grün`"), "{text}");
    assert!(text.contains("--> site.yaml:2:1"), "{text}");
    assert!(text.contains("2 | \"grün\": { täglich: 1 }\n  | ^^^^^^\n"), "{text}");
}

#[test]
fn problems_stand_in_the_order_of_the_document() {
    let text = "version: 2\nroutes: [ { name: A } ]\nlisteners: { b: { address: x } }\n";
    let problems = Config::load(Source::new("site.yaml", text)).expect_err("problems");
    let lines: Vec<usize> =
        problems.iter().filter_map(|problem| problem.span.map(|span| span.line)).collect();
    let mut sorted = lines.clone();
    sorted.sort_unstable();
    assert_eq!(lines, sorted);
    assert!(lines.len() >= 3, "{problems}");
}

#[test]
fn colour_is_optional() {
    let problems = Config::load(Source::new("site.yaml", "version: 1\n")).expect_err("problems");
    assert!(!problems.to_string().contains('\u{1b}'));
    assert!(problems.render(true).contains('\u{1b}'));
}

#[test]
fn long_lines_and_large_documents_stay_readable() {
    let long = format!(
        "version: 1\nlisteners: {{ a: {{ address: {} }} }}\nroutes: []\n",
        "x".repeat(100_000)
    );
    let text = rendered(&long);
    assert!(text.len() < 700_000, "{} bytes", text.len());
    let huge = "#".repeat(5 * 1024 * 1024);
    assert!(rendered(&huge).contains("larger than"));
    let many: String = (0..1000).map(|index| format!("key{index}: 1\n")).collect();
    let problems = Config::load(Source::new("site.yaml", many)).expect_err("problems");
    assert_eq!(problems.len(), 101);
    assert!(problems.iter().any(|problem| problem.message.contains("reading stopped")));
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_are_read() {
    let text = "\u{feff}version: 1\r\nlisteners: { a: { address: 127.0.0.1:1 } }\r\nroutes: [ { name: a, upstream: b } ]\r\n";
    let problems = Config::load(Source::new("site.yaml", text)).expect_err("a problem");
    let problem = problems.iter().next().expect("one");
    assert_eq!(problem.path, "routes[0].upstream", "{problems}");
    assert_eq!(problem.span.map(|span| span.line), Some(3));
}
