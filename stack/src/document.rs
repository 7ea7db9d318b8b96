//! From files to one tree: an environment, and whatever it `extends`, laid over one another.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use proxy_config::{Problem, Problems, Source, Span, Tree};

use crate::paths;

/// A chain of `extends` longer than this is taken for a mistake.
const EXTENDS_MAX: usize = 8;

/// An environment's tree, and where its paths are relative to.
#[derive(Debug)]
pub struct Loaded {
    /// The file and what it extends, laid over one another.
    pub tree: Tree,
    /// The files one by one, the topmost first.
    pub layers: Vec<Tree>,
    /// The proxy document, where `edge.proxy` is a path.
    pub proxy: Option<Tree>,
}

/// Reads the environment at `path`, its `extends` chain, and its proxy document when it has one of
/// its own.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    let mut chain = Vec::new();
    let mut layers = Vec::new();
    let tree = read_chain(path, None, &mut chain, &mut layers)?;
    let proxy = match tree.get("edge.proxy") {
        Some(node) if node.as_text().is_some_and(|text| !text.is_empty()) => {
            let target = paths::folder(&tree, node).join(node.as_text().unwrap_or_default());
            Some(parse(&target, Some((&tree, node.span, "edge.proxy")))?)
        }
        _ => None,
    };
    Ok(Loaded { tree, layers, proxy })
}

/// Where a path was written, for the message when it leads nowhere.
type WrittenAt<'a> = (&'a Tree, Span, &'static str);

fn read_chain(
    path: &Path,
    written_at: Option<WrittenAt<'_>>,
    chain: &mut Vec<PathBuf>,
    layers: &mut Vec<Tree>,
) -> Result<Tree, Problems> {
    let same = |other: &PathBuf| canonical(other) == canonical(path);
    if let Some((tree, span, key)) = written_at {
        let fault = if chain.iter().any(same) {
            let names: Vec<String> = chain.iter().map(|file| file.display().to_string()).collect();
            Some(format!(
                "{} extends itself: {} → {}",
                path.display(),
                names.join(" → "),
                path.display()
            ))
        } else if chain.len() >= EXTENDS_MAX {
            Some(format!("more than {EXTENDS_MAX} files extend one another"))
        } else {
            None
        };
        if let Some(fault) = fault {
            let problem = Problem::new(key, Some(span), fault).hint("break the chain of `extends`");
            return Err(Problems::new(tree, vec![problem]));
        }
    }
    chain.push(path.to_owned());
    let tree = parse(path, written_at)?;
    layers.push(tree.clone());
    let Some(node) = tree.get("extends") else {
        return Ok(tree);
    };
    let span = node.span;
    let Some(base) = node.as_text().filter(|text| !text.trim().is_empty()) else {
        let kind =
            if node.as_text().is_some_and(str::is_empty) { "nothing" } else { node.kind_name() };
        let message = format!("`extends` is {kind}, not the path of a file");
        let hint = "write a path relative to this file: `extends: base.yaml`";
        let problem = Problem::new("extends", Some(span), message).hint(hint);
        return Err(Problems::new(&tree, vec![problem]));
    };
    let base = paths::folder(&tree, node).join(base);
    let below = read_chain(&base, Some((&tree, span, "extends")), chain, layers)?;
    Ok(below.overlaid_by(tree))
}

fn parse(path: &Path, written_at: Option<WrittenAt<'_>>) -> Result<Tree, Problems> {
    match Source::read(path) {
        Ok(source) => Tree::parse(source),
        Err(error) => {
            let message = format!("{} cannot be read: {error}", path.display());
            Err(match written_at {
                Some((tree, span, key)) => {
                    let hint = "paths are relative to the file they are written in";
                    let problem = Problem::new(key, Some(span), message).hint(hint);
                    Problems::new(tree, vec![problem])
                }
                None => {
                    let mut problem = Problem::new("", None, message);
                    if error.kind() == ErrorKind::NotFound {
                        problem = problem.hint("`forebay init` writes a first one");
                    }
                    Problems::in_sources(Vec::new(), vec![problem])
                }
            })
        }
    }
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
