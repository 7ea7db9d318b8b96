//! The configuration as YAML for people: above each listener, upstream, cache and route the line of
//! nginx.conf it came from, and at the top what is different or missing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use proxy_config::Config;

use crate::report::Report;
use crate::translate::Origins;

/// The document. Without its comments it is `config.to_yaml()`.
pub fn document(name: &str, config: &Config, origins: &Origins, report: &Report) -> String {
    let mut text = String::new();
    comment(&mut text, 0, &format!("Translated by forebay-nginx from {name}."));
    comment(
        &mut text,
        0,
        "`forebay-nginx report` says how exactly; `forebay-proxy check` reads it.",
    );
    let missing: Vec<_> = report.unsupported().filter(|item| !item.row).collect();
    if !missing.is_empty() {
        comment(&mut text, 0, "");
        comment(&mut text, 0, "PARTIAL: this is missing.");
        for item in missing {
            let line = format!("  {}:{}: {}: {}", item.file, item.line, item.directive, item.text);
            comment(&mut text, 0, &line);
        }
    }
    text.push('\n');
    annotate(&config.to_yaml(), origins, &mut text);
    text
}

/// Where in the document a line stands.
enum Section<'o> {
    Named(&'o BTreeMap<String, Vec<String>>),
    Listed(&'o [Vec<String>]),
    Other,
}

fn annotate(yaml: &str, origins: &Origins, text: &mut String) {
    let mut section = Section::Other;
    // Indentation of the entries of the section, known from its first line.
    let mut level = None;
    let mut index = 0;
    for line in yaml.lines() {
        let indent = line.len() - line.trim_start().len();
        let is_item = line[indent..].starts_with("- ");
        if indent == 0 && !is_item {
            section = match line.trim_end_matches(':') {
                "listeners" => Section::Named(&origins.listeners),
                "upstreams" => Section::Named(&origins.upstreams),
                "caches" => Section::Named(&origins.caches),
                "cache_policies" => Section::Named(&origins.cache_policies),
                "routes" => Section::Listed(&origins.routes),
                _ => Section::Other,
            };
            (level, index) = (None, 0);
        } else if *level.get_or_insert(indent) == indent {
            let comments: &[String] = match &section {
                Section::Named(map) => {
                    let key = line.trim().trim_end_matches(':').trim_matches(['"', '\'']);
                    map.get(key).map_or(&[], Vec::as_slice)
                }
                Section::Listed(list) if is_item => {
                    index += 1;
                    list.get(index - 1).map_or(&[], Vec::as_slice)
                }
                Section::Listed(_) | Section::Other => &[],
            };
            comments.iter().for_each(|line| comment(text, indent, line));
        }
        let _ = writeln!(text, "{line}");
    }
}

/// One comment line, whatever the text holds.
fn comment(text: &mut String, indent: usize, line: &str) {
    let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let _ = writeln!(text, "{}", format!("{:indent$}# {line}", "").trim_end());
}
