//! The command line.

mod backup;
mod close;
mod completions;
mod export;
mod import;
mod key;
mod migrate;
mod offline;
mod reconcile;
mod report;
mod serve;
mod sheet;
mod signing_key;
mod verify;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::behind;
use crate::http::auth::Auth;
use crate::http::server;
use crate::http::tls::{Tls, TlsError};
use crate::http::{self, KEYS_MAX_DEFAULT};
use crate::importing::ImportError;
use crate::interchange::Faults;
use crate::json::JsonError;
use crate::key::Secret;
use crate::metrics;
use crate::operator_log;
use crate::outbox;
use crate::reconcile::run::ReconcileError;
use crate::service::{Options, ServiceError};
use crate::signature::SigningKey;
use crate::signing::Signing;
use crate::store::{StoreError, UrlError};
use crate::transfer::ENTRIES_MAX_DEFAULT;
use crate::verify::VerifyError;
use crate::writer;

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
    Serve(Box<ServeArgs>),
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

#[derive(Debug, Args)]
struct DatabaseArgs {
    /// The database: sqlite:PATH (created when missing), mysql://USER:PASSWORD@HOST/DATABASE,
    /// mariadb://… or postgres://…; better in the environment, where `ps` does not show a password
    // Not parsed by clap, whose messages repeat the value and so the password.
    #[arg(long, env = "FOREBAY_LEDGER_DATABASE", hide_env_values = true, value_name = "URL")]
    database: String,
    /// Open a database whose settings can lose acknowledged transfers; for development only
    #[arg(long)]
    allow_unsafe_durability: bool,
}

#[derive(Debug, Args)]
struct ServeArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Address of the API; port 0 takes a free one
    #[arg(
        long,
        env = "FOREBAY_LEDGER_LISTEN",
        default_value = "127.0.0.1:8081",
        value_name = "ADDRESS"
    )]
    listen: SocketAddr,
    /// Speak TLS on the API's address with this certificate, a PEM file with its chain; read again on HUP
    #[arg(long, env = "FOREBAY_LEDGER_TLS_CERTIFICATE", value_name = "PATH", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's key, a PEM file
    #[arg(long, env = "FOREBAY_LEDGER_TLS_KEY", value_name = "PATH", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Address of /healthz, /readyz and /metrics; port 0 takes a free one
    #[arg(
        long,
        env = "FOREBAY_LEDGER_ADMIN_LISTEN",
        default_value = "127.0.0.1:9091",
        value_name = "ADDRESS"
    )]
    admin_listen: SocketAddr,
    /// Write the addresses as JSON to this file once both are bound; removed at the stop
    #[arg(long, value_name = "PATH")]
    addresses_file: Option<PathBuf>,
    /// Whether requests need an API key; `open` is for a machine of your own
    #[arg(long, env = "FOREBAY_LEDGER_AUTH", value_enum, default_value_t = Auth::Required)]
    auth: Auth,
    /// A file with a key (`fbl_` and 43 letters and digits), booked as an administrator's when there is none; for
    /// machines that come up by themselves
    #[arg(long, env = "FOREBAY_LEDGER_FIRST_ADMIN_KEY_FILE", value_name = "PATH")]
    first_admin_key_file: Option<PathBuf>,
    /// A key that signs the head of the chain at intervals and when a period is closed (`forebay-ledger signing-key create`)
    #[arg(long, env = "FOREBAY_LEDGER_SIGNING_KEY_FILE", value_name = "PATH")]
    signing_key_file: Option<PathBuf>,
    /// How often, while something is booked
    #[arg(long, default_value = "1m", value_name = "DURATION", value_parser = duration)]
    sign_every: Duration,
    /// API keys in force at once
    #[arg(long, default_value_t = KEYS_MAX_DEFAULT, value_name = "KEYS", value_parser = count)]
    keys_max: usize,
    /// Refuse a database that needs migration instead of migrating it
    #[arg(long)]
    no_migrate: bool,
    /// Writes that may wait for a batch, those that came together counted once; further ones get 503 with Retry-After
    #[arg(long, default_value_t = 4096, value_name = "WRITES", value_parser = count)]
    queue_max: usize,
    /// Entries of all waiting transfers; further transfers get 503 with Retry-After
    #[arg(long, default_value_t = 200_000, value_name = "ENTRIES", value_parser = clap::value_parser!(u32).range(1..))]
    queue_entries_max: u32,
    /// Writes committed in one SQL transaction at most, and transfers in one request to /v1/batches
    #[arg(long, default_value_t = 1000, value_name = "WRITES", value_parser = count)]
    batch_max: usize,
    /// Accounts whose balances the writer keeps between batches, 300 bytes or so each; as many are kept for readers
    #[arg(long, default_value_t = 100_000, value_name = "ACCOUNTS", value_parser = count)]
    accounts_known_max: usize,
    /// Entries that the rows of balances may be behind while many transfers are booked; 0 writes each with its batch
    #[arg(long, default_value_t = 32_768, value_name = "ENTRIES", value_parser = clap::value_parser!(i64).range(0..=behind::ENTRIES_MAX))]
    balances_behind_max: i64,
    /// Webhooks that may be registered
    #[arg(long, default_value_t = outbox::Limits::USUAL.endpoints_max, value_name = "WEBHOOKS", value_parser = count)]
    webhooks_max: usize,
    /// Events in one delivery to a webhook at most
    #[arg(long, default_value_t = outbox::Limits::USUAL.batch_max, value_name = "EVENTS", value_parser = count)]
    webhook_batch_max: usize,
    /// For a webhook to answer
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = duration)]
    webhook_timeout: Duration,
    /// Before a webhook that failed is tried again; doubled after each further failure, up to an hour
    #[arg(long, default_value = "1s", value_name = "DURATION", value_parser = duration)]
    webhook_retry_first: Duration,
    /// Failures in a row after which a webhook is suspended until somebody resumes it
    #[arg(long, default_value_t = outbox::Limits::USUAL.attempts_max, value_name = "ATTEMPTS", value_parser = clap::value_parser!(u32).range(1..))]
    webhook_attempts_max: u32,
    /// Event streams open at once; further ones get 503
    #[arg(long, default_value_t = outbox::Limits::USUAL.streams_max, value_name = "STREAMS", value_parser = count)]
    event_streams_max: usize,
    /// Exports under way at once; further ones get 503
    #[arg(long, default_value_t = http::EXPORTS_MAX_DEFAULT, value_name = "EXPORTS", value_parser = count)]
    exports_max: usize,
    /// Entries in one transfer at most
    #[arg(long, default_value_t = ENTRIES_MAX_DEFAULT, value_name = "ENTRIES", value_parser = count)]
    entries_max: usize,
    /// Size of a request's body at most
    #[arg(long, default_value_t = 1 << 20, value_name = "BYTES", value_parser = count)]
    body_bytes_max: usize,
    /// Size of a request's header fields at most
    #[arg(long, default_value_t = 16 << 10, value_name = "BYTES", value_parser = count)]
    header_bytes_max: usize,
    /// Connections held open at once; further ones wait in the kernel
    #[arg(long, default_value_t = 1024, value_name = "CONNECTIONS", value_parser = count)]
    connections_max: usize,
    /// For a request's body to arrive, then 408; and for a client to take more of an export, which then breaks off
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = duration)]
    body_timeout: Duration,
    /// For a request to be answered; then 503
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = duration)]
    request_timeout: Duration,
    /// For a request's head to arrive and for an idle connection; keep it above the proxy's own
    #[arg(long, default_value = "75s", value_name = "DURATION", value_parser = duration)]
    idle_timeout: Duration,
    /// For what was accepted to be answered after a stop
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = duration)]
    drain: Duration,
    /// Log level (error, warn, info, debug, trace) or tracing filter
    #[arg(long, env = "FOREBAY_LEDGER_LOG", default_value = "info", value_name = "FILTER", value_parser = filter)]
    log: String,
}

impl ServeArgs {
    fn tls(&self) -> Result<Option<Tls>, TlsError> {
        let files = self.tls_certificate.as_deref().zip(self.tls_key.as_deref());
        files.map(|(certificate, key)| Tls::read(certificate, key)).transpose()
    }

    fn options(&self) -> anyhow::Result<Options> {
        Ok(Options {
            auth: self.auth,
            first_admin_key: self.first_admin_key_file.as_deref().map(first_key).transpose()?,
            signing: signing(self.signing_key_file.as_deref(), self.sign_every)?,
            database: self.database.database.parse()?,
            migrate: !self.no_migrate,
            allow_unsafe: self.database.allow_unsafe_durability,
            listen: self.listen,
            admin_listen: self.admin_listen,
            tls: self.tls()?.map(Arc::new),
            http: http::Limits {
                body_bytes_max: self.body_bytes_max,
                header_bytes_max: self.header_bytes_max,
                entries_max: self.entries_max,
                batch_max: self.batch_max,
                keys_max: self.keys_max,
                exports_max: self.exports_max,
                body_timeout: self.body_timeout,
                request_timeout: self.request_timeout,
            },
            outbox: outbox::Limits {
                endpoints_max: self.webhooks_max,
                batch_max: self.webhook_batch_max,
                timeout: self.webhook_timeout,
                retry_first: self.webhook_retry_first,
                attempts_max: self.webhook_attempts_max,
                streams_max: self.event_streams_max,
            },
            server: server::Limits {
                connections_max: self.connections_max,
                idle_timeout: self.idle_timeout,
                drain_timeout: self.drain,
            },
            writer: writer::Limits {
                queue_max: self.queue_max,
                queue_entries_max: self.queue_entries_max,
                batch_max: self.batch_max,
                accounts_known_max: self.accounts_known_max,
                balances_behind_max: self.balances_behind_max,
            },
        })
    }
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
        Command::Completions(args) => completions::completions(&args),
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
        Some(VerifyError::Wrong(_) | VerifyError::Unguarded(_)) => return BAD_DOCUMENT,
        Some(VerifyError::Store(error)) => return store_code(error),
        None => {}
    }
    match (error.downcast_ref::<StoreError>(), error.downcast_ref::<ServiceError>()) {
        (Some(error), _) | (None, Some(ServiceError::Store(error))) => store_code(error),
        (None, Some(ServiceError::Bind { .. })) => UNAVAILABLE,
        (None, Some(ServiceError::Writer(_) | ServiceError::Authorities(_)) | None) => FAILURE,
    }
}

/// Its text is never repeated.
fn first_key(path: &Path) -> anyhow::Result<Secret> {
    let read = std::fs::read_to_string(path);
    let text = read.with_context(|| format!("cannot read the key file {}", path.display()))?;
    Secret::parse(text.trim()).with_context(|| format!("in {}", path.display()))
}

fn signing(path: Option<&Path>, every: Duration) -> anyhow::Result<Option<Signing>> {
    let Some(path) = path else { return Ok(None) };
    let key = Arc::new(SigningKey::read(path)?);
    Ok(Some(Signing { key, every: every.max(Duration::from_secs(1)) }))
}

fn openapi() -> anyhow::Result<()> {
    print(&(http::document().to_pretty_json()? + "\n"))
}

fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        // A reader that has seen enough, such as `head`, is no failure.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(count) if count <= tokio::sync::Semaphore::MAX_PERMITS => Ok(count),
        Ok(_) => Err(format!("must be at most {}", tokio::sync::Semaphore::MAX_PERMITS)),
        Err(_) => Err("must be a whole number".into()),
    }
}

fn filter(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration; write 250ms, 30s, 5m or 1h");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let (seconds, ms) = match unit {
        "ms" => (Some(number / 1000), number % 1000),
        "s" => (Some(number), 0),
        "m" => (number.checked_mul(60), 0),
        "h" => (number.checked_mul(3600), 0),
        _ => return Err(wrong()),
    };
    let seconds = seconds.filter(|seconds| *seconds <= 86_400).ok_or("must be at most 24h")?;
    Ok(Duration::from_secs(seconds) + Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for bad in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "1d",
            "25h",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
