//! One miss, or one revalidation, is one fill: one request to the origin, in a task of its own that
//! no reader can hold up or take away from the others.
//!
//! What is on disk is a fill too ([`load`]). The stops of the others: [`origin`] asks → the answer is judged ([`crate::cache::freshness`]) and made known to
//! everyone who waits → the body is read into a [`flow`] and [`resume`]d when it breaks → stored, or [`passing`] where there is no room. Large
//! objects are fetched by the [`slice`].

pub mod contact;
pub mod feed;
pub mod flow;
pub mod load;
pub mod origin;
pub mod passing;
pub mod reply;
pub mod resume;
pub mod slice;
pub mod task;
pub mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::HeaderMap;
use pingora::http::ResponseHeader;
use tokio::sync::watch;

use crate::cache::Asking;
use crate::cache::freshness::{Plan, plan};
use crate::cache::key::Key;
use crate::cache::object::{Head, Stored};
use crate::cache::policy::Policy;
use crate::cache::purge::Scope;
use crate::cache::vary::Selection;
use crate::failure::Failure;
use crate::fill::contact::Contact;
use crate::fill::flow::Flow;

/// Interim responses of one fill that are passed on, and bytes of their fields together.
const INTERIM_TOLD_MAX: usize = 8;
const INTERIM_BYTES_MAX: usize = 16 * 1024;

/// What came of asking the origin.
#[derive(Clone)]
pub enum Answer {
    /// For everyone it fits; its body is on its way.
    Shared(Arc<Head>, Arc<Flow>),
    /// What is stored in slices: its layout, and the interest in the slice that came with it.
    Large(Arc<Stored>, Arc<Interest>),
    /// What is stored still holds (304).
    Fresh(Arc<Stored>),
    /// For everyone it fits who begins with it: there is no room for it, for this reason.
    Passing(Arc<Head>, Arc<Flow>, &'static str),
    /// For the one who asked: it may not be stored, for this reason.
    Private(Arc<Head>, Arc<Flow>, &'static str),
    /// For nobody: it may not be stored, for this reason, and only a part of it was asked for.
    Refused(&'static str),
    Failed(Failure),
    /// It came from the disk, if it came: look again.
    Loaded,
}

/// An answer and how it was come by.
#[derive(Clone)]
pub struct Known {
    pub answer: Answer,
    pub contact: Contact,
}

pub struct Fill {
    pub key: Key,
    /// The fields of the request that began it.
    pub request: HeaderMap,
    known: watch::Sender<Option<Known>>,
    /// Interim responses of the origin, for everyone who waits.
    interim: watch::Sender<Vec<ResponseHeader>>,
    /// How many wait for it or read from it.
    interest: watch::Sender<usize>,
    doomed: AtomicBool,
    /// It refreshes what is stored; nobody waits for it.
    background: bool,
}

impl Fill {
    pub fn new(key: Key, request: HeaderMap, background: bool) -> Arc<Fill> {
        Arc::new(Fill {
            key,
            request,
            known: watch::Sender::new(None),
            interim: watch::Sender::new(Vec::new()),
            interest: watch::Sender::new(0),
            doomed: AtomicBool::new(false),
            background,
        })
    }

    /// Its answer is out of date before it is there: it is stored nowhere, and nobody new joins.
    pub fn doom(&self) {
        self.doomed.store(true, Ordering::Release);
    }

    pub fn is_doomed(&self) -> bool {
        self.doomed.load(Ordering::Acquire)
    }

    /// Whether a purge of this scope is about what it brings, as far as is known.
    pub fn may_be_in(&self, scope: &Scope) -> bool {
        let known = self.known.borrow();
        let tags = match known.as_ref().map(|known| &known.answer) {
            Some(Answer::Shared(head, _) | Answer::Passing(head, ..)) => Some(&head.tags),
            _ => None,
        };
        scope.may_cover(&self.key.uri, tags)
    }

    /// Waits for the answer.
    pub async fn known(&self) -> Known {
        let mut known = self.known.subscribe();
        let found = known.wait_for(Option::is_some).await;
        let found = found.ok().and_then(|known| known.clone());
        // The sender lives in this fill, so there is always an answer in the end.
        found.unwrap_or(Known {
            answer: Answer::Failed(Failure::Internal),
            contact: Contact::default(),
        })
    }

    /// Keeps an interim response for those who wait; beyond a limit it is dropped, as any hop may.
    fn tell(&self, head: ResponseHeader) {
        let bytes = |head: &ResponseHeader| {
            head.headers
                .iter()
                .map(|(name, value)| name.as_str().len() + value.len())
                .sum::<usize>()
        };
        self.interim.send_if_modified(|told| {
            let room = told.iter().map(bytes).sum::<usize>() + bytes(&head) <= INTERIM_BYTES_MAX;
            if room && told.len() < INTERIM_TOLD_MAX {
                told.push(head);
                return true;
            }
            false
        });
    }

    /// Interim responses so far, and what wakes when there are more.
    pub fn interim(&self) -> watch::Receiver<Vec<ResponseHeader>> {
        self.interim.subscribe()
    }

    fn make_known(&self, answer: Answer, contact: &Contact) {
        self.known.send_replace(Some(Known { answer, contact: contact.clone() }));
    }

    fn is_known(&self) -> bool {
        self.known.borrow().is_some()
    }

    /// Whether nobody is left who wants it.
    pub fn is_left(&self) -> bool {
        *self.interest.borrow() == 0
    }

    /// How many wait for it or read from it.
    fn waiting(&self) -> watch::Receiver<usize> {
        self.interest.subscribe()
    }

    /// Waits until nobody is left who wants it.
    async fn left(&self) {
        let mut interest = self.interest.subscribe();
        // The sender lives in this fill: it cannot be gone.
        let _ = interest.wait_for(|count| *count == 0).await;
    }

    /// Whether it will answer this request, as far as can be known before its head is there:
    /// `selection` is what earlier answers to the key varied by.
    pub fn fits(
        &self,
        asking: &Asking<'_>,
        policy: &Policy,
        selection: Option<&Selection>,
        any_request: bool,
    ) -> bool {
        if self.is_doomed() {
            return false;
        }
        match self.known.borrow().as_ref().map(|known| &known.answer) {
            None => selection.is_none_or(|s| s.fits(asking.headers) == s.fits(&self.request)),
            Some(Answer::Shared(head, flow) | Answer::Passing(head, flow, _)) => {
                let Some(times) = &head.times else { return false };
                // Judged as of its arrival: a segment may take longer to come than it is fresh.
                let at_ms = times.arrived_ms();
                let honor = policy.freshness.honor_request;
                let usable =
                    any_request || plan(Some(times), asking.said, honor, at_ms) == Plan::Hit;
                let is_whole = flow.is_kept() || flow.is_open();
                usable && is_whole && head.selection.fits(asking.headers)
            }
            Some(_) => false,
        }
    }
}

/// Somebody's interest in a fill; without any, the policy decides whether it goes on.
pub struct Interest(Arc<Fill>);

impl Interest {
    pub fn in_fill(fill: &Arc<Fill>) -> Interest {
        fill.interest.send_modify(|count| *count += 1);
        Interest(Arc::clone(fill))
    }

    pub fn key(&self) -> &Key {
        &self.0.key
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.0.interest.send_modify(|count| *count -= 1);
    }
}
