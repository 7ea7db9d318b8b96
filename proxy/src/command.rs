//! The command line. Exit codes: 0 ok, 1 failure, 2 usage, 65 bad document, 69 unavailable.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::fault::Fault;
use crate::nginx;

mod admin_call;
mod at_socket;
mod check;
mod docs;
mod document;
mod dump;
mod explain;
mod fault;
mod lanes;
mod mirrors;
mod named;
mod output;
mod policy;
mod purge;
mod run;
mod schema;
mod simulate;
mod top;

/// Forebay's edge proxy.
///
/// Signals: QUIT stops gracefully, TERM and INT stop at once, HUP reloads the document, USR1
/// reopens log files, USR2 starts the program again and hands over to it.
#[derive(Debug, Parser)]
#[command(name = "forebay-proxy", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy in the foreground.
    Run(run::Options),
    /// Behave as nginx does: `nginx -h` says how. A link named `nginx` does the same.
    #[command(disable_help_flag = true)]
    Nginx {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
        arguments: Vec<OsString>,
    },
    /// Say whether a document is right, and everything that is wrong with it.
    Check(check::Options),
    /// Say which listener, route and lane a request would meet, and why.
    Explain(explain::Options),
    /// Put lanes to the proof.
    #[command(subcommand)]
    Lanes(lanes::Command),
    /// Say how the answers to copies of requests differ from those clients got (`mirror.compare`).
    Mirrors(mirrors::Options),
    /// See and change the policies of a running proxy, and go back.
    Policy(policy::Options),
    /// Take answers out of a running proxy's caches.
    Purge(purge::Options),
    /// Say what cache policies would have done with the requests of an access log.
    Simulate(simulate::Options),
    /// Watch a running proxy: routes, lanes, caches, servers, the slowest requests.
    Top(top::Options),
    /// Print a document with every default written out.
    Dump(dump::Options),
    /// Print the JSON Schema of the document, for editors.
    Schema,
    /// Print generated documentation as Markdown.
    #[command(hide = true)]
    Docs(docs::Options),
}

/// Parses the command line, does what it says and gives the exit code.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next().map(PathBuf::from).unwrap_or_default();
    if name.file_name().is_some_and(|name| name == "nginx") {
        return nginx::main(arguments);
    }
    let done = match Cli::parse().command {
        Command::Nginx { arguments } => return nginx::main(arguments.into_iter()),
        Command::Run(options) => run::run(&options),
        Command::Check(options) => check::run(&options),
        Command::Explain(options) => explain::run(&options),
        Command::Lanes(command) => lanes::run(&command),
        Command::Mirrors(options) => mirrors::run(&options),
        Command::Policy(options) => policy::run(&options),
        Command::Purge(options) => purge::run(&options),
        Command::Simulate(options) => simulate::run(&options),
        Command::Top(options) => top::run(&options),
        Command::Dump(options) => dump::run(&options),
        Command::Schema => schema::run(),
        Command::Docs(options) => docs::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            match &fault {
                Fault::ToldBadDocument | Fault::ToldPromiseBroken => {}
                Fault::Document(problems) | Fault::Unfit { problems, .. } => eprint!("{problems}"),
                fault => eprintln!("forebay-proxy: {fault}"),
            }
            ExitCode::from(fault.exit_code())
        }
    }
}
