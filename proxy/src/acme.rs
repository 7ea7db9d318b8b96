//! Certificates from ACME authorities (RFC 8555): ordered, proved, kept, shown and renewed while the proxy serves
//! ([decision 0092](../../docs/decisions/0092-certificates-are-fetched-by-the-proxy.md)).
//!
//! An account has a [`keeper`], a task that does one thing at a time: [`schedule`] says when which is due, purely; an
//! [`order`] is made through an [`authority`]; [`challenges`] are what the proxy answers meanwhile; the [`folder`] keeps what
//! must outlive the process; a [`name`] is what is known of one certificate.

pub mod authority;
pub mod challenges;
pub mod folder;
pub mod keeper;
pub mod name;
pub mod order;
pub mod schedule;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use proxy_config::Config;
use proxy_config::listener::Acme;
use tokio::sync::watch;

use crate::acme::challenges::Challenges;
use crate::acme::folder::Folder;
use crate::acme::keeper::{Keeper, Wanted};
use crate::acme::name::Name;
use crate::runtimes::Place;
use crate::state::State;

/// What an account is known by: its authority's directory, and where it is kept.
type Account = (String, PathBuf);

/// Everything of the process that has to do with authorities. A reload keeps it.
#[derive(Default)]
pub struct Issued {
    pub challenges: Challenges,
    accounts: Mutex<BTreeMap<Account, Known>>,
    /// Nothing is read, made or ordered.
    only_looks: bool,
}

#[derive(Default)]
struct Known {
    names: BTreeMap<String, Arc<Name>>,
    keeper: Option<watch::Sender<Wanted>>,
}

fn account(acme: &Acme) -> Account {
    (acme.directory.clone(), acme.state_path.clone())
}

impl Issued {
    /// For who checks a document and serves nothing: he need not be who runs it.
    pub fn looking() -> Issued {
        Issued { only_looks: true, ..Issued::default() }
    }

    /// The certificates of a listener, with what is kept of them. Fails where the directory cannot be used.
    pub fn of(&self, acme: &Acme) -> Result<Vec<Arc<Name>>, String> {
        let folder = match self.only_looks {
            true => Folder::look(&acme.state_path, &acme.directory)?,
            false => Folder::prepare(&acme.state_path, &acme.directory)?,
        };
        let mut accounts = self.accounts.lock();
        let known = &mut accounts.entry(account(acme)).or_default().names;
        let hosts = acme.hosts.iter().map(|host| {
            let host = host.canonical();
            let begin = || match self.only_looks {
                true => Name::new(host.clone()),
                false => Name::kept(host.clone(), &folder),
            };
            Arc::clone(known.entry(host.clone()).or_insert_with(begin))
        });
        Ok(hosts.collect())
    }

    /// Begins, changes and ends keepers, so that they keep what this configuration asks for.
    pub fn replace(&self, config: &Config, state: &Arc<State>) {
        let mut wanted: BTreeMap<Account, Wanted> = BTreeMap::new();
        let mut accounts = self.accounts.lock();
        for acme in asked(config) {
            let Some(known) = accounts.get(&account(acme)) else { continue };
            let wanted = wanted.entry(account(acme)).or_insert_with(|| Wanted::of(acme, config));
            for host in &acme.hosts {
                let name = known.names.get(&host.canonical());
                let is_new = |name: &&Arc<Name>| !wanted.names.iter().any(|n| Arc::ptr_eq(n, name));
                wanted.names.extend(name.filter(is_new).cloned());
            }
        }
        // A keeper ends when nobody is there to tell it anything.
        accounts.retain(|account, _| wanted.contains_key(account));
        for (account, wanted) in wanted {
            let Some(known) = accounts.get_mut(&account) else { continue };
            known.names.retain(|_, name| wanted.names.iter().any(|n| Arc::ptr_eq(n, name)));
            if let Some(keeper) = &known.keeper {
                keeper.send_replace(wanted);
                continue;
            }
            match Folder::prepare(&account.1, &account.0) {
                Ok(folder) => {
                    let (tell, told) = watch::channel(wanted);
                    let keeper = Keeper::new(folder, told, Arc::clone(state));
                    state.runtimes.of(Place::Bulk).spawn(keeper.run());
                    known.keeper = Some(tell);
                }
                // It was there a moment ago.
                Err(why) => tracing::error!(why, "no certificate is fetched"),
            }
        }
    }

    /// Has a name's certificate renewed now; whether there is one.
    pub fn renew(&self, host: &str) -> bool {
        let accounts = self.accounts.lock();
        let mut is_known = false;
        for known in accounts.values() {
            if let Some(name) = known.names.get(host) {
                name.wish();
                is_known = true;
                known.keeper.iter().for_each(|keeper| keeper.send_modify(|_| {}));
            }
        }
        is_known
    }

    /// Every name, with what is known of it.
    pub fn names(&self) -> Vec<Arc<Name>> {
        self.accounts.lock().values().flat_map(|known| known.names.values().cloned()).collect()
    }
}

fn asked(config: &Config) -> impl Iterator<Item = &Acme> {
    config.listeners.values().filter_map(|listener| listener.tls.as_ref()?.acme.as_ref())
}
