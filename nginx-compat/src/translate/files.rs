//! `root`, `alias`, `index` and `types`: files that nginx serves itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proxy_config::pattern::Template;
use proxy_config::route::PathMatch;
use proxy_config::route_action::{Files, MediaTypes, Rewrite};

use crate::translate::scope::Scope;
use crate::translate::value::unique;
use crate::tree::{Directive, flattened};
use crate::verdict::{Verdict, Verdicts};

/// What nginx knows without `types`.
const BUILT_IN: [(&str, &str); 3] =
    [("html", "text/html"), ("gif", "image/gif"), ("jpg", "image/jpeg")];

const RELATIVE: &str =
    "nginx starts relative paths at its own directory, Forebay where it is started";

/// The media types of a configuration, by name; those that are equal are one.
#[derive(Debug, Default)]
pub struct Types(pub BTreeMap<String, MediaTypes>);

impl Types {
    /// The name of the types in effect at a place.
    fn named(&mut self, scope: &Scope<'_>, verdicts: &mut Verdicts) -> String {
        let mut types = MediaTypes { by_ending: BTreeMap::new(), default: "text/plain".to_owned() };
        let blocks = scope.effective("types");
        for block in blocks {
            verdicts.add(block, Verdict::exact());
            for row in flattened(block.children()) {
                verdicts.add(row, Verdict::exact());
                for ending in row.texts() {
                    types.by_ending.insert(ending.to_ascii_lowercase(), row.name.clone());
                }
            }
        }
        if blocks.is_empty() {
            let built_in = BUILT_IN.iter().map(|(ending, kind)| ((*ending).into(), (*kind).into()));
            types.by_ending.extend(built_in);
        }
        if let Some(line) = scope.one("default_type") {
            verdicts.add(line, Verdict::exact());
            line.argument(0).unwrap_or_default().clone_into(&mut types.default);
        }
        if let Some((name, _)) = self.0.iter().find(|(_, known)| **known == types) {
            return name.clone();
        }
        let name = unique("types", |name| self.0.contains_key(name));
        self.0.insert(name.clone(), types);
        name
    }
}

/// Files in the place of an answer, and the path looked for in the place of the request's.
pub struct Found {
    pub files: Files,
    pub rewrite: Option<Rewrite>,
}

/// What `root` or `alias` of a place come to; none when it has neither. The error says why no file
/// of it may be served.
pub fn files(
    scope: &Scope<'_>,
    around: Option<&Scope<'_>>,
    path: Option<&PathMatch>,
    types: &mut Types,
    verdicts: &mut Verdicts,
) -> Result<Option<Found>, String> {
    let own = |name: &str| {
        let own = scope.own(name).first().copied();
        own.or_else(|| around.and_then(|around| around.own(name).first().copied()))
    };
    let (line, found) = match (own("alias"), scope.one("root")) {
        (Some(line), _) => (line, alias(line, path)?),
        (None, Some(line)) => (line, root(line)?),
        (None, None) => return Ok(None),
    };
    let (root, strip_prefix, rewrite) = found;
    let mut differences = Vec::new();
    if root.is_relative() {
        differences.push(RELATIVE.to_owned());
    }
    verdicts.add(line, Verdict::with_differences(&differences));
    let files = Files {
        root,
        strip_prefix,
        index: index(scope, verdicts)?,
        precompressed: false,
        media_types: Some(types.named(scope, verdicts)),
        hidden: true,
        index_anew: true,
    };
    Ok(Some(Found { files, rewrite }))
}

type Place = (PathBuf, Option<String>, Option<Rewrite>);

fn root(line: &Directive) -> Result<Place, String> {
    let text = line.argument(0).unwrap_or_default();
    if text.contains('$') {
        return Err(format!("{text:?} is another directory for each request"));
    }
    Ok((PathBuf::from(text), None, None))
}

fn alias(line: &Directive, path: Option<&PathMatch>) -> Result<Place, String> {
    let text = line.argument(0).unwrap_or_default();
    let captured = |text: &str| text.replace("$$", "").contains('$');
    match path {
        _ if text.contains('$') && !matches!(path, Some(PathMatch::Regex(_))) => {
            Err(format!("{text:?} is another directory for each request"))
        }
        Some(PathMatch::Prefix(prefix)) => Ok((PathBuf::from(text), Some(prefix.clone()), None)),
        Some(PathMatch::Exact(_)) => {
            let file = Path::new(text);
            let name = file.file_name().and_then(|name| name.to_str());
            match (file.parent(), name) {
                (Some(folder), Some(name)) if !text.ends_with('/') => {
                    let to = Template(format!("/{}", name.replace('$', "$$")));
                    Ok((folder.to_owned(), None, Some(Rewrite::To(to))))
                }
                _ => Ok((file.to_owned(), None, Some(Rewrite::To(Template("/".to_owned()))))),
            }
        }
        // What is captured stands behind the part that is always the same.
        Some(PathMatch::Regex(_)) => {
            let fixed = text.find('$').map_or(text, |at| &text[..at]);
            let folder = fixed.rfind('/').map_or("", |at| &fixed[..=at]);
            let rest = &text[folder.len()..];
            let plain = |c: char| c.is_ascii_alphanumeric() || "$/._-{}".contains(c);
            if folder.is_empty() || !captured(text) || !rest.chars().all(plain) {
                return Err(format!("the alias {text:?} is no directory with captures behind it"));
            }
            Ok((PathBuf::from(folder), None, Some(Rewrite::To(Template(format!("/{rest}"))))))
        }
        None => Err("an alias needs a location".to_owned()),
    }
}

fn index(scope: &Scope<'_>, verdicts: &mut Verdicts) -> Result<Vec<String>, String> {
    let lines = scope.effective("index");
    let mut names = Vec::new();
    for line in lines {
        for word in line.texts() {
            if word.contains('$') || word.starts_with('/') {
                return Err(format!("index {word}: only names of files are translated"));
            }
            names.push(word.to_owned());
        }
        verdicts.add(line, Verdict::exact());
    }
    Ok(if names.is_empty() { vec!["index.html".to_owned()] } else { names })
}
