//! Passwords in URLs. A template holds what the file says, and whoever may look at the stack reads it: secrets
//! get to instances and tasks another way.

use proxy_config::{Problem, Tree};

use crate::environment::CACHE_URL;

/// Every URL with a password in a file for AWS, or in its proxy document.
pub(in crate::validate) fn faults(tree: &Tree, is_proxy: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, node) in tree.root().all() {
        if node.as_text().is_none_or(|text| !has_password(text)) {
            continue;
        }
        let message = "this URL has a password in it, which the template would show to whoever may \
            look at the stack";
        let hint = hint(&path, is_proxy);
        problems.push(Problem::new(path, Some(node.span), message).hint(hint));
    }
    problems
}

/// How the secret gets there instead.
fn hint(path: &str, is_proxy: bool) -> String {
    let of_proxy = is_proxy || path.starts_with("edge.proxy.");
    if of_proxy && (path.ends_with(".redis") || path.ends_with(".purge_redis")) {
        return format!(
            "write `{CACHE_URL}`, with a `cache` in the environment: its address and its password \
             reach the instances from Secrets Manager; a Redis elsewhere is asked without one"
        );
    }
    let by_hand = "`{{resolve:secretsmanager:NAME:SecretString:password}}` in its place";
    match path.split('.').next().unwrap_or_default() {
        "workers" | "functions" if !of_proxy => "name a database or `cache` in `uses`: its password \
            comes in a variable of its own (a function is told the secret's ARN). For a server elsewhere keep \
            the password in Secrets Manager and let the program read it there"
            .to_owned(),
        "resources" | "patches" if !of_proxy => format!("write {by_hand}"),
        _ => "leave the password out".to_owned(),
    }
}

/// Whether a text holds `SCHEME://USER:PASSWORD@`. What CloudFormation or the proxy fills in is no password.
fn has_password(text: &str) -> bool {
    text.match_indices("://").any(|(at, _)| {
        let is_scheme = text[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
        let rest = &text[at + 3..];
        let authority =
            rest.split(['/', '?', '#', '"', '\'', ' ', '\n']).next().unwrap_or_default();
        let Some((user, password)) =
            authority.rsplit_once('@').and_then(|(before, _)| before.split_once(':'))
        else {
            return false;
        };
        let known = |c: char| c.is_ascii_alphanumeric() || "-._~%!$&*+,;=".contains(c);
        is_scheme
            && user.chars().all(known)
            && !password.is_empty()
            && !password.starts_with("{{resolve:")
            && !password.starts_with('$')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_told_from_what_looks_like_one() {
        for text in [
            "redis://user:hunter2@cache:6379",
            "redis://:hunter2@10.0.0.1",
            "postgres://app:p%40ss@db.example.com/app?sslmode=require",
            "see amqps://u:p@mq.example.com, please",
        ] {
            assert!(has_password(text), "{text}");
        }
        for text in [
            "redis://cache:6379",
            "https://user@example.com/",
            "https://example.com/@a:b@c",
            "https://example.com:443/a@b",
            "postgres://app:{{resolve:secretsmanager:db:SecretString:password}}@db/app",
            "postgres://app:${Password}@db/app",
            "^https?://[^:]+:[^@]+@",
            "://a:b@c",
        ] {
            assert!(!has_password(text), "{text}");
        }
    }
}
