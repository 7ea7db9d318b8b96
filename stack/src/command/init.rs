//! `forebay init`: a commented first environment file.

use std::fs;
use std::io::{ErrorKind, Write};

use super::{Failure, Init, say};

/// The file `init` writes; it passes `forebay check`.
pub(super) const STARTER: &str = include_str!("../../../templates/starter.yaml");

pub(super) fn run(asked: &Init) -> Result<(), Failure> {
    fs::create_dir_all(&asked.folder)?;
    let path = asked.folder.join("forebay.yaml");
    match fs::File::create_new(&path) {
        Ok(mut file) => file.write_all(STARTER.as_bytes())?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(Failure::Failed(anyhow::anyhow!(
                "{} is there already and stays as it is",
                path.display()
            )));
        }
        Err(error) => return Err(error.into()),
    }
    let path = path.display();
    say(&format!(
        "{path} is written. Next: forebay up {path}\n\
         Runs keep their state in .forebay beside it; keep that folder out of version control."
    ));
    Ok(())
}
