//! What becomes of a body's bytes between its source and who reads it, as a state machine: what happened
//! goes in, what to do comes out. It holds no byte, reads no clock and touches no file, so that a
//! simulation decides by the very code that serves.
//!
//! Memory is used up to what the lane has granted and the policy allows, then disk, where the policy
//! spills. Where neither has room, the source waits: nothing is dropped and nothing fails. One part is
//! always taken when there is nothing else, so that every body gets on, whatever others hold.

use proxy_config::buffer_policy::{BufferMode, Side};

/// Memory is granted and given back in steps of this.
pub const STEP: u64 = 64 * 1024;

/// The values a body is held by; they may change while it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    pub mode: BufferMode,
    pub memory_max: u64,
    pub high_water: u64,
    pub low_water: u64,
    /// How far the source may be ahead, memory and disk together.
    pub read_ahead: u64,
    pub spill_max: u64,
    /// Nothing is handed out before the body is whole, or fills all that may hold it.
    pub spool: bool,
}

impl Rules {
    pub fn of(side: &Side) -> Rules {
        Rules {
            mode: side.mode,
            memory_max: side.memory_max.as_bytes(),
            high_water: side.high_water.as_bytes(),
            low_water: side.low_water.as_bytes(),
            read_ahead: side.read_ahead.as_bytes(),
            spill_max: side.spill_max.as_bytes(),
            spool: side.spool,
        }
    }

    /// Bytes in memory from which on the source waits, or goes to disk.
    fn high(&self) -> u64 {
        match self.mode {
            BufferMode::Off => 1,
            BufferMode::Memory | BufferMode::Spill => self.high_water.min(self.read_ahead).max(1),
        }
    }

    fn ahead(&self) -> u64 {
        if self.mode == BufferMode::Off { 1 } else { self.read_ahead.max(1) }
    }
}

/// Where a part goes that has just come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    Memory,
    Disk,
    /// There is no room until something is taken; it stays in hand, and nothing more is read.
    Nowhere,
}

/// What who reads the body is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlet {
    Take,
    Wait,
    /// It is whole and all of it is taken. Told once.
    End,
    /// The source broke, and what came before is taken. Told once.
    Broken,
    /// The end was told.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disk {
    Usable,
    /// The lane's part of it is used up; asked for again when something is taken.
    Full,
    /// It failed: what is there may be read, nothing more goes there.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Open,
    Whole,
    Broken,
    Told,
}

/// One body.
#[derive(Clone, Debug)]
pub struct Machine {
    rules: Rules,
    /// Memory that the lane has granted.
    granted: u64,
    /// The lane had no more; asked again when something is taken.
    denied: bool,
    memory: u64,
    spilled: u64,
    received: u64,
    taken: u64,
    reading: bool,
    disk: Disk,
    source: Source,
    /// All that may hold it has been full.
    has_filled: bool,
}

impl Machine {
    pub fn new(rules: Rules) -> Machine {
        Machine {
            rules,
            granted: 0,
            denied: false,
            memory: 0,
            spilled: 0,
            received: 0,
            taken: 0,
            reading: true,
            disk: Disk::Usable,
            source: Source::Open,
            has_filled: false,
        }
    }

    /// Other values hold from now on. What is held stays.
    pub fn retune(&mut self, rules: Rules) {
        self.rules = rules;
    }

    pub fn memory(&self) -> u64 {
        self.memory
    }

    pub fn spilled(&self) -> u64 {
        self.spilled
    }

    pub fn received(&self) -> u64 {
        self.received
    }

    fn held(&self) -> u64 {
        self.memory + self.spilled
    }

    pub fn is_whole(&self) -> bool {
        self.source == Source::Whole
    }

    /// Whether nothing has been taken yet.
    pub fn is_untouched(&self) -> bool {
        self.taken == 0
    }

    /// Whether the source is to be read now.
    pub fn reads(&mut self) -> bool {
        if self.source != Source::Open {
            return false;
        }
        let Rules { low_water, spill_max, .. } = self.rules;
        let (high, ahead) = (self.rules.high(), self.rules.ahead());
        let gap = high.saturating_sub(low_water);
        let in_memory = self.memory < high && !(self.denied && self.memory >= self.granted);
        let on_disk = |more: u64| self.may_spill() && self.spilled + more <= spill_max;
        let has_room = self.held() < ahead && (in_memory || on_disk(STEP));
        if self.held() == 0 {
            self.reading = true;
        } else if !has_room {
            self.reading = false;
            self.has_filled = true;
        } else if !self.reading {
            let memory_is_low = self.memory <= low_water && in_memory;
            let far_below = self.held() + gap <= ahead || self.memory <= low_water;
            self.reading = far_below && (memory_is_low || on_disk(gap.max(STEP)));
        }
        self.reading
    }

    fn may_spill(&self) -> bool {
        self.rules.mode == BufferMode::Spill && self.disk == Disk::Usable
    }

    /// Bytes of memory to ask the lane for before a part of so many is placed.
    pub fn wants(&self, part: u64) -> u64 {
        let Rules { mode, memory_max, .. } = self.rules;
        if mode == BufferMode::Off || self.memory >= self.rules.high() {
            return 0;
        }
        let needed = (self.memory + part).div_ceil(STEP) * STEP;
        if needed > memory_max.div_ceil(STEP) * STEP {
            return 0;
        }
        needed.min(memory_max).saturating_sub(self.granted)
    }

    pub fn granted(&mut self, bytes: u64) {
        self.granted += bytes;
    }

    pub fn denied(&mut self) {
        self.denied = true;
    }

    /// Granted bytes that may go back to the lane, beyond a step in reserve.
    pub fn surplus(&self) -> u64 {
        let kept = if self.source == Source::Open { STEP } else { 0 };
        self.granted.saturating_sub(self.memory.div_ceil(STEP) * STEP + kept)
    }

    pub fn gave_back(&mut self, bytes: u64) {
        self.granted = self.granted.saturating_sub(bytes);
    }

    /// Where a part goes that has just been read.
    pub fn place(&mut self, part: u64) -> Where {
        let Rules { memory_max, spill_max, .. } = self.rules;
        let fits = self.memory + part <= self.granted.min(memory_max);
        if self.held() == 0 || (self.memory < self.rules.high() && fits) {
            Where::Memory
        } else if self.may_spill() && self.spilled + part <= spill_max {
            Where::Disk
        } else {
            self.has_filled = true;
            Where::Nowhere
        }
    }

    /// A part is where it was placed.
    pub fn arrived(&mut self, part: u64, at: Where) {
        self.received += part;
        match at {
            Where::Memory => self.memory += part,
            Where::Disk => self.spilled += part,
            Where::Nowhere => debug_assert!(false, "a part that is in hand has not arrived"),
        }
    }

    /// The lane's part of the disk is used up.
    pub fn disk_is_full(&mut self) {
        if self.disk == Disk::Usable {
            self.disk = Disk::Full;
        }
    }

    /// Nothing could be written there.
    pub fn disk_failed(&mut self) {
        self.disk = Disk::Failed;
    }

    /// The source has said all.
    pub fn whole(&mut self) {
        if self.source == Source::Open {
            self.source = Source::Whole;
        }
    }

    /// The source broke off, or what was held cannot be read back.
    pub fn broke(&mut self) {
        if self.source != Source::Told {
            self.source = Source::Broken;
        }
    }

    /// Whether the body is still being gathered before anybody sees any of it.
    pub fn is_spooling(&self) -> bool {
        self.rules.spool && self.taken == 0 && !self.has_filled && self.source == Source::Open
    }

    pub fn outlet(&mut self) -> Outlet {
        // What nobody has seen a part of breaks as a whole.
        let unseen = self.rules.spool && self.taken == 0 && !self.has_filled;
        match self.source {
            Source::Told => Outlet::Over,
            Source::Broken if unseen || self.held() == 0 => {
                self.source = Source::Told;
                Outlet::Broken
            }
            _ if self.is_spooling() => Outlet::Wait,
            _ if self.held() > 0 => Outlet::Take,
            Source::Whole => {
                self.source = Source::Told;
                Outlet::End
            }
            Source::Open | Source::Broken => Outlet::Wait,
        }
    }

    /// So many bytes were taken out of memory, or off the disk.
    pub fn took(&mut self, bytes: u64, from: Where) {
        self.taken += bytes;
        match from {
            Where::Memory => self.memory = self.memory.saturating_sub(bytes),
            Where::Disk => self.spilled = self.spilled.saturating_sub(bytes),
            Where::Nowhere => {}
        }
        self.denied = false;
        if self.disk == Disk::Full {
            self.disk = Disk::Usable;
        }
    }
}

#[cfg(test)]
mod tests;
