//! Fills of large objects. What is not known is asked for by the one slice that holds the first byte wanted;
//! what comes back says whether the object is kept whole, in slices, or not at all. Each further slice is a
//! fill of its own.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderName, HeaderValue, IF_RANGE};
use http::{HeaderMap, StatusCode};
use pingora::http::ResponseHeader;

use crate::cache::conditional::{is_about, validators};
use crate::cache::freshness::Times;
use crate::cache::now_ms;
use crate::cache::object::{Blocks, Body, Head, Stored};
use crate::cache::slices::{Layout, Learned, Part, Probe, Rules, Span, is_part, learn, validator};
use crate::cache::tags::Tags;
use crate::cache::vary::Selection;
use crate::failure::Failure;
use crate::fill::contact::Contact;
use crate::fill::flow::{Flow, Held};
use crate::fill::reply::Reply;
use crate::fill::resume::Rest;
use crate::fill::task::{Ending, Job, room_for};
use crate::fill::{Answer, Interest};

/// What a fill asks the origin for.
#[derive(Clone)]
pub enum Wants {
    Whole,
    /// A part of what may be large.
    Probe(Probe),
    Slice(Slice),
}

/// A slice of an object that is laid out.
#[derive(Clone)]
pub struct Slice {
    pub of: Arc<Stored>,
    pub span: Span,
    /// Nobody reads it yet: where there is no room for it, it is not fetched.
    pub ahead: bool,
}

impl Slice {
    /// What of it is missing after so many bytes.
    fn rest(&self, received: u64) -> Part {
        let begin = self.span.begin + received;
        Part { span: Span { begin, ..self.span }, total: self.of.head.length.unwrap_or(0) }
    }

    fn object(&self) -> &HeaderMap {
        &self.of.head.response.headers
    }
}

/// A large object, as its first answer shows it; that answer's body is a slice.
pub struct Laid {
    head: Head,
    layout: Layout,
    index: u64,
    skip: u64,
}

/// The origin's reply to a fill.
pub enum Asked {
    Whole(Box<Reply>),
    /// Its head is that of the whole, its body is not.
    Laid(Box<Reply>, Box<Laid>),
    /// It was asked for in part, and is not to be stored for this reason: nothing of it is read.
    Refused(&'static str),
}

/// What a part tells of the whole.
enum Seen {
    /// It is the whole.
    Whole,
    Laid(Box<Laid>),
    Refused(&'static str),
    /// It has to be asked for without a range.
    Unfit,
}

impl Job {
    /// Asks for the object; whether what is stored still holds first, where that can be asked.
    pub(super) async fn ask(&self, contact: &mut Contact, asked_ms: u64) -> Result<Asked, Failure> {
        let stale = self.stale.as_ref().filter(|_| self.policy.revalidate);
        let stored = stale.map(|stale| &stale.head.response.headers);
        let conditions = stored.map(validators).unwrap_or_default();
        let asked = self.ask_on(&conditions, contact, asked_ms).await?;
        let is_other = |head: &ResponseHeader| {
            head.status == StatusCode::NOT_MODIFIED
                && stored.is_some_and(|stored| !is_about(stored, &head.headers))
        };
        // It tells of a version that is not here: nothing is learned of the one that is.
        match asked {
            Asked::Whole(reply) if is_other(&reply.head) => reply.release().await,
            asked => return Ok(asked),
        }
        *contact = Contact::default();
        match self.ask_on(&[], contact, asked_ms).await? {
            Asked::Whole(reply) if reply.head.status == StatusCode::NOT_MODIFIED => {
                Err(Failure::UpstreamBroken)
            }
            asked => Ok(asked),
        }
    }

    /// The same on conditions: for a part of it where it may be large, for the whole where that is no use.
    async fn ask_on(
        &self,
        conditions: &[(HeaderName, HeaderValue)],
        contact: &mut Contact,
        asked_ms: u64,
    ) -> Result<Asked, Failure> {
        let tell = |head| self.fill.tell(head);
        let rules = self.policy.slices;
        let probes = match (&self.wants, &rules) {
            (Wants::Probe(probe), Some(rules)) => vec![(*probe, rules), (Probe::Slice(0), rules)],
            _ => Vec::new(),
        };
        for (probe, rules) in probes {
            let mut fields = conditions.to_vec();
            fields.push(probe.field(rules.size));
            let mut reply = self.origin.ask(&self.question, &fields, contact, &tell).await?;
            match reply.head.status {
                StatusCode::PARTIAL_CONTENT => {
                    match self.seen(probe, rules, &mut reply, asked_ms) {
                        Seen::Whole => return Ok(Asked::Whole(reply)),
                        Seen::Laid(laid) => return Ok(Asked::Laid(reply, laid)),
                        Seen::Refused(reason) => {
                            self.policy.cache.count_slice("unfit");
                            reply.close().await;
                            return Ok(Asked::Refused(reason));
                        }
                        Seen::Unfit => {
                            self.policy.cache.count_slice("unfit");
                            reply.release().await;
                            break;
                        }
                    }
                }
                // Beyond the end: the first slice says where that is.
                StatusCode::RANGE_NOT_SATISFIABLE => reply.release().await,
                _ => return Ok(Asked::Whole(reply)),
            }
            *contact = Contact::default();
        }
        *contact = Contact::default();
        let reply = self.origin.ask(&self.question, conditions, contact, &tell).await?;
        Ok(Asked::Whole(reply))
    }

    /// Judges a 206, and makes its head that of the whole.
    fn seen(&self, probe: Probe, rules: &Rules, reply: &mut Reply, asked_ms: u64) -> Seen {
        let learned = learn(probe, rules, self.policy.body_bytes_max(), &reply.head.headers);
        let total = match learned {
            Learned::Whole(total) | Learned::Middling(total) | Learned::Large { total, .. } => {
                total
            }
            Learned::Unproven => return Seen::Refused("too_large"),
            Learned::Unfit => return Seen::Unfit,
        };
        as_whole(&mut reply.head, total);
        if matches!(learned, Learned::Whole(_)) {
            return Seen::Whole;
        }
        let (head, refusal) = self.assessed(reply, asked_ms);
        let too_large = self.policy.body_max.is_some_and(|max| total > max);
        if let Some(reason) = refusal.or(too_large.then_some("too_large")) {
            return Seen::Refused(reason);
        }
        let Learned::Large { index, skip, .. } = learned else { return Seen::Unfit };
        let layout = Layout { id: self.policy.cache.new_id(), size: rules.size };
        Seen::Laid(Box::new(Laid { head, layout, index, skip }))
    }

    /// Stores the layout and lets the slice that came with it run on as a fill of its own.
    pub(super) fn lay_out(&self, laid: Laid, reply: Box<Reply>, contact: &Contact) {
        let Laid { mut head, layout, index, skip } = laid;
        let (cache, key) = (&self.policy.cache, &self.fill.key);
        head.layout = Some(layout);
        let times = head.times.unwrap_or_else(|| Times::spent(now_ms()));
        let room = cache.reserve(head.cost(key), 0);
        let is_kept = room.is_ok();
        let Ok((head_lease, lease)) = room.or_else(|_| cache.reserve(0, 0)) else {
            return self.fail(Failure::Internal, contact);
        };
        let length = head.length.unwrap_or(0);
        let body = Arc::new(Body { blocks: Blocks::default(), pages: None, lease });
        let stored = Stored::new(key.clone(), Arc::new(head), times, body, head_lease);
        let stored = Arc::new(stored);
        let slice = cache.begin_slice(layout.key(key, index));
        // For as long as somebody holds what comes of the object's fill.
        let interest = Arc::new(Interest::in_fill(&slice));
        let wants = Wants::Slice(Slice {
            of: Arc::clone(&stored),
            span: layout.span(index, length),
            ahead: false,
        });
        cache.complete(&self.fill, is_kept.then(|| Arc::clone(&stored)));
        self.fill.make_known(Answer::Large(stored, interest), contact);
        let job = Job {
            fill: slice,
            policy: Arc::clone(&self.policy),
            origin: self.origin.clone(),
            question: self.question.clone(),
            stale: None,
            wants,
        };
        job.start_with(Some((reply, skip)));
    }

    /// Runs the fill of a slice. `begun` is a reply, judged already, that has it after so many bytes.
    pub(super) async fn run_slice(
        &self,
        slice: &Slice,
        begun: Option<(Box<Reply>, u64)>,
        ending: &mut Ending<'_>,
    ) {
        let cache = &self.policy.cache;
        let head = Arc::new(slice_head(slice));
        let body_bytes = room_for(slice.span.length());
        // Before the origin is asked, so that nothing is fetched ahead that cannot be kept.
        let room = cache.reserve_slice(head.cost(&self.fill.key), body_bytes);
        if slice.ahead && room.is_err() {
            return cache.count_slice("no_room");
        }
        let mut contact = Contact::default();
        let (reply, skip) = if let Some(begun) = begun {
            begun
        } else {
            let finishes = self.finishes(0, None);
            let asking = Box::pin(self.open_slice(slice, &mut contact));
            let Ok(reply) = self.unless_left(asking, || finishes).await else { return };
            match reply {
                Ok(reply) => (reply, 0),
                Err(failure) => {
                    ending.result = "failed";
                    return self.fail(failure, &contact);
                }
            }
        };
        cache.count_slice(if slice.ahead { "read_ahead" } else { "fetched" });
        let (flow, head_lease) = if let Ok((head_lease, lease)) = room {
            let pages = cache.pages_for(Some(slice.span.length()));
            let flow = Flow::paged(Held::Lease(lease), self.origin.window(), pages);
            let answer = Answer::Shared(Arc::clone(&head), Arc::clone(&flow));
            self.fill.make_known(answer, &contact);
            (flow, Some(head_lease))
        } else {
            let flow = Flow::new(Held::Nothing, self.origin.window());
            let answer = Answer::Private(Arc::clone(&head), Arc::clone(&flow), "no_room");
            cache.count_refusal("no_room");
            self.fill.make_known(answer, &contact);
            cache.complete(&self.fill, None);
            (flow, None)
        };
        self.receive(reply, (&head, &flow, head_lease), skip, ending).await;
    }

    /// Asks for a slice; anything but those bytes is a failure.
    async fn open_slice(
        &self,
        slice: &Slice,
        contact: &mut Contact,
    ) -> Result<Box<Reply>, Failure> {
        let wanted = slice.rest(0);
        let fields = [wanted.span.field()];
        let reply = self.origin.ask(&self.question, &fields, contact, &|_| {}).await?;
        let status = reply.head.status;
        let headers = &reply.head.headers;
        if status == StatusCode::PARTIAL_CONTENT && is_part(slice.object(), wanted, headers) {
            return Ok(reply);
        }
        if status.is_server_error() {
            self.policy.cache.count_slice("refused");
        } else {
            // Another version, or none: nothing more of this one is to be had.
            self.policy.cache.count_slice("changed");
            self.policy.cache.forget(&slice.of);
        }
        reply.release().await;
        Err(Failure::UpstreamBroken)
    }

    /// Asks for the rest of a slice.
    pub(super) async fn resume_slice(
        &self,
        slice: &Slice,
        received: u64,
    ) -> Option<(Box<Reply>, Rest)> {
        let wanted = slice.rest(received);
        let mut fields = vec![wanted.span.field()];
        fields.extend(validator(slice.object()).map(|(_, value)| (IF_RANGE, value.clone())));
        let mut contact = Contact::default();
        let reply = self.origin.ask(&self.question, &fields, &mut contact, &|_| {}).await.ok()?;
        let is_it = reply.head.status == StatusCode::PARTIAL_CONTENT
            && is_part(slice.object(), wanted, &reply.head.headers);
        Some((reply, if is_it { Rest::Follows } else { Rest::Unusable }))
    }
}

/// A 206 as the 200 it is a part of.
fn as_whole(head: &mut ResponseHeader, length: u64) {
    // A status and a number are always taken.
    let _ = head.set_status(StatusCode::OK);
    let _ = head.set_reason_phrase(None);
    head.remove_header(&CONTENT_RANGE);
    let _ = head.insert_header(CONTENT_LENGTH, HeaderValue::from(length));
}

/// The head under which a slice is stored: what proves whose it is.
fn slice_head(slice: &Slice) -> Head {
    let mut response = ResponseHeader::build(StatusCode::OK, Some(1));
    if let (Ok(response), Some((name, value))) = (&mut response, validator(slice.object())) {
        let _ = response.append_header(name, value.clone());
    }
    Head {
        response: response.unwrap_or_else(|_| slice.of.head.response.clone()),
        selection: Selection::default(),
        times: Some(Times::lasting(now_ms())),
        length: Some(slice.span.length()),
        tags: Tags::default(),
        layout: None,
    }
}
