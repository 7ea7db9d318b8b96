//! Putting a configuration into force: the first one, and each that comes after it. Everything that can fail is done first;
//! a configuration that is wrong in any way changes nothing.

use std::sync::Arc;

use proxy_config::Config;

use crate::admin::tokens::Tokens;
use crate::generation::Generation;
use crate::listening::Ready;
use crate::logs::Logs;
use crate::metrics::Metrics;
use crate::protected;
use crate::standing::Standing;
use crate::state::State;
use crate::tuning::history::{Author, History, Record};
use crate::unfit::Unfit;

/// A configuration made ready; dropped, it has changed nothing.
pub struct Candidate {
    pub generation: Arc<Generation>,
    record: Record,
}

impl Candidate {
    /// Blocks on files and name look-ups. `before` is what is in force.
    pub fn new(
        config: Config,
        author: Author,
        before: Option<&Generation>,
        (standing, metrics): (&Standing, &Metrics),
    ) -> Result<Candidate, Unfit> {
        protected::check(&config)?;
        let tokens = Tokens::read(&config.admin)?;
        let logs = Logs::open(&config, before.map(|before| &before.logs))?;
        let number = before.map_or(1, |before| before.number + 1);
        let record = Record::new(number, author, before.map(|before| &before.config), &config);
        let generation = Generation::new(number, (config, logs, tokens), standing, metrics)?;
        Ok(Candidate { generation: Arc::new(generation), record })
    }

    /// Puts it into force; requests under way finish on the generation they began with. Who holds the history is the only
    /// one who changes anything. Must be called on a runtime.
    pub fn enter(self, state: &Arc<State>, listeners: Ready, history: &mut History) {
        let Candidate { generation, record } = self;
        generation.enter_into_force(&state.standing, &state.metrics);
        state.probes.replace(generation.routes.watches(), &state.connector);
        state.renewals.replace(generation.routes.names());
        state.tls.issued.replace(&generation.config, state);
        state.spans.send_to(generation.config.telemetry.as_ref());
        state.generation.store(generation);
        state.listening.apply(listeners, state);
        state.tls.staples.replace(state.listening.stapled(), state);
        history.add(record);
    }
}
