//! Runtimes of functions: those that the official schema lists, but for what Lambda makes no more.

use proxy_config::suggest;

use super::{Fault, fault};
use crate::check::properties;

/// Runtimes that the schema lists still, and that Lambda has made no function with since 2024; one with a dot
/// at its end is how several begin.
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html#runtimes-deprecated>
const RETIRED: [&str; 17] = [
    "dotnetcore1.",
    "dotnetcore2.",
    "dotnetcore3.",
    "go1.",
    "java8",
    "nodejs",
    "nodejs4.",
    "nodejs6.",
    "nodejs8.",
    "nodejs10.",
    "nodejs12.",
    "nodejs14.",
    "provided",
    "python2.",
    "python3.6",
    "python3.7",
    "ruby2.",
];

const HINT: &str = "write one such as `nodejs22.x`, `python3.13`, `provided.al2023`";

pub(super) fn fault_of(runtime: &str) -> Option<Fault> {
    let known = properties::values_of("AWS::Lambda::Function", "Runtime");
    // Without a schema nothing is known, which the checks of templates say.
    if known.is_empty() || (known.contains(&runtime) && !is_retired(runtime)) {
        return None;
    }
    let message = match is_retired(runtime) {
        true => format!("Lambda makes no new function with `{runtime}` any more"),
        false => format!("`{runtime}` is not a runtime of Lambda's"),
    };
    let offered: Vec<&str> = known.into_iter().filter(|it| !is_retired(it)).collect();
    let meant = suggest::closest(runtime, offered.iter().copied())
        .or_else(|| offered.iter().copied().find(|it| are_alike(it, runtime)));
    let hint = match meant.filter(|_| !is_retired(runtime)) {
        Some(meant) => format!("did you mean `{meant}`? {HINT}"),
        None => HINT.to_owned(),
    };
    Some(fault("runtime", message, &hint))
}

fn is_retired(runtime: &str) -> bool {
    RETIRED.iter().any(|it| *it == runtime || (it.ends_with('.') && runtime.starts_with(it)))
}

/// Whether two begin alike and have the same number: `node22` and `nodejs22.x`.
fn are_alike(one: &str, other: &str) -> bool {
    let number = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let start = |text: &str| text.chars().take(4).collect::<String>().to_lowercase();
    number(one) == number(other) && start(one) == start(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lambda_runs_is_told_from_what_it_ran() {
        for runtime in ["nodejs22.x", "python3.13", "java8.al2", "provided.al2023", "ruby3.4"] {
            assert_eq!(fault_of(runtime), None, "{runtime}");
        }
        for runtime in
            ["nodejs", "nodejs12.x", "java8", "provided", "python3.7", "ruby2.7", "go1.x"]
        {
            let (_, message, _) = fault_of(runtime).unwrap();
            assert!(message.ends_with("any more"), "{message}");
        }
        let hint = |runtime| fault_of(runtime).unwrap().2;
        assert!(hint("node22").starts_with("did you mean `nodejs22.x`?"), "{}", hint("node22"));
        assert!(hint("pyhton3.13").starts_with("did you mean `python3.13`?"));
        assert_eq!(hint("cobol"), HINT);
    }
}
