//! Taking a new document into force without dropping a request.

use std::io;
use std::path::Path;
use std::sync::Arc;

use proxy_config::{Config, Problems, Source};
use thiserror::Error;

use crate::in_force::Candidate;
use crate::state::State;
use crate::tuning::history::{Author, Cause, History};
use crate::unfit::Unfit;

/// Why a reload changed nothing.
#[derive(Debug, Error)]
pub enum ReloadFault {
    #[error("the document cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("the document is wrong:\n{0}")]
    Document(Problems),
    #[error("{0}")]
    Refused(String),
    #[error("{0} cannot be changed while running; restart the proxy for it")]
    NeedsRestart(String),
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

/// Reads a document.
pub fn document(path: &Path) -> Result<Config, ReloadFault> {
    Config::load(Source::read(path)?).map_err(ReloadFault::Document)
}

/// Puts a document that was read again into force; returns the number of the new generation.
pub fn reload(state: &Arc<State>, config: Config) -> Result<u64, ReloadFault> {
    replace(state, config, Author::document(Cause::Reload), &mut state.history.lock())
}

/// Puts a configuration into force in place of the one that is; returns the number of the new generation. Blocks on files
/// and name look-ups. Must be called on a runtime.
pub fn replace(
    state: &Arc<State>,
    config: Config,
    author: Author,
    history: &mut History,
) -> Result<u64, ReloadFault> {
    let current = state.current();
    // Who tells the proxy what to do must find it where it was.
    if current.config.admin.address != config.admin.address {
        return Err(ReloadFault::NeedsRestart("`admin.address`".to_owned()));
    }
    if current.config.admin.socket_access != config.admin.socket_access {
        return Err(ReloadFault::NeedsRestart("`admin.socket_access`".to_owned()));
    }
    let shared = (&state.standing, &state.metrics);
    let candidate = Candidate::new(config, author, Some(&current), shared)?;
    let (number, config) = (candidate.generation.number, &candidate.generation.config);
    let listeners = state.listening.prepare(config, &state.tls)?.ready(state);
    candidate.enter(state, listeners, history);
    Ok(number)
}
