//! `forebay graph`: an environment as a picture.

use std::fs;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{EnvironmentFile, Failure, say};
use crate::graph::{self, html, mermaid, svg};
use crate::{estate, validate};

#[derive(Debug, Args)]
pub(super) struct Graph {
    #[command(flatten)]
    file: EnvironmentFile,
    /// What to draw it as
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The file to write it to [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A picture
    #[default]
    Svg,
    /// Text that documents draw themselves
    Mermaid,
    /// A page with the picture and who may talk to whom in a table
    Html,
}

pub(super) fn run(asked: &Graph) -> Result<(), Failure> {
    let environment = validate::environment(&asked.file.path()?)?;
    let plan = estate::resolve(&environment).map_err(anyhow::Error::from)?;
    let picture = graph::picture(&environment, plan.as_ref());
    let text = match asked.format {
        Format::Svg => svg::whole(&picture),
        Format::Mermaid => mermaid::text(&picture),
        Format::Html => html::page(&picture),
    };
    match &asked.output {
        Some(path) => Ok(fs::write(path, text)?),
        None => {
            say(text.trim_end());
            Ok(())
        }
    }
}
