//! `forebay-proxy dump --effective FILE`

use clap::Args;

use super::document::{Document, load};
use super::fault::Fault;
use super::output::print;

#[derive(Debug, Args)]
pub struct Options {
    /// Write out what is in effect, defaults included; the only kind of dump so far.
    #[arg(long, required = true)]
    effective: bool,
    #[command(flatten)]
    document: Document,
}

pub fn run(options: &Options) -> Result<(), Fault> {
    print(&load(&options.document.file)?.to_yaml())
}
