//! The tables of a film cut to the samples between two times.

use super::boxes::{Kind, around, boxes, header, rows, table, u32_at, u64_at};
use super::fault::Fault;

/// How deep tables lie in each other: `moov`, `trak`, `mdia`, `minf`, `stbl`.
const DEPTH: u32 = 5;

/// What of a film is wanted, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub start: u64,
    /// None to the end.
    pub length: Option<u64>,
}

/// The tables of what is wanted, with the places of their samples as they are in the file.
pub struct Film {
    pub tables: Vec<u8>,
    /// Where in the file the first sample begins and the last ends.
    pub from: u64,
    pub to: u64,
}

impl Film {
    /// Errors: tables that do not fit each other, or nothing in them.
    pub fn cut(moov: &[u8], wanted: Wanted) -> Result<Film, Fault> {
        let inner = boxes(moov)?.first().map_or(&[][..], |(_, _, inner)| *inner);
        let (mut content, mut from, mut to) = (Vec::new(), u64::MAX, 0);
        let mut scale = 0;
        for (kind, whole, inner) in boxes(inner)? {
            match &kind {
                b"mvhd" => {
                    scale = scale_of(inner)?;
                    content.extend(around(kind, &shorter(inner, DURATION, scale, wanted)?)?);
                }
                b"trak" => {
                    if let Some(track) = Track::of(inner)?.cut(wanted)? {
                        let inner = track.written(inner, scale, wanted, DEPTH)?;
                        content.extend(around(kind, &inner)?);
                        (from, to) = (from.min(track.from), to.max(track.to));
                    }
                }
                // Of films in fragments the samples stand in none of these tables.
                b"mvex" => return Err(Fault::Malformed("it is in fragments")),
                _ => content.extend(whole),
            }
        }
        if to == 0 {
            return Err(Fault::Nothing);
        }
        Ok(Film { tables: around(*b"moov", &content)?, from, to })
    }

    /// Moves the places of samples to where the first of them stands now.
    pub fn place_at(&mut self, first: u64) -> Result<(), Fault> {
        let from = self.from;
        move_places(&mut self.tables, DEPTH, &|place| (place + first).saturating_sub(from))
    }
}

/// Where times stand behind version and flags, by version: those of a film and of a track's media, and of a track.
type Times = [(usize, usize); 2];
const DURATION: Times = [(16, 4), (24, 8)];
const TRACK_DURATION: Times = [(20, 4), (28, 8)];

fn scale_of(header: &[u8]) -> Result<u64, Fault> {
    let at = if header.first() == Some(&1) { 20 } else { 12 };
    let scale = u32_at(header, at).filter(|scale| *scale > 0);
    scale.map(u64::from).ok_or(Fault::Malformed("there is no scale of time"))
}

/// A header whose duration is that of what is wanted.
fn shorter(header: &[u8], times: Times, scale: u64, wanted: Wanted) -> Result<Vec<u8>, Fault> {
    let (at, bytes) = times[usize::from(header.first() == Some(&1))];
    let cut_off = Fault::Malformed("a header is cut off");
    let was = match bytes {
        4 => u32_at(header, at).map(u64::from),
        _ => u64_at(header, at),
    };
    let Some(was) = was else { return Err(cut_off) };
    let left = was.saturating_sub(units(wanted.start, scale));
    let left = wanted.length.map_or(left, |length| left.min(units(length, scale)));
    let mut new = header.to_vec();
    new[at..at + bytes].copy_from_slice(&left.to_be_bytes()[8 - bytes..]);
    Ok(new)
}

fn units(milliseconds: u64, scale: u64) -> u64 {
    milliseconds.saturating_mul(scale) / 1000
}

/// What a track says of its samples.
struct Track {
    scale: u64,
    /// Samples and the duration of each.
    times: Vec<[u32; 2]>,
    sizes: Sizes,
    /// First chunk, samples of each, their description.
    runs: Vec<[u32; 3]>,
    chunks: Vec<u64>,
}

enum Sizes {
    Same { size: u32, count: usize },
    Each(Vec<u32>),
}

impl Sizes {
    fn count(&self) -> usize {
        match self {
            Sizes::Same { count, .. } => *count,
            Sizes::Each(sizes) => sizes.len(),
        }
    }

    /// Bytes of the samples from one to another.
    fn between(&self, from: usize, to: usize) -> Result<u64, Fault> {
        match self {
            Sizes::Same { size, .. } => Ok(u64::from(*size) * (to - from) as u64),
            Sizes::Each(sizes) => {
                let sizes = sizes.get(from..to).ok_or(Fault::Malformed("samples have no size"))?;
                Ok(sizes.iter().map(|size| u64::from(*size)).sum())
            }
        }
    }
}

/// The part of a track that is wanted.
struct Part {
    /// The first sample, and the one behind the last.
    first: usize,
    end: usize,
    times: Vec<[u32; 2]>,
    /// Samples and description of each chunk.
    runs: Vec<[u32; 3]>,
    chunks: Vec<u64>,
    from: u64,
    to: u64,
    scale: u64,
}

/// What is in the box at the end of this way; empty where there is none.
fn at<'a>(mut bytes: &'a [u8], way: &[Kind]) -> Result<&'a [u8], Fault> {
    for wanted in way {
        let found = boxes(bytes)?.into_iter().find(|(kind, ..)| kind == wanted);
        let Some((_, _, inner)) = found else { return Ok(&[]) };
        bytes = inner;
    }
    Ok(bytes)
}

impl Track {
    fn of(track: &[u8]) -> Result<Track, Fault> {
        let media = at(track, &[*b"mdia"])?;
        let samples = at(media, &[*b"minf", *b"stbl"])?;
        let sizes = at(samples, &[*b"stsz"])?;
        let (size, count) = (u32_at(sizes, 4), u32_at(sizes, 8));
        let (Some(size), Some(count)) = (size, count) else {
            return Err(Fault::Malformed("samples have no size"));
        };
        let sizes = match size {
            0 => Sizes::Each(rows::<1>(&sizes[4..])?.into_iter().map(|[size]| size).collect()),
            size => {
                Sizes::Same { size, count: usize::try_from(count).map_err(|_| Fault::TooLarge)? }
            }
        };
        let (short, long) = (at(samples, &[*b"stco"])?, at(samples, &[*b"co64"])?);
        let chunks = match long.is_empty() {
            true => rows::<1>(short)?.into_iter().map(|[place]| u64::from(place)).collect(),
            false => {
                let both = |[high, low]: [u32; 2]| u64::from(high) << 32 | u64::from(low);
                rows::<2>(long)?.into_iter().map(both).collect()
            }
        };
        Ok(Track {
            scale: scale_of(at(media, &[*b"mdhd"])?)?,
            times: rows(at(samples, &[*b"stts"])?)?,
            sizes,
            runs: rows(at(samples, &[*b"stsc"])?)?,
            chunks,
        })
    }

    /// The samples between the two times; none when the track is over before.
    fn cut(&self, wanted: Wanted) -> Result<Option<Part>, Fault> {
        let (first, times) = split(&self.times, units(wanted.start, self.scale)).1;
        let (end, times) = match wanted.length {
            None => (self.sizes.count(), times),
            Some(length) => {
                let (times, (count, _)) = split(&times, units(length, self.scale));
                (first.saturating_add(count), times)
            }
        };
        let end = end.min(self.sizes.count());
        if first >= end {
            return Ok(None);
        }
        let (mut runs, mut chunks) = (Vec::<[u32; 3]>::new(), Vec::new());
        let (mut sample, mut to) = (0_usize, 0);
        for (number, place) in self.chunks.iter().enumerate() {
            let [_, samples, description] = self.run_of(number)?;
            let (begins, ends) = (sample, sample.saturating_add(samples));
            sample = ends;
            if ends <= first || begins >= end {
                continue;
            }
            let (from, until) = (begins.max(first), ends.min(end));
            let overflow = Fault::Malformed("a chunk lies nowhere");
            let skipped = self.sizes.between(begins, from)?;
            let place = place.checked_add(skipped).ok_or(overflow)?;
            let behind = place.checked_add(self.sizes.between(from, until)?);
            to = to.max(behind.ok_or(Fault::Malformed("a chunk lies nowhere"))?);
            let count = u32::try_from(until - from).map_err(|_| Fault::TooLarge)?;
            let description = u32::try_from(description).map_err(|_| Fault::TooLarge)?;
            let is_new = runs.last().is_none_or(|run| run[1..] != [count, description]);
            chunks.push(place);
            if is_new {
                let number = u32::try_from(chunks.len()).map_err(|_| Fault::TooLarge)?;
                runs.push([number, count, description]);
            }
        }
        let from = chunks.iter().copied().min();
        let Some(from) = from.filter(|_| sample >= end) else {
            return Err(Fault::Malformed("samples are in no chunk"));
        };
        Ok(Some(Part { first, end, times, runs, chunks, from, to, scale: self.scale }))
    }

    /// First chunk, samples and description of the run that a chunk belongs to.
    fn run_of(&self, chunk: usize) -> Result<[usize; 3], Fault> {
        let of = self.runs.partition_point(|[first, ..]| {
            usize::try_from(*first).is_ok_and(|first| first <= chunk + 1)
        });
        let run = of.checked_sub(1).and_then(|at| self.runs.get(at));
        let run = run.ok_or(Fault::Malformed("a chunk has no samples"))?;
        Ok(run.map(|number| usize::try_from(number).unwrap_or(usize::MAX)))
    }
}

type Counted = Vec<[u32; 2]>;

/// The runs of samples before a time, and after it, with how many are before.
fn split(runs: &[[u32; 2]], time: u64) -> (Counted, (usize, Counted)) {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let (mut left, mut count) = (time, 0_usize);
    for &[samples, duration] in runs {
        let whole = u64::from(samples) * u64::from(duration);
        let taken = match left >= whole {
            true => samples,
            // Below the count of samples.
            false => u32::try_from(left / u64::from(duration.max(1))).unwrap_or(samples),
        };
        left = left.saturating_sub(whole);
        count = count.saturating_add(usize::try_from(taken).unwrap_or(usize::MAX));
        before.extend((taken > 0).then_some([taken, duration]));
        after.extend((taken < samples).then_some([samples - taken, duration]));
    }
    (before, (count, after))
}

impl Part {
    /// The track's boxes with tables of this part.
    fn written(
        &self,
        track: &[u8],
        scale: u64,
        wanted: Wanted,
        depth: u32,
    ) -> Result<Vec<u8>, Fault> {
        let mut content = Vec::new();
        for (kind, whole, inner) in boxes(track)? {
            match &kind {
                b"tkhd" => {
                    let header = shorter(inner, TRACK_DURATION, scale, wanted)?;
                    content.extend(around(kind, &header)?);
                }
                b"mdhd" => {
                    let header = shorter(inner, DURATION, self.scale, wanted)?;
                    content.extend(around(kind, &header)?);
                }
                b"mdia" | b"minf" if depth > 0 => {
                    let inner = self.written(inner, scale, wanted, depth - 1)?;
                    content.extend(around(kind, &inner)?);
                }
                b"stbl" => content.extend(around(kind, &self.samples(inner)?)?),
                // Edits are of the whole.
                b"edts" => {}
                _ => content.extend(whole),
            }
        }
        Ok(content)
    }

    /// The tables of samples; those that nobody needs to play a film are left out.
    fn samples(&self, tables: &[u8]) -> Result<Vec<u8>, Fault> {
        let number = |at: usize| u32::try_from(at).map_err(|_| Fault::TooLarge);
        let mut content = Vec::new();
        for (kind, whole, inner) in boxes(tables)? {
            let new = match &kind {
                b"stsd" => {
                    content.extend(whole);
                    continue;
                }
                b"stts" => table(inner, &self.times)?,
                b"stss" => {
                    let (first, end) = (number(self.first)?, number(self.end)?);
                    let keys = rows::<1>(inner)?.into_iter();
                    let keys = keys.filter(|[key]| *key > first && *key <= end);
                    table(inner, &keys.map(|[key]| [key - first]).collect::<Vec<_>>())?
                }
                b"ctts" => table(inner, &self.of_samples(&rows(inner)?))?,
                b"stsc" => table(inner, &self.runs)?,
                b"stsz" => {
                    let sizes = inner.get(12..).unwrap_or_default();
                    let mut new = inner.get(..8).unwrap_or_default().to_vec();
                    new.extend(number(self.end - self.first)?.to_be_bytes());
                    new.extend(sizes.get(4 * self.first..4 * self.end).unwrap_or_default());
                    new
                }
                b"stco" => {
                    let place = |place: &u64| u32::try_from(*place).map(|place| [place]);
                    let places = self.chunks.iter().map(place).collect::<Result<Vec<_>, _>>();
                    table(inner, &places.map_err(|_| Fault::TooLarge)?)?
                }
                b"co64" => {
                    let both = |place: &u64| {
                        let bytes = place.to_be_bytes();
                        [0, 4].map(|at| u32_at(&bytes, at).unwrap_or_default())
                    };
                    table(inner, &self.chunks.iter().map(both).collect::<Vec<_>>())?
                }
                _ => continue,
            };
            content.extend(around(kind, &new)?);
        }
        Ok(content)
    }

    /// Runs of samples, those of this part.
    fn of_samples(&self, runs: &[[u32; 2]]) -> Counted {
        let (mut found, mut at) = (Vec::new(), 0_usize);
        for &[samples, offset] in runs {
            let end = at.saturating_add(usize::try_from(samples).unwrap_or(usize::MAX));
            let (from, until) = (at.max(self.first), end.min(self.end));
            if let Ok(count) = u32::try_from(until.saturating_sub(from))
                && count > 0
            {
                found.push([count, offset]);
            }
            at = end;
        }
        found
    }
}

/// Changes every place of a chunk in a tree of boxes.
fn move_places(tree: &mut [u8], depth: u32, to: &dyn Fn(u64) -> u64) -> Result<(), Fault> {
    let mut at = 0;
    while at < tree.len() {
        let (kind, size, header) = header(&tree[at..], (tree.len() - at) as u64)?;
        let end = at + usize::try_from(size).map_err(|_| Fault::TooLarge)?;
        let inner = &mut tree[at + header..end];
        match &kind {
            b"moov" | b"trak" | b"mdia" | b"minf" | b"stbl" if depth > 0 => {
                move_places(inner, depth - 1, to)?;
            }
            b"stco" => {
                for place in inner.get_mut(8..).unwrap_or_default().chunks_exact_mut(4) {
                    let was = u64::from(u32_at(place, 0).unwrap_or_default());
                    let new = u32::try_from(to(was)).map_err(|_| Fault::TooLarge)?;
                    place.copy_from_slice(&new.to_be_bytes());
                }
            }
            b"co64" => {
                for place in inner.get_mut(8..).unwrap_or_default().chunks_exact_mut(8) {
                    let was = u64_at(place, 0).unwrap_or_default();
                    place.copy_from_slice(&to(was).to_be_bytes());
                }
            }
            _ => {}
        }
        at = end;
    }
    Ok(())
}
