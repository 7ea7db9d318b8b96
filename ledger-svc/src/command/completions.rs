//! `forebay-ledger completions`: what a shell completes after `forebay-ledger`.

use clap::{Args, Command};
use clap_complete::Shell;

use super::output::print;

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Which shell; `source <(forebay-ledger completions bash)` takes them at once
    #[arg(value_enum)]
    shell: Shell,
}

pub fn completions(args: &CompletionsArgs, command: &mut Command) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, command, "forebay-ledger", &mut text);
    print(&String::from_utf8(text)?)
}
