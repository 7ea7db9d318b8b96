//! The command line.

mod backup;
mod close;
mod completions;
mod database;
mod export;
mod import;
mod key;
mod migrate;
mod offline;
mod output;
mod reconcile;
mod report;
mod serve;
mod sheet;
mod signing_key;
mod values;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use self::output::print;
use crate::http;
use crate::http::tls::TlsError;
use crate::importing::ImportError;
use crate::interchange::Faults;
use crate::json::JsonError;
use crate::metrics;
use crate::operator_log;
use crate::reconciling::ReconcileError;
use crate::service::ServiceError;
use crate::store::{StoreError, UrlError};
use crate::verify::VerifyError;

/// Exit codes of every Forebay binary; 2 (usage) is clap's too.
const FAILURE: u8 = 1;
const USAGE: u8 = 2;
const BAD_DOCUMENT: u8 = 65;
const UNAVAILABLE: u8 = 69;

/// Double-entry ledger service
#[derive(Debug, Parser)]
#[command(
    name = "forebay-ledger",
    version,
    after_help = "Exit codes: 0 ok, 1 failure, 2 usage (a database URL that cannot be read included), 65 unsafe, foreign or unmigrated database, books that are not right or a file that cannot be booked, 69 database or address unavailable."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the ledger's API until TERM, INT or QUIT, then answer what was accepted and stop
    Serve(Box<serve::ServeArgs>),
    /// Create or update the database's tables; does nothing when they are current
    Migrate(migrate::MigrateArgs),
    /// Recompute everything in a database and name the first row that is wrong; changes nothing, and
    /// may run beside the service
    Verify(verify::VerifyArgs),
    /// Copy a SQLite database, also while it is served, and verify the copy
    Backup(backup::BackupArgs),
    /// Make a SQLite database of a copy, and verify it
    Restore(backup::RestoreArgs),
    /// Write everything booked to standard output, as CSV or for beancount, ledger-cli and hledger
    Export(export::ExportArgs),
    /// Book what another program wrote, or what is in its tables
    Import {
        #[command(subcommand)]
        command: Box<import::ImportCommand>,
    },
    /// Make, list and revoke API keys at the database itself, such as the first one
    Key {
        #[command(subcommand)]
        command: key::KeyCommand,
    },
    /// Make the key that signs the head of the chain, and print its public half
    SigningKey {
        #[command(subcommand)]
        command: signing_key::SigningKeyCommand,
    },
    /// Hold statements of a bank against an account's entries, at the database itself
    Reconcile {
        #[command(subcommand)]
        command: Box<reconcile::ReconcileCommand>,
    },
    /// Close a period at the database itself
    Close(close::CloseArgs),
    /// Print a trial balance, a statement or the general ledger; may run beside the service
    Report {
        #[command(subcommand)]
        command: report::ReportCommand,
    },
    /// Print what a shell completes after `forebay-ledger`
    Completions(completions::CompletionsArgs),
    /// Print the OpenAPI 3.1 document
    Openapi,
    /// Print documentation generated from the code
    #[command(hide = true)]
    Docs {
        #[command(subcommand)]
        page: Page,
    },
}

#[derive(Debug, Subcommand)]
enum Page {
    /// The metrics, as Markdown
    Metrics,
}

/// Runs the command and says what became of it, on standard error when it failed.
pub fn run(cli: Cli) -> ExitCode {
    let done = match cli.command {
        Command::Serve(args) => serve::serve(&args),
        Command::Migrate(args) => migrate::migrate(&args),
        Command::Verify(args) => verify::verify(&args),
        Command::Backup(args) => backup::backup(&args),
        Command::Restore(args) => backup::restore(&args),
        Command::Export(args) => export::export(&args),
        Command::Import { command } => import::import(&command),
        Command::Key { command } => key::key(&command),
        Command::SigningKey { command } => signing_key::signing_key(&command),
        Command::Reconcile { command } => reconcile::reconcile(&command),
        Command::Close(args) => close::close(&args),
        Command::Report { command } => report::report(&command),
        Command::Completions(args) => completions::completions(&args, &mut Cli::command()),
        Command::Openapi => openapi(),
        Command::Docs { page: Page::Metrics } => print(&metrics::markdown()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            operator_log::say(&format!("forebay-ledger: {error:#}"));
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    let store_code = |error: &StoreError| {
        if error.is_bad_document() { BAD_DOCUMENT } else { UNAVAILABLE }
    };
    if error.is::<UrlError>() {
        return USAGE;
    }
    let read = matches!(error.downcast_ref(), Some(ReconcileError::Faults(_)));
    let faulty = read || error.is::<Faults>() || error.is::<JsonError>();
    if faulty
        || error.is::<TlsError>()
        || matches!(
            error.downcast_ref(),
            Some(ImportError::Refused { .. } | ImportError::Foreseen(_))
        )
    {
        return BAD_DOCUMENT;
    }
    match error.downcast_ref::<VerifyError>() {
        Some(VerifyError::Wrong(_) | VerifyError::Damaged(_) | VerifyError::Unguarded(_)) => {
            return BAD_DOCUMENT;
        }
        Some(VerifyError::Store(error)) => return store_code(error),
        None => {}
    }
    match (error.downcast_ref::<StoreError>(), error.downcast_ref::<ServiceError>()) {
        (Some(error), _) | (None, Some(ServiceError::Store(error))) => store_code(error),
        (None, Some(ServiceError::Bind { .. })) => UNAVAILABLE,
        (None, Some(ServiceError::Writer(_) | ServiceError::Authorities(_)) | None) => FAILURE,
    }
}

fn openapi() -> anyhow::Result<()> {
    print(&(http::document().to_pretty_json()? + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
