//! Why a guard cannot be made.

use std::path::PathBuf;

use thiserror::Error;

use crate::signed::KeyFault;

/// A file that a guard cannot do without.
#[derive(Debug, Error)]
pub enum GuardFault {
    #[error(transparent)]
    Key(#[from] KeyFault),
    #[error("{} cannot be used: {why}", file.display())]
    File { file: PathBuf, why: String },
}
