//! `fastcgi_pass`: which server runs the scripts, and what they are told.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proxy_config::Route;
use proxy_config::route::ForwardedHeaders;
use proxy_config::route_action::HeaderEdits;
use proxy_config::upstream::FastCgi;

use crate::translate::answer::{Here, body_max};
use crate::translate::proxy_pass::{FASTCGI, Target};
use crate::translate::request_body;
use crate::translate::response_header;
use crate::translate::scope::Scope;
use crate::translate::site::Work;
use crate::translate::upstream::timeouts;
use crate::translate::variable::{Place, variables};
use crate::tree::{Directive, flattened};
use crate::verdict::Verdict;

/// What a script is told by Forebay itself, and how nginx.conf says the same.
const USUAL: [(&str, &[&str]); 19] = [
    ("QUERY_STRING", &["$query_string", "$args"]),
    ("REQUEST_METHOD", &["$request_method"]),
    ("CONTENT_TYPE", &["$content_type"]),
    ("CONTENT_LENGTH", &["$content_length"]),
    ("REQUEST_URI", &["$request_uri"]),
    ("SERVER_PROTOCOL", &["$server_protocol"]),
    ("REQUEST_SCHEME", &["$scheme"]),
    ("GATEWAY_INTERFACE", &["CGI/1.1"]),
    ("REMOTE_ADDR", &["$remote_addr"]),
    ("REMOTE_PORT", &["$remote_port"]),
    ("SERVER_ADDR", &["$server_addr"]),
    ("SERVER_PORT", &["$server_port"]),
    ("REDIRECT_STATUS", &["200"]),
    ("SCRIPT_NAME", &[]),
    ("SCRIPT_FILENAME", &[]),
    ("DOCUMENT_URI", &[]),
    ("DOCUMENT_ROOT", &[]),
    ("SERVER_SOFTWARE", &[]),
    ("SERVER_NAME", &[]),
];

/// The same where the root is plain and paths are not split.
const OF_PLACE: [(&str, &[&str]); 4] = [
    ("SCRIPT_NAME", &["$fastcgi_script_name"]),
    (
        "SCRIPT_FILENAME",
        &["$document_root$fastcgi_script_name", "$realpath_root$fastcgi_script_name"],
    ),
    ("DOCUMENT_ROOT", &["$document_root", "$realpath_root"]),
    ("PATH_INFO", &["$fastcgi_path_info"]),
];

/// How a place finds the script in a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Expression whose first group is the script and whose second is what follows it.
    pub split: Option<String>,
    /// What is asked for where a path ends in a slash.
    pub index: Option<String>,
}

/// How scripts are found at a place.
pub fn script(scope: &Scope<'_>) -> Script {
    let one = |name: &str| scope.one(name).and_then(|line| line.argument(0)).map(str::to_owned);
    Script { split: one("fastcgi_split_path_info"), index: one("fastcgi_index") }
}

/// The route of a place that runs scripts.
pub fn passed<'a>(
    here: &Here<'_, 'a>,
    pass: &'a Directive,
    work: &mut Work<'_, 'a>,
) -> Result<Route, String> {
    let authority = pass.argument(0).unwrap_or_default();
    if authority.contains('$') {
        return Err("a FastCGI server that variables name is not translated".to_owned());
    }
    let target = Target { authority, tls: false, uri: None, family: FASTCGI, by_variables: false };
    let timeouts = timeouts(here.scope, FASTCGI, work.verdicts);
    let mut differences = Vec::new();
    let gateway = gateway(here, work, &mut differences)?;
    let (scope, files) = (here.scope, work.files);
    let upstream =
        work.pools.name_with(&target, scope, timeouts, work.verdicts, files, Some(gateway))?;
    let cache = &mut work.caches;
    let cache_policy =
        cache.policy((FASTCGI, scope), here.place, work.names, work.verdicts, work.files);
    for name in ["fastcgi_buffering", "fastcgi_request_buffering"] {
        let line = scope.one(name).into_iter();
        line.for_each(|line| {
            let verdict = match line.has("off") {
                true => Verdict::exact(),
                false => Verdict::approximate("Forebay streams; a slow client holds the server"),
            };
            work.verdicts.add(line, verdict);
        });
    }
    for name in ["fastcgi_split_path_info", "fastcgi_index"] {
        scope.one(name).into_iter().for_each(|line| work.verdicts.add(line, Verdict::exact()));
    }
    work.verdicts.add(pass, Verdict::with_differences(&differences));
    let response_headers =
        response_header::edits(scope, Some(FASTCGI), here.place, work.names, work.verdicts);
    Ok(Route {
        response_headers: response_headers.filter(|edits| *edits != HeaderEdits::default()),
        forwarded_headers: ForwardedHeaders::PassOn,
        request_body_max: body_max(scope, work.verdicts),
        kept_body: request_body::kept(scope, work.logs, work.verdicts),
        cache_policy,
        ..Route::to("", upstream)
    })
}

/// What scripts are told.
fn gateway<'a>(
    here: &Here<'_, 'a>,
    work: &mut Work<'_, 'a>,
    differences: &mut Vec<String>,
) -> Result<FastCgi, String> {
    let place = Place { is_text: true, ..here.place.clone() };
    let root = place.root.as_deref().filter(|root| root.starts_with('/') && !root.contains('$'));
    let is_plain = root.is_some() && place.alias.is_none() && place.script.split.is_none();
    let mut params = BTreeMap::new();
    let mut listed: Vec<&str> = Vec::new();
    for line in here.scope.effective("fastcgi_param") {
        let (name, value) = (line.argument(0).unwrap_or_default(), line.argument(1));
        let value = value.unwrap_or_default();
        if here
            .scope
            .effective("fastcgi_param")
            .iter()
            .rev()
            .find(|other| other.argument(0) == Some(name))
            .is_some_and(|last| last.id != line.id)
        {
            let why = "another line tells the same after it, and scripts take the last";
            work.verdicts.add(line, Verdict::ignored(why));
            continue;
        }
        listed.push(name);
        if is_usual(name, value, is_plain) || (name == "HTTPS" && value == "$https") {
            params.remove(name);
            work.verdicts.add(line, Verdict::exact());
            continue;
        }
        let verdict = match param(name, value, &place, work) {
            Ok(text) => {
                params.insert(name.to_owned(), text);
                match line.argument(2) {
                    Some("if_not_empty") if value.contains('$') => {
                        Verdict::approximate("it is told when it is empty, too")
                    }
                    _ => Verdict::exact(),
                }
            }
            Err(why) => Verdict::unsupported(why),
        };
        work.verdicts.add(line, verdict);
    }
    if USUAL.iter().any(|(name, _)| !listed.contains(name)) {
        differences.push("scripts are told the usual parameters, listed or not".to_owned());
    }
    let keeps = here.scope.one("fastcgi_keep_conn").is_some_and(|line| line.has("on"));
    if let Some(line) = here.scope.one("fastcgi_keep_conn") {
        work.verdicts.add(line, Verdict::exact());
    }
    Ok(FastCgi {
        root: PathBuf::from(root.unwrap_or("/")),
        index: place.script.index.clone().filter(|index| !index.contains(['/', '$'])),
        split: Vec::new(),
        params,
        // As many as `keepalive` of the block says.
        idle_max: if keeps { 1 } else { 0 },
    })
}

fn is_usual(name: &str, value: &str, is_plain: bool) -> bool {
    let says = |table: &[(&str, &[&str])]| {
        table.iter().any(|(known, values)| *known == name && values.contains(&value))
    };
    says(&USUAL) || (is_plain && says(&OF_PLACE))
}

fn param(
    name: &str,
    value: &str,
    place: &Place,
    work: &mut Work<'_, '_>,
) -> Result<proxy_config::pattern::Template, String> {
    let fine = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if name.is_empty() || !fine {
        return Err("Forebay tells scripts names of letters, digits and `_`".to_owned());
    }
    let is_capture = |name: &&str| name.bytes().all(|byte| byte.is_ascii_digit());
    let is_lost = |name: &&str| is_capture(name) || work.names.is_captured(name);
    if place.expression.is_none() && variables(value).iter().any(is_lost) {
        return Err("what an expression captured is not told to scripts; `set` it first".to_owned());
    }
    work.names.text(value, place, work.verdicts)
}

/// How many unused connections are kept to the servers of a block that `fastcgi_keep_conn` keeps.
pub fn keepalive(block: &Directive) -> Option<u32> {
    let lines = flattened(block.children());
    let line = lines.into_iter().find(|line| line.name == "keepalive")?;
    line.argument(0)?.parse().ok()
}
