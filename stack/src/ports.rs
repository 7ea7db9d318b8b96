//! Which ports this run listens on: the wished one, or the next free one, and which moved.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpListener};

use serde::{Deserialize, Serialize};

/// How far from the wished port a free one is looked for.
const TRIES_MAX: u16 = 200;

/// A port that was taken, and the one used in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// What listens there: `listener public`, `ledger`, …
    pub what: String,
    /// The address the environment asks for.
    pub wanted: SocketAddr,
    /// The address used in this run.
    pub used: SocketAddr,
}

/// No port could be had.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Every port near the wished one is taken.
    #[error(
        "{what}: ports {from} to {to} on {host} are all taken; free one, or give another address in the environment"
    )]
    AllTaken { what: String, host: String, from: u16, to: u16 },
    /// The address cannot be listened on at all.
    #[error("{what}: cannot listen on {wanted}: {source}")]
    Refused { what: String, wanted: SocketAddr, source: io::Error },
}

/// The addresses of one run, held until the children are about to start.
///
/// Keeping the sockets open until then makes the gap small in which another program may take a port.
#[derive(Debug, Default)]
pub struct Ports {
    held: Vec<TcpListener>,
    /// The address each name got.
    pub addresses: BTreeMap<String, SocketAddr>,
    /// Those that differ from what was asked for.
    pub moved: Vec<Moved>,
}

impl Ports {
    /// Takes one address for each `(name, wished address)`; port 0 means any free one.
    pub fn take(wishes: &[(String, SocketAddr)]) -> Result<Self, PortError> {
        let mut ports = Self::default();
        for (what, wanted) in wishes {
            let others: BTreeSet<u16> = wishes
                .iter()
                .filter(|(name, _)| name != what)
                .map(|(_, address)| address.port())
                .collect();
            ports.take_one(what, *wanted, &others)?;
        }
        Ok(ports)
    }

    /// Lets go of the sockets; the addresses stay known.
    pub fn release(&mut self) {
        self.held.clear();
    }

    fn take_one(
        &mut self,
        what: &str,
        wanted: SocketAddr,
        others: &BTreeSet<u16>,
    ) -> Result<(), PortError> {
        let mut refused = None;
        let mut bound = None;
        let port = choose(wanted.port(), others, |port| {
            match TcpListener::bind(SocketAddr::new(wanted.ip(), port)) {
                Ok(listener) => {
                    bound = Some(listener);
                    true
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => false,
                Err(error) => {
                    refused = Some(error);
                    // Another port would be refused for the same reason.
                    true
                }
            }
        });
        let refuse = |source| PortError::Refused { what: what.to_owned(), wanted, source };
        if let Some(source) = refused {
            return Err(refuse(source));
        }
        let (Some(_), Some(listener)) = (port, bound) else {
            return Err(PortError::AllTaken {
                what: what.to_owned(),
                host: wanted.ip().to_string(),
                from: wanted.port(),
                to: wanted.port().saturating_add(TRIES_MAX - 1),
            });
        };
        let used = listener.local_addr().map_err(refuse)?;
        if wanted.port() != 0 && used != wanted {
            self.moved.push(Moved { what: what.to_owned(), wanted, used });
        }
        self.addresses.insert(what.to_owned(), used);
        self.held.push(listener);
        Ok(())
    }
}

/// The wished port if it is free, else the next free one that nobody else in this run wishes for.
pub fn choose(
    wished: u16,
    others: &BTreeSet<u16>,
    mut is_free: impl FnMut(u16) -> bool,
) -> Option<u16> {
    if is_free(wished) {
        return Some(wished);
    }
    (1..TRIES_MAX)
        .filter_map(|step| wished.checked_add(step))
        .filter(|port| !others.contains(port))
        .find(|port| is_free(*port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wished_port_wins_even_when_others_wish_for_it_too() {
        assert_eq!(choose(8080, &BTreeSet::from([8080]), |_| true), Some(8080));
    }

    #[test]
    fn a_taken_port_gives_the_next_free_one_that_nobody_wishes_for() {
        let others = BTreeSet::from([8081, 8083]);
        assert_eq!(choose(8080, &others, |port| port > 8081), Some(8082));
        assert_eq!(choose(8080, &others, |port| port > 8082), Some(8084));
    }

    #[test]
    fn the_search_ends() {
        let mut asked = 0;
        let none = choose(8080, &BTreeSet::new(), |_| {
            asked += 1;
            false
        });
        assert_eq!((none, asked), (None, u32::from(TRIES_MAX)));
        assert_eq!(choose(u16::MAX, &BTreeSet::new(), |_| false), None);
    }

    #[test]
    fn a_moved_port_is_told_and_port_zero_is_no_move() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let wanted = taken.local_addr().unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let ports =
            Ports::take(&[("public".to_owned(), wanted), ("admin".to_owned(), any)]).unwrap();
        assert_eq!(ports.moved.len(), 1);
        assert_eq!(ports.moved[0].what, "public");
        assert_eq!(ports.moved[0].wanted, wanted);
        assert_ne!(ports.addresses["public"], wanted);
        assert_ne!(ports.addresses["admin"].port(), 0);
    }

    #[test]
    fn an_address_of_another_machine_is_refused_with_its_reason() {
        let elsewhere = "192.0.2.1:8080".parse().unwrap();
        let error = Ports::take(&[("public".to_owned(), elsewhere)]).unwrap_err();
        assert!(matches!(error, PortError::Refused { .. }), "{error}");
    }
}
