//! `forebay-proxy docs config|metrics`: what docs/CONFIG.md and docs/METRICS.md are made from.

use clap::{Args, ValueEnum};

use super::fault::Fault;
use super::output::print;
use crate::metrics;

#[derive(Debug, Args)]
pub struct Options {
    #[arg(value_enum)]
    page: Page,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Page {
    Config,
    Metrics,
}

pub fn run(options: &Options) -> Result<(), Fault> {
    match options.page {
        Page::Config => print(&proxy_config::reference::markdown()),
        Page::Metrics => print(&metrics::markdown()),
    }
}
