//! `gzip` and what belongs to it.

use std::collections::BTreeSet;

use proxy_config::route_action::{Coding, Compression, CompressionLevels, WhenProxied};
use proxy_config::units::ByteSize;

use crate::translate::scope::Scope;
use crate::translate::value::size;
use crate::verdict::{Verdict, Verdicts};

/// Statuses whose answers nginx compresses.
const STATUSES: [u16; 3] = [200, 403, 404];
/// What types begin with (RFC 6838, and what was registered since).
const KINDS: [&str; 10] = [
    "application",
    "audio",
    "font",
    "haptics",
    "image",
    "message",
    "model",
    "multipart",
    "text",
    "video",
];
const FAMILY: [&str; 9] = [
    "gzip_buffers",
    "gzip_comp_level",
    "gzip_disable",
    "gzip_hash",
    "gzip_http_version",
    "gzip_min_length",
    "gzip_proxied",
    "gzip_types",
    "gzip_vary",
];

/// The compression in effect; none when answers go out as they are.
pub fn compression(scope: &Scope<'_>, verdicts: &mut Verdicts) -> Option<Compression> {
    let switch = scope.one("gzip");
    switch.into_iter().for_each(|line| verdicts.add(line, Verdict::exact()));
    let on = switch.is_some_and(|line| line.has("on"));
    for line in FAMILY.iter().filter_map(|name| scope.one(name)) {
        verdicts.add(
            line,
            match line.name.as_str() {
                _ if !on => Verdict::ignored("gzip is off here"),
                "gzip_buffers" | "gzip_hash" => {
                    Verdict::ignored("how nginx holds what it compresses")
                }
                "gzip_types" if line.has("*") => {
                    Verdict::approximate("types of kinds that are not registered stay as they are")
                }
                "gzip_disable" => Verdict::approximate("browsers of before 2007 get it, too"),
                _ => Verdict::exact(),
            },
        );
    }
    if !on {
        return None;
    }
    let one = |name: &str| scope.one(name).and_then(|line| line.argument(0));
    let mut types = vec!["text/html".to_owned()];
    for line in scope.effective("gzip_types") {
        for word in line.texts() {
            match word {
                "*" => types.extend(KINDS.iter().map(|kind| format!("{kind}/*"))),
                word => types.push(word.to_ascii_lowercase()),
            }
        }
    }
    let mut known = BTreeSet::new();
    types.retain(|kind| known.insert(kind.clone()));
    let level = one("gzip_comp_level").and_then(|level| level.parse().ok()).unwrap_or(1);
    Some(Compression {
        codings: vec![Coding::Gzip],
        types,
        body_min: one("gzip_min_length").and_then(size).unwrap_or(ByteSize::bytes(20)),
        levels: CompressionLevels { gzip: level, ..CompressionLevels::default() },
        statuses: STATUSES.to_vec(),
        vary: one("gzip_vary") == Some("on"),
        http10: one("gzip_http_version") == Some("1.0"),
        when_proxied: proxied(scope),
    })
}

fn proxied(scope: &Scope<'_>) -> Option<Vec<WhenProxied>> {
    let mut cases = Vec::new();
    for word in scope.effective("gzip_proxied").iter().flat_map(|line| line.texts()) {
        cases.push(match word {
            "any" => return None,
            "expired" => WhenProxied::Expired,
            "no-cache" => WhenProxied::NoCache,
            "no-store" => WhenProxied::NoStore,
            "private" => WhenProxied::Private,
            "no_last_modified" => WhenProxied::NoLastModified,
            "no_etag" => WhenProxied::NoEtag,
            "auth" => WhenProxied::Auth,
            _ => continue,
        });
    }
    Some(cases)
}
