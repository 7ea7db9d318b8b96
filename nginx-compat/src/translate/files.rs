//! `root`, `alias`, `index` and `types`: files that nginx serves itself.

use std::collections::BTreeMap;
use std::path::Path;

use proxy_config::file_rules::{ModifiedSince, Mp4};
use proxy_config::pattern::Template;
use proxy_config::route::PathMatch;
use proxy_config::route_action::{
    Files, Gzipped, GzippedTo, Listing, ListingFormat, MediaTypes, Rewrite,
};

use crate::translate::location::{self, Kind};
use crate::translate::scope::Scope;
use crate::translate::value::{size, unique};
use crate::translate::variable::{Names, Place};
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
        let types = Types::of(scope, verdicts);
        if let Some((name, _)) = self.0.iter().find(|(_, known)| **known == types) {
            return name.clone();
        }
        let name = unique("types", |name| self.0.contains_key(name));
        self.0.insert(name.clone(), types);
        name
    }

    /// The types in effect at a place.
    pub fn of(scope: &Scope<'_>, verdicts: &mut Verdicts) -> MediaTypes {
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
        types
    }
}

/// Files in the place of an answer, and the path looked for in the place of the request's.
pub struct Found {
    pub files: Files,
    pub rewrite: Option<Rewrite>,
}

/// `flv`, which is not inherited.
fn flv(scope: &Scope<'_>, around: Option<&Scope<'_>>, verdicts: &mut Verdicts) -> bool {
    let line =
        scope.own("flv").first().or_else(|| around.and_then(|around| around.own("flv").first()));
    line.inspect(|line| verdicts.add(line, Verdict::exact())).is_some()
}

/// `mp4`, which is not inherited.
fn mp4(scope: &Scope<'_>, around: Option<&Scope<'_>>, verdicts: &mut Verdicts) -> Option<Mp4> {
    let own = scope.own("mp4").first();
    let line = own.or_else(|| around.and_then(|around| around.own("mp4").first()))?;
    verdicts.add(line, Verdict::exact());
    if let Some(line) = scope.one("mp4_buffer_size") {
        verdicts.add(line, Verdict::ignored("tables are read at once, as long as they are"));
    }
    if let Some(line) = scope.one("mp4_start_key_frame") {
        verdicts.add(
            line,
            match line.has("on") {
                true => Verdict::unsupported("films begin at the very frame that is asked for"),
                false => Verdict::exact(),
            },
        );
    }
    let max = scope.one("mp4_max_buffer_size");
    max.iter().for_each(|line| verdicts.add(line, Verdict::exact()));
    let tables_max = max.and_then(|line| line.argument(0)).and_then(size);
    Some(tables_max.map_or_else(Mp4::default, |tables_max| Mp4 { tables_max }))
}

/// What `root` or `alias` of a place come to; none when it has neither. The error says why no file
/// of it may be served.
pub fn files(
    scope: &Scope<'_>,
    around: Option<&Scope<'_>>,
    path: Option<&PathMatch>,
    place: &Place,
    (types, names): (&mut Types, &mut Names<'_>),
    verdicts: &mut Verdicts,
) -> Result<Option<Found>, String> {
    let (line, found) = match (inherited_alias(scope), scope.one("root")) {
        (Some((line, holder)), _) => {
            // A location within takes the alias over, and with it the prefix that it stands for.
            let is_own = std::ptr::eq(holder, scope)
                || around.is_some_and(|around| std::ptr::eq(holder, around));
            let outer = if is_own { None } else { path_of(holder) };
            let path = if is_own { path } else { outer.as_ref() };
            (line, alias(line, path, scope, place, names, verdicts)?)
        }
        (None, Some(line)) => {
            let text = line.argument(0).unwrap_or_default();
            (line, (names.text(text, place, verdicts)?, None, None))
        }
        (None, None) => return Ok(None),
    };
    let (root, strip_prefix, rewrite) = found;
    let mut differences = Vec::new();
    if !root.0.starts_with(['/', '$']) {
        differences.push(RELATIVE.to_owned());
    }
    verdicts.add(line, Verdict::with_differences(&differences));
    let files = Files {
        root,
        strip_prefix,
        index: index(scope, place, names, verdicts)?,
        precompressed: false,
        gzipped: gzipped(scope, verdicts),
        listing: listing(scope, verdicts),
        ranges_max: ranges_max(scope, verdicts)?,
        directory_origin: Some(Template(place.origin().to_owned()))
            .filter(|text| !text.0.is_empty()),
        media_types: Some(types.named(scope, verdicts)),
        hidden: true,
        index_anew: true,
        flv: flv(scope, around, verdicts),
        mp4: mp4(scope, around, verdicts),
        etag: etag(scope, verdicts),
        if_modified_since: modified_since(scope, verdicts),
    };
    Ok(Some(Found { files, rewrite }))
}

/// The alias in effect, and the level it stands at: a `root` further in puts an end to it.
pub fn inherited_alias<'s, 'a>(scope: &'s Scope<'a>) -> Option<(&'a Directive, &'s Scope<'a>)> {
    let holder = scope.holder(&["alias", "root"])?;
    Some((holder.own("alias").first().copied()?, holder))
}

/// What the location of a level is for, unless it is a regular expression: what that captured is known to itself only.
pub fn path_of(level: &Scope<'_>) -> Option<PathMatch> {
    match location::kind(level.block()) {
        Kind::Exact(path) => Some(PathMatch::Exact(path)),
        Kind::Prefix { path, .. } => Some(PathMatch::Prefix(path)),
        _ => None,
    }
}

type Where = (Template, Option<String>, Option<Rewrite>);

fn plain(text: &str) -> Template {
    Template(text.replace('$', "$$"))
}

fn alias(
    line: &Directive,
    path: Option<&PathMatch>,
    scope: &Scope<'_>,
    place: &Place,
    names: &mut Names<'_>,
    verdicts: &mut Verdicts,
) -> Result<Where, String> {
    let text = line.argument(0).unwrap_or_default();
    match path {
        Some(PathMatch::Prefix(prefix)) => {
            Ok((names.text(text, place, verdicts)?, Some(prefix.clone()), None))
        }
        Some(PathMatch::Exact(_)) if text.contains('$') => {
            Err(format!("{text:?} is another file for each request"))
        }
        Some(PathMatch::Exact(_)) => {
            let file = Path::new(text);
            let name = file.file_name().and_then(|name| name.to_str());
            match (file.parent(), name) {
                (Some(folder), Some(name)) if !text.ends_with('/') => {
                    let to = Template(format!("/{}", name.replace('$', "$$")));
                    Ok((plain(&folder.to_string_lossy()), None, Some(Rewrite::To(to))))
                }
                _ => Ok((plain(text), None, Some(Rewrite::To(Template("/".to_owned()))))),
            }
        }
        // nginx puts what `try_files` names behind the alias.
        Some(PathMatch::Regex(_)) if !scope.own("try_files").is_empty() => {
            Ok((names.text(text, place, verdicts)?, None, None))
        }
        // What is captured stands behind the part that is always the same.
        Some(PathMatch::Regex(_)) => {
            let fixed = text.find('$').map_or(text, |at| &text[..at]);
            let folder = fixed.rfind('/').map_or("", |at| &fixed[..=at]);
            let rest = &text[folder.len()..];
            let plain = |c: char| c.is_ascii_alphanumeric() || "$/._-{}".contains(c);
            if folder.is_empty() || !rest.chars().all(plain) {
                return Err(format!("the alias {text:?} is no directory with captures behind it"));
            }
            let to = names.text(&format!("/{rest}"), place, verdicts)?;
            Ok((Template(folder.to_owned()), None, Some(Rewrite::To(to))))
        }
        None => Err("an alias needs a location".to_owned()),
    }
}

/// `gzip_static`: neighbours ending in `.gz`.
fn gzipped(scope: &Scope<'_>, verdicts: &mut Verdicts) -> Option<Gzipped> {
    let line = scope.one("gzip_static")?;
    verdicts.add(line, Verdict::exact());
    let to = match line.argument(0) {
        Some("always") => GzippedTo::All,
        Some("on") => GzippedTo::Takers,
        _ => return None,
    };
    let vary = scope.one("gzip_vary").is_some_and(|line| line.has("on"));
    let http10 = scope.one("gzip_http_version").is_some_and(|line| line.has("1.0"));
    for name in ["gzip_vary", "gzip_http_version"] {
        scope.one(name).into_iter().for_each(|line| verdicts.add(line, Verdict::exact()));
    }
    Some(Gzipped { to, vary, http10 })
}

fn listing(scope: &Scope<'_>, verdicts: &mut Verdicts) -> Option<Listing> {
    const FAMILY: [&str; 4] =
        ["autoindex", "autoindex_format", "autoindex_localtime", "autoindex_exact_size"];
    for line in FAMILY.iter().filter_map(|name| scope.one(name)) {
        verdicts.add(line, Verdict::exact());
    }
    scope.one("autoindex").filter(|line| line.has("on"))?;
    let format = match scope.one("autoindex_format").and_then(|line| line.argument(0)) {
        Some("json") => ListingFormat::Json,
        Some("jsonp") => ListingFormat::Jsonp,
        Some("xml") => ListingFormat::Xml,
        _ => ListingFormat::Html,
    };
    Some(Listing {
        format,
        local_time: scope.one("autoindex_localtime").is_some_and(|line| line.has("on")),
        rounded_sizes: scope.one("autoindex_exact_size").is_some_and(|line| line.has("off")),
    })
}

fn etag(scope: &Scope<'_>, verdicts: &mut Verdicts) -> bool {
    let Some(line) = scope.one("etag") else { return true };
    verdicts.add(line, Verdict::exact());
    !line.has("off")
}

/// `if_modified_since`, which is `exact` where nobody says otherwise.
fn modified_since(scope: &Scope<'_>, verdicts: &mut Verdicts) -> ModifiedSince {
    let Some(line) = scope.one("if_modified_since") else { return ModifiedSince::Exact };
    verdicts.add(line, Verdict::exact());
    match line.argument(0) {
        Some("off") => ModifiedSince::Off,
        Some("before") => ModifiedSince::Before,
        _ => ModifiedSince::Exact,
    }
}

fn ranges_max(scope: &Scope<'_>, verdicts: &mut Verdicts) -> Result<Option<u32>, String> {
    let Some(line) = scope.one("max_ranges") else { return Ok(None) };
    verdicts.add(line, Verdict::exact());
    let count = line.argument(0).and_then(|count| count.parse().ok());
    count.map(Some).ok_or_else(|| "max_ranges is no number".to_owned())
}

fn index(
    scope: &Scope<'_>,
    place: &Place,
    known: &mut Names<'_>,
    verdicts: &mut Verdicts,
) -> Result<Vec<Template>, String> {
    let mut names = Vec::new();
    for line in scope.effective("index") {
        for word in line.texts() {
            names.push(known.text(word, place, verdicts)?);
        }
        verdicts.add(line, Verdict::exact());
    }
    Ok(if names.is_empty() { vec![plain("index.html")] } else { names })
}
