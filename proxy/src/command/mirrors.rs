//! `forebay-proxy mirrors FILE`

use std::fmt::Write as _;

use clap::Args;
use serde_json::Value;

use super::admin_call::{AdminCall, AdminOptions};
use super::document::{Document, load};
use super::fault::Fault;
use super::output::{Output, OutputOption, print};

#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    document: Document,
    #[command(flatten)]
    admin: AdminOptions,
    #[command(flatten)]
    output: OutputOption,
}

pub fn run(options: &Options) -> Result<(), Fault> {
    let call = AdminCall::as_viewer(&load(&options.document.file)?, &options.admin)?;
    let found = call.get("/mirrors", "not told")?;
    match options.output.output {
        Output::Json => print(&format!("{found}\n")),
        Output::Text => print(&text(&found)),
    }
}

/// Counts per route, and its latest differences, the newest first.
fn text(found: &Value) -> String {
    let mut text = String::new();
    for (route, of) in found.as_object().into_iter().flatten() {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{route}: {} the same, {} of another status, {} of another body, {} incomplete",
            of["same"], of["status"], of["body"], of["incomplete"]
        );
        for one in of["latest"].as_array().into_iter().flatten() {
            let told = |side: &Value| format!("{} with {} bytes", side["status"], side["bytes"]);
            let plain = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
            let _ = writeln!(
                text,
                "  {} {} {}: {}, mirrored {} ({})",
                plain("time"),
                plain("method"),
                plain("path"),
                told(&one["answered"]),
                told(&one["mirrored"]),
                plain("request_id"),
            );
        }
    }
    if text.is_empty() {
        text.push_str("no route has `mirror.compare`\n");
    }
    text
}
