//! The sections `resources` and `patches`: what can be said of them before there are templates.

use proxy_config::{Node, Problem, Tree};

use crate::environment::by_hand::{Operation, RawResource};

/// What of a resource may be changed; its type is what it is.
const PARTS: [&str; 7] = [
    "Properties",
    "DependsOn",
    "DeletionPolicy",
    "UpdateReplacePolicy",
    "CreationPolicy",
    "UpdatePolicy",
    "Metadata",
];

pub(super) fn faults(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, node) in entries(tree, "resources") {
        let id = path.rsplit('.').next().unwrap_or_default();
        if id.is_empty() || id.len() > 255 || !id.bytes().all(|c| c.is_ascii_alphanumeric()) {
            let message = format!("`{id}` is not a logical id");
            let problem = Problem::new(path.clone(), tree.place_of(&path), message);
            problems.push(problem.hint("use letters and digits, 255 at most"));
        }
        if let Ok(raw) = proxy_config::read::<RawResource>(tree, node)
            && !is_type(&raw.kind)
        {
            let message = format!("`{}` is not a type of CloudFormation's", raw.kind);
            let span = node.child("Type").map(|node| node.span);
            let problem = Problem::new(format!("{path}.Type"), span, message);
            problems.push(problem.hint("write it as AWS does: `AWS::DynamoDB::Table`"));
        }
    }
    for (path, node) in entries(tree, "patches") {
        for (index, item) in node.as_list().unwrap_or_default().iter().enumerate() {
            let Ok(operation) = proxy_config::read::<Operation>(tree, item) else { continue };
            for (key, message, hint) in wrong(&operation) {
                let span = item.child(key).unwrap_or(item).span;
                let problem = Problem::new(format!("{path}[{index}].{key}"), Some(span), message);
                problems.push(problem.hint(hint));
            }
        }
    }
    problems
}

/// Everything two steps below a section: `resources.data.Archive`.
fn entries<'a>(tree: &'a Tree, section: &str) -> Vec<(String, &'a Node)> {
    let mut found = Vec::new();
    for stack in tree.get(section).and_then(Node::as_map).unwrap_or_default() {
        for entry in stack.value.as_map().unwrap_or_default() {
            found.push((format!("{section}.{}.{}", stack.key.text, entry.key.text), &entry.value));
        }
    }
    found
}

fn is_type(kind: &str) -> bool {
    let parts: Vec<&str> = kind.split("::").collect();
    let word = |part: &&str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric());
    (2..=4).contains(&parts.len()) && parts.iter().all(word)
}

/// Key, message and hint of what an operation lacks or has too much.
fn wrong(operation: &Operation) -> Vec<(&'static str, String, String)> {
    let Operation { op, path, from, value } = operation;
    let word = op.word();
    let mut wrong = Vec::new();
    for (key, there, takes) in
        [("value", value.is_some(), op.takes_value()), ("from", from.is_some(), op.takes_from())]
    {
        if there && !takes {
            wrong.push((key, format!("`{word}` takes no `{key}`"), "leave it out".to_owned()));
        } else if takes && !there {
            wrong.push((key, format!("`{word}` needs a `{key}`"), format!("write `{key}: …`")));
        }
    }
    for (key, pointer) in [("path", Some(path)), ("from", from.as_ref())] {
        let Some(pointer) = pointer else { continue };
        let first = pointer.strip_prefix('/').and_then(|rest| rest.split('/').next());
        if !first.is_some_and(|first| PARTS.contains(&first)) {
            let message = format!("`{pointer}` is nothing of a resource that can be changed");
            let hint = format!("it begins with a slash and one of {}", PARTS.join(", "));
            wrong.push((key, message, hint));
        }
    }
    wrong
}
