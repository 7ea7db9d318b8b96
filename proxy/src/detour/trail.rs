//! How far a request has come from what its client asked for, and where it goes on.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use proxy_config::detours::To;

use crate::failure::Failure;
use crate::handed_out::named::Named;
use crate::inside::bounds::Bounds;
use crate::route::Route;

/// What has become of a request.
pub enum Next {
    /// It is answered.
    Sent,
    /// It goes on to its upstream.
    PassOn,
    Elsewhere(Detour),
}

/// Where a request goes on, and why.
#[derive(Clone, Debug)]
pub struct Detour {
    pub to: Goal,
    pub why: Why,
}

#[derive(Clone, Debug)]
pub enum Goal {
    To(To),
    /// The path that an upstream's answer names, as it is written there.
    Named(HeaderValue),
    /// The file that an upstream's answer names: it is sent where the request is.
    File(Box<Named>),
}

impl From<To> for Goal {
    fn from(to: To) -> Goal {
        Goal::To(to)
    }
}

#[derive(Clone, Debug)]
pub enum Why {
    /// A step of `try`.
    Try,
    /// An upstream's answer names it; these fields of the answer are kept.
    Accel(Vec<(HeaderName, HeaderValue)>),
    /// It stands in for a failure.
    Page(Page),
    /// It is a part of another request ([`crate::inside`]).
    Inside,
}

/// A page that is shown in place of a failure.
#[derive(Clone, Debug)]
pub struct Page {
    pub failure: Failure,
    /// The status sent; without it, the page's own.
    pub(super) status: Option<StatusCode>,
    /// The page's own failure or redirect is answered where it has one.
    pub(super) own_failures: bool,
}

/// How far a request has come from what the client asked for.
#[derive(Default)]
pub struct Trail {
    pub(super) count: u32,
    /// What the client asked for, once the head says something else.
    pub asked: Option<(Method, String)>,
    /// Whoever is asked now is not sent the client's body.
    pub without_body: bool,
    /// Path and query that the route was asked for, once its rewrite has changed them.
    pub unwritten: Option<String>,
    /// Pingora has let go of the request: it cannot pass it on once more.
    pub is_let_go: bool,
    /// Limits have been applied; they are, once per request.
    pub limited: bool,
    /// It is a part of another request ([`crate::inside`]), whose address, limits and lane it has.
    pub is_inside: bool,
    /// How many pages it is a part of.
    pub depth: u32,
    /// What is left of the limits of the page it is a part of, or puts together.
    pub bounds: Option<Arc<Bounds>>,
    /// Where the last detour led, before steps: path, and the route where it was named.
    pub entrance: Option<(String, Option<String>)>,
    /// The page is asked for as it is: its parts are put together outside.
    pub is_raw: bool,
    /// The route the next admission is to choose.
    pub(super) route: Option<String>,
    pub(super) kept: Vec<(HeaderName, HeaderValue)>,
    pub(super) page: Option<Page>,
    /// The route whose failure a page stands in for.
    pub failed: Option<Arc<Route>>,
    /// Decided when an answer came, taken when pingora has let go of it.
    pub pending: Option<Detour>,
}

impl Trail {
    /// Whether the client itself asks for what the head says.
    pub fn is_fresh(&self) -> bool {
        self.count == 0
    }

    pub fn named_route(&mut self) -> Option<String> {
        self.route.take()
    }

    /// What the answer to the client must carry: fields kept, and the status, if it is not to be the
    /// answer's own.
    pub fn overlay(&self) -> (Vec<(HeaderName, HeaderValue)>, Option<StatusCode>) {
        (self.kept.clone(), self.page.as_ref().and_then(|page| page.status))
    }
}
