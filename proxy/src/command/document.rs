//! The document that commands read.

use std::path::{Path, PathBuf};

use clap::Args;
use proxy_config::{Config, Source};

use super::fault::Fault;

/// The document every command takes.
#[derive(Debug, Args)]
pub struct Document {
    /// The configuration document.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

pub fn read(path: &Path) -> Result<Source, Fault> {
    Source::read(path).map_err(|error| Fault::Read { path: path.display().to_string(), error })
}

pub fn load(path: &Path) -> Result<Config, Fault> {
    Config::load(read(path)?).map_err(Fault::Document)
}
