//! `forebay-ledger signing-key`: the key that signs the chain's head.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::output::print;
use crate::signature::{SigningKey, pem};

#[derive(Debug, Subcommand)]
pub enum SigningKeyCommand {
    /// Make a key in a new file that only its owner can read, and print its public half
    Create(CreateArgs),
    /// Print the public half of a key, which `verify --public-key` takes
    Show(ShowArgs),
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The file, where there must be nothing yet
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// A key's file
    file: PathBuf,
}

pub fn signing_key(command: &SigningKeyCommand) -> anyhow::Result<()> {
    let key = match command {
        SigningKeyCommand::Create(args) => SigningKey::create(&args.to)?,
        SigningKeyCommand::Show(args) => SigningKey::read(&args.file)?,
    };
    print(&pem::public(&key.public))
}
