//! `forebay-proxy run FILE`

use std::path::PathBuf;

use clap::Args;

use super::{Document, Fault, load};
use crate::{operator_log, server};

#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    document: Document,
    /// Write the addresses listened on, and the process id, to this file as JSON once every
    /// socket is bound; it is removed at the end.
    #[arg(long, value_name = "PATH")]
    addresses_file: Option<PathBuf>,
    /// Level of the log on standard error: error, warn, info, debug, trace, or directives such as
    /// `info,h2=debug`.
    #[arg(long, env = "FOREBAY_LOG", default_value = "info")]
    log_level: String,
}

pub fn run(options: &Options) -> Result<(), Fault> {
    let file = &options.document.file;
    let config = load(file)?;
    operator_log::start(&options.log_level)
        .map_err(|error| Fault::Usage(format!("--log-level `{}`: {error}", options.log_level)))?;
    Ok(server::run(config, file, options.addresses_file.as_deref())?)
}
