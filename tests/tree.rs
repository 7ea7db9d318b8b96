//! The repository's own files, as git lists them.

use std::process::Command;

use crate::binaries::repository;

/// A tracked (or new and not ignored) text file: path from the root, with `/`, and content.
#[derive(Clone, Debug)]
pub struct File {
    pub path: String,
    pub text: String,
}

/// Every text file of the repository that git tracks or would add.
pub fn files() -> Vec<File> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(repository())
        .output()
        .expect("git is installed wherever the repository was cloned");
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    String::from_utf8(listed.stdout)
        .expect("our file names are UTF-8")
        .lines()
        .filter_map(|path| {
            let text = std::fs::read_to_string(repository().join(path)).ok()?;
            Some(File { path: path.to_owned(), text })
        })
        .collect()
}

/// The Rust sources among them.
pub fn rust_files() -> Vec<File> {
    files().into_iter().filter(|file| file.path.ends_with(".rs")).collect()
}
