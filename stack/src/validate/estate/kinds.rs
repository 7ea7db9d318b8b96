//! Types of instances: how AWS writes them, and those that are surely none. Which families there are today is
//! not decided here: [`crate::estate::unknown`] says what it does not know.

use super::{Fault, fault};
use crate::environment::aws::Database;

/// Sizes below those that are told by a number: `2xlarge`, `metal-24xl`.
const SIZES: [&str; 7] = ["nano", "micro", "small", "medium", "large", "xlarge", "metal"];

/// Families of databases that cannot keep their data encrypted, as every database here does.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Overview.Encryption.html>
const UNENCRYPTED: [&str; 3] = ["t1", "m1", "m2"];

/// `c7g.large`, with what stands before it for databases and caches.
pub(super) fn kind(key: &str, text: &str, before: &str, example: &str) -> Vec<Fault> {
    let family_and_size = text.strip_prefix(before).and_then(|rest| rest.split_once('.'));
    let hint = format!("write one such as `{example}`");
    let known = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    match family_and_size {
        Some((family, size))
            if family.starts_with(|c: char| c.is_ascii_lowercase())
                && family.bytes().any(|c| c.is_ascii_digit())
                && family.bytes().all(known) =>
        {
            if is_size(size) {
                return Vec::new();
            }
            let message = format!("`{text}` is not a type AWS has: `{size}` is no size");
            let hint = format!(
                "sizes are `micro`, `small`, `medium`, `large`, `xlarge`, `2xlarge` and so on; {hint}"
            );
            vec![fault(key, message, &hint)]
        }
        _ => vec![fault(key, format!("`{text}` is not a type AWS has"), &hint)],
    }
}

fn is_size(size: &str) -> bool {
    let number = |text: &str| text.parse::<u32>().is_ok_and(|number| (2..=999).contains(&number));
    SIZES.contains(&size)
        || size.strip_suffix("xlarge").is_some_and(number)
        || size.strip_prefix("metal-").and_then(|rest| rest.strip_suffix("xl")).is_some_and(number)
}

/// The class of a database: one that its engine may have.
pub(super) fn of_database(database: &Database) -> Vec<Fault> {
    let class = &database.class;
    let faults = kind("class", class, "db.", "db.r7g.large");
    if !faults.is_empty() {
        return faults;
    }
    let family = class.trim_start_matches("db.").split('.').next().unwrap_or_default();
    let refuse = |message: String| {
        let hint = "write one such as `db.r7g.large` or, to try things out, `db.t4g.medium`";
        vec![fault("class", message, hint)]
    };
    if UNENCRYPTED.contains(&family) {
        return refuse(format!("a `db.{family}` cannot keep its data encrypted"));
    }
    if database.engine.is_aurora() && !family.starts_with(['r', 't', 'x']) {
        return refuse(format!("Aurora runs on no `{class}`, but on `db.r…`, `db.t…` and `db.x…`"));
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_by_their_sizes() {
        let is = |text| kind("type", text, "", "c7g.large").is_empty();
        for text in
            ["c7g.large", "t4g.nano", "m7i-flex.2xlarge", "x2iedn.32xlarge", "c7i.metal-24xl"]
        {
            assert!(is(text), "{text}");
        }
        for text in
            ["c7g", "c7g.huge", "c7g.1xlarge", "c7g.x", "c7g.metal-x", "large.c7g", ".large"]
        {
            assert!(!is(text), "{text}");
        }
    }
}
