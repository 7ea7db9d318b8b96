//! `secure_link`: links that were signed for nginx, and what `$secure_link` says of them.

use proxy_config::link_check::{CheckLink, LinkProof, PathProof, TextProof};
use proxy_config::steps::Action;

use crate::translate::scope::Scope;
use crate::translate::variable::{Names, Place, variables};
use crate::tree::Directive;
use crate::verdict::{Verdict, Verdicts};

/// nginx's names, which are the proxy's variables too.
pub const WORTH: &str = "secure_link";
pub const EXPIRES: &str = "secure_link_expires";

/// Whether links are checked at a place: without that, both variables are empty.
pub fn is_in_force(scope: &Scope<'_>) -> bool {
    let both = scope.one("secure_link").is_some() && scope.one("secure_link_md5").is_some();
    both || scope.one("secure_link_secret").is_some()
}

/// Whether a line, or one inside it, asks what a link is worth.
pub fn is_asked(line: &Directive) -> bool {
    let asks = |text: &str| variables(text).iter().any(|name| [WORTH, EXPIRES].contains(name));
    line.texts().any(asks) || line.children().iter().any(is_asked)
}

/// The check in force at a place. The error says why its location stays closed.
pub fn check(
    scope: &Scope<'_>,
    place: &Place,
    names: &mut Names<'_>,
    verdicts: &mut Verdicts,
) -> Result<Option<Action>, String> {
    let (given, md5_of) = (scope.one("secure_link"), scope.one("secure_link_md5"));
    let secret = scope.one("secure_link_secret");
    let (expires, by) = match (secret, given, md5_of) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            return Err("nginx refuses secure_link_secret beside secure_link".to_owned());
        }
        (Some(line), None, None) => {
            let text =
                "the path is hashed in its normal form; a link with needless escapes is wrong";
            verdicts.add(line, Verdict::approximate(text));
            (None, LinkProof::Path(PathProof { word: argument(line).to_owned() }))
        }
        (None, Some(given), Some(md5_of)) => {
            let shown = Place { is_text: true, ..place.clone() };
            let proof = TextProof {
                given: names.text(argument(given), place, verdicts)?,
                md5_of: names.text(argument(md5_of), &shown, verdicts)?,
            };
            verdicts.add(given, Verdict::exact());
            verdicts.add(md5_of, Verdict::exact());
            (Some(EXPIRES.to_owned()), LinkProof::Text(proof))
        }
        (None, one, other) => {
            let why =
                "without both secure_link and secure_link_md5 no link is right in nginx either";
            let lines = one.into_iter().chain(other);
            lines.for_each(|line| verdicts.add(line, Verdict::ignored(why)));
            return Ok(None);
        }
    };
    Ok(Some(Action::CheckLink(CheckLink { name: WORTH.to_owned(), expires, by })))
}

fn argument(line: &Directive) -> &str {
    line.argument(0).unwrap_or_default()
}
