//! A team's own templates of the files instances hold.

use std::collections::BTreeMap;

use proxy_config::{Problem, Tree, suggest};

use crate::environment::Override;
use crate::environment::aws::Aws;
use crate::estate::instance;

/// The files of `aws.templates`, by name; a file that replaces nothing is a mistake.
pub(super) fn read(
    tree: &Tree,
    aws: &Aws,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Override> {
    let (Some(folder), Some(node)) = (&aws.templates, tree.get("aws.templates")) else {
        return BTreeMap::new();
    };
    let folder = crate::paths::folder(tree, node).join(folder);
    let mut wrong = |message: String, hint: &str| {
        problems.push(Problem::new("aws.templates", Some(node.span), message).hint(hint));
    };
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) => {
            let hint = "name a folder, relative to the file it is written in";
            wrong(format!("{} cannot be read: {error}", folder.display()), hint);
            return BTreeMap::new();
        }
    };
    let names = instance::template_names();
    let mut found = BTreeMap::new();
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !names.contains(&name.as_str()) {
            let hint = suggest::hint(&name, &names, "templates");
            wrong(format!("{} takes no template's place", path.display()), &hint);
            continue;
        }
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                found.insert(name, Override { path, text });
            }
            Err(error) => {
                let message = format!("{} cannot be read: {error}", path.display());
                wrong(message, "templates are text");
            }
        }
    }
    found
}
