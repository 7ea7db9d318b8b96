//! What a buffer policy would have done with the bodies of an access log: the [`Machine`] that serves decides,
//! part by part, between an origin that sends at one rate and clients that read at the rate the log shows.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use proxy_config::Config;
use proxy_config::buffer_policy::{Side, WhenFull};
use proxy_config::units::ByteRate;
use serde::Serialize;

use crate::buffer::machine::{Machine, Outlet, Rules, Where};
use crate::simulate::trace::{Asked, Trace};

/// Bytes that move at once: what the proxy reads at once.
const PART: u64 = 64 * 1024;
/// A client that the log shows to be faster than this is taken for as fast as this.
const RATE_MAX: u64 = 1_000_000_000;

/// What came of the bodies of a trace under one buffer policy.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Held {
    pub policy: String,
    pub bodies: u64,
    pub bytes: u64,
    /// Most bytes that waited in memory at once, and on disk.
    pub memory_peak_bytes: u64,
    pub disk_peak_bytes: u64,
    pub spilled_bytes: u64,
    /// Bodies that were shed because the lane's memory was out.
    pub shed: u64,
    /// Time that origins' connections were held, all bodies together, in seconds.
    pub origin_held_s: f64,
    /// Part of it that they waited for room.
    pub origin_waited_s: f64,
    /// Time that clients could have read more and had to wait, by the origin or the pace, in seconds.
    pub client_waited_s: f64,
}

/// What a trace was asked under.
#[derive(Clone, Copy, Debug)]
pub struct Between {
    /// Bytes a second that the origin sends of one answer.
    pub origin_rate: u64,
    /// What all bodies may hold in memory, and on disk.
    pub lane_memory: u64,
    pub lane_disk: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A part is here from the origin.
    Came,
    /// The client has read a part.
    Read,
}

/// One body under way.
struct Transfer {
    machine: Machine,
    parts: VecDeque<(u64, Where)>,
    in_hand: Option<u64>,
    to_come: u64,
    client_rate: u64,
    /// Since when the origin, and the client, have been waiting.
    origin_waits_us: Option<u64>,
    client_waits_us: Option<u64>,
    /// When everything sent so far has been sent at its pace.
    free_us: i128,
    begun_us: u64,
}

struct Run<'a> {
    side: Side,
    between: &'a Between,
    transfers: Vec<Option<Transfer>>,
    events: BinaryHeap<Reverse<(u64, usize, Event)>>,
    lane_held: u64,
    memory: u64,
    disk: u64,
    held: Held,
}

/// Runs the bodies of a trace through a policy of the document. `None`: there is no such policy.
pub fn hold(config: &Config, name: &str, trace: &Trace, between: &Between) -> Option<Held> {
    let side = config.buffer_policies.get(name)?.resolved().responses;
    let mut run = Run {
        side,
        between,
        transfers: Vec::new(),
        events: BinaryHeap::new(),
        lane_held: 0,
        memory: 0,
        disk: 0,
        held: Held { policy: name.to_owned(), ..Held::default() },
    };
    for asked in &trace.asked {
        run.until(asked.at_ms * 1000);
        run.begin(asked);
    }
    run.until(u64::MAX);
    Some(run.held)
}

/// How long so many bytes take, in microseconds.
fn takes_us(bytes: u64, rate: u64) -> u64 {
    u64::try_from(u128::from(bytes) * 1_000_000 / u128::from(rate.max(1))).unwrap_or(u64::MAX / 4)
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

impl Run<'_> {
    fn begin(&mut self, asked: &Asked) {
        if asked.bytes == 0 || asked.is_head {
            return;
        }
        let mut machine = Machine::new(Rules::of(&self.side));
        if self.side.when_full == WhenFull::Shed && !self.side.is_off() {
            let wanted = self.side.memory_max.as_bytes();
            if self.lane_held + wanted > self.between.lane_memory {
                self.held.shed += 1;
                return;
            }
            self.lane_held += wanted;
            machine.granted(wanted);
        }
        let begun_us = asked.at_ms * 1000;
        let pace = self.side.pace.map_or(0, ByteRate::as_bytes_per_second);
        let burst_us = takes_us(self.side.pace_burst.as_bytes(), pace);
        self.held.bodies += 1;
        self.held.bytes += asked.bytes;
        let index = self.transfers.len();
        self.transfers.push(Some(Transfer {
            machine,
            parts: VecDeque::new(),
            in_hand: None,
            to_come: asked.bytes,
            client_rate: asked.client_rate().clamp(1, RATE_MAX),
            origin_waits_us: None,
            client_waits_us: Some(begun_us),
            free_us: i128::from(begun_us) - i128::from(burst_us),
            begun_us,
        }));
        self.read_on(index, begun_us);
    }

    fn until(&mut self, until_us: u64) {
        while let Some(Reverse((at_us, index, event))) = self.events.peek().copied() {
            if at_us > until_us {
                return;
            }
            self.events.pop();
            match event {
                Event::Came => self.came(index, at_us),
                Event::Read => self.write_on(index, at_us),
            }
        }
    }

    /// The origin sends its next part, if it is read.
    fn read_on(&mut self, index: usize, now_us: u64) {
        let Some(transfer) = &mut self.transfers[index] else { return };
        if transfer.to_come == 0 || transfer.in_hand.is_some() {
            return;
        }
        if transfer.machine.reads() {
            if let Some(since) = transfer.origin_waits_us.take() {
                self.held.origin_waited_s += seconds(now_us - since);
            }
            let part = transfer.to_come.min(PART);
            transfer.in_hand = Some(part);
            let comes_us = now_us + takes_us(part, self.between.origin_rate);
            self.events.push(Reverse((comes_us, index, Event::Came)));
        } else {
            transfer.origin_waits_us.get_or_insert(now_us);
        }
    }

    fn came(&mut self, index: usize, now_us: u64) {
        let Some(transfer) = &mut self.transfers[index] else { return };
        let Some(part) = transfer.in_hand else { return };
        let wanted = transfer.machine.wants(part);
        if wanted > 0 {
            if self.lane_held + wanted <= self.between.lane_memory {
                self.lane_held += wanted;
                transfer.machine.granted(wanted);
            } else {
                transfer.machine.denied();
            }
        }
        let mut at = transfer.machine.place(part);
        if at == Where::Disk && self.disk + part > self.between.lane_disk {
            transfer.machine.disk_is_full();
            at = transfer.machine.place(part);
        }
        match at {
            Where::Nowhere => {
                transfer.origin_waits_us.get_or_insert(now_us);
            }
            Where::Memory | Where::Disk => {
                if let Some(since) = transfer.origin_waits_us.take() {
                    self.held.origin_waited_s += seconds(now_us - since);
                }
                transfer.in_hand = None;
                transfer.to_come -= part;
                transfer.machine.arrived(part, at);
                transfer.parts.push_back((part, at));
                if at == Where::Disk {
                    self.disk += part;
                    self.held.spilled_bytes += part;
                } else {
                    self.memory += part;
                }
                self.held.memory_peak_bytes = self.held.memory_peak_bytes.max(self.memory);
                self.held.disk_peak_bytes = self.held.disk_peak_bytes.max(self.disk);
                if transfer.to_come == 0 {
                    transfer.machine.whole();
                    self.held.origin_held_s += seconds(now_us - transfer.begun_us);
                }
            }
        }
        self.read_on(index, now_us);
        let waits = self.transfers[index].as_ref().is_some_and(|t| t.client_waits_us.is_some());
        if waits {
            self.write_on(index, now_us);
        }
    }

    /// The client takes its next part, if there is one.
    fn write_on(&mut self, index: usize, now_us: u64) {
        let Some(transfer) = &mut self.transfers[index] else { return };
        match transfer.machine.outlet() {
            Outlet::Take => {}
            Outlet::Wait => {
                transfer.client_waits_us.get_or_insert(now_us);
                return;
            }
            Outlet::End | Outlet::Broken | Outlet::Over => {
                self.lane_held -= transfer.machine.surplus().min(self.lane_held);
                self.transfers[index] = None;
                return;
            }
        }
        let Some((part, at)) = transfer.parts.pop_front() else { return };
        if let Some(since) = transfer.client_waits_us.take() {
            self.held.client_waited_s += seconds(now_us - since);
        }
        transfer.machine.took(part, at);
        if at == Where::Disk {
            self.disk -= part;
        } else {
            self.memory -= part;
        }
        if self.side.when_full == WhenFull::Wait {
            let surplus = transfer.machine.surplus();
            transfer.machine.gave_back(surplus);
            self.lane_held -= surplus;
        }
        let mut done_us = now_us + takes_us(part, transfer.client_rate);
        if let Some(pace) = self.side.pace {
            let takes = takes_us(part, pace.as_bytes_per_second());
            transfer.free_us += i128::from(takes);
            let paced_us = u64::try_from(transfer.free_us).unwrap_or(0);
            if paced_us > done_us {
                self.held.client_waited_s += seconds(paced_us - done_us);
                done_us = paced_us;
            }
        }
        self.events.push(Reverse((done_us, index, Event::Read)));
        if self.transfers[index].as_ref().is_some_and(|t| t.in_hand.is_some()) {
            // A part that had no room may have it now.
            let has_come =
                self.transfers[index].as_ref().is_some_and(|t| t.origin_waits_us.is_some());
            if has_come {
                self.came(index, now_us);
            }
        } else {
            self.read_on(index, now_us);
        }
    }
}

/// Figures side by side, for people.
pub fn table(all: &[Held], between: &Between) -> String {
    type Cell = fn(&Held) -> String;
    let bounded = |bytes: u64| match bytes {
        bytes if bytes >= u64::MAX / 2 => "any".to_owned(),
        bytes => (bytes / 1_000_000).to_string(),
    };
    let rows: [(&str, Cell); 8] = [
        ("bodies", |h| h.bodies.to_string()),
        ("memory peak MB", |h| format!("{:.2}", h.memory_peak_bytes as f64 / 1e6)),
        ("disk peak MB", |h| format!("{:.2}", h.disk_peak_bytes as f64 / 1e6)),
        ("spilled MB", |h| format!("{:.2}", h.spilled_bytes as f64 / 1e6)),
        ("shed", |h| h.shed.to_string()),
        ("origins held s", |h| format!("{:.1}", h.origin_held_s)),
        ("origins waited s", |h| format!("{:.1}", h.origin_waited_s)),
        ("clients waited s", |h| format!("{:.1}", h.client_waited_s)),
    ];
    let widths: Vec<usize> = all.iter().map(|held| held.policy.len().max(16)).collect();
    let mut text = format!("{:24}", "bodies under");
    for (held, width) in all.iter().zip(&widths) {
        text.push_str(&format!("  {:>width$}", held.policy));
    }
    text.push('\n');
    for (name, value) in rows {
        text.push_str(&format!("{name:24}"));
        for (held, width) in all.iter().zip(&widths) {
            text.push_str(&format!("  {:>width$}", value(held)));
        }
        text.push('\n');
    }
    text.push_str(&format!(
        "\nAssumed: origins send {} MB/s of one answer, clients read as fast as the log shows, the lane has {} MB of \
         memory and {} MB of disk.\n",
        between.origin_rate / 1_000_000,
        bounded(between.lane_memory),
        bounded(between.lane_disk),
    ));
    text
}

#[cfg(test)]
mod tests {
    use proxy_config::Source;

    use super::*;

    /// A log of so many bodies of 10 MB, each read over 10 s, all at once.
    fn trace(count: u64) -> Trace {
        let line = |number: u64| {
            format!(
                "{{\"time\":\"2026-01-01T00:00:00Z\",\"method\":\"GET\",\"host\":\"a\",\"path\":\"/{number}\",\
                 \"status\":200,\"bytes_out\":10000000,\"duration_ms\":10000,\"first_byte_ms\":0}}"
            )
        };
        let log: Vec<String> = (0..count).map(line).collect();
        Trace::read(log.join("\n").as_bytes()).unwrap()
    }

    fn held(policy: &str, count: u64, lane_memory: u64) -> Held {
        let text = format!(
            "version: 1\nlisteners: {{ a: {{ address: '127.0.0.1:0' }} }}\nupstreams: {{ u: {{ servers: [ {{ address: \
             '127.0.0.1:1' }} ] }} }}\nroutes: [ {{ name: r, upstream: u }} ]\nbuffer_policies: {{ p: {policy} }}\n"
        );
        let config = Config::load(Source::new("a.yaml", text)).unwrap();
        let between = Between { origin_rate: 100_000_000, lane_memory, lane_disk: 1 << 40 };
        let held = hold(&config, "p", &trace(count), &between).unwrap();
        assert_eq!((held.bodies + held.shed, held.bytes), (count, held.bodies * 10_000_000));
        held
    }

    #[test]
    fn what_is_off_holds_origins_for_as_long_as_clients_read() {
        let off = held("{ responses: { mode: off } }", 4, u64::MAX / 2);
        assert!(off.origin_held_s > 39.0 && off.memory_peak_bytes <= 4 * PART, "{off:?}");
        let memory = held("{ responses: { memory_max: 16MiB } }", 4, u64::MAX / 2);
        assert!(memory.origin_held_s < 1.0, "{memory:?}");
        assert!(memory.memory_peak_bytes > 30_000_000, "{memory:?}");
    }

    #[test]
    fn a_lane_bounds_memory_and_disk_takes_the_rest() {
        let bounded = held("{ responses: { memory_max: 16MiB } }", 10, 20_000_000);
        assert!(bounded.memory_peak_bytes <= 20_000_000 + 10 * PART, "{bounded:?}");
        let spill = held("{ responses: { mode: spill, memory_max: 128KiB } }", 10, u64::MAX / 2);
        assert!(spill.memory_peak_bytes <= 10 * 128 * 1024, "{spill:?}");
        assert!(spill.origin_held_s < 2.0 && spill.spilled_bytes > 90_000_000, "{spill:?}");
        let shed = held("{ preset: transactional }", 10, 1 << 20);
        assert_eq!(shed.shed, 6);
    }

    #[test]
    fn a_pace_makes_clients_wait() {
        let paced = held("{ responses: { pace: 500KB/s, pace_burst: 1MB } }", 1, u64::MAX / 2);
        assert!((7.0..=9.5).contains(&paced.client_waited_s), "{paced:?}");
    }
}
