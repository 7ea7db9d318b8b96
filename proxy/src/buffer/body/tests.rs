use std::collections::BTreeMap;

use proptest::prelude::*;
use proxy_config::buffer_policy::{BufferMode, BufferPolicy, BufferSide};
use proxy_config::lane::Lanes as LanesConfig;
use proxy_config::units::ByteSize;

use super::*;
use crate::buffer::Policies;
use crate::buffer::spill::Place;
use crate::lane::{Budget, Lanes};
use crate::metrics::Metrics;

struct House {
    metrics: Metrics,
    policies: Policies,
    lane: Arc<Lane>,
    folder: tempfile::TempDir,
}

impl House {
    /// A lane with so much memory beyond what requests reserve.
    fn with_memory(bytes: u64) -> House {
        let metrics = Metrics::new();
        let lane = Lanes::default().named("bulk", &metrics);
        let config = LanesConfig::default();
        let mut budget = Budget::of(&config, proxy_config::lane::LaneName::Bulk);
        budget.memory_max = Some(bytes);
        lane.enter_into_force(&budget);
        let folder = tempfile::tempdir().unwrap();
        let house = House { metrics, policies: Policies::default(), lane, folder };
        house.spill_up_to(1 << 30);
        house
    }

    fn spill_up_to(&self, bytes_max: u64) {
        let path = self.folder.path().to_owned();
        self.lane.spill.set_place(Some(Place { path, bytes_max }));
    }

    fn set(&self, side: BufferSide) {
        let policy = BufferPolicy { responses: Some(side), ..BufferPolicy::default() };
        self.policies.set(&BTreeMap::from([("p".to_owned(), policy)]), &self.metrics);
    }

    fn body(&self) -> Body {
        let policy = self.policies.named(Some("p"), &self.metrics);
        Body::new(&policy, Way::Responses, &self.lane).unwrap()
    }

    fn held(&self) -> (i64, i64, i64) {
        let bytes =
            |at| self.metrics.buffers.bytes.with_label_values(&["p", "responses", at]).get();
        let lane = self.metrics.lane_memory.with_label_values(&["bulk"]).get();
        (bytes("memory"), bytes("disk"), lane)
    }
}

fn side(mode: BufferMode, memory_kib: u64) -> BufferSide {
    let memory_max = Some(ByteSize::kib(memory_kib));
    BufferSide { mode: Some(mode), memory_max, ..BufferSide::default() }
}

/// Bytes that are different wherever one looks.
fn pattern(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(next).collect()
}

async fn through(body: &Body, parts: &[Bytes], mut meanwhile: impl FnMut(usize)) -> Vec<u8> {
    let source = async {
        for part in parts {
            body.readable().await;
            body.put(part.clone()).await;
        }
        body.end();
    };
    let sink = async {
        let mut all = Vec::new();
        let mut count = 0;
        while let Some(part) = body.next().await.unwrap() {
            all.extend_from_slice(&part);
            meanwhile(count);
            count += 1;
            tokio::task::yield_now().await;
        }
        all
    };
    tokio::join!(source, sink).1
}

fn parts(lengths: &[usize]) -> Vec<Bytes> {
    let mut all = Bytes::from(pattern(lengths.iter().sum()));
    lengths.iter().map(|length| all.split_to(*length)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Through memory, disk and back, tuned at any moment: the same bytes in the same order.
    #[test]
    fn bytes_come_out_as_they_went_in(
        lengths in prop::collection::vec(1..90_000_usize, 1..40),
        modes in prop::collection::vec((0..3_usize, 64..400_u64), 1..6),
        memory_kib in 0..600_u64,
        disk_kib in 0..2000_u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let house = House::with_memory(memory_kib * 1024);
        house.spill_up_to(disk_kib * 1024);
        let tune = |(mode, memory): (usize, u64)| {
            let mode = [BufferMode::Off, BufferMode::Memory, BufferMode::Spill][mode];
            house.set(side(mode, memory));
        };
        tune(modes[0]);
        let parts = parts(&lengths);
        let body = house.body();
        let out = runtime.block_on(through(&body, &parts, |count| tune(modes[count % modes.len()])));
        prop_assert_eq!(out, parts.concat());
        prop_assert_eq!(house.held().0, 0);
        drop(body);
        prop_assert_eq!(house.held(), (0, 0, 0));
    }
}

#[tokio::test]
async fn a_lane_that_is_out_slows_a_body_and_stops_none() {
    let house = House::with_memory(0);
    house.set(side(BufferMode::Memory, 1024));
    let body = house.body();
    let parts = parts(&[64 * 1024; 20]);
    assert_eq!(through(&body, &parts, |_| {}).await, parts.concat());
    let denials = house.metrics.buffers.denials.with_label_values(&["p", "responses"]).get();
    assert!(denials > 0);
}

#[tokio::test]
async fn memory_had_beforehand_or_none() {
    let house = House::with_memory(100 * 1024);
    let shed = BufferSide { when_full: Some(WhenFull::Shed), ..side(BufferMode::Memory, 64) };
    house.set(shed);
    let first = house.body();
    let policy = house.policies.named(Some("p"), &house.metrics);
    assert!(Body::new(&policy, Way::Responses, &house.lane).is_err());
    drop(first);
    assert!(Body::new(&policy, Way::Responses, &house.lane).is_ok());
}

#[tokio::test]
async fn a_disk_that_refuses_makes_the_source_wait_and_nothing_fail() {
    let house = House::with_memory(1 << 30);
    house.lane.spill.set_place(Some(Place { path: "/dev/null/x".into(), bytes_max: 1 << 30 }));
    house.set(side(BufferMode::Spill, 128));
    let body = house.body();
    let parts = parts(&[50_000; 30]);
    assert_eq!(through(&body, &parts, |_| {}).await, parts.concat());
    let failures = &house.metrics.buffers.spill_failures;
    assert_eq!(failures.with_label_values(&["bulk", "write"]).get(), 1, "it is not asked again");
}

#[tokio::test]
async fn what_is_whole_can_be_taken_again_from_disk_too() {
    let house = House::with_memory(1 << 30);
    let spool = BufferSide { spool: Some(true), ..side(BufferMode::Spill, 64) };
    house.set(spool);
    let body = house.body();
    let parts = parts(&[60_000; 5]);
    for part in &parts {
        body.readable().await;
        body.put(part.clone()).await;
    }
    body.end();
    body.ready().await.unwrap();
    body.keep();
    assert_eq!(body.whole_length(), Some(300_000));
    let (memory, disk, _) = house.held();
    assert!(memory <= 64 * 1024 && memory + disk == 300_000);
    for _ in 0..2 {
        assert!(body.rewind());
        let mut all = Vec::new();
        while let Some(part) = body.next().await.unwrap() {
            all.extend_from_slice(&part);
        }
        assert_eq!(all, parts.concat());
    }
}

#[tokio::test]
async fn what_breaks_before_anybody_saw_it_fails_as_a_whole_and_later_behind_what_came() {
    let house = House::with_memory(1 << 30);
    house.set(BufferSide { spool: Some(true), ..side(BufferMode::Memory, 128) });
    let body = house.body();
    body.put(Bytes::from_static(b"unseen")).await;
    body.fail(Failure::UpstreamBroken);
    assert_eq!(body.ready().await, Err(Failure::UpstreamBroken));
    house.set(side(BufferMode::Memory, 128));
    let body = house.body();
    body.put(Bytes::from_static(b"seen")).await;
    assert_eq!(body.next().await, Ok(Some(Bytes::from_static(b"seen"))));
    body.put(Bytes::from_static(b"too")).await;
    body.fail(Failure::UpstreamBroken);
    assert_eq!(body.next().await, Ok(Some(Bytes::from_static(b"too"))));
    assert_eq!(body.next().await, Err(Failure::UpstreamBroken));
}
