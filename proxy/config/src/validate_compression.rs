//! Rules for the compression of responses.

use crate::config::Config;
use crate::findings::{Findings, item};
use crate::route_action::{Coding, Compression};

pub(crate) fn check(config: &Config, findings: &mut Findings<'_>) {
    for (index, route) in config.routes.iter().enumerate() {
        if let Some(compression) = &route.compression {
            let path = format!("{}.compression", item("routes", index));
            check_one(compression, &path, findings);
        }
    }
}

fn check_one(compression: &Compression, path: &str, findings: &mut Findings<'_>) {
    if compression.codings.is_empty() {
        let hint = "name some: `[zstd, brotli, gzip]`, or remove `compression`";
        findings.add(format!("{path}.codings"), "no coding is offered", hint);
    }
    for (index, coding) in compression.codings.iter().enumerate() {
        if let Some(earlier) = compression.codings[..index].iter().position(|other| other == coding)
        {
            let place = |at| item(format!("{path}.codings"), at);
            findings.add_related(
                &place(index),
                "this coding is offered twice",
                "remove one of the two",
                (&place(earlier), "first offered here"),
            );
        }
    }
    if compression.types.is_empty() {
        let hint = "name some: `[text/*, application/json]`, or remove `types`";
        findings.add(format!("{path}.types"), "nothing would be compressed", hint);
    }
    for (index, media) in compression.types.iter().enumerate() {
        let lower = media.to_ascii_lowercase();
        let parts = lower.split_once('/');
        let token = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._".contains(&b))
        };
        let fine = parts.is_some_and(|(kind, name)| token(kind) && (name == "*" || token(name)));
        let place = item(format!("{path}.types"), index);
        if !fine {
            let message = format!("`{media}` is not a media type");
            findings.add(place, message, "write one such as `text/html`, or `text/*`");
        } else if lower != *media {
            findings.add(place, "media types are written small", format!("write `{lower}`"));
        }
    }
    for (coding, key, from, to) in [
        (Coding::Gzip, "gzip", 1, 9),
        (Coding::Brotli, "brotli", 0, 11),
        (Coding::Zstd, "zstd", 1, 19),
    ] {
        let level = compression.levels.of(coding);
        if !(from..=to).contains(&level) {
            let message = format!("{key} has no level {level}");
            let hint = format!("write one from {from} to {to}");
            findings.add(format!("{path}.levels.{key}"), message, hint);
        }
    }
}
