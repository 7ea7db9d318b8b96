//! What `serve` is told, and the service's options it comes to.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::super::database::DatabaseArgs;
use super::super::values::{count, duration, filter, seconds, some_time};
use crate::behind;
use crate::http::gate::Auth;
use crate::http::server;
use crate::http::tls::{Tls, TlsError};
use crate::http::{self, KEYS_MAX_DEFAULT};
use crate::key::Secret;
use crate::outbox;
use crate::service::Options;
use crate::signature::SigningKey;
use crate::signing::Signing;
use crate::transfer::ENTRIES_MAX_DEFAULT;
use crate::writer;

#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Address of the API; port 0 takes a free one
    #[arg(
        long,
        env = "FOREBAY_LEDGER_LISTEN",
        default_value = "127.0.0.1:8081",
        value_name = "ADDRESS"
    )]
    pub listen: SocketAddr,
    /// Speak TLS on the API's address with this certificate, a PEM file with its chain; read again on HUP
    #[arg(long, env = "FOREBAY_LEDGER_TLS_CERTIFICATE", value_name = "PATH", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's key, a PEM file
    #[arg(long, env = "FOREBAY_LEDGER_TLS_KEY", value_name = "PATH", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// Address of /healthz, /readyz and /metrics; port 0 takes a free one
    #[arg(
        long,
        env = "FOREBAY_LEDGER_ADMIN_LISTEN",
        default_value = "127.0.0.1:9091",
        value_name = "ADDRESS"
    )]
    pub admin_listen: SocketAddr,
    /// Write the addresses as JSON to this file once both are bound; removed at the stop
    #[arg(long, value_name = "PATH")]
    pub addresses_file: Option<PathBuf>,
    /// Whether requests need an API key; `open` is for a machine of your own
    #[arg(long, env = "FOREBAY_LEDGER_AUTH", value_enum, default_value_t = Auth::Required)]
    pub auth: Auth,
    /// A file with a key (`fbl_` and 43 letters and digits), booked as an administrator's when there is none; for
    /// machines that come up by themselves
    #[arg(long, env = "FOREBAY_LEDGER_FIRST_ADMIN_KEY_FILE", value_name = "PATH")]
    pub first_admin_key_file: Option<PathBuf>,
    /// A key that signs the head of the chain at intervals and when a period is closed (`forebay-ledger signing-key create`)
    #[arg(long, env = "FOREBAY_LEDGER_SIGNING_KEY_FILE", value_name = "PATH")]
    pub signing_key_file: Option<PathBuf>,
    /// How often, while something is booked
    #[arg(long, default_value = "1m", value_name = "DURATION", value_parser = seconds)]
    pub sign_every: Duration,
    /// API keys in force at once
    #[arg(long, default_value_t = KEYS_MAX_DEFAULT, value_name = "KEYS", value_parser = count)]
    pub keys_max: usize,
    /// Refuse a database that needs migration instead of migrating it
    #[arg(long)]
    pub no_migrate: bool,
    /// Writes that may wait for a batch, those that came together counted once; further ones get 503 with Retry-After
    #[arg(long, default_value_t = 4096, value_name = "WRITES", value_parser = count)]
    pub queue_max: usize,
    /// Entries of all waiting transfers; further transfers get 503 with Retry-After
    #[arg(long, default_value_t = 200_000, value_name = "ENTRIES", value_parser = clap::value_parser!(u32).range(1..))]
    pub queue_entries_max: u32,
    /// Writes committed in one SQL transaction at most, and transfers in one request to /v1/batches
    #[arg(long, default_value_t = 1000, value_name = "WRITES", value_parser = count)]
    pub batch_max: usize,
    /// Accounts whose balances the writer keeps between batches, 300 bytes or so each; as many are kept for readers
    #[arg(long, default_value_t = 100_000, value_name = "ACCOUNTS", value_parser = count)]
    pub accounts_known_max: usize,
    /// Entries that the rows of balances may be behind while many transfers are booked; 0 writes each with its batch
    #[arg(long, default_value_t = 32_768, value_name = "ENTRIES", value_parser = clap::value_parser!(i64).range(0..=behind::ENTRIES_MAX))]
    pub balances_behind_max: i64,
    /// Webhooks that may be registered
    #[arg(long, default_value_t = outbox::Limits::USUAL.endpoints_max, value_name = "WEBHOOKS", value_parser = count)]
    pub webhooks_max: usize,
    /// Events in one delivery to a webhook at most
    #[arg(long, default_value_t = outbox::Limits::USUAL.batch_max, value_name = "EVENTS", value_parser = count)]
    pub webhook_batch_max: usize,
    /// For a webhook to answer
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = duration)]
    pub webhook_timeout: Duration,
    /// Before a webhook that failed is tried again; doubled after each further failure, up to an hour
    #[arg(long, default_value = "1s", value_name = "DURATION", value_parser = duration)]
    pub webhook_retry_first: Duration,
    /// Failures in a row after which a webhook is suspended until somebody resumes it
    #[arg(long, default_value_t = outbox::Limits::USUAL.attempts_max, value_name = "ATTEMPTS", value_parser = clap::value_parser!(u32).range(1..))]
    pub webhook_attempts_max: u32,
    /// Event streams open at once; further ones get 503
    #[arg(long, default_value_t = outbox::Limits::USUAL.streams_max, value_name = "STREAMS", value_parser = count)]
    pub event_streams_max: usize,
    /// Exports under way at once; further ones get 503
    #[arg(long, default_value_t = http::EXPORTS_MAX_DEFAULT, value_name = "EXPORTS", value_parser = count)]
    pub exports_max: usize,
    /// Entries in one transfer at most
    #[arg(long, default_value_t = ENTRIES_MAX_DEFAULT, value_name = "ENTRIES", value_parser = count)]
    pub entries_max: usize,
    /// Size of a request's body at most
    #[arg(long, default_value_t = 1 << 20, value_name = "BYTES", value_parser = count)]
    pub body_bytes_max: usize,
    /// Size of a request's header fields at most
    #[arg(long, default_value_t = 16 << 10, value_name = "BYTES", value_parser = count)]
    pub header_bytes_max: usize,
    /// Connections held open at once; further ones wait in the kernel
    #[arg(long, default_value_t = 1024, value_name = "CONNECTIONS", value_parser = count)]
    pub connections_max: usize,
    /// For a request's body to arrive, then 408; and for a client to take more of an export, which then breaks off
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = some_time)]
    pub body_timeout: Duration,
    /// For a request to be answered; then 503
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = some_time)]
    pub request_timeout: Duration,
    /// For a request's head to arrive and for an idle connection; keep it above the proxy's own
    #[arg(long, default_value = "75s", value_name = "DURATION", value_parser = some_time)]
    pub idle_timeout: Duration,
    /// For what was accepted to be answered after a stop
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = duration)]
    pub drain: Duration,
    /// Log level (error, warn, info, debug, trace) or tracing filter
    #[arg(long, env = "FOREBAY_LEDGER_LOG", default_value = "info", value_name = "FILTER", value_parser = filter)]
    pub log: String,
}

impl ServeArgs {
    pub fn tls(&self) -> Result<Option<Tls>, TlsError> {
        let files = self.tls_certificate.as_deref().zip(self.tls_key.as_deref());
        files.map(|(certificate, key)| Tls::read(certificate, key)).transpose()
    }

    pub fn options(&self) -> anyhow::Result<Options> {
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

/// Its text is never repeated.
fn first_key(path: &Path) -> anyhow::Result<Secret> {
    let read = std::fs::read_to_string(path);
    let text = read.with_context(|| format!("cannot read the key file {}", path.display()))?;
    Secret::parse(text.trim()).with_context(|| format!("in {}", path.display()))
}

fn signing(path: Option<&Path>, every: Duration) -> anyhow::Result<Option<Signing>> {
    let Some(path) = path else { return Ok(None) };
    let key = Arc::new(SigningKey::read(path)?);
    Ok(Some(Signing { key, every }))
}
