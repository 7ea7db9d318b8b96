//! One name that an authority is asked a certificate for, and what is known of it.

use std::sync::Arc;

use parking_lot::Mutex;
use rustls::sign::CertifiedKey;

use crate::acme::folder::Folder;
use crate::acme::schedule::{Trouble, renewal};
use crate::tls::shown::{Shown, Validity};

pub struct Name {
    pub host: String,
    pub shown: Arc<Shown>,
    known: Mutex<Known>,
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Name").field(&self.host).finish()
    }
}

/// Times are seconds since 1970.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Where in a window it is renewed, of 0 to 1: drawn once.
    pub spread: f64,
    /// When its authority would have it renewed.
    pub window: Option<(i64, i64)>,
    /// When its authority is asked about that next.
    pub ask_at: i64,
    pub trouble: Option<Trouble>,
    /// Somebody wants another one now.
    pub is_wished: bool,
    pub is_ordering: bool,
}

/// What is to be done for a name next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    Order,
    /// Ask when to renew it.
    Ask,
}

impl Known {
    /// What is due first, and when.
    pub fn next(&self, validity: Option<Validity>) -> (i64, Task) {
        if self.is_wished {
            return (0, Task::Order);
        }
        let order = self.renews_at(validity).unwrap_or(0);
        let order = order.max(self.trouble.as_ref().map_or(0, |trouble| trouble.not_before));
        match validity {
            Some(_) if self.ask_at < order => (self.ask_at, Task::Ask),
            _ => (order, Task::Order),
        }
    }

    pub fn renews_at(&self, validity: Option<Validity>) -> Option<i64> {
        Some(renewal(validity?, self.window, self.spread))
    }
}

impl Name {
    pub fn new(host: String) -> Arc<Name> {
        let shown = Shown::new(host.clone(), None);
        Arc::new(Name { host, shown, known: Mutex::default() })
    }

    /// With what is kept of it.
    pub fn kept(host: String, folder: &Folder) -> Arc<Name> {
        let said = |error: std::io::Error| {
            tracing::error!(%error, host, "what is kept of a certificate cannot be read");
            None
        };
        let key = folder.certificate(&host).unwrap_or_else(said);
        let trouble = folder.trouble(&host).unwrap_or_default();
        let known = Known { spread: fastrand::f64(), trouble, ..Known::default() };
        let shown = Shown::new(host.clone(), key);
        Arc::new(Name { host, shown, known: Mutex::new(known) })
    }

    pub fn known(&self) -> Known {
        self.known.lock().clone()
    }

    pub fn change(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known.lock());
    }

    pub fn wish(&self) {
        self.change(|known| known.is_wished = true);
    }

    pub fn next(&self) -> (i64, Task) {
        self.known().next(self.shown.validity())
    }

    /// Handshakes from now on show this one.
    pub fn install(&self, key: CertifiedKey) {
        self.shown.put(key);
        self.change(|known| {
            let (spread, is_wished) = (fastrand::f64(), known.is_wished);
            *known = Known { spread, is_wished, ..Known::default() };
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_done_first() {
        let day = 86_400;
        let validity = Some(Validity { from: 0, until: 90 * day });
        let trouble = |not_before| Some(Trouble { not_before, ..Trouble::default() });
        let known = Known::default();
        assert_eq!(known.next(None), (0, Task::Order));
        assert_eq!(known.next(validity), (0, Task::Ask));
        let asked = Known { ask_at: 10 * day, ..Known::default() };
        assert_eq!(asked.next(validity), (10 * day, Task::Ask));
        let later = Known { ask_at: 70 * day, ..Known::default() };
        assert_eq!(later.next(validity), (60 * day, Task::Order));
        let failed = Known { ask_at: 90 * day, trouble: trouble(61 * day), ..Known::default() };
        assert_eq!(failed.next(validity), (61 * day, Task::Order));
        assert_eq!(Known { trouble: trouble(5), ..Known::default() }.next(None), (5, Task::Order));
        let wished = Known { is_wished: true, ..failed };
        assert_eq!(wished.next(validity), (0, Task::Order));
    }
}
