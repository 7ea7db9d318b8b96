//! `forebay-proxy policy list|show|set|history|rollback FILE`

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::admin_call::{AdminCall, AdminOptions};
use super::document::{Document, load};
use super::fault::Fault;
use super::output::{Output, OutputOption, print};
use crate::admin::policies::Order;

#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Names of the policies in force.
    List(Asking),
    /// One policy in force, with every default: cache_policies.live, lanes, …
    Show {
        #[command(flatten)]
        asking: Asking,
        /// Its place in the document.
        #[arg(value_name = "PLACE")]
        place: String,
    },
    /// Change values; lasts until the next reload of the document, or a restart.
    Set {
        #[command(flatten)]
        asking: Asking,
        /// PLACE=VALUE, as in cache_policies.live.freshness.ttl_default=250ms; without a value, the default.
        #[arg(value_name = "PLACE=VALUE", required = true)]
        sets: Vec<String>,
        #[command(flatten)]
        how: How,
    },
    /// What has been in force since the start, who changed it and how.
    History(Asking),
    /// Go back to what was in force under a number of the history; without one, before the last change.
    Rollback {
        #[command(flatten)]
        asking: Asking,
        #[arg(value_name = "NUMBER")]
        number: Option<u64>,
        #[command(flatten)]
        how: How,
    },
}

#[derive(Debug, Args)]
struct Asking {
    #[command(flatten)]
    document: Document,
    #[command(flatten)]
    admin: AdminOptions,
    #[command(flatten)]
    output: OutputOption,
}

#[derive(Debug, Args)]
struct How {
    /// Say what it would change and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Why; kept in the history.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

impl Asking {
    fn call(&self) -> Result<AdminCall, Fault> {
        AdminCall::new(&load(&self.document.file)?, &self.admin)
    }

    fn print(&self, answer: &Value, text: impl FnOnce(&Value) -> String) -> Result<(), Fault> {
        match self.output.output {
            Output::Json => print(&format!("{answer}\n")),
            Output::Text => print(&text(answer)),
        }
    }
}

pub fn run(options: &Options) -> Result<(), Fault> {
    match &options.what {
        What::List(asking) => {
            let answer = asking.call()?.get("/policies", "not told")?;
            asking.print(&answer, listed)
        }
        What::Show { asking, place } => {
            let answer = asking.call()?.get("/policies", "not told")?;
            let pointer = format!("/policies/{}", place.replace('.', "/"));
            let found = answer.pointer(&pointer).ok_or_else(|| {
                Fault::Usage(format!("nothing is at `{place}`; `policy list` names what there is"))
            })?;
            asking.print(found, proxy_config::document::to_yaml)
        }
        What::Set { asking, sets, how } => {
            let mut set = BTreeMap::new();
            for text in sets {
                let (place, value) = assignment(text)?;
                if set.insert(place.clone(), value).is_some() {
                    return Err(Fault::Usage(format!("`{place}` is set twice; set it once")));
                }
            }
            order(asking, how, |order| Order { set, ..order })
        }
        What::History(asking) => {
            let answer = asking.call()?.get("/policies/history", "not told")?;
            asking.print(&answer, told)
        }
        What::Rollback { asking, number, how } => {
            order(asking, how, |order| Order { back_to: *number, back: number.is_none(), ..order })
        }
    }
}

fn order(asking: &Asking, how: &How, fill: impl FnOnce(Order) -> Order) -> Result<(), Fault> {
    let How { dry_run, note } = how;
    let empty = Order {
        set: BTreeMap::new(),
        back_to: None,
        back: false,
        dry_run: *dry_run,
        note: note.clone(),
    };
    let answer = asking.call()?.post("/policies", &fill(empty), "nothing changed")?;
    asking.print(&answer, done)
}

/// `a.b=c`; the value as it would be written in the document.
fn assignment(text: &str) -> Result<(String, Value), Fault> {
    let (place, value) =
        text.split_once('=').ok_or_else(|| Fault::Usage(format!("`{text}` is not PLACE=VALUE")))?;
    let value = match value {
        "" => Value::Null,
        value => serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned())),
    };
    Ok((place.trim().to_owned(), value))
}

fn listed(answer: &Value) -> String {
    let mut text = format!("number {}\n", answer["number"]);
    for (section, named) in answer["policies"].as_object().into_iter().flatten() {
        for name in named.as_object().into_iter().flatten().map(|(name, _)| name) {
            text.push_str(&format!("{section}.{name}\n"));
        }
    }
    text
}

fn changed(change: &Value) -> String {
    let value = |value: &Value| match value {
        Value::Null => "(default)".to_owned(),
        Value::String(text) => on_one_line(text),
        other => on_one_line(&other.to_string()),
    };
    let path = on_one_line(change["path"].as_str().unwrap_or_default());
    format!("  {path}: {} → {}\n", value(&change["from"]), value(&change["to"]))
}

fn done(answer: &Value) -> String {
    let mut text = match &answer["number"] {
        Value::Null => "would change:\n".to_owned(),
        number => format!("in force as number {number}:\n"),
    };
    text.extend(answer["changes"].as_array().into_iter().flatten().map(changed));
    let routes: Vec<&str> =
        answer["routes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let routes = if routes.is_empty() { "none".to_owned() } else { routes.join(", ") };
    text.push_str(&format!("routes that go by it: {routes}\n"));
    text
}

/// Text of others on one line: what would end the line, or move on a terminal, is spelled out.
fn on_one_line(text: &str) -> String {
    let moves = |c: char| {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
    };
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if moves(c) { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

fn told(answer: &Value) -> String {
    let mut text = String::new();
    for record in answer["history"].as_array().into_iter().flatten() {
        let part = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        let by = record["by"].as_str().map(|by| format!(" by {by}")).unwrap_or_default();
        let note = record["note"].as_str().map(|note| format!(": {}", on_one_line(note)));
        let note = note.unwrap_or_default();
        let (number, at, cause) = (&record["number"], part("at"), part("cause"));
        text.push_str(&format!("{number}  {at}  {cause}{by}{note}\n"));
        text.extend(record["changes"].as_array().into_iter().flatten().map(changed));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nobody_forges_lines_of_the_history() {
        let note = "a\nb\u{1b}[2J\u{9b}1m\u{202e}c\u{2028}é";
        let change = json!({ "path": "lanes.x\n", "from": null, "to": ["\u{7f}"] });
        let record = json!({ "number": 2, "at": "t", "cause": "set", "by": "ops", "note": note, "changes": [change] });
        assert_eq!(
            told(&json!({ "history": [record] })),
            "2  t  set by ops: a\\nb\\u{1b}[2J\\u{9b}1m\\u{202e}c\\u{2028}é\n  \
             lanes.x\\n: (default) → [\"\\u{7f}\"]\n"
        );
    }

    #[test]
    fn values_are_written_as_in_the_document() {
        for (text, value) in [
            ("a.b=250ms", json!("250ms")),
            ("a.b=7", json!(7)),
            ("a.b=true", json!(true)),
            ("a.b=[\"x\"]", json!(["x"])),
            ("a.b=", Value::Null),
        ] {
            assert_eq!(assignment(text).unwrap(), ("a.b".to_owned(), value));
        }
        assert!(assignment("a.b").is_err());
    }
}
