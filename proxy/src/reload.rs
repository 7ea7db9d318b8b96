//! Taking a new document into force without dropping a request. Everything that can fail is done
//! first; a document that is wrong in any way changes nothing.

use std::io;
use std::path::Path;
use std::sync::Arc;

use proxy_config::{Config, Problems, Source};
use thiserror::Error;

use crate::admin::tokens::{TokenFault, Tokens};
use crate::generation::{Generation, State};
use crate::listen::BindFault;
use crate::logs::{LogFault, Logs};
use crate::protected::{self, PathFault};
use crate::route::RouteFault;
use crate::tls::TlsFault;
use crate::tuning::differences;
use crate::tuning::history::{Cause, History, Record};

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
    Log(#[from] LogFault),
    #[error(transparent)]
    Bind(#[from] BindFault),
    #[error(transparent)]
    Tls(#[from] TlsFault),
    #[error(transparent)]
    Route(#[from] RouteFault),
    #[error(transparent)]
    Token(#[from] TokenFault),
    #[error(transparent)]
    Path(#[from] PathFault),
}

/// Reads a document.
pub fn document(path: &Path) -> Result<Config, ReloadFault> {
    Config::load(Source::read(path)?).map_err(ReloadFault::Document)
}

/// Who changes what is in force, and how.
pub struct Author {
    pub cause: Cause,
    pub by: Option<String>,
    pub note: Option<String>,
}

/// Puts a document that was read again into force; returns the number of the new generation.
pub fn reload(state: &Arc<State>, config: Config) -> Result<u64, ReloadFault> {
    let author = Author { cause: Cause::Reload, by: None, note: None };
    put_in_force(state, config, author, &mut state.history.lock())
}

/// Puts a configuration into force; returns the number of the new generation. Blocks on files and
/// name look-ups. In-flight requests finish on the generation they began with. Who holds the history
/// is the only one who changes anything.
pub fn put_in_force(
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
    let logs = Logs::open(&config, Some(&current.logs))?;
    protected::check(&config)?;
    let tokens = Tokens::read(&config.admin)?;
    let number = current.number + 1;
    let State { metrics, lanes, caches, limits, servers, buffers, .. } = &**state;
    let record = record(number, author, &current.config, &config);
    let generation =
        Generation::new((number, config, logs), metrics, lanes, caches, limits, servers, buffers)?;
    let listeners = state.listening.prepare(&generation.config, &state.tls)?.ready(state);

    generation.enter_into_force(metrics, lanes, caches, limits, buffers);
    state.probes.replace(generation.routes.watches(), &state.connector);
    state.renewals.replace(generation.routes.names());
    state.tls.issued.replace(&generation.config, state);
    state.spans.send_to(generation.config.telemetry.as_ref());
    state.generation.store(Arc::new(generation));
    state.tokens.store(Arc::new(tokens));
    state.listening.apply(listeners, state);
    state.tls.staples.replace(state.listening.stapled(), state);
    history.add(record);
    Ok(number)
}

/// What the history says of a configuration.
pub fn record(number: u64, author: Author, before: &Config, config: &Config) -> Record {
    let written = |config: &Config| serde_json::to_value(config).unwrap_or_default();
    let Author { cause, by, note } = author;
    Record {
        number,
        at: jiff::Timestamp::now().to_string(),
        cause,
        by,
        note,
        changes: differences(&written(before), &written(config)),
        config: Arc::new(config.clone()),
    }
}
