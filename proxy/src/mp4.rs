//! Films in MP4 that begin and end somewhere else: `?start=SECONDS&end=SECONDS`. What is sent is a file of its own: the
//! type, the tables ahead of the samples, cut to those that are wanted, and of the samples the part that holds them
//! (ISO/IEC 14496-12; [`boxes`] reads, [`track`] cuts).

pub mod boxes;
pub mod fault;
pub mod track;

use std::fs::File;
use std::os::unix::fs::FileExt;

use bytes::Bytes;

use crate::flv::Opening;
use crate::mp4::boxes::{HEADER_BYTES_MAX, header, mdat};
use crate::mp4::fault::Fault;
use crate::mp4::track::{Film, Wanted};

/// Boxes of a file that are looked at until its tables are found.
const BOXES_MAX: usize = 1024;
/// Longest box that says what kind of file it is.
const TYPE_BYTES_MAX: u64 = 64 * 1024;

/// What a query asks for; none for the whole file. Times are seconds with up to three digits behind the point; an end that
/// does not lie behind the start is none.
pub fn asked_for(query: &str) -> Option<Wanted> {
    let of = |wanted: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| *name == wanted).and_then(|(_, value)| milliseconds(value))
    };
    let (start, end) = (of("start"), of("end"));
    let from = start.unwrap_or(0);
    let length = end.and_then(|end| end.checked_sub(from)).filter(|length| *length > 0);
    (start.is_some() || length.is_some()).then_some(Wanted { start: from, length })
}

fn milliseconds(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 9 || part.len() > 9 || !digits(whole) || !digits(part) {
        return None;
    }
    let thousandths = format!("{part:0<3}");
    Some(whole.parse::<u64>().ok()? * 1000 + thousandths[..3].parse::<u64>().ok()?)
}

/// The film between two times: what stands before the file's own bytes, and which of them follow. Blocks on the disk.
pub fn cut(file: &File, length: u64, wanted: Wanted, tables_max: u64) -> Result<Opening, Fault> {
    let (mut of_type, mut tables) = (Vec::new(), None);
    let mut at = 0;
    for _ in 0..BOXES_MAX {
        if at >= length {
            break;
        }
        let mut bytes = [0; HEADER_BYTES_MAX];
        let read = file.read_at(&mut bytes, at)?;
        let (kind, size, _) = header(&bytes[..read], length - at)?;
        match &kind {
            b"ftyp" if size <= TYPE_BYTES_MAX => of_type = whole(file, at, size)?,
            b"moov" if size > tables_max => return Err(Fault::TooLarge),
            b"moov" => tables = Some(whole(file, at, size)?),
            _ => {}
        }
        at += size;
    }
    let tables = tables.ok_or(Fault::Malformed("there is no moov"))?;
    opening(of_type, &tables, length, wanted)
}

fn whole(file: &File, at: u64, size: u64) -> Result<Vec<u8>, Fault> {
    let mut bytes = vec![0; usize::try_from(size).map_err(|_| Fault::TooLarge)?];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// Puts a film's parts together: purely.
fn opening(of_type: Vec<u8>, tables: &[u8], length: u64, wanted: Wanted) -> Result<Opening, Fault> {
    let mut film = Film::cut(tables, wanted)?;
    let (from, to) = (film.from, film.to);
    if from > to || to > length {
        return Err(Fault::Malformed("samples lie behind its end"));
    }
    let samples = mdat(to - from);
    let ahead = (of_type.len() + film.tables.len() + samples.len()) as u64;
    film.place_at(ahead)?;
    let lead = [of_type, film.tables, samples].concat();
    Ok(Opening { lead: Bytes::from(lead), at: from, end: to })
}

#[cfg(test)]
mod tests;
