//! `forebay schema`, `completions` and `man`: what is generated from the types and from clap.

use std::fs;
use std::io;
use std::path::Path;

use super::{Failure, command_line, say};

pub(super) fn schema() -> Result<(), Failure> {
    let schema = crate::environment::schema();
    say(&serde_json::to_string_pretty(&schema).map_err(io::Error::other)?);
    Ok(())
}

pub(super) fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command_line(), "forebay", &mut script);
    say(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}

pub(super) fn man(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(command_line(), folder)?;
    say(&format!("man pages written to {}", folder.display()));
    Ok(())
}
