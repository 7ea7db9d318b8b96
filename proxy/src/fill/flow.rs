//! A body on its way: one writer, any number of readers, each at its own place.
//!
//! While everything is kept, readers may come late and be slow: the writer never waits. A body that
//! is not kept passes through a window: the writer waits for the slowest reader, and what all have
//! read is forgotten. Who holds up others for too long, and can go on by himself, is left behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use proxy_config::buffer_policy::Side;
use proxy_config::units::ByteSize;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::cache::budget::Lease;
use crate::cache::object::{Blocks, Body};
use crate::cache::paged;
use crate::failure::Failure;
use crate::raw::PagesWriter;

/// Bytes of a body that is not kept which may wait for their readers, without a policy.
pub const WINDOW_BYTES: u64 = 256 * 1024;
/// How long readers wait for slower ones of the same window, all in all, while so many windows pass.
const HELD_UP_MAX: Duration = Duration::from_secs(1);
const HELD_UP_WINDOWS: u64 = 16;
/// Most bytes handed to a reader at once.
const PART_BYTES_MAX: usize = 256 * 1024;

/// How far a writer may be ahead of its readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Bytes that wait for the slowest reader, when the body is not kept, from which on the writer waits,
    pub high: u64,
    /// and down to which it does.
    pub low: u64,
    /// Bytes ahead of the farthest reader, when it is kept; `None` for no limit.
    pub ahead: Option<u64>,
}

impl Window {
    /// What a policy says of responses.
    pub fn of(side: &Side) -> Window {
        if side.is_off() {
            return Window::default();
        }
        let bytes = |size: ByteSize| size.as_bytes();
        let high = bytes(side.high_water).min(bytes(side.read_ahead)).max(1);
        let low = bytes(side.low_water).min(high);
        Window { high, low, ahead: side.read_ahead_stored.map(bytes) }
    }
}

impl Default for Window {
    fn default() -> Window {
        Window { high: WINDOW_BYTES, low: WINDOW_BYTES, ahead: None }
    }
}

/// What counts the bytes of a body while it is being read.
#[derive(Debug)]
pub enum Held {
    /// It passes through: the window bounds it.
    Nothing,
    Lease(Lease),
    /// It is stored, and counted for as long as anyone reads it.
    Body(Arc<Body>),
}

struct State {
    blocks: Blocks,
    end: Option<Result<(), Failure>>,
    windowed: bool,
    /// Readers may still begin with byte 0: nothing is forgotten.
    gathers: bool,
    window: Window,
    /// The window was full and is not low yet.
    full: bool,
    /// Where each reader is; only needed for the window.
    places: BTreeMap<u64, Place>,
    readers: u64,
    /// How long readers have waited for slower ones since this byte.
    held_up: (Duration, u64),
    held: Held,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    at: u64,
    /// Its reader can be left behind.
    goes_on: bool,
}

impl State {
    fn slowest(&self) -> u64 {
        self.places.values().map(|place| place.at).min().unwrap_or(0)
    }

    /// Forgets what all have read.
    fn forget(&mut self) {
        if self.windowed && !self.gathers {
            let slowest = self.slowest();
            self.blocks.forget_before(slowest);
        }
    }

    /// Whether somebody has all there is, and others do not.
    fn is_held_up(&self) -> bool {
        let there = self.blocks.end();
        self.places.len() > 1 && self.places.values().any(|place| place.at == there)
    }

    /// Leaves those behind who are in the way of the others and can go on by themselves.
    fn leave_behind(&mut self) {
        let (there, low) = (self.blocks.end(), self.window.low.max(1));
        self.held_up = (Duration::ZERO, there);
        if self.is_held_up() {
            self.places.retain(|_, place| !place.goes_on || there - place.at < low);
            self.forget();
        }
    }

    fn has_room(&mut self) -> bool {
        let there = self.blocks.end();
        if !self.windowed {
            let farthest = self.places.values().map(|place| place.at).max();
            let near = |ahead: u64| farthest.is_none_or(|at| there < at.saturating_add(ahead));
            return self.window.ahead.is_none_or(near);
        }
        let read = if self.gathers { 0 } else { self.slowest() };
        let waiting = there.saturating_sub(read);
        if waiting >= self.window.high {
            self.full = true;
        } else if waiting <= self.window.low {
            self.full = false;
        }
        !self.full
    }
}

pub struct Flow {
    state: Mutex<State>,
    /// Writes what comes to where it stays, when that is in pages.
    pages: Mutex<Option<PagesWriter>>,
    arrived: watch::Sender<()>,
    taken: watch::Sender<()>,
}

impl Flow {
    pub fn new(held: Held, window: Window) -> Arc<Flow> {
        Flow::paged(held, window, None)
    }

    /// A body that is kept in these pages.
    pub fn paged(held: Held, window: Window, pages: Option<PagesWriter>) -> Arc<Flow> {
        Flow::with(Blocks::default(), held, window, pages)
    }

    /// A body that passes through, for all who begin with it before [`Flow::close`].
    pub fn gathering(window: Window) -> Arc<Flow> {
        let flow = Flow::new(Held::Nothing, window);
        flow.state.lock().gathers = true;
        flow
    }

    /// The rest of a body, from this byte on; it passes through.
    pub fn rest(at: u64, window: Window) -> Arc<Flow> {
        Flow::with(Blocks::beginning_at(at), Held::Nothing, window, None)
    }

    fn with(blocks: Blocks, held: Held, window: Window, pages: Option<PagesWriter>) -> Arc<Flow> {
        let state = State {
            blocks,
            end: None,
            windowed: matches!(held, Held::Nothing),
            gathers: false,
            window,
            full: false,
            places: BTreeMap::new(),
            readers: 0,
            held_up: (Duration::ZERO, 0),
            held,
        };
        Arc::new(Flow {
            state: Mutex::new(state),
            pages: Mutex::new(pages),
            arrived: watch::Sender::new(()),
            taken: watch::Sender::new(()),
        })
    }

    /// A reader that begins at this byte.
    pub fn reader(self: &Arc<Self>, at: u64) -> Reader {
        self.reader_in(&mut self.state.lock(), Place { at, goes_on: false })
    }

    /// The same of a reader that can be left behind; `None` when what begins there has passed.
    pub fn passing_reader(self: &Arc<Self>, at: u64) -> Option<Reader> {
        let mut state = self.state.lock();
        let is_there = state.blocks.begin() <= at;
        let reader = is_there.then(|| self.reader_in(&mut state, Place { at, goes_on: true }));
        drop(state);
        self.taken.send_replace(());
        reader
    }

    fn reader_in(self: &Arc<Self>, state: &mut State, place: Place) -> Reader {
        state.readers += 1;
        let id = state.readers;
        state.places.insert(id, place);
        let (flow, arrived) = (Arc::clone(self), self.arrived.subscribe());
        Reader { flow, id, at: place.at, arrived, is_behind: false }
    }

    /// Whether a reader may still begin with the others.
    pub fn is_open(&self) -> bool {
        self.state.lock().gathers
    }

    /// Whether there is as much as can be while it is open.
    pub fn is_full(&self) -> bool {
        let state = self.state.lock();
        state.blocks.end() >= state.window.high
    }

    /// Waits until there are so many readers as `waiting` says.
    pub async fn gathered(&self, mut waiting: watch::Receiver<usize>) {
        let mut taken = self.taken.subscribe();
        loop {
            let readers = self.state.lock().places.len();
            if *waiting.borrow_and_update() <= readers {
                return;
            }
            let gone = tokio::select! {
                more = taken.changed() => more.is_err(),
                less = waiting.changed() => less.is_err(),
            };
            if gone {
                return;
            }
        }
    }

    /// Who has not begun yet comes too late.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.gathers = false;
        state.forget();
    }

    /// Bytes received so far.
    pub fn received(&self) -> u64 {
        self.state.lock().blocks.end()
    }

    /// The whole length, once it is known by the end.
    pub fn whole_length(&self) -> Option<u64> {
        let state = self.state.lock();
        matches!(state.end, Some(Ok(()))).then(|| state.blocks.end())
    }

    /// Whether a reader may still begin at byte 0.
    pub fn is_kept(&self) -> bool {
        !self.state.lock().windowed
    }

    /// These bytes, which come next, as they are kept.
    pub fn place(&self, bytes: Bytes) -> Bytes {
        // Asked before: elsewhere the state is locked first.
        let received = self.received();
        let mut pages = self.pages.lock();
        let Some(writer) = pages.as_mut() else { return bytes };
        let follows = writer.written() as u64 == received;
        if let Some(placed) = follows.then(|| writer.write(&bytes).ok()).flatten() {
            return placed;
        }
        // What lies there already stays readable; the body as a whole goes on in blocks.
        *pages = None;
        bytes
    }

    pub fn push(&self, bytes: Bytes) {
        self.state.lock().blocks.push(bytes);
        self.arrived.send_replace(());
    }

    /// Waits until the readers leave room: the slowest in the window of what is not kept, the farthest by as
    /// much as may be read ahead of it otherwise.
    pub async fn room(&self) {
        let mut taken = self.taken.subscribe();
        loop {
            let (held_up, before) = {
                let mut state = self.state.lock();
                if state.has_room() {
                    return;
                }
                let passed = state.blocks.end() - state.held_up.1;
                if passed >= state.window.high.saturating_mul(HELD_UP_WINDOWS) {
                    state.held_up = (Duration::ZERO, state.blocks.end());
                }
                (state.windowed && state.is_held_up(), state.held_up.0)
            };
            let begun = Instant::now();
            let changed = match held_up {
                true => timeout(HELD_UP_MAX.saturating_sub(before), taken.changed()).await,
                false => Ok(taken.changed().await),
            };
            match changed {
                Ok(Err(_)) => return,
                Ok(Ok(())) if held_up => self.state.lock().held_up.0 += begun.elapsed(),
                Ok(Ok(())) => {}
                Err(_) => {
                    self.state.lock().leave_behind();
                    self.arrived.send_replace(());
                }
            }
        }
    }

    /// What the body costs as it stands, and what is leased for it.
    pub fn costs(&self) -> (u64, u64) {
        let beside = if self.pages.lock().is_some() { paged::OVERHEAD } else { 0 };
        let state = self.state.lock();
        let leased = match &state.held {
            Held::Lease(lease) => lease.bytes(),
            _ => 0,
        };
        (state.blocks.cost() + beside, leased)
    }

    /// Gives the lease to `with` to be changed.
    pub fn with_lease<T>(&self, with: impl FnOnce(&mut Lease) -> T) -> Option<T> {
        match &mut self.state.lock().held {
            Held::Lease(lease) => Some(with(lease)),
            _ => None,
        }
    }

    /// From now on the body passes through a window; its lease is given back.
    pub fn let_through(&self) {
        let mut state = self.state.lock();
        state.windowed = true;
        state.held = Held::Nothing;
        state.forget();
        // A block would keep all pages.
        if self.pages.lock().take().is_some() {
            state.blocks.copy();
        }
    }

    /// The body with these bytes behind what has come, for the store, when it was kept. Readers see neither them nor the
    /// end before [`Flow::finish`]: who has the whole of an answer finds it stored.
    pub fn whole(&self, last: &Bytes) -> Option<Arc<Body>> {
        let mut state = self.state.lock();
        let mut lease = match std::mem::replace(&mut state.held, Held::Nothing) {
            Held::Lease(lease) => lease,
            other => {
                state.held = other;
                return None;
            }
        };
        let mut blocks = state.blocks.clone();
        blocks.push(last.clone());
        let pages = self.pages.lock().take();
        let pages = pages.filter(|writer| writer.written() as u64 == blocks.end());
        let beside = if pages.is_some() { paged::OVERHEAD } else { 0 };
        let blocks = match &pages {
            Some(writer) => Blocks::from_iter([writer.all()]),
            None => blocks.joined(),
        };
        lease.shrink_to(blocks.cost() + beside);
        let pages = pages.map(|writer| Arc::clone(writer.pages()));
        let body = Arc::new(Body { blocks, pages, lease });
        state.held = Held::Body(Arc::clone(&body));
        Some(body)
    }

    /// These are the last bytes.
    pub fn finish(&self, last: Bytes) {
        let mut state = self.state.lock();
        let stored = match &state.held {
            Held::Body(body) => Some(body.blocks.clone()),
            Held::Nothing | Held::Lease(_) => None,
        };
        match stored {
            Some(blocks) => state.blocks = blocks,
            None => state.blocks.push(last),
        }
        state.end = Some(Ok(()));
        drop(state);
        self.arrived.send_replace(());
    }

    /// Every reader that wants more than there is sees a broken transfer at once.
    pub fn fail(&self, failure: Failure) {
        self.state.lock().end = Some(Err(failure));
        self.arrived.send_replace(());
    }
}

/// One reader's place in a body.
pub struct Reader {
    flow: Arc<Flow>,
    id: u64,
    at: u64,
    arrived: watch::Receiver<()>,
    is_behind: bool,
}

impl Reader {
    /// Where it is.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Whether it failed because it was left behind.
    pub fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// The next bytes before `end` (exclusive), as soon as there are any; `None` at the end.
    pub async fn next(&mut self, end: u64) -> Option<Result<Bytes, Failure>> {
        loop {
            self.arrived.borrow_and_update();
            if let Some(answer) = self.look(end) {
                return answer;
            }
            if self.arrived.changed().await.is_err() {
                return Some(Err(Failure::Internal));
            }
        }
    }

    /// `None` while there is nothing to say.
    fn look(&mut self, end: u64) -> Option<Option<Result<Bytes, Failure>>> {
        if self.at >= end {
            return Some(None);
        }
        let mut state = self.flow.state.lock();
        if !state.places.contains_key(&self.id) {
            self.is_behind = true;
            return Some(Some(Err(Failure::UpstreamBroken)));
        }
        let there = state.blocks.end();
        if let Some(Err(failure)) = &state.end
            && there < end
        {
            return Some(Some(Err(failure.clone())));
        }
        let mut bytes = state.blocks.from(self.at);
        if bytes.is_empty() {
            return matches!(state.end, Some(Ok(()))).then_some(None);
        }
        let most = usize::try_from(end - self.at).unwrap_or(usize::MAX).min(PART_BYTES_MAX);
        bytes.truncate(most);
        self.at += bytes.len() as u64;
        if let Some(place) = state.places.get_mut(&self.id) {
            place.at = self.at;
        }
        state.forget();
        let is_watched = state.windowed || state.window.ahead.is_some();
        drop(state);
        if is_watched {
            self.flow.taken.send_replace(());
        }
        Some(Some(Ok(bytes)))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.flow.state.lock().places.remove(&self.id);
        self.flow.taken.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { high: 100, low: 100, ahead: None };

    /// Writes as long as there is room, and says how much was written in the end.
    async fn write(flow: &Flow, windows: u64) -> u64 {
        for _ in 0..windows {
            flow.room().await;
            flow.push(Bytes::from_static(&[0; 100]));
        }
        flow.received()
    }

    /// Reads windows with so much time between them; whether it was left behind, and where.
    async fn read(mut reader: Reader, windows: u64, each: Duration) -> (bool, u64) {
        for window in 0..windows {
            tokio::time::sleep(each).await;
            while reader.at() < (window + 1) * 100
                && reader.next(u64::MAX).await.is_some_and(|read| read.is_ok())
            {}
        }
        (reader.is_behind(), reader.at())
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_others_up_for_long_is_left_behind_and_who_does_for_moments_is_not() {
        for (slow_ms, is_left_behind) in [(0, false), (50, false), (200, true), (5000, true)] {
            let flow = Flow::gathering(WINDOW);
            let quick = flow.passing_reader(0).unwrap();
            let slow = flow.passing_reader(0).unwrap();
            flow.close();
            let quick = tokio::spawn(read(quick, 40, Duration::ZERO));
            let slow = tokio::spawn(read(slow, 40, Duration::from_millis(slow_ms)));
            assert_eq!(write(&flow, 40).await, 4000);
            flow.finish(Bytes::new());
            assert_eq!(quick.await.unwrap(), (false, 4000), "{slow_ms}");
            assert_eq!(slow.await.unwrap().0, is_left_behind, "{slow_ms}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_cannot_go_on_by_himself_is_waited_for() {
        let flow = Flow::new(Held::Nothing, WINDOW);
        let (quick, slow) = (flow.passing_reader(0).unwrap(), flow.reader(0));
        let quick = tokio::spawn(read(quick, 10, Duration::ZERO));
        let slow = tokio::spawn(read(slow, 10, Duration::from_secs(60)));
        assert_eq!(write(&flow, 10).await, 1000);
        flow.finish(Bytes::new());
        assert_eq!(quick.await.unwrap(), (false, 1000));
        assert_eq!(slow.await.unwrap(), (false, 1000));
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_keep_their_places_until_the_window_closes() {
        let flow = Flow::gathering(WINDOW);
        let interest = watch::Sender::new(2_usize);
        let mut first = flow.passing_reader(0).unwrap();
        flow.push(Bytes::from_static(&[0; 100]));
        assert_eq!(first.next(u64::MAX).await.unwrap().unwrap().len(), 100);
        assert!(flow.is_open() && flow.is_full());
        let gathered = timeout(HELD_UP_MAX, flow.gathered(interest.subscribe()));
        assert!(gathered.await.is_err(), "one is not there yet");
        let second = flow.passing_reader(0).unwrap();
        flow.gathered(interest.subscribe()).await;
        flow.close();
        assert_eq!(second.at(), 0);
        drop(second);
        flow.push(Bytes::from_static(&[0; 100]));
        assert_eq!(first.next(u64::MAX).await.unwrap().unwrap().len(), 100);
        assert!(flow.passing_reader(0).is_none(), "it has passed");
    }
}
