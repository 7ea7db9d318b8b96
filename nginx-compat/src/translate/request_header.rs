//! `proxy_set_header` and `grpc_set_header`: what a location makes of the headers of requests.

use std::collections::btree_map::Entry;

use proxy_config::pattern::Template;
use proxy_config::route_action::{HeaderAddition, HeaderEdits};

use crate::translate::captured;
use crate::translate::proxy_pass::PROXY;
use crate::translate::scope::Scope;
use crate::translate::slices;
use crate::translate::variable::{Names, Place};
use crate::tree::Directive;
use crate::verdict::{Verdict, Verdicts};

/// The edits in effect. nginx takes the lines of one level only, and sends the upstream's name as
/// Host unless one of them says otherwise.
pub fn edits(
    (family, scope): (&str, &Scope<'_>),
    place: &Place,
    names: &mut Names<'_>,
    verdicts: &mut Verdicts,
) -> HeaderEdits {
    let mut edits = HeaderEdits::default();
    let lines = scope.effective(&format!("{family}_set_header"));
    let is_ways = |line: &&&Directive| {
        let name = line.argument(0).unwrap_or_default();
        ["upgrade", "connection"].iter().any(|way| name.eq_ignore_ascii_case(way))
    };
    // Those two are `upgrade`'s.
    for line in lines.iter().filter(|line| !is_ways(line)) {
        if slices::is_own_range(scope, line) {
            verdicts.add(line, Verdict::exact());
            continue;
        }
        let verdict = match one((scope, line), place, names, verdicts) {
            Ok((Some((name, value)), verdict)) => {
                match edits.set.entry(name) {
                    Entry::Vacant(first) => {
                        first.insert(value);
                    }
                    // No request has two.
                    Entry::Occupied(mut first) if first.key() == "host" => {
                        first.insert(value);
                    }
                    // Each line is a header of its own.
                    Entry::Occupied(first) => edits.append.push(HeaderAddition {
                        name: first.key().clone(),
                        value,
                        always: true,
                        replace: false,
                    }),
                }
                verdict
            }
            Ok((None, verdict)) => verdict,
            Err(why) => Verdict::unsupported(why),
        };
        verdicts.add(line, verdict);
    }
    if let Some(line) = scope.one("proxy_pass_request_headers").filter(|_| family == PROXY) {
        verdicts.add(line, Verdict::exact());
        edits.remove_all = line.has("off");
    }
    let sets_host =
        |line: &&Directive| line.argument(0).is_some_and(|name| name.eq_ignore_ascii_case("host"));
    if !lines.iter().any(sets_host) {
        // Without it the upstream itself says who is asked.
        if let Some((host, _)) = &place.proxy {
            edits.set.insert("host".to_owned(), Template(host.replace('$', "$$")));
        }
    }
    edits
}

type One = (Option<(String, Template)>, Verdict);

fn is_bodiless(scope: &Scope<'_>) -> bool {
    scope.one("proxy_pass_request_body").is_some_and(|line| line.has("off"))
}

fn one(
    (scope, line): (&Scope<'_>, &Directive),
    place: &Place,
    names: &mut Names<'_>,
    verdicts: &mut Verdicts,
) -> Result<One, String> {
    let name = line.argument(0).unwrap_or_default().to_ascii_lowercase();
    let text = line.argument(1).unwrap_or_default();
    match (name.as_str(), text) {
        // What is passed on without its body has no length.
        ("content-length", "") if is_bodiless(scope) => return Ok((None, Verdict::exact())),
        ("te" | "keep-alive" | "proxy-connection", "") => return Ok((None, Verdict::exact())),
        (name, _) if proxy_config::header_edits::NOT_EDITABLE.contains(&name) => {
            return Err(format!(
                "Forebay frames messages by itself and sends no {name} of your own"
            ));
        }
        _ => {}
    }
    let value = names.text(text, &Place { is_text: true, ..place.clone() }, verdicts)?;
    let differs = place.expression.is_none()
        && captured::may_differ(text, &captured::expressions(scope.block()), names);
    let verdict = match text.contains("$request_id") {
        true => Verdict::approximate("Forebay's request ids have a form of their own"),
        false if differs => Verdict::approximate(captured::TOLD),
        false => Verdict::exact(),
    };
    Ok((Some((name, value)), verdict))
}
