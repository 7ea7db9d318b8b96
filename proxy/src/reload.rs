//! Taking a new document into force without dropping a request. Everything that can fail is done
//! first; a document that is wrong in any way changes nothing.

use std::io;
use std::path::Path;
use std::sync::Arc;

use proxy_config::listener::Listener;
use proxy_config::{Config, Problems, Source};
use thiserror::Error;

use crate::admin::tokens::{TokenFault, Tokens};
use crate::generation::{Generation, State};
use crate::logs::{LogFault, Logs};
use crate::protected::{self, PathFault};
use crate::route::RouteFault;
use crate::tls::{self, TlsFault};
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
pub fn reload(state: &State, config: Config) -> Result<u64, ReloadFault> {
    let author = Author { cause: Cause::Reload, by: None, note: None };
    put_in_force(state, config, author, &mut state.history.lock())
}

/// Puts a configuration into force; returns the number of the new generation. Blocks on files and
/// name look-ups. In-flight requests finish on the generation they began with. Who holds the history
/// is the only one who changes anything.
pub fn put_in_force(
    state: &State,
    config: Config,
    author: Author,
    history: &mut History,
) -> Result<u64, ReloadFault> {
    let current = state.current();
    if let Some(what) = needs_restart(&current.config, &config) {
        return Err(ReloadFault::NeedsRestart(what));
    }
    let acceptors = config
        .listeners
        .iter()
        .map(|(name, listener)| {
            Ok((name.clone(), tls::acceptor(name, listener, &state.ticket_keys)?))
        })
        .collect::<Result<Vec<_>, TlsFault>>()?;
    let logs = Logs::open(&config, Some(&current.logs))?;
    protected::check(&config)?;
    let tokens = Tokens::read(&config.admin)?;
    let number = current.number + 1;
    let State { metrics, lanes, caches, limits, servers, buffers, .. } = state;
    let record = record(number, author, &current.config, &config);
    let generation =
        Generation::new((number, config, logs), metrics, lanes, caches, limits, servers, buffers)?;

    generation.enter_into_force(metrics, lanes, caches, limits, buffers);
    state.probes.replace(generation.routes.watches(), &state.connector);
    state.renewals.replace(generation.routes.names());
    state.generation.store(Arc::new(generation));
    state.tokens.store(Arc::new(tokens));
    for (name, acceptor) in acceptors {
        if let (Some(live), Some(acceptor)) = (state.acceptors.get(&name), acceptor) {
            live.store(Arc::new(acceptor));
        }
    }
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

/// What of a change needs sockets that are bound at start only.
fn needs_restart(old: &Config, new: &Config) -> Option<String> {
    if old.admin.address != new.admin.address {
        return Some("`admin.address`".to_owned());
    }
    let names = old.listeners.keys().chain(new.listeners.keys());
    for name in names {
        let (Some(was), Some(is)) = (old.listeners.get(name), new.listeners.get(name)) else {
            return Some(format!("which listeners there are (`listeners.{name}`)"));
        };
        let socket = |listener: &Listener| {
            let Listener { address, http2, tls, connections_max, backlog_max, timeouts, .. } =
                listener;
            let limits = (*connections_max, *backlog_max);
            (address.clone(), *http2, tls.is_some(), limits, timeouts.clone())
        };
        if socket(was) != socket(is) {
            return Some(format!(
                "address, http2, use of TLS, connections_max, backlog_max and timeouts of `listeners.{name}`"
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let text = format!(
            "version: 1\n{text}\nupstreams: {{ u: {{ servers: [ {{ address: 127.0.0.1:1 }} ] }} }}\nroutes: [ {{ name: r, upstream: u }} ]\n"
        );
        match Config::load(Source::new("test.yaml", text)) {
            Ok(config) => config,
            Err(problems) => panic!("{problems}"),
        }
    }

    #[test]
    fn only_sockets_need_a_restart() {
        let old = config("listeners: { a: { address: 127.0.0.1:8080 } }");
        let cases = [
            (
                "listeners: { a: { address: 127.0.0.1:8080 } }\nlanes: { bulk: { requests_max: 1 } }",
                None,
            ),
            ("listeners: { a: { address: 127.0.0.1:8081 } }", Some("listeners.a")),
            ("listeners: { a: { address: 127.0.0.1:8080, http2: false } }", Some("listeners.a")),
            (
                "listeners: { a: { address: 127.0.0.1:8080 }, b: { address: 127.0.0.1:8081 } }",
                Some("listeners.b"),
            ),
            (
                "listeners: { a: { address: 127.0.0.1:8080, timeouts: { idle: 5s } } }",
                Some("timeouts of `listeners.a`"),
            ),
            ("listeners: { b: { address: 127.0.0.1:8080 } }", Some("listeners.a")),
            (
                "listeners: { a: { address: 127.0.0.1:8080 } }\nadmin: { address: 127.0.0.1:9999 }",
                Some("admin.address"),
            ),
        ];
        for (text, expected) in cases {
            let got = needs_restart(&old, &config(text));
            match expected {
                None => assert_eq!(got, None, "{text}"),
                Some(part) => assert!(got.is_some_and(|got| got.contains(part)), "{text}"),
            }
        }
    }
}
