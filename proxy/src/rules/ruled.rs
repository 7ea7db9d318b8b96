//! The rules of a route, rendered for one request.

use http::{HeaderName, HeaderValue, StatusCode};
use proxy_config::detours::{Step, To};
use proxy_config::header_edits::Rendered;
use proxy_config::program::Walk;
use proxy_config::route_rules::{RenderedReply, RenderedTexts};

#[derive(Default)]
pub struct Ruled {
    /// Path and query as the client asked for them, where a rewrite has changed them.
    pub asked: Option<String>,
    pub to_upstream: Rendered,
    pub to_client: ToClient,
    pub reply: Option<RenderedReply>,
    /// The reply is one to a preflight, which proves nothing.
    pub is_preflight: bool,
    /// The reply is one of steps, which come before limits and proof.
    pub by_steps: bool,
    /// Further texts of the route.
    pub texts: RenderedTexts,
    pub tries: Vec<Step>,
    /// Where each of the route's error pages is.
    pub pages: Vec<To>,
    /// Variables and captures on the way to its route.
    pub walk: Walk,
    /// What the target is to become.
    pub(super) rewritten: Option<String>,
}

/// What becomes of an answer on its way to the client.
#[derive(Clone, Default)]
pub struct ToClient {
    /// The route's edits, made last.
    pub edits: Rendered,
    /// Fields that replace those of the answer: what led here has said them.
    pub kept: Vec<(HeaderName, HeaderValue)>,
    /// Sent in place of the answer's own.
    pub status: Option<StatusCode>,
}

impl ToClient {
    /// Whether an answer goes out as it is.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty() && self.kept.is_empty() && self.status.is_none()
    }

    /// What is answered does not come from where a detour led.
    pub fn stand_alone(&mut self) {
        self.kept.clear();
        self.status = None;
    }
}
