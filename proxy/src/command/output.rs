//! What commands print, and in which form.

use clap::{Args, ValueEnum};

use super::fault::Fault;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub struct OutputOption {
    /// How to print the result.
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
}

/// Prints to standard output; a reader that went away early (`| head`) is no failure.
pub fn print(text: &str) -> Result<(), Fault> {
    use std::io::Write;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot write to standard output").into())
        }
        _ => Ok(()),
    }
}
