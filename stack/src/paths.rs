//! Relative paths in a proxy document start at the folder of the file they are written in, which
//! may be one that the environment extends. They become absolute here, once the document is read.

use std::path::{Path, PathBuf};

use proxy_config::access_log::LogTarget;
use proxy_config::{Config, Node, Tree};

/// Makes every path of `config` absolute. `node` is the document it was read from, in `tree`.
///
/// A path key that proxy-config comes to support is added here.
pub fn make_absolute(config: &mut Config, tree: &Tree, node: &Node) {
    for (name, listener) in &mut config.listeners {
        let written = node.child("listeners").and_then(|listeners| listeners.child(name));
        let written = written.and_then(|listener| listener.get("tls.certificates"));
        let files = listener.tls.iter_mut().flat_map(|tls| &mut tls.certificates);
        for (files, written) in files.zip(written.and_then(Node::as_list).unwrap_or_default()) {
            start(&mut files.certificate, tree, written.child("certificate"));
            start(&mut files.key, tree, written.child("key"));
        }
    }
    if let LogTarget::File(path) = &mut config.access_log.path {
        start(path, tree, node.get("access_log.path"));
    }
}

fn start(path: &mut PathBuf, tree: &Tree, written: Option<&Node>) {
    if let Some(written) = written {
        let from = folder(tree, written);
        // Only an empty path or a working directory that is gone has no absolute form.
        *path = std::path::absolute(from.join(&*path)).unwrap_or_else(|_| from.join(&*path));
    }
}

/// The folder of the file in which `node` was written, as the person named that file.
pub fn folder(tree: &Tree, node: &Node) -> PathBuf {
    let name = tree.sources().get(node.span.source).map_or("", |source| source.name.as_str());
    Path::new(name).parent().map(Path::to_owned).unwrap_or_default()
}
