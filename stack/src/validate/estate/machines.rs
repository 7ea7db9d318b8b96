//! The section `capacity`, and whether the workers that name it fit on its machines.

use proxy_config::units::ByteSize;

use super::{Fault, GIB, fault, kind};
use crate::environment::work::{Capacity, Worker};
use crate::template::architecture;

/// Memory of a processor in GiB, by the first letter of a family; of others nothing is said.
const GIB_OF_A_PROCESSOR: [(char, u64); 3] = [('c', 2), ('m', 4), ('r', 8)];

pub(super) fn faults(capacity: &Capacity) -> Vec<Fault> {
    let mut faults = Vec::new();
    for of in &capacity.types {
        faults.extend(kind("types", of, "", "c7g.4xlarge"));
    }
    let mut kinds: Vec<&str> = capacity.types.iter().map(|of| architecture(of)).collect();
    kinds.dedup();
    if kinds.len() > 1 {
        let message = "these are machines of two kinds of processors".to_owned();
        faults.push(fault("types", message, "an image runs on one: write types of one kind"));
    }
    if !(1..=20).contains(&capacity.types.len()) {
        let message = format!("there are {} types", capacity.types.len());
        faults.push(fault("types", message, "write 1 to 20, the best first"));
    }
    if capacity.max == 0 || capacity.max > 500 || capacity.min > 100 || capacity.min > capacity.max
    {
        let message = format!("`max` is {}, and `min` {}", capacity.max, capacity.min);
        faults.push(fault("max", message, "write at least `min` and 1, at most 500"));
    }
    let disk = capacity.disk.as_bytes();
    if !(30 * GIB..=16_384 * GIB).contains(&disk) || !disk.is_multiple_of(GIB) {
        let message = format!("a machine cannot have a disk of {}", capacity.disk);
        faults.push(fault("disk", message, "write whole GiB, 30GiB to 16TiB"));
    }
    faults
}

/// What is wrong with a worker on machines; `capacity` is theirs where it can be read.
pub(super) fn worker(worker: &Worker, capacity: Option<&Capacity>) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !(128..=196_608).contains(&worker.cpu) {
        let message = format!("`cpu` is {}", worker.cpu);
        faults.push(fault("cpu", message, "it may be 128 to 196608, 1024 for each processor"));
    }
    let mib = worker.memory.as_bytes() >> 20;
    if mib < 128 || !worker.memory.as_bytes().is_multiple_of(1 << 20) {
        let message = format!("`memory` is {}", worker.memory);
        faults.push(fault("memory", message, "write whole MiB, 128MiB or more"));
    }
    if worker.disk.is_some() {
        let message = "the room is the machine's".to_owned();
        faults.push(fault("disk", message, "write `disk` in its `capacity`"));
    }
    if worker.spot {
        let message = "the machines decide that".to_owned();
        faults.push(fault("spot", message, "write `spot: true` in its `capacity`"));
    }
    for of in capacity.map(|it| &it.types).into_iter().flatten() {
        let Some((processors, memory)) = size(of) else { continue };
        if u64::from(worker.cpu) > processors * 1024 {
            let message = format!(
                "{} shares do not fit on {of}, which has {processors} processors",
                worker.cpu
            );
            faults.push(fault("cpu", message, "ask for less, or take larger machines"));
        }
        if mib > memory {
            let left = ByteSize::bytes(memory << 20);
            let message =
                format!("{} do not fit on {of}, which has {left} for tasks", worker.memory);
            faults.push(fault("memory", message, "ask for less, or take larger machines"));
        }
    }
    faults
}

/// Processors of a machine and its MiB for tasks: a sixteenth and half a GiB are the system's.
fn size(kind: &str) -> Option<(u64, u64)> {
    let (family, size) = kind.split_once('.')?;
    let processors = match size {
        "medium" => 1,
        "large" => 2,
        "xlarge" => 4,
        other => other.strip_suffix("xlarge")?.parse::<u64>().ok()? * 4,
    };
    let (_, gib) = GIB_OF_A_PROCESSOR.iter().find(|(letter, _)| family.starts_with(*letter))?;
    let mib = processors * gib * 1024;
    Some((processors, (mib - mib / 16).saturating_sub(512)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_family_and_size() {
        assert_eq!(size("c7g.4xlarge"), Some((16, 30_208)));
        assert_eq!(size("m7i.large"), Some((2, 7_168)));
        assert_eq!(size("t4g.small"), None);
    }
}
