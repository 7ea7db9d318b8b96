//! Why a command did not do what it was asked to.

use proxy_config::Problems;
use thiserror::Error;

use crate::server::StartFault;
use crate::unfit::Unfit;

/// Why a command did not do what it was asked to. The exit code follows from it.
#[derive(Debug, Error)]
pub enum Fault {
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Document(Problems),
    /// What it names on this machine; the exit code is that of what the start failed for.
    #[error("{problems}")]
    Unfit { problems: Problems, exit_code: u8 },
    #[error("cannot read {path}: {error}")]
    Read { path: String, error: std::io::Error },
    #[error("no proxy answers at {url}: {error}")]
    Unreachable { url: String, error: String },
    #[error(transparent)]
    Start(#[from] StartFault),
    /// Told already, in the form asked for.
    #[error("")]
    ToldBadDocument,
    /// Told already, with the figures.
    #[error("")]
    ToldPromiseBroken,
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl Fault {
    pub fn exit_code(&self) -> u8 {
        match self {
            Fault::Usage(_) | Fault::Start(StartFault::Switch(_)) => 2,
            Fault::Document(_) | Fault::ToldBadDocument => 65,
            Fault::Start(StartFault::Unfit(Unfit::Tls(_))) => 65,
            Fault::Unfit { exit_code, .. } => *exit_code,
            Fault::Start(StartFault::System(_)) | Fault::ToldPromiseBroken | Fault::Other(_) => 1,
            Fault::Read { .. } | Fault::Unreachable { .. } | Fault::Start(_) => 69,
        }
    }
}
