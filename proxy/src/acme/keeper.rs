//! Keeps the certificates of an account: one thing after the other, each when it is due.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use instant_acme::{Account, CertificateIdentifier};
use jiff::Timestamp;
use proxy_config::Config;
use proxy_config::listener::Acme;
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::acme::authority::{self, Asking, Fault, is_forgotten};
use crate::acme::folder::Folder;
use crate::acme::name::{Name, Task};
use crate::acme::order::{self, Way};
use crate::acme::schedule::{Failed, Trouble, backoff};
use crate::state::State;
use crate::tls::shown::validity;

/// How long an attempt may take; each of its steps has a limit of its own.
const ATTEMPT_MAX: Duration = Duration::from_secs(5 * 60);
/// A clock that was set is noticed this soon.
const LOOK_MAX_S: i64 = 3600;
/// When it is looked again where another process orders, or the directory cannot be used.
const BUSY_S: i64 = 10;
/// Bounds of when an authority is asked again when to renew (RFC 9773 section 4.3.2), and when it is that could not say.
const ASK_S: (i64, i64) = (60, 86_400);
const ASK_AGAIN_S: i64 = 6 * 3600;

/// What a document asks an account for.
#[derive(Clone)]
pub struct Wanted {
    directory: String,
    contact: Option<String>,
    authorities: Option<PathBuf>,
    way: Way,
    pub names: Vec<Arc<Name>>,
}

impl Wanted {
    pub fn of(acme: &Acme, config: &Config) -> Wanted {
        let has_cleartext = config.listeners.values().any(|listener| listener.tls.is_none());
        Wanted {
            directory: acme.directory.clone(),
            contact: acme.contact.clone(),
            authorities: acme.authorities.clone(),
            way: if has_cleartext { Way::Http } else { Way::Handshake },
            names: Vec::new(),
        }
    }
}

pub struct Keeper {
    folder: Folder,
    wanted: watch::Receiver<Wanted>,
    state: Arc<State>,
    /// Until when the authority wants to be left in peace.
    peace: Arc<AtomicI64>,
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

fn shown_time(at: i64) -> String {
    Timestamp::from_second(at).map(|at| at.to_string()).unwrap_or_default()
}

impl Keeper {
    pub fn new(folder: Folder, wanted: watch::Receiver<Wanted>, state: Arc<State>) -> Keeper {
        Keeper { folder, wanted, state, peace: Arc::default() }
    }

    /// Goes on until nobody wants anything.
    pub async fn run(mut self) {
        // Until when it waits because of the directory.
        let mut busy = 0;
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            let due = wanted.names.iter().map(|name| (name.next(), name));
            let first = due.min_by_key(|(next, _)| *next);
            let peace = self.peace.load(Ordering::Relaxed).max(busy);
            let (at, now) = (first.map_or(i64::MAX, |((at, _), _)| at.max(peace)), now());
            let leaves = self.state.drain.has_begun();
            if let Some(((_, task), name)) = first.filter(|_| at <= now && !leaves) {
                busy = match self.act(&wanted, name, task).await {
                    Ok(()) => 0,
                    Err(()) => now + BUSY_S,
                };
                continue;
            }
            let wait = at.saturating_sub(now).clamp(1, LOOK_MAX_S);
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(wait.unsigned_abs())) => {}
                changed = self.wanted.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Does what is due; an error is that the directory is not ours now.
    async fn act(&self, wanted: &Wanted, name: &Name, task: Task) -> Result<(), ()> {
        let path = self.folder.path().display();
        let held = match self.folder.hold() {
            Ok(Some(held)) => held,
            Ok(None) => {
                tracing::debug!(%path, "another process orders");
                self.catch_up(name);
                return Err(());
            }
            Err(error) => {
                tracing::error!(%path, %error, "no certificate is ordered");
                return Err(());
            }
        };
        // Another process may have done it.
        if !self.catch_up(name) {
            match task {
                Task::Order => self.order(wanted, name).await,
                Task::Ask => self.ask(wanted, name).await,
            }
        }
        drop(held);
        Ok(())
    }

    /// Takes over what another process has put into the directory; whether there was anything.
    fn catch_up(&self, name: &Name) -> bool {
        let own = name.shown.get();
        let is_other = |kept: &CertifiedKey| own.as_ref().is_none_or(|own| own.cert != kept.cert);
        if let Ok(Some(kept)) = self.folder.certificate(&name.host)
            && is_other(&kept)
        {
            tracing::info!(host = name.host, "a certificate was put into the directory");
            name.install(kept);
            return true;
        }
        let known = name.known();
        match self.folder.trouble(&name.host) {
            Ok(Some(trouble)) if known.trouble.as_ref() != Some(&trouble) && !known.is_wished => {
                name.change(|known| known.trouble = Some(trouble));
                true
            }
            _ => false,
        }
    }

    async fn account(&self, wanted: &Wanted) -> Result<Account, Fault> {
        let asking = Asking::new(wanted.authorities.as_deref(), &self.peace);
        let asking = asking.map_err(|why| Fault { failed: Failed::Unreachable, why })?;
        let contact = wanted.contact.as_deref();
        authority::account(&self.folder, &wanted.directory, contact, asking).await
    }

    async fn order(&self, wanted: &Wanted, name: &Name) {
        let host = name.host.as_str();
        let failures = name.known().trouble.map_or(1, |trouble| trouble.failures.saturating_add(1));
        // Who is killed meanwhile does not try again at once, however often he is started.
        let begun = Trouble {
            failures,
            not_before: now() + backoff(Failed::Refused, failures, 0.0),
            why: "the process ended during the attempt".to_owned(),
        };
        // One that is wished for meanwhile comes after this.
        name.change(|known| known.is_wished = false);
        let result = match self.folder.keep_trouble(host, &begun) {
            Err(error) => Err(Fault {
                failed: Failed::Unreachable,
                why: format!("{}: {error}", self.folder.path().display()),
            }),
            Ok(()) => {
                name.change(|known| known.is_ordering = true);
                match self.attempt(wanted, name).await {
                    // With another account.
                    Err(fault) if is_forgotten(&self.folder, &fault) => {
                        self.attempt(wanted, name).await
                    }
                    ended => ended,
                }
            }
        };
        let outcome = match &result {
            Ok(()) => "issued",
            Err(fault) => fault.failed.name(),
        };
        match result {
            Ok(()) => {
                if let Err(error) = self.folder.forget_trouble(host) {
                    tracing::warn!(%error, host, "what went wrong before cannot be removed");
                }
            }
            Err(fault) => self.fail(wanted, name, &fault, failures),
        }
        self.state.metrics.certificates.orders.with_label_values(&[host, outcome]).inc();
    }

    async fn attempt(&self, wanted: &Wanted, name: &Name) -> Result<(), Fault> {
        let ended = timeout(ATTEMPT_MAX, Box::pin(self.obtain(wanted, name))).await;
        ended.unwrap_or_else(|_| Err(Fault::refused("it took too long")))
    }

    async fn obtain(&self, wanted: &Wanted, name: &Name) -> Result<(), Fault> {
        let host = name.host.as_str();
        let account = self.account(wanted).await?;
        // Only an authority that suggests windows listens to what is replaced.
        let suggests = name.known().window.is_some();
        let replaced = suggests.then(|| identifier(name)).flatten();
        let challenges = &self.state.tls.issued.challenges;
        let pem = order::obtain(&account, host, replaced, wanted.way, challenges).await?;
        let kept = self.folder.keep_certificate(host, &pem);
        kept.map_err(|error| Fault::refused(format!("it cannot be kept: {error}")))?;
        let key = crate::tls::shown::from_pem(pem.as_bytes(), host).map_err(Fault::refused)?;
        let until = key.cert.first().and_then(|leaf| validity(leaf).ok()).map(|v| v.until);
        name.install(key);
        let renews = name.known().renews_at(name.shown.validity());
        tracing::info!(
            host,
            expires = until.map(shown_time),
            renews = renews.map(shown_time),
            "a certificate was issued"
        );
        Ok(())
    }

    fn fail(&self, wanted: &Wanted, name: &Name, fault: &Fault, failures: u32) {
        let wait = backoff(fault.failed, failures, fastrand::f64());
        let not_before = (now() + wait).max(self.peace.load(Ordering::Relaxed));
        let trouble = Trouble { failures, not_before, why: fault.why.clone() };
        let (host, directory, why) = (name.host.as_str(), &wanted.directory, &fault.why);
        let again = shown_time(not_before);
        tracing::error!(host, directory, why, failures, again, "no certificate was issued");
        if let Err(error) = self.folder.keep_trouble(host, &trouble) {
            tracing::error!(%error, host, "what went wrong cannot be kept");
        }
        name.change(|known| {
            known.is_ordering = false;
            known.trouble = Some(trouble);
        });
    }

    /// Asks the authority when it would have the certificate renewed (RFC 9773).
    async fn ask(&self, wanted: &Wanted, name: &Name) {
        let asked = async {
            let account = self.account(wanted).await?;
            let of = identifier(name).ok_or_else(|| Fault::refused("it names no issuer's key"))?;
            Ok::<_, Fault>(account.renewal_info(&of).await?)
        };
        match timeout(ATTEMPT_MAX, Box::pin(asked)).await {
            Ok(Ok((info, again))) => {
                let window = &info.suggested_window;
                let window = (window.start.unix_timestamp(), window.end.unix_timestamp());
                let again = i64::try_from(again.as_secs()).unwrap_or(ASK_S.1);
                let ask_at = now() + again.clamp(ASK_S.0, ASK_S.1);
                let (start, end) = (shown_time(window.0), shown_time(window.1));
                tracing::debug!(host = name.host, start, end, "the authority says when to renew");
                name.change(|known| (known.window, known.ask_at) = (Some(window), ask_at));
            }
            failed => {
                let why = match failed {
                    Ok(Err(fault)) => fault.why,
                    _ => "it took too long".to_owned(),
                };
                tracing::debug!(host = name.host, why, "the authority does not say when to renew");
                name.change(|known| known.ask_at = now() + ASK_AGAIN_S);
            }
        }
    }
}

fn identifier(name: &Name) -> Option<CertificateIdentifier<'static>> {
    let shown = name.shown.get()?;
    let identifier = CertificateIdentifier::try_from(shown.cert.first()?).ok()?;
    Some(identifier.into_owned())
}
