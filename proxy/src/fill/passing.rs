//! What finds no room is shared as it passes by those who wait for it. Who would hold up the others is left behind, and asks
//! for the rest by himself.

use std::sync::Arc;

use http::HeaderMap;

use crate::cache::key::Key;
use crate::cache::object::Head;
use crate::cache::policy::Policy;
use crate::failure::Failure;
use crate::fill::contact::Contact;
use crate::fill::flow::{Flow, Reader};
use crate::fill::origin::{Origin, Question};
use crate::fill::resume::{self, Rest};
use crate::fill::slice::Wants;
use crate::fill::task::Job;
use crate::fill::{Fill, Interest};

/// Why answers are not stored that could be, but for their size.
pub const NO_ROOM: &str = "no_room";
pub const TOO_LARGE: &str = "too_large";

pub fn is_for_room(reason: &str) -> bool {
    reason == NO_ROOM || reason == TOO_LARGE
}

/// Whether an answer that is not stored for this reason is good for everybody it fits, and whoever is left behind can prove
/// that what he gets is the rest of it.
pub fn is_shared(head: &Head, reason: &str) -> bool {
    let is_for_all = head.times.is_some() && is_for_room(reason);
    let is_provable = || resume::fields(&head.response.headers, 1).is_some();
    is_for_all && head.response.status.as_u16() < 500 && is_provable()
}

/// An answer that passes, and how its rest is asked for.
pub struct Passing {
    pub head: Arc<Head>,
    pub flow: Arc<Flow>,
    pub key: Key,
    pub policy: Arc<Policy>,
    pub origin: Origin,
    pub question: Question,
}

/// A reader, and what keeps its bytes coming.
pub type Read = (Reader, Option<Interest>);

impl Passing {
    /// A reader that begins here: with the others, or where they are farther already by itself.
    pub async fn reader(&self, at: u64) -> Result<Read, Failure> {
        match self.flow.passing_reader(at) {
            Some(reader) => Ok((reader, None)),
            None => self.rest(at).await,
        }
    }

    /// Asks for the rest, for one reader.
    ///
    /// Errors: those of asking; `UpstreamBroken` where what comes is not proved to be the rest of the same bytes.
    pub async fn rest(&self, at: u64) -> Result<Read, Failure> {
        let headers = &self.head.response.headers;
        let fields = resume::fields(headers, at).ok_or(Failure::UpstreamBroken)?;
        let mut contact = Contact::default();
        let asking = self.origin.ask(&self.question, &fields, &mut contact, &|_| {});
        let reply = asking.await?;
        let (status, said) = (reply.head.status, &reply.head.headers);
        let skip = match resume::judge(headers, at, self.head.length, status, said) {
            Rest::Follows => 0,
            Rest::AfterSkipping(bytes) => bytes,
            Rest::Unusable => {
                reply.close().await;
                return Err(Failure::UpstreamBroken);
            }
        };
        self.policy.cache.count_resume("left_behind");
        let fill = Fill::new(self.key.clone(), HeaderMap::new(), false);
        let interest = Interest::in_fill(&fill);
        let flow = Flow::rest(at, self.origin.window());
        let reader = flow.reader(at);
        let job = Job {
            fill,
            policy: Arc::clone(&self.policy),
            origin: self.origin.clone(),
            question: self.question.clone(),
            stale: None,
            wants: Wants::Whole,
        };
        job.start_rest(reply, (Arc::clone(&self.head), flow), skip);
        Ok((reader, Some(interest)))
    }
}
