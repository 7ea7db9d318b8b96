//! The Markdown reference of the document (`docs/CONFIG.md`), generated from the schema.

use std::fmt::Write;

use crate::ending::ENDINGS;
use crate::schema::{KeyDoc, keys};
use crate::template::VARIABLES;

const OPENING: &str = "\
# Configuration of the proxy

This page is generated from the types of `proxy/config`: do not edit it.

A document is one YAML file. Unknown and duplicate keys are errors, and so is a key without a value. \
`forebay-proxy check FILE` shows everything that is wrong, \
`forebay-proxy dump --effective FILE` every default, `forebay-proxy schema` the JSON Schema for editors.

## Quantities

| Kind | Written | Meaning |
|---|---|---|
| size | `64MiB`, `64KiB`, `10MB`, `512B`, `4096` | bytes; KiB, MiB, GiB, TiB are powers of 1024, KB, MB, GB, TB of 1000 |
| time | `250ms`, `30s`, `5m`, `1h`, `7d` | a whole number and one unit |
| rate | `100/s`, `6000/m`, `10/h` | per second, minute or hour |
| bandwidth | `5MB/s` | bytes per second |
| percentage | `50%`, `0.5%` | from `0%` to `100%`, at most two decimals |
| address | `127.0.0.1:8080`, `[::1]:8080` | IP address and port; servers also by name |
| network | `10.0.0.0/8`, `192.0.2.7` | a network or one address |
";

/// The whole page.
pub fn markdown() -> String {
    let keys = keys();
    let mut page = OPENING.to_owned();
    variables(&mut page);
    table(&mut page, "The document", "", "", &keys);
    keys.iter().for_each(|key| section(&mut page, key, &keys));
    page
}

fn variables(page: &mut String) {
    page.push_str("\n## Variables\n\n");
    page.push_str(
        "Text with variables may hold `$name` or `${name}`; `$$` is a dollar sign. Beside these there \
         are the captures of the expressions around it, by number or name, and `maps`. What is empty \
         sends no header. Paths, queries and captures of paths keep their escapes.\n\n",
    );
    page.push_str("| Variable | Meaning |\n|---|---|\n");
    for (name, meaning) in VARIABLES {
        let _ = writeln!(page, "| `${name}` | {meaning} |");
    }
    page.push_str(
        "\nLines of access logs also know what is only known when a request has ended:\n\n",
    );
    page.push_str("| Variable | Meaning |\n|---|---|\n");
    for (name, _, meaning) in ENDINGS {
        let _ = writeln!(page, "| `${name}` | {meaning} |");
    }
    page.push_str("| `$answer_NAME` | header of the answer: `$answer_content_type` |\n");
}

fn section(page: &mut String, key: &KeyDoc, keys: &[KeyDoc]) {
    if keys.iter().any(|other| parent(&other.pattern) == key.pattern && is_named(other)) {
        let title = format!("`{}`", key.pattern.replace('*', "NAME"));
        table(page, &title, &key.description, &key.pattern, keys);
    }
}

/// The keys that stand directly under `of`.
fn table(page: &mut String, title: &str, text: &str, of: &str, keys: &[KeyDoc]) {
    let _ = write!(page, "\n## {title}\n\n");
    if !text.is_empty() {
        let _ = write!(page, "{text}\n\n");
    }
    page.push_str("| Key | What | Default | Meaning |\n|---|---|---|---|\n");
    for key in keys.iter().filter(|key| parent(&key.pattern) == of && is_named(key)) {
        let name = key.pattern.rsplit('.').next().unwrap_or(&key.pattern);
        let default = match (&key.default, key.required) {
            (_, true) => "required".to_owned(),
            (Some(default), false) => format!("`{default}`"),
            (None, false) => "none".to_owned(),
        };
        let row = format!("{}{}", key.description, choices(key));
        let row = row.replace('|', "\\|");
        let _ = writeln!(page, "| `{name}` | {} | {default} | {row} |", key.kind);
    }
}

fn choices(key: &KeyDoc) -> String {
    let values: Vec<String> = key
        .values
        .iter()
        .map(|(value, meaning)| {
            let meaning = meaning.trim_end_matches('.');
            match meaning {
                "" => format!("`{value}`"),
                meaning => format!("`{value}`: {meaning}"),
            }
        })
        .collect();
    if values.is_empty() { String::new() } else { format!(" — {}", values.join("; ")) }
}

/// Keys have names; items of lists and maps do not.
fn is_named(key: &KeyDoc) -> bool {
    !key.pattern.ends_with("[]") && !key.pattern.ends_with(".*")
}

fn parent(pattern: &str) -> &str {
    match pattern.strip_suffix("[]") {
        Some(list) => list,
        None => pattern.rsplit_once('.').map_or("", |(parent, _)| parent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_every_key_with_its_default() {
        let page = markdown();
        assert!(page.contains("\n## `upstreams.NAME.timeouts`\n"));
        assert!(page.contains("| `connect` | time | `1s` | To accept a connection"));
        assert!(page.contains("| `name` | text | required |"));
        for key in keys().iter().filter(|key| is_named(key)) {
            let name = key.pattern.rsplit('.').next().expect("a name");
            assert!(page.contains(&format!("| `{name}` |")), "{}", key.pattern);
        }
        assert!(page.lines().all(|line| !line.starts_with('|') || line.ends_with('|')));
    }
}
