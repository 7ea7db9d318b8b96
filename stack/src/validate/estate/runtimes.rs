//! Runtimes of functions: those that the official schema lists. Which of them Lambda makes no new function with is not decided
//! here: [`crate::estate::unknown`] says what it knows of that.

use proxy_config::suggest;

use super::{Fault, fault};
use crate::check::properties;
use crate::estate::unknown::is_ended;

const HINT: &str = "write one such as `nodejs22.x`, `python3.13`, `provided.al2023`";

pub(super) fn fault_of(runtime: &str) -> Option<Fault> {
    let known = properties::values_of("AWS::Lambda::Function", "Runtime");
    // Without a schema nothing is known, which the checks of templates say.
    if known.is_empty() || known.contains(&runtime) {
        return None;
    }
    let message = format!("`{runtime}` is not a runtime of Lambda's");
    let offered: Vec<&str> = known.into_iter().filter(|it| !is_ended(it)).collect();
    let meant = suggest::closest(runtime, offered.iter().copied())
        .or_else(|| offered.iter().copied().find(|it| are_alike(it, runtime)));
    let hint = match meant {
        Some(meant) => format!("did you mean `{meant}`? {HINT}"),
        None => HINT.to_owned(),
    };
    Some(fault("runtime", message, &hint))
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
        // A function that is there may go on with one that no new function may have.
        for runtime in ["nodejs12.x", "java8", "go1.x", "python3.7"] {
            assert_eq!(fault_of(runtime), None, "{runtime}");
        }
        let hint = |runtime| fault_of(runtime).unwrap().2;
        assert!(hint("node22").starts_with("did you mean `nodejs22.x`?"), "{}", hint("node22"));
        assert!(hint("pyhton3.13").starts_with("did you mean `python3.13`?"));
        assert_eq!(hint("cobol"), HINT);
    }
}
