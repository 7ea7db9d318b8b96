//! Which database a command is about.

use clap::Args;

#[derive(Debug, Args)]
pub struct DatabaseArgs {
    /// The database: sqlite:PATH (created when missing), mysql://USER:PASSWORD@HOST/DATABASE,
    /// mariadb://… or postgres://…; better in the environment, where `ps` does not show a password
    // Not parsed by clap, whose messages repeat the value and so the password.
    #[arg(long, env = "FOREBAY_LEDGER_DATABASE", hide_env_values = true, value_name = "URL")]
    pub database: String,
    /// Open a database whose settings can lose acknowledged transfers; for development only
    #[arg(long)]
    pub allow_unsafe_durability: bool,
}
