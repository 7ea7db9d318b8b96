use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const KIB: u64 = 1024;

fn rules(mode: BufferMode) -> Rules {
    Rules {
        mode,
        memory_max: 256 * KIB,
        high_water: 256 * KIB,
        low_water: 128 * KIB,
        read_ahead: 10_000 * KIB,
        spill_max: 256 * KIB,
        spool: false,
    }
}

/// A lane, a disk and two sides that do what a machine says.
struct World {
    machine: Machine,
    queue: VecDeque<(u64, Where)>,
    /// A part that was read and has no room.
    in_hand: Option<u64>,
    lane_room: u64,
    arrived: u64,
    taken: u64,
    ends: u32,
    memory_max_ever: u64,
    spill_max_ever: u64,
}

impl World {
    fn new(rules: Rules, lane_room: u64) -> World {
        World {
            machine: Machine::new(rules),
            queue: VecDeque::new(),
            in_hand: None,
            lane_room,
            arrived: 0,
            taken: 0,
            ends: 0,
            memory_max_ever: rules.memory_max,
            spill_max_ever: rules.spill_max,
        }
    }

    fn place(&mut self, part: u64, disk_fails: bool) {
        let wanted = self.machine.wants(part);
        if wanted > self.lane_room {
            self.machine.denied();
        } else {
            self.lane_room -= wanted;
            self.machine.granted(wanted);
        }
        let mut at = self.machine.place(part);
        if at == Where::Disk && disk_fails {
            self.machine.disk_failed();
            at = self.machine.place(part);
        }
        if at == Where::Nowhere {
            self.in_hand = Some(part);
            return;
        }
        self.in_hand = None;
        self.machine.arrived(part, at);
        self.queue.push_back((part, at));
        self.arrived += part;
    }

    /// The source offers a part; it is only read when the machine says so.
    fn offer(&mut self, part: u64, disk_fails: bool) {
        match self.in_hand {
            Some(part) => self.place(part, disk_fails),
            None if self.machine.reads() => self.place(part, disk_fails),
            None => {}
        }
    }

    fn take(&mut self) {
        match self.machine.outlet() {
            Outlet::Take => {
                let (part, at) = self.queue.pop_front().expect("what is to be taken is there");
                self.machine.took(part, at);
                self.taken += part;
                let surplus = self.machine.surplus();
                self.machine.gave_back(surplus);
                self.lane_room += surplus;
            }
            Outlet::End | Outlet::Broken => self.ends += 1,
            Outlet::Wait | Outlet::Over => {}
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let held = |at| -> u64 {
            self.queue.iter().filter(|(_, is)| *is == at).map(|(part, _)| part).sum()
        };
        prop_assert_eq!(self.machine.memory(), held(Where::Memory));
        prop_assert_eq!(self.machine.spilled(), held(Where::Disk));
        prop_assert_eq!(self.machine.received(), self.arrived);
        // One part is had by every body, whatever the lane and the policy say.
        let in_memory = self.queue.iter().filter(|(_, at)| *at == Where::Memory).count();
        prop_assert!(in_memory <= 1 || self.machine.memory() <= self.memory_max_ever);
        prop_assert!(in_memory <= 1 || self.machine.memory() <= self.machine.granted);
        prop_assert!(self.machine.spilled() <= self.spill_max_ever);
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Step {
    Offer(u64, bool),
    Take,
    Retune(Rules),
    LaneGives(u64),
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let mode =
        prop_oneof![Just(BufferMode::Off), Just(BufferMode::Memory), Just(BufferMode::Spill)];
    (mode, 64..512_u64, 0..=100_u64, 0..=100_u64, 1..2000_u64, 0..512_u64, any::<bool>()).prop_map(
        |(mode, memory, high, low, ahead, spill, spool)| {
            let high_water = (memory * high / 100).max(1) * KIB;
            Rules {
                mode,
                memory_max: memory * KIB,
                high_water,
                low_water: high_water * low / 100,
                read_ahead: ahead * KIB,
                spill_max: if mode == BufferMode::Spill { spill * KIB } else { 0 },
                spool: spool && mode != BufferMode::Off,
            }
        },
    )
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..=64 * KIB, prop::bool::weighted(0.05)).prop_map(|(part, fails)| Step::Offer(part, fails)),
        6 => Just(Step::Take),
        1 => any_rules().prop_map(Step::Retune),
        1 => (0..200 * KIB).prop_map(Step::LaneGives),
    ]
}

proptest! {
    /// Whatever comes when, whatever the lane and the disk do, however it is tuned meanwhile: nothing is over
    /// its limits, what comes in goes out in order, and the end is told once, behind the last byte.
    #[test]
    fn nothing_is_lost_and_nothing_is_over_its_limits(
        begins in any_rules(),
        lane in 0..600 * KIB,
        steps in prop::collection::vec(any_step(), 1..200),
        breaks in any::<bool>(),
    ) {
        let mut world = World::new(begins, lane);
        for step in steps {
            match step {
                Step::Offer(part, fails) => world.offer(part, fails),
                Step::Take => world.take(),
                Step::Retune(rules) => {
                    world.machine.retune(rules);
                    world.memory_max_ever = world.memory_max_ever.max(rules.memory_max);
                    world.spill_max_ever = world.spill_max_ever.max(rules.spill_max);
                }
                Step::LaneGives(bytes) => world.lane_room += bytes,
            }
            world.check()?;
            prop_assert_eq!(world.ends, 0);
            // Nobody waits for the other for ever.
            match world.in_hand {
                Some(part) if world.queue.is_empty() => {
                    prop_assert_eq!(world.machine.place(part), Where::Memory);
                }
                Some(_) => prop_assert_eq!(world.machine.outlet(), Outlet::Take),
                None => prop_assert!(!world.queue.is_empty() || world.machine.reads()),
            }
        }
        let mut turns = 0;
        while let Some(part) = world.in_hand {
            world.take();
            world.place(part, false);
            turns += 1;
            prop_assert!(turns < 1000);
        }
        let unseen = world.machine.is_spooling();
        if breaks { world.machine.broke() } else { world.machine.whole() }
        for _ in 0..300 {
            world.take();
            world.check()?;
        }
        prop_assert_eq!(world.ends, 1);
        prop_assert!(!world.machine.reads());
        if breaks && unseen {
            prop_assert_eq!(world.taken, 0, "what nobody has seen breaks as a whole");
        } else {
            prop_assert_eq!(world.taken, world.arrived);
        }
    }

    /// Between the marks nothing changes: once full, the source waits until the low mark.
    #[test]
    fn the_marks_are_kept(
        high in 2..16_u64,
        low in 0..16_u64,
        steps in prop::collection::vec(any::<bool>(), 1..200),
    ) {
        let low = low.min(high - 1);
        let rules = Rules {
            high_water: high * 16 * KIB,
            low_water: low * 16 * KIB,
            ..rules(BufferMode::Memory)
        };
        let mut world = World::new(rules, u64::MAX / 2);
        let mut waits = false;
        for offers in steps {
            if offers { world.offer(16 * KIB, false) } else { world.take() }
            let memory = world.machine.memory();
            prop_assert!(memory <= rules.high_water);
            waits = (waits || memory >= rules.high_water) && memory > rules.low_water;
            prop_assert_eq!(world.machine.reads(), !waits, "{} held", memory);
        }
    }
}

#[test]
fn what_is_off_has_one_part_at_a_time() {
    let mut world = World::new(rules(BufferMode::Off), u64::MAX / 2);
    world.offer(10, false);
    assert!(!world.machine.reads());
    assert_eq!(world.machine.wants(10), 0, "it takes nothing from the lane");
    world.take();
    assert!(world.machine.reads());
}

#[test]
fn memory_first_then_disk_then_the_source_waits() {
    let mut world = World::new(rules(BufferMode::Spill), u64::MAX / 2);
    while world.machine.reads() && world.in_hand.is_none() {
        world.offer(64 * KIB, false);
    }
    let places: Vec<Where> = world.queue.iter().map(|(_, at)| *at).collect();
    assert_eq!(places, [[Where::Memory; 4], [Where::Disk; 4]].concat());
}

#[test]
fn a_disk_that_fails_makes_the_source_wait() {
    let mut world = World::new(rules(BufferMode::Spill), u64::MAX / 2);
    for _ in 0..4 {
        world.offer(64 * KIB, false);
    }
    world.offer(64 * KIB, true);
    assert_eq!((world.machine.spilled(), world.in_hand), (0, Some(64 * KIB)));
    world.take();
    world.offer(1, false);
    assert_eq!((world.in_hand, world.machine.memory()), (None, 256 * KIB));
}

#[test]
fn read_ahead_counts_what_is_on_disk() {
    let rules = Rules { read_ahead: 320 * KIB, ..rules(BufferMode::Spill) };
    let mut world = World::new(rules, u64::MAX / 2);
    for _ in 0..10 {
        world.offer(64 * KIB, false);
    }
    assert_eq!(world.arrived, 320 * KIB);
}

#[test]
fn a_body_is_gathered_until_it_is_whole_or_fills_what_may_hold_it() {
    let rules = Rules { spool: true, ..rules(BufferMode::Memory) };
    let mut small = World::new(rules, u64::MAX / 2);
    small.offer(64 * KIB, false);
    assert_eq!(small.machine.outlet(), Outlet::Wait);
    small.machine.whole();
    assert_eq!(small.machine.outlet(), Outlet::Take);
    let mut large = World::new(rules, u64::MAX / 2);
    for _ in 0..5 {
        large.offer(64 * KIB, false);
    }
    assert_eq!(large.machine.outlet(), Outlet::Take);
    let mut broken = World::new(rules, u64::MAX / 2);
    broken.offer(64 * KIB, false);
    broken.machine.broke();
    assert_eq!(broken.machine.outlet(), Outlet::Broken, "nobody has seen any of it");
    assert_eq!(broken.machine.outlet(), Outlet::Over);
}
