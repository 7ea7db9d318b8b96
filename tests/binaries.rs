//! Where `cargo build --workspace --bins` put the binaries.

use std::path::PathBuf;
use std::process::Command;

/// The folder of the running test's profile, `target/debug` say.
pub fn folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    test.ancestors()
        .find(|folder| folder.join(".cargo-lock").exists())
        .expect("tests run from inside a cargo target folder")
        .to_path_buf()
}

/// The path of a built binary; panics with what to do when it is not there.
pub fn path(name: &str) -> PathBuf {
    let path = folder().join(name);
    assert!(
        path.exists(),
        "{} is not built; run `make test`, or `cargo build --workspace --bins` first",
        path.display()
    );
    path
}

/// A command for a built binary.
pub fn command(name: &str) -> Command {
    Command::new(path(name))
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("tests/ has a parent")
}
