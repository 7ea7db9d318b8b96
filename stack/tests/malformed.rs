//! Every malformed environment is answered at its place: what `forebay check` says about each file
//! of `malformed/` is in the `.txt` beside it. `UPDATE=1` rewrites those; read the difference.

#![expect(clippy::unwrap_used, reason = "a stage that cannot be set up is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

use forebay_stack::validate;

fn cases(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<PathBuf> = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "yaml"))
        // Files that others extend are not cases of their own.
        .filter(|file| !file.file_name().unwrap().to_string_lossy().starts_with('_'))
        .collect();
    cases.sort();
    cases
}

#[test]
fn malformed_environments_are_answered_at_their_place() {
    // Names in messages are as given, so the folder must not depend on the machine.
    std::env::set_current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/malformed"))
        .unwrap();
    let cases = cases(Path::new("."));
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let case = case.strip_prefix(".").unwrap_or(&case);
        let told = match validate::environment(case) {
            Ok(environment) => panic!("{} was accepted: {environment:?}", case.display()),
            Err(problems) => problems.to_string(),
        };
        assert!(!told.trim().is_empty(), "{} says nothing", case.display());
        let golden = case.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&golden, &told).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != told {
            wrong.push(format!("{}:\n{told}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "not as expected (UPDATE=1 rewrites):\n{}", wrong.join("\n"));
}
