//! Where a document uses what [`crate::support`] says is not there yet.

use crate::problem::Problem;
use crate::support::{NOT_YET, NotYet};
use crate::tree::{Key, Node, Span, Value, push_index, push_key};

/// Every key of a document that is not supported yet, each at its place. Paths begin with `base`.
pub fn refusals(root: &Node, base: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    walk(root, None, &mut base.to_owned(), &mut Vec::new(), &mut problems);
    problems
}

#[derive(Clone, Copy)]
enum At<'a> {
    Key(&'a str),
    Index(usize),
}

fn walk<'a>(
    node: &'a Node,
    own_key: Option<&'a Key>,
    path: &mut String,
    steps: &mut Vec<At<'a>>,
    problems: &mut Vec<Problem>,
) {
    if let Some(refused) = NOT_YET.iter().find(|entry| refuses(entry, node, steps)) {
        problems.push(refusal(refused, node, own_key.map(|key| key.span), path));
        return;
    }
    let above = path.len();
    match &node.value {
        Value::Scalar(_) => {}
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                push_index(path, index);
                steps.push(At::Index(index));
                walk(item, None, path, steps, problems);
                steps.pop();
                path.truncate(above);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                push_key(path, &entry.key.text);
                steps.push(At::Key(&entry.key.text));
                walk(&entry.value, Some(&entry.key), path, steps, problems);
                steps.pop();
                path.truncate(above);
            }
        }
    }
}

fn refuses(entry: &NotYet, node: &Node, steps: &[At<'_>]) -> bool {
    if !matches(entry.pattern, steps) {
        return false;
    }
    let text = node.as_text().unwrap_or("");
    let is_refused = |value: &&str| match value.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => text == *value,
    };
    entry.values.is_empty() || entry.values.iter().any(is_refused)
}

fn refusal(entry: &NotYet, node: &Node, key: Option<Span>, path: &str) -> Problem {
    let name = if entry.values.is_empty() {
        entry.pattern.rsplit('.').next().unwrap_or(entry.pattern).replace("[1+]", "")
    } else {
        node.as_text().unwrap_or("").to_owned()
    };
    let (message, span) = match key {
        _ if entry.pattern.ends_with("[1+]") => {
            (format!("more than one of `{name}` is not supported yet"), node.span)
        }
        Some(key) if entry.values.is_empty() => (format!("`{name}` is not supported yet"), key),
        _ => (format!("`{name}` is not supported yet"), node.span),
    };
    Problem::new(path, Some(span), message).hint(entry.instead)
}

fn matches(pattern: &str, steps: &[At<'_>]) -> bool {
    let mut parts = pattern_parts(pattern);
    let all = steps.iter().all(|step| match (parts.next(), step) {
        (Some("*"), At::Key(_)) | (Some("[]"), At::Index(_)) => true,
        (Some("[1+]"), At::Index(index)) => *index > 0,
        (Some(part), At::Key(key)) => part == *key,
        _ => false,
    });
    all && parts.next().is_none()
}

/// `routes[].name` → `routes`, `[]`, `name`.
fn pattern_parts(pattern: &str) -> impl Iterator<Item = &str> {
    pattern.split('.').flat_map(|part| {
        let at = part.find('[').unwrap_or(part.len());
        let (name, index) = part.split_at(at);
        [name, index].into_iter().filter(|part| !part.is_empty())
    })
}

/// Whether a key of the schema, as a pattern, is refused: itself or something it stands in.
pub fn not_yet(pattern: &str) -> Option<&'static NotYet> {
    NOT_YET.iter().filter(|entry| entry.values.is_empty()).find(|entry| {
        let mut parts = pattern_parts(pattern);
        pattern_parts(entry.pattern).all(|wanted| match parts.next() {
            Some(part) => wanted == "*" || wanted == part,
            None => false,
        })
    })
}
