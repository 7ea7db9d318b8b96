//! What stands before every route: whether keys are asked for, which are in force, and what may be done with each.

use jiff::Timestamp;

use super::access::Table;
use crate::act::Actor;
use crate::keyring::Ring;

/// Whether requests need a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Auth {
    /// Every request needs a key of a role that may do it.
    Required,
    /// Nobody is asked for a key, and everybody may do everything.
    Open,
}

/// What is judged by.
#[derive(Debug)]
pub struct Gate {
    pub auth: Auth,
    pub ring: Ring,
    pub table: Table,
}

impl Gate {
    /// Whether who was let in may go on: what takes long asks again, as keys are revoked and expire meanwhile.
    pub fn holds(&self, actor: &Actor) -> bool {
        match actor {
            Actor::Key(id) => self.ring.holds(*id, Timestamp::now()),
            Actor::Anybody | Actor::Command | Actor::Service => true,
        }
    }
}
