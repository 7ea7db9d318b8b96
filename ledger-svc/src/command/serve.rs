//! `forebay-ledger serve`: runs the service until a signal, then drains it.

mod arguments;

use std::convert::Infallible;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use self::arguments::ServeArgs;
use crate::http::tls::Tls;
use crate::operator_log;
use crate::service::{self, Options, Service};

pub fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    let options = args.options()?;
    operator_log::start(&args.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(args, options))
}

async fn run(args: &ServeArgs, options: Options) -> anyhow::Result<()> {
    // Installed first: a signal during the start must not kill a half-open database.
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let hup = signal(SignalKind::hangup())?;
    let tls = options.tls.clone();

    let database = options.database.to_string();
    let service = service::start(options).await?;
    if let Some(path) = &args.addresses_file {
        write_addresses(path, &service)
            .with_context(|| format!("cannot write the addresses file {}", path.display()))?;
    }
    tracing::info!(
        listen = %service.listen,
        admin_listen = %service.admin_listen,
        database,
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    let signal = async {
        tokio::select! {
            _ = term.recv() => "TERM",
            _ = int.recv() => "INT",
            _ = quit.recv() => "QUIT",
        }
    };
    let ended = tokio::select! {
        ended = until(service, signal) => ended,
        never = renew(tls.as_deref(), hup) => match never {},
    };
    if let Some(path) = &args.addresses_file {
        remove_addresses(path)
            .with_context(|| format!("cannot remove the addresses file {}", path.display()))?;
    }
    ended
}

/// Runs the service until the signal and drains it, or until it fails.
async fn until(mut service: Service, signal: impl Future<Output = &str>) -> anyhow::Result<()> {
    let signal = tokio::select! {
        signal = signal => signal,
        error = service.failed() => return Err(error.into()),
    };
    tracing::info!(signal, "stopping");
    let unanswered = service.stop().await?;
    if unanswered > 0 {
        tracing::warn!(unanswered, "stopped at the drain limit with requests unanswered");
    }
    tracing::info!("stopped");
    Ok(())
}

/// Reads the certificate again whenever it is told to.
async fn renew(tls: Option<&Tls>, mut hup: Signal) -> Infallible {
    loop {
        // `None` is that no signal can come any more.
        if hup.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        match tls.map(Tls::read_again) {
            None => tracing::info!("HUP: nothing to read again"),
            Some(Ok(())) => tracing::info!("the certificate was read again"),
            Some(Err(error)) => {
                tracing::error!(%error, "the certificate that was read before stays in force");
            }
        }
    }
}

/// Beside it first, then renamed: whoever waits for the file never reads half of it.
fn write_addresses(path: &Path, service: &Service) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let addresses = json!({
        "listen": service.listen.to_string(),
        "admin_listen": service.admin_listen.to_string(),
    });
    let mut file = std::fs::File::create(&beside)?;
    writeln!(file, "{addresses}")?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

/// Addresses nobody serves any more would mislead whoever waits for the file.
fn remove_addresses(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
