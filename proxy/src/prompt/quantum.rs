//! What one connection moves before it is the others' turn.

use std::io;

/// Bytes of a turn: what a thread copies in some tens of microseconds. A connection that is always ready would otherwise
/// run until the kernel is full.
pub const QUANTUM_BYTES: usize = 64 * 1024;

/// Slices of a vectored write that are looked at; pingora's chunks have three.
const SLICES_MAX: usize = 8;

/// The beginning of these slices that fits into a quantum, and how many slices that takes.
pub fn one_turn<'a>(slices: &'a [io::IoSlice<'_>]) -> ([io::IoSlice<'a>; SLICES_MAX], usize) {
    let mut first = [io::IoSlice::new(&[]); SLICES_MAX];
    let (mut room, mut count) = (QUANTUM_BYTES, 0);
    for (into, slice) in first.iter_mut().zip(slices) {
        if room == 0 {
            break;
        }
        *into = io::IoSlice::new(&slice[..slice.len().min(room)]);
        room -= into.len();
        count += 1;
    }
    (first, count)
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;

    #[test]
    fn a_vectored_write_is_cut_at_the_quantum() {
        let large = vec![1; QUANTUM_BYTES];
        let chunk = [IoSlice::new(b"10000\r\n"), IoSlice::new(&large)];
        let (first, count) = one_turn(&chunk);
        let lengths: Vec<_> = first[..count].iter().map(|slice| slice.len()).collect();
        assert_eq!(lengths, [7, QUANTUM_BYTES - 7]);
        let many: Vec<_> = (0..20).map(|_| IoSlice::new(b"x")).collect();
        assert_eq!(one_turn(&many).1, SLICES_MAX);
    }
}
