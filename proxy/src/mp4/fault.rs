//! Why a film is not cut.

use std::io;

use thiserror::Error;

/// Why a film is not cut.
#[derive(Debug, Error)]
pub enum Fault {
    #[error("the film cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("the film is malformed: {0}")]
    Malformed(&'static str),
    #[error("the film's tables are larger than files.mp4.tables_max")]
    TooLarge,
    #[error("nothing of the film lies between start and end")]
    Nothing,
}
