//! Boxes: four bytes of size, four of kind, what is in them (ISO/IEC 14496-12 section 4.2).

use super::fault::Fault;

pub type Kind = [u8; 4];

/// The header of a box: its short and its long form.
const SHORT: usize = 8;
const LONG: usize = 16;

pub const HEADER_BYTES_MAX: usize = LONG;

/// Kind, size and bytes of the header of the box that begins here; it must end within `room`.
pub fn header(bytes: &[u8], room: u64) -> Result<(Kind, u64, usize), Fault> {
    let cut_off = Fault::Malformed("a box is cut off");
    let (Some(size), Some(kind)) = (u32_at(bytes, 0), bytes.get(4..SHORT)) else {
        return Err(cut_off);
    };
    let kind: Kind = kind.try_into().unwrap_or_default();
    let (size, header) = match size {
        // To the end.
        0 => (room, SHORT),
        1 => (u64_at(bytes, SHORT).ok_or(cut_off)?, LONG),
        size => (u64::from(size), SHORT),
    };
    match size >= header as u64 && size <= room {
        true => Ok((kind, size, header)),
        false => Err(Fault::Malformed("a box is longer than what it is in")),
    }
}

/// A box: its kind, the whole of it, what is in it.
pub type Found<'a> = (Kind, &'a [u8], &'a [u8]);

/// The boxes in these bytes.
pub fn boxes(mut bytes: &[u8]) -> Result<Vec<Found<'_>>, Fault> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (kind, size, header) = header(bytes, bytes.len() as u64)?;
        let (whole, rest) = bytes.split_at(usize::try_from(size).map_err(|_| Fault::TooLarge)?);
        found.push((kind, whole, &whole[header..]));
        bytes = rest;
    }
    Ok(found)
}

/// A box around these bytes, in the short form.
pub fn around(kind: Kind, content: &[u8]) -> Result<Vec<u8>, Fault> {
    let size = u32::try_from(content.len() + SHORT).map_err(|_| Fault::TooLarge)?;
    Ok([&size.to_be_bytes()[..], &kind, content].concat())
}

/// The header of a box with so many bytes of samples.
pub fn mdat(bytes: u64) -> Vec<u8> {
    match u32::try_from(bytes + SHORT as u64) {
        Ok(size) => [&size.to_be_bytes()[..], b"mdat"].concat(),
        Err(_) => {
            let size = (bytes + LONG as u64).to_be_bytes();
            [&1_u32.to_be_bytes()[..], b"mdat", &size].concat()
        }
    }
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// The rows of a table behind version, flags and their count, each of so many numbers.
pub fn rows<const N: usize>(table: &[u8]) -> Result<Vec<[u32; N]>, Fault> {
    let cut_off = Fault::Malformed("a table is cut off");
    let Some(count) = u32_at(table, 4) else { return Err(cut_off) };
    let count = usize::try_from(count).map_err(|_| Fault::TooLarge)?;
    let bytes = table.get(8..).unwrap_or_default();
    if count.checked_mul(4 * N).is_none_or(|wanted| wanted > bytes.len()) {
        return Err(cut_off);
    }
    let number = |bytes: &[u8], at| u32_at(bytes, 4 * at).unwrap_or_default();
    let of = bytes.chunks_exact(4 * N).take(count);
    Ok(of.map(|row| std::array::from_fn(|at| number(row, at))).collect())
}

/// A table of these rows, version and flags as they were.
pub fn table<const N: usize>(was: &[u8], rows: &[[u32; N]]) -> Result<Vec<u8>, Fault> {
    let count = u32::try_from(rows.len()).map_err(|_| Fault::TooLarge)?;
    let mut bytes = was.get(..4).unwrap_or(&[0; 4]).to_vec();
    bytes.extend(count.to_be_bytes());
    rows.iter().flatten().for_each(|number| bytes.extend(number.to_be_bytes()));
    Ok(bytes)
}
