use super::boxes::{Kind, around, boxes};
use super::track::Wanted;
use super::*;

fn one(kind: Kind, content: &[u8]) -> Vec<u8> {
    around(kind, content).unwrap()
}

fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// A track of samples of 100 units each at 1000 units a second, `per_chunk` of them in a chunk; sample `n` has `n + 1` bytes.
fn track(samples: u32, per_chunk: u32, place: u32) -> Vec<u8> {
    let (mut chunks, mut at) = (Vec::new(), place);
    for sample in 0..samples {
        if sample % per_chunk == 0 {
            chunks.push(at);
        }
        at += sample + 1;
    }
    let sizes: Vec<u32> = (1..=samples).collect();
    let keys: Vec<u32> = (1..=samples).step_by(5).collect();
    let rest = samples % per_chunk;
    let mut runs = vec![1, per_chunk, 1];
    if rest > 0 {
        runs.extend([samples / per_chunk + 1, rest, 1]);
    }
    let listed = |rows: &[u32], width: u32| {
        let count = u32::try_from(rows.len()).unwrap() / width;
        numbers(&[&[0, count][..], rows].concat())
    };
    let tables = [
        one(*b"stsd", b"what it is"),
        one(*b"stts", &listed(&[samples, 100], 2)),
        one(*b"stss", &listed(&keys, 1)),
        one(*b"ctts", &listed(&[2, 7, samples - 2, 9], 2)),
        one(*b"stsc", &listed(&runs, 3)),
        one(*b"stsz", &numbers(&[&[0, 0, samples][..], &sizes].concat())),
        one(*b"stco", &listed(&chunks, 1)),
        one(*b"sdtp", b"left out"),
    ];
    let duration = samples * 100;
    let header = numbers(&[0, 0, 0, 1000, duration, 0]);
    let media = [one(*b"mdhd", &header), one(*b"minf", &one(*b"stbl", &tables.concat()))];
    let about = one(*b"tkhd", &numbers(&[0, 0, 0, 1, 0, duration, 0]));
    one(*b"trak", &[about, one(*b"edts", b"edits"), one(*b"mdia", &media.concat())].concat())
}

fn film(tracks: &[Vec<u8>]) -> Vec<u8> {
    let header = one(*b"mvhd", &numbers(&[0, 0, 0, 1000, 4000, 0]));
    one(*b"moov", &[header, tracks.concat(), one(*b"udta", b"title")].concat())
}

/// What is in the first box at the end of a way.
fn within<'a>(mut bytes: &'a [u8], way: &[&Kind]) -> &'a [u8] {
    for wanted in way {
        let found = boxes(bytes).unwrap().into_iter().find(|(kind, ..)| kind == *wanted);
        bytes = found.unwrap().2;
    }
    bytes
}

fn listed(table: &[u8]) -> Vec<u32> {
    table[8..].chunks(4).map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap())).collect()
}

const TABLES: [&Kind; 3] = [b"mdia", b"minf", b"stbl"];

/// Place and size of each sample.
fn samples(track: &[u8]) -> Vec<(u64, u64)> {
    let table = |kind| within(within(track, &TABLES), &[kind]);
    let sizes = &listed(table(b"stsz"))[1..];
    let (runs, chunks) = (listed(table(b"stsc")), listed(table(b"stco")));
    let (mut found, mut next) = (Vec::new(), sizes.iter());
    for (number, place) in (1..).zip(chunks) {
        let run = runs.chunks(3).rev().find(|run| run[0] <= number).unwrap();
        let mut at = u64::from(place);
        for _ in 0..run[1] {
            let size = u64::from(*next.next().unwrap());
            found.push((at, size));
            at += size;
        }
    }
    assert!(next.next().is_none());
    found
}

#[test]
fn what_is_asked_for() {
    let wanted = |start, length| Some(Wanted { start, length });
    for (query, expected) in [
        ("", None),
        ("start=x", None),
        ("start=-1", None),
        ("start=2", wanted(2000, None)),
        ("a=b&start=7.1", wanted(7100, None)),
        ("start=1.2345&end=2", wanted(1234, Some(766))),
        ("end=5.6", wanted(0, Some(5600))),
        ("end=0", None),
        ("start=1&end=1", wanted(1000, None)),
        ("start=1&end=0", wanted(1000, None)),
        ("start=99999999999999999999", None),
    ] {
        assert_eq!(asked_for(query), expected, "{query}");
    }
}

#[test]
fn every_sample_keeps_its_bytes() {
    const END: u64 = 100_000;
    let whole = film(&[track(40, 4, 1000), track(23, 7, 5000)]);
    let tracks: Vec<_> = boxes(within(&whole, &[b"moov"])).unwrap();
    let tracks: Vec<_> = tracks.iter().filter(|(kind, ..)| kind == b"trak").collect();
    let given: Vec<_> = tracks.iter().map(|(_, _, inner)| samples(inner)).collect();
    for start in (0..2300).step_by(130) {
        for length in [None, Some(100), Some(250), Some(1999), Some(9000)] {
            let wanted = Wanted { start, length };
            let cut = opening(one(*b"ftyp", b"isom"), &whole, END, wanted).unwrap();
            let lead = boxes(&cut.lead[..cut.lead.len() - 8]).unwrap();
            let kinds: Vec<_> = lead.iter().map(|(kind, ..)| *kind).collect();
            assert_eq!(kinds, [*b"ftyp", *b"moov"]);
            let (ahead, bytes) = (cut.lead.len() as u64, cut.end - cut.at);
            let samples_header = &cut.lead[cut.lead.len() - 8..];
            assert_eq!(samples_header, mdat(bytes));
            let new: Vec<_> = boxes(lead[1].2).unwrap();
            let new: Vec<_> = new.iter().filter(|(kind, ..)| kind == b"trak").collect();
            assert_eq!(new.len(), 2);
            for ((_, _, inner), given) in new.into_iter().zip(&given) {
                let first = usize::try_from(start / 100).unwrap();
                let count = length.map_or(usize::MAX, |l| usize::try_from(l / 100).unwrap());
                let end = first.saturating_add(count).min(given.len());
                let moved: Vec<_> =
                    samples(inner).iter().map(|(at, size)| (at + cut.at - ahead, *size)).collect();
                assert_eq!(moved, given[first..end], "{wanted:?}");
                let table = |kind| listed(within(within(inner, &TABLES), &[kind]));
                let expected = u32::try_from(end - first).unwrap();
                assert_eq!(table(b"stts"), [expected, 100]);
                let offsets = table(b"ctts");
                assert_eq!(offsets.chunks(2).map(|run| run[0]).sum::<u32>(), expected);
                let keys = table(b"stss").into_iter().map(|key| usize::try_from(key).unwrap());
                let of: Vec<_> = keys.map(|key| key + first - 1).collect();
                assert!(of.iter().all(|key| key % 5 == 0 && (first..end).contains(key)));
                let left = given.len() as u64 * 100 - start;
                let duration = within(inner, &[b"mdia", b"mdhd"]);
                let expected = length.map_or(left, |length| left.min(length));
                assert_eq!(duration[16..20], u32::try_from(expected).unwrap().to_be_bytes());
                let kinds: Vec<_> = boxes(inner).unwrap().iter().map(|found| found.0).collect();
                assert_eq!(kinds, [*b"tkhd", *b"mdia"], "edits are of the whole");
            }
        }
    }
}

#[test]
fn a_track_that_is_over_is_left_out_and_a_film_that_is_over_is_none() {
    let whole = film(&[track(40, 4, 1000), track(23, 7, 5000)]);
    let of = |start| opening(Vec::new(), &whole, 100_000, Wanted { start, length: None });
    let cut = of(3000).unwrap();
    let tables = boxes(&cut.lead[..cut.lead.len() - 8]).unwrap();
    let tracks = boxes(tables[0].2).unwrap();
    assert_eq!(tracks.iter().filter(|(kind, ..)| kind == b"trak").count(), 1);
    assert!(matches!(of(4000), Err(Fault::Nothing)));
    let behind = opening(Vec::new(), &whole, 1200, Wanted { start: 0, length: None });
    assert!(matches!(behind, Err(Fault::Malformed(_))));
}

#[test]
fn no_tables_however_wrong_do_harm() {
    let whole = film(&[track(40, 4, 1000)]);
    let wanted = Wanted { start: 500, length: Some(1000) };
    for at in 0..whole.len() {
        let _ = opening(Vec::new(), &whole[..at], 100_000, wanted);
        for value in [0, 1, 0x7f, 0xff] {
            let mut changed = whole.clone();
            changed[at] = value;
            if let Ok(cut) = opening(Vec::new(), &changed, 100_000, wanted) {
                assert!(cut.at <= cut.end && cut.end <= 100_000);
            }
        }
    }
    // Boxes of one kind in each other, as deep as there is room.
    let mut deep = Vec::new();
    for _ in 0..20_000 {
        deep = one(*b"mdia", &deep);
    }
    let _ = opening(Vec::new(), &film(&[one(*b"trak", &deep)]), 100_000, wanted);
}
