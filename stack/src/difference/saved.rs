//! Templates that were saved: a folder as `forebay synth` writes it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Held;

/// Why a folder of templates cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    #[error("{} cannot be read: {cause}; `forebay synth` writes such a folder", .path.display())]
    Unreadable { path: PathBuf, cause: std::io::Error },
    #[error("{} is not JSON: {cause}", .path.display())]
    NotJson { path: PathBuf, cause: serde_json::Error },
    #[error("{}: stack {number} has no `{key}`", .path.display())]
    Incomplete { path: PathBuf, number: usize, key: &'static str },
}

/// The stacks of `folder`, in the order of its `stacks.json`.
pub fn read(folder: &Path) -> Result<Vec<Held>, SavedError> {
    let list = folder.join("stacks.json");
    let order = json(&list)?;
    let stacks = order["stacks"].as_array().into_iter().flatten();
    let held = stacks.enumerate().map(|(number, stack)| {
        let text = |key: &'static str| {
            let incomplete =
                || SavedError::Incomplete { path: list.clone(), number: number + 1, key };
            stack[key].as_str().ok_or_else(incomplete)
        };
        let template = json(&folder.join(text("template")?))?;
        Ok(Held { name: text("name")?.to_owned(), template })
    });
    held.collect()
}

fn json(path: &Path) -> Result<Value, SavedError> {
    let text = fs::read_to_string(path)
        .map_err(|cause| SavedError::Unreadable { path: path.to_owned(), cause })?;
    serde_json::from_str(&text)
        .map_err(|cause| SavedError::NotJson { path: path.to_owned(), cause })
}
