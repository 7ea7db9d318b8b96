//! Reads a large object slice by slice: from the store, from a fill somebody else began, or from one begun
//! here, with those of the next slices under way.

use std::collections::VecDeque;
use std::sync::Arc;

use http::HeaderMap;
use parking_lot::Mutex;
use pingora::proxy::Session;

use crate::buffer::tempo::Pacing;
use crate::cache::answer::wait;
use crate::cache::directives::Directives;
use crate::cache::object::Stored;
use crate::cache::policy::Policy;
use crate::cache::range::{Wanted, wanted};
use crate::cache::serve::{relay, send_stored};
use crate::cache::slices::{Layout, Span};
use crate::cache::{Asking, Step, now_ms};
use crate::failure::Failure;
use crate::fill::flow::Flow;
use crate::fill::origin::{Origin, Question};
use crate::fill::slice::{Slice, Wants};
use crate::fill::task::Job;
use crate::fill::{Answer, Fill, Interest};

/// The names of all results, as label values.
pub const RESULTS: [&str; 8] =
    ["stored", "joined", "fetched", "read_ahead", "changed", "refused", "no_room", "unfit"];
/// Fills of others that may come to nothing before a slice is given up.
const TRIES_MAX: usize = 4;

/// A large object being read.
pub struct Sliced {
    pub policy: Arc<Policy>,
    pub origin: Origin,
    pub question: Question,
    /// Its layout.
    pub of: Arc<Stored>,
    layout: Layout,
    length: u64,
    none: HeaderMap,
    said: Directives,
    /// Keeps the slice going that came with the layout, until it is read.
    begun: Mutex<Option<Interest>>,
}

/// Slices fetched ahead, and what keeps their fills going.
type Ahead = VecDeque<(u64, Interest)>;

/// Where a slice's bytes are.
enum Piece {
    Stored(Arc<Stored>),
    Flow(Arc<Flow>, Interest),
}

impl Sliced {
    /// `None` when what is stored is whole.
    pub fn new(
        policy: &Arc<Policy>,
        origin: &Origin,
        question: Question,
        of: &Arc<Stored>,
        begun: Option<Interest>,
    ) -> Option<Sliced> {
        Some(Sliced {
            policy: Arc::clone(policy),
            origin: origin.clone(),
            question,
            layout: of.head.layout?,
            length: of.head.length?,
            of: Arc::clone(of),
            none: HeaderMap::new(),
            said: Directives::default(),
            begun: Mutex::new(begun),
        })
    }

    /// Whether the slice that the request begins with is at hand.
    pub fn is_there(&self, request: &HeaderMap) -> bool {
        let first = match wanted(request, self.length) {
            Wanted::Part { first, .. } => first,
            Wanted::Whole => 0,
            Wanted::Nothing => return true,
        };
        self.policy.cache.has(&self.layout.key(&self.of.key, self.layout.index(first)))
    }

    fn look(&self, index: u64, may_load: bool) -> Step {
        let key = self.layout.key(&self.of.key, index);
        let asking = Asking {
            key: &key,
            headers: &self.none,
            said: &self.said,
            is_head: false,
            may_wait: true,
            may_load,
        };
        self.policy.cache.look(&asking, &self.policy, now_ms())
    }

    fn fetch(&self, fill: &Arc<Fill>, index: u64, ahead: bool) {
        let span = self.layout.span(index, self.length);
        let wants = Wants::Slice(Slice { of: Arc::clone(&self.of), span, ahead });
        let job = Job {
            fill: Arc::clone(fill),
            policy: Arc::clone(&self.policy),
            origin: self.origin.clone(),
            question: self.question.clone(),
            stale: None,
            wants,
        };
        job.start();
    }

    /// Sees to it that the slices behind this one, up to `end`, are there or on their way.
    fn read_ahead(&self, index: u64, end: u64, ahead: &mut Ahead) {
        let count = self.policy.slices.map_or(0, |rules| rules.read_ahead);
        let last = (index + count).min(self.layout.index(end - 1));
        let from = ahead.back().map_or(index, |(begun, _)| (*begun).max(index)) + 1;
        for next in from..=last {
            let interest = match self.look(next, true) {
                Step::Lead { fill, interest, .. } => {
                    self.fetch(&fill, next, true);
                    interest
                }
                Step::Load { load, interest } => {
                    load.start(Arc::clone(&self.policy));
                    interest
                }
                Step::Join { interest, .. } => interest,
                _ => continue,
            };
            ahead.push_back((next, interest));
        }
    }

    /// The bytes of a slice, as soon as there are any. `step` is what a first look came to.
    async fn piece(
        &self,
        session: &mut Session,
        index: u64,
        mut step: Step,
    ) -> Result<Piece, Failure> {
        let mut may_load = true;
        for _ in 0..TRIES_MAX {
            let (fill, interest, own) = match step {
                Step::Serve { stored, .. } | Step::StandIn(stored) => {
                    self.policy.cache.count_slice("stored");
                    return Ok(Piece::Stored(stored));
                }
                Step::Lead { fill, interest, .. } => (fill, interest, true),
                Step::Join { fill, interest, .. } => (fill, interest, false),
                Step::Load { load, interest } => {
                    let fill = Arc::clone(&load.fill);
                    load.start(Arc::clone(&self.policy));
                    may_load = false;
                    (fill, interest, false)
                }
                Step::Pass(_) | Step::Unanswerable => return Err(Failure::Internal),
            };
            match wait(session, &fill).await?.answer {
                Answer::Shared(_, flow) if own || flow.is_kept() => {
                    if !own {
                        self.policy.cache.count_slice("joined");
                    }
                    return Ok(Piece::Flow(flow, interest));
                }
                Answer::Private(_, flow, _) if own => return Ok(Piece::Flow(flow, interest)),
                Answer::Failed(failure) if own => return Err(failure),
                _ => {}
            }
            step = self.begin(index, may_load);
        }
        Err(Failure::UpstreamBroken)
    }

    /// Looks for a slice, and fetches it when nobody has or does.
    fn begin(&self, index: u64, may_load: bool) -> Step {
        let step = self.look(index, may_load);
        if let Step::Lead { fill, .. } = &step {
            self.fetch(fill, index, false);
        }
        step
    }
}

/// Sends the bytes from `first` up to and without `end`.
pub async fn send_sliced(
    session: &mut Session,
    sliced: &Sliced,
    (first, end): (u64, u64),
    pacing: &Pacing,
) -> Result<(), Failure> {
    let mut ahead = Ahead::new();
    let mut at = first;
    while at < end {
        let index = sliced.layout.index(at);
        let step = sliced.begin(index, true);
        sliced.read_ahead(index, end, &mut ahead);
        let piece = sliced.piece(session, index, step).await?;
        drop(sliced.begun.lock().take());
        while ahead.front().is_some_and(|(begun, _)| *begun <= index) {
            ahead.pop_front();
        }
        let Span { begin, end: slice_end } = sliced.layout.span(index, sliced.length);
        let stop = end.min(slice_end);
        match piece {
            Piece::Stored(stored) => {
                send_stored(session, &stored, (at - begin, stop - begin), pacing).await?;
            }
            Piece::Flow(flow, _interest) => {
                let mut reader = flow.reader(at - begin);
                relay(session, &mut reader, stop - begin, pacing).await?;
            }
        }
        at = stop;
    }
    Ok(())
}
