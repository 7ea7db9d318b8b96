//! `proxy_redirect` and `proxy_cookie_*`: what an upstream says of itself, as clients may see it.

use proxy_config::pattern::Template;
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
            _ => location(line, place, names, verdicts).map(Some),
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

/// nginx puts the location's prefix in the place of what it passes requests to.
fn default(target: &Target<'_>, path: Option<&PathMatch>) -> Option<HeaderReplacement> {
    let (Some(PathMatch::Prefix(prefix) | PathMatch::Exact(prefix)), false) =
        (path, target.authority.contains('$'))
    else {
        return None;
    };
    let scheme = if target.tls { "https" } else { "http" };
    let uri = target.plain_uri()?;
    let from = format!("{scheme}://{}{}", target.authority, if uri.is_empty() { "/" } else { uri });
    let to = if uri.is_empty() { "/" } else { prefix.as_str() };
    Some(HeaderReplacement {
        name: "location".to_owned(),
        find: convert(&format!("^{}", literal(&from)), false).ok()?,
        with: Template(format!("${{origin}}{}", to.replace('$', "$$"))),
    })
}

fn location(
    line: &Directive,
    place: &Place,
    names: &mut Names<'_>,
    verdicts: &mut Verdicts,
) -> Result<HeaderReplacement, String> {
    let (from, to) = (line.argument(0).unwrap_or_default(), line.argument(1).unwrap_or_default());
    let find = match (from.strip_prefix("~*"), from.strip_prefix('~')) {
        (Some(pattern), _) => convert(pattern, true)?,
        (_, Some(pattern)) => convert(pattern, false)?,
        _ if from.contains('$') => return Err("what it looks for holds variables".to_owned()),
        _ => convert(&format!("^{}", literal(from)), false)?,
    };
    let with = names.text(to, place, verdicts)?;
    let with = match with.0.starts_with('/') {
        true => Template(format!("${{origin}}{}", with.0)),
        false => with,
    };
    Ok(HeaderReplacement { name: "location".to_owned(), find, with })
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
    Ok(HeaderReplacement { name: "set-cookie".to_owned(), find, with })
}

fn literal(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if !c.is_alphanumeric() && !"/-_:".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
