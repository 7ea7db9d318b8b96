//! A body between its source and who reads it: the bytes, where the [`Machine`] says they are.
//!
//! One task at a time puts bytes in and one takes them out; both may be the same, polled side by side.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use proxy_config::buffer_policy::{Way, WhenFull};
use tokio::sync::Notify;

use crate::buffer::machine::{Machine, Outlet, Rules, Where};
use crate::buffer::spill::{Access, BLOCK, SpillFile};
use crate::buffer::{Policy, Series};
use crate::failure::Failure;
use crate::lane::memory::Reserved;
use crate::lane::{Full, Lane};

/// Most bytes that are put or taken at once.
pub const PART_BYTES_MAX: usize = 64 * 1024;
/// Parts below this are copied together, so that a source that drips costs no more than its bytes.
const SMALL_BYTES: usize = 8 * 1024;
const JOINED_BYTES: usize = 16 * 1024;

#[derive(Debug)]
enum Segment {
    Memory(Bytes),
    Disk {
        at: u64,
        length: u64,
        /// More of it is being written: it is not taken yet.
        growing: bool,
        /// It is being read: nothing is written behind it any more.
        closed: bool,
    },
}

struct State {
    machine: Machine,
    segments: VecDeque<Segment>,
    /// Small parts that are still being joined, behind all segments.
    tail: BytesMut,
    grants: Vec<Reserved>,
    file: Option<SpillFile>,
    failure: Option<Failure>,
    was_reading: bool,
    /// What is taken is kept, so that it can be taken again from the first segment on.
    kept: Option<usize>,
}

/// One body under one way of a policy.
pub struct Body {
    state: Mutex<State>,
    /// There is more to take, or no more to come.
    arrived: Notify,
    /// Something was taken.
    taken: Notify,
    policy: Arc<Policy>,
    way: Way,
    lane: Arc<Lane>,
}

/// Where a part goes, decided.
enum Put {
    Done,
    Wait,
    /// Onto the disk, at this place; with `joins`, behind the last segment there.
    Disk {
        access: Access,
        at: u64,
        joins: bool,
    },
}

/// What is to be taken next.
enum Next {
    Part(Bytes),
    Wait,
    End,
    Broken(Failure),
    Disk { access: Access, at: u64, length: u64, kept: bool },
}

impl Body {
    /// Fails when the policy wants all of the memory beforehand and the lane does not have it.
    pub fn new(policy: &Arc<Policy>, way: Way, lane: &Arc<Lane>) -> Result<Body, Full> {
        let side = policy.side(way);
        let mut machine = Machine::new(Rules::of(&side));
        let mut grants = Vec::new();
        if side.when_full == WhenFull::Shed && !side.is_off() {
            let bytes = side.memory_max.as_bytes();
            grants.push(lane.hold(bytes).ok_or(Full)?);
            machine.granted(bytes);
        }
        policy.series(way).bodies.inc();
        Ok(Body {
            state: Mutex::new(State {
                machine,
                segments: VecDeque::new(),
                tail: BytesMut::new(),
                grants,
                file: None,
                failure: None,
                was_reading: true,
                kept: None,
            }),
            arrived: Notify::new(),
            taken: Notify::new(),
            policy: Arc::clone(policy),
            way,
            lane: Arc::clone(lane),
        })
    }

    fn series(&self) -> &Series {
        self.policy.series(self.way)
    }

    /// The state, under the values as they are now.
    fn state(&self) -> parking_lot::MutexGuard<'_, State> {
        let rules = Rules::of(&self.policy.side(self.way));
        let mut state = self.state.lock();
        state.machine.retune(rules);
        state
    }

    /// Waits until the source is to be read; for ever once the body has ended.
    pub async fn readable(&self) {
        loop {
            {
                let mut state = self.state();
                let reads = state.machine.reads();
                if state.was_reading && !reads {
                    self.series().stops.inc();
                    // Who gathers a whole body may have been waiting for just this.
                    self.arrived.notify_one();
                }
                state.was_reading = reads;
                if reads {
                    return;
                }
            }
            self.taken.notified().await;
        }
    }

    /// Puts bytes in, as soon as there is room.
    pub async fn put(&self, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let part = bytes.split_to(bytes.len().min(PART_BYTES_MAX));
            loop {
                match self.place(&part) {
                    Put::Done => break,
                    Put::Wait => {
                        self.arrived.notify_one();
                        self.taken.notified().await;
                    }
                    Put::Disk { access, at, joins } => {
                        let written = access.write(at, part.clone()).await.is_ok();
                        if self.wrote(&part, at, joins, written) {
                            break;
                        }
                    }
                }
            }
        }
    }

    fn place(&self, part: &Bytes) -> Put {
        let length = part.len() as u64;
        let mut state = self.state();
        let wanted = state.machine.wants(length);
        if wanted > 0 {
            match self.lane.hold(wanted) {
                Some(grant) => {
                    state.machine.granted(wanted);
                    state.grants.push(grant);
                }
                None => {
                    self.series().denials.inc();
                    state.machine.denied();
                }
            }
        }
        match state.machine.place(length) {
            Where::Nowhere => return Put::Wait,
            Where::Memory => {
                state.push(part);
                state.machine.arrived(length, Where::Memory);
                self.series().in_memory.add(gauge(length));
                self.series().through.inc_by(length);
            }
            Where::Disk => match state.room(length, &self.lane) {
                Some(put) => return put,
                None => {
                    state.machine.disk_is_full();
                    drop(state);
                    return self.place(part);
                }
            },
        }
        drop(state);
        self.arrived.notify_one();
        Put::Done
    }

    /// What came of writing a part to the disk; `false`: it is still in hand.
    fn wrote(&self, part: &Bytes, at: u64, joins: bool, written: bool) -> bool {
        let added = part.len() as u64;
        let mut state = self.state();
        if joins && let Some(Segment::Disk { length, growing, .. }) = state.segments.back_mut() {
            *growing = false;
            *length += if written { added } else { 0 };
        }
        if written {
            if !joins {
                let (length, growing, closed) = (added, false, false);
                state.segments.push_back(Segment::Disk { at, length, growing, closed });
            }
            state.machine.arrived(added, Where::Disk);
            self.series().on_disk.add(gauge(added));
            self.series().through.inc_by(added);
        } else {
            state.machine.disk_failed();
            if !joins && let Some(file) = &mut state.file {
                file.give_block(at);
            }
        }
        drop(state);
        self.arrived.notify_one();
        written
    }

    /// The source has said all.
    pub fn end(&self) {
        self.state().machine.whole();
        self.arrived.notify_one();
    }

    /// The source broke off.
    pub fn fail(&self, failure: Failure) {
        let mut state = self.state();
        state.failure.get_or_insert(failure);
        state.machine.broke();
        drop(state);
        self.arrived.notify_one();
    }

    /// Waits until there is something to be seen of the body: at once, or when it is whole or fills all
    /// that may hold it, as the policy says. Fails when it broke before.
    pub async fn ready(&self) -> Result<(), Failure> {
        loop {
            {
                let state = self.state();
                if let Some(failure) =
                    state.failure.clone().filter(|_| state.machine.is_untouched())
                {
                    return Err(failure);
                }
                if !state.machine.is_spooling() {
                    return Ok(());
                }
            }
            self.arrived.notified().await;
        }
    }

    /// Bytes of the whole body, when it is here.
    pub fn whole_length(&self) -> Option<u64> {
        let state = self.state();
        state.machine.is_whole().then(|| state.machine.received())
    }

    /// A body that is here as a whole is kept when it is taken, so that it can be taken again.
    pub fn keep(&self) {
        let mut state = self.state();
        if state.machine.is_whole() && state.machine.is_untouched() {
            state.flush();
            state.kept = Some(0);
        }
    }

    /// Begins anew; says whether that is possible.
    pub fn rewind(&self) -> bool {
        let mut state = self.state();
        if state.kept.is_some() {
            state.kept = Some(0);
        }
        state.kept.is_some() || state.machine.is_untouched()
    }

    /// Whether it can be taken from its beginning.
    pub fn is_repeatable(&self) -> bool {
        let state = self.state();
        state.kept.is_some() || state.machine.is_untouched()
    }

    /// The next bytes, as soon as there are any; `None` at the end. May be dropped while it waits.
    pub async fn next(&self) -> Result<Option<Bytes>, Failure> {
        loop {
            match self.look() {
                Next::Part(part) => {
                    self.taken.notify_one();
                    return Ok(Some(part));
                }
                Next::End => return Ok(None),
                Next::Broken(failure) => return Err(failure),
                Next::Wait => self.arrived.notified().await,
                Next::Disk { access, at, length, kept } => {
                    let count = usize::try_from(length).unwrap_or(usize::MAX);
                    let Ok(part) = access.read(at, count).await else {
                        self.fail(Failure::Internal);
                        return Err(Failure::Internal);
                    };
                    self.read_back(at, length, kept);
                    self.taken.notify_one();
                    return Ok(Some(part));
                }
            }
        }
    }

    fn look(&self) -> Next {
        let mut state = self.state();
        if let Some(index) = state.kept {
            let next = state.look_at(index);
            if matches!(next, Next::Part(_)) {
                state.kept = Some(index + 1);
            }
            return next;
        }
        match state.machine.outlet() {
            Outlet::Wait => return Next::Wait,
            Outlet::End | Outlet::Over => return Next::End,
            Outlet::Broken => {
                return Next::Broken(state.failure.clone().unwrap_or(Failure::Internal));
            }
            Outlet::Take => {}
        }
        if state.segments.is_empty() {
            state.flush();
        }
        match state.segments.pop_front() {
            Some(Segment::Memory(part)) => {
                let length = part.len() as u64;
                state.machine.took(length, Where::Memory);
                self.series().in_memory.sub(gauge(length));
                state.give_back();
                Next::Part(part)
            }
            Some(Segment::Disk { at, length, growing, .. }) => {
                let access = state.file.as_ref().filter(|_| !growing).map(SpillFile::access);
                let closed = access.is_some();
                state.segments.push_front(Segment::Disk { at, length, growing, closed });
                match access {
                    Some(access) => Next::Disk { access, at, length, kept: false },
                    None => Next::Wait,
                }
            }
            None => Next::Wait,
        }
    }

    fn read_back(&self, at: u64, length: u64, kept: bool) {
        let mut state = self.state();
        if kept {
            state.kept = state.kept.map(|index| index + 1);
            return;
        }
        state.segments.pop_front();
        if let Some(file) = &mut state.file {
            file.give_block(at);
        }
        state.machine.took(length, Where::Disk);
        self.series().on_disk.sub(gauge(length));
    }
}

impl State {
    /// The small parts that were joined become a segment.
    fn flush(&mut self) {
        if !self.tail.is_empty() {
            let joined = self.tail.split().freeze();
            self.segments.push_back(Segment::Memory(joined));
        }
    }

    fn push(&mut self, part: &Bytes) {
        if part.len() >= SMALL_BYTES {
            self.flush();
            self.segments.push_back(Segment::Memory(part.clone()));
            return;
        }
        self.tail.extend_from_slice(part);
        if self.tail.len() >= JOINED_BYTES {
            self.flush();
        }
    }

    /// A place on the disk for so many bytes; `None` when the lane's is used up.
    fn room(&mut self, bytes: u64, lane: &Lane) -> Option<Put> {
        self.flush();
        if let (Some(Segment::Disk { at, length, growing, closed: false }), Some(file)) =
            (self.segments.back_mut(), &self.file)
            && (*at % BLOCK) + *length + bytes <= BLOCK
        {
            *growing = true;
            return Some(Put::Disk { access: file.access(), at: *at + *length, joins: true });
        }
        let file = self.file.get_or_insert_with(|| SpillFile::new(&lane.spill));
        let at = file.take_block()?;
        Some(Put::Disk { access: file.access(), at, joins: false })
    }

    fn look_at(&self, index: usize) -> Next {
        match (self.segments.get(index), &self.file) {
            (Some(Segment::Memory(part)), _) => Next::Part(part.clone()),
            (Some(&Segment::Disk { at, length, .. }), Some(file)) => {
                Next::Disk { access: file.access(), at, length, kept: true }
            }
            _ => Next::End,
        }
    }

    /// Gives the lane back what is not needed any more.
    fn give_back(&mut self) {
        while let Some(last) = self.grants.last()
            && last.bytes() <= self.machine.surplus()
        {
            self.machine.gave_back(last.bytes());
            self.grants.pop();
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        let series = self.policy.series(self.way);
        series.in_memory.sub(gauge(state.machine.memory()));
        series.on_disk.sub(gauge(state.machine.spilled()));
        series.bodies.dec();
    }
}

fn gauge(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
