//! `proxy_redirect` and `proxy_cookie_*`: what an upstream says of itself, as clients may see it.

use proxy_config::pattern::{Regex, Template};
use proxy_config::route::PathMatch;
use proxy_config::route_action::HeaderReplacement;

use crate::translate::proxy_pass::Target;
use crate::translate::regex::convert;
use crate::translate::scope::Scope;
use crate::translate::variable::{Names, Place};
use crate::tree::Directive;
use crate::verdict::{Verdict, Verdicts};

/// What is replaced in `Location` and `Refresh`, and in cookies.
pub fn replacements(
    scope: &Scope<'_>,
    target: &Target<'_>,
    path: Option<&PathMatch>,
    place: &Place,
    names: &mut Names<'_>,
    verdicts: &mut Verdicts,
) -> Vec<HeaderReplacement> {
    let mut found = Vec::new();
    let lines = scope.effective("proxy_redirect");
    if lines.is_empty() {
        found.extend(default(target, path));
    }
    for line in lines {
        if line.has("off") && line.arguments.len() == 1 {
            verdicts.add(line, Verdict::exact());
            break;
        }
        let replacement = match line.argument(0) {
            Some("default") if line.arguments.len() == 1 => Ok(default(target, path)),
            _ => location(line, place, names, verdicts),
        };
        match replacement {
            Ok(replacement) => {
                verdicts.add(line, Verdict::exact());
                found.extend(replacement);
            }
            Err(why) => verdicts.add(line, Verdict::unsupported(why)),
        }
    }
    for (name, attribute) in [("proxy_cookie_path", "path"), ("proxy_cookie_domain", "domain")] {
        for line in scope.effective(name) {
            if line.has("off") && line.arguments.len() == 1 {
                verdicts.add(line, Verdict::exact());
                continue;
            }
            match cookie(line, attribute, place, names, verdicts) {
                Ok(replacement) => {
                    verdicts.add(line, Verdict::exact());
                    found.push(replacement);
                }
                Err(why) => verdicts.add(line, Verdict::unsupported(why)),
            }
        }
    }
    found
}

/// A replacement in `Location`, where a path gets scheme, host and port before it, and the same in `Refresh`, where it
/// gets none.
fn both(
    find: Option<&Regex>,
    starts_with: Option<&Template>,
    with: &Template,
) -> Vec<HeaderReplacement> {
    let origin = if with.0.starts_with('/') { "${origin}" } else { "" };
    [("location", origin), ("refresh", "")]
        .map(|(name, origin)| HeaderReplacement {
            name: name.to_owned(),
            find: find.cloned(),
            starts_with: starts_with.cloned(),
            with: Template(format!("{origin}{}", with.0)),
        })
        .to_vec()
}

/// nginx puts the location's prefix in the place of what it passes requests to.
fn default(target: &Target<'_>, path: Option<&PathMatch>) -> Vec<HeaderReplacement> {
    let (Some(PathMatch::Prefix(prefix) | PathMatch::Exact(prefix)), false) =
        (path, target.by_variables)
    else {
        return Vec::new();
    };
    let scheme = if target.tls { "https" } else { "http" };
    let Some(uri) = target.plain_uri() else { return Vec::new() };
    let from = format!("{scheme}://{}{}", target.authority, if uri.is_empty() { "/" } else { uri });
    let to = if uri.is_empty() { "/" } else { prefix.as_str() };
    let plain = |text: &str| Template(text.replace('$', "$$"));
    both(None, Some(&plain(&from)), &plain(to))
}

fn location(
    line: &Directive,
    place: &Place,
    names: &mut Names<'_>,
    verdicts: &mut Verdicts,
) -> Result<Vec<HeaderReplacement>, String> {
    let (from, to) = (line.argument(0).unwrap_or_default(), line.argument(1).unwrap_or_default());
    let with = names.text(to, place, verdicts)?;
    // nginx puts the replacement in the place of the whole value.
    let whole = |pattern: &str| format!("^.*?(?:{pattern}).*$");
    let find = match (from.strip_prefix("~*"), from.strip_prefix('~')) {
        (Some(pattern), _) => convert(&whole(pattern), true)?,
        (_, Some(pattern)) => convert(&whole(pattern), false)?,
        _ => {
            let start = names.text(from, place, verdicts)?;
            return Ok(both(None, Some(&start), &with));
        }
    };
    Ok(both(Some(&find), None, &with))
}

fn cookie(
    line: &Directive,
    attribute: &str,
    place: &Place,
    names: &mut Names<'_>,
    verdicts: &mut Verdicts,
) -> Result<HeaderReplacement, String> {
    let (from, to) = (line.argument(0).unwrap_or_default(), line.argument(1).unwrap_or_default());
    if from.starts_with('~') || from.contains('$') {
        return Err("only plain text is looked for in cookies".to_owned());
    }
    let rest = if attribute == "domain" { "(?<rest>\\s*(?:;|$))" } else { "(?<rest>)" };
    let from = literal(from.trim_start_matches('.'));
    let find = convert(&format!("(?<before>;\\s*{attribute}=)\\.?{from}{rest}"), true)?;
    let with = names.text(to, place, verdicts)?;
    let with = Template(format!("${{before}}{}${{rest}}", with.0));
    Ok(HeaderReplacement {
        name: "set-cookie".to_owned(),
        find: Some(find),
        starts_with: None,
        with,
    })
}

/// Plain text as a regular expression.
pub fn literal(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if !c.is_alphanumeric() && !"/-_:".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
