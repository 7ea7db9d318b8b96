//! Films in FLV that begin somewhere else: `?start=BYTE`, as players of that form ask for it, is answered with a header of
//! a film of its own and the file from there on.

use bytes::Bytes;

/// Signature, version 1, sound and picture, 9 bytes of header, and the length of no tag before the first (Adobe's
/// Video File Format Specification, version 10, annex E).
const HEADER: &[u8] = b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00";

/// What stands before a file's own bytes, and which of them follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    pub lead: Bytes,
    pub at: u64,
    pub end: u64,
}

impl Opening {
    /// A file of this length as it is.
    pub fn whole(length: u64) -> Opening {
        Opening { lead: Bytes::new(), at: 0, end: length }
    }

    /// What a query asks for, of a file of this length; a place that is none in it asks for all of it.
    pub fn asked_for(query: &str, length: u64) -> Opening {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let start = pairs.find(|(name, _)| *name == "start").map(|(_, start)| start);
        let at = start.and_then(|start| start.parse().ok()).filter(|at| (1..length).contains(at));
        let lead = Bytes::from_static(HEADER);
        at.map_or(Opening::whole(length), |at| Opening { lead, at, end: length })
    }

    /// Bytes that it comes to.
    pub fn length(&self) -> u64 {
        self.lead.len() as u64 + self.end - self.at
    }

    /// The part of the lead between two places, where the first lies in it.
    pub fn lead_between(&self, at: u64, end: u64) -> Option<Bytes> {
        let length = self.lead.len() as u64;
        let (from, to) = (usize::try_from(at).ok()?, usize::try_from(end.min(length)).ok()?);
        (at < length).then(|| self.lead.slice(from..to))
    }

    /// Where a place behind the lead is in the file.
    pub fn in_file(&self, at: u64) -> u64 {
        at - self.lead.len() as u64 + self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_film_begins_where_it_is_asked_for() {
        for (query, begins) in
            [("start=100", 100), ("a=b&start=999", 999), ("", 0), ("start=0", 0), ("start=-1", 0)]
        {
            assert_eq!(Opening::asked_for(query, 1000).at, begins, "{query}");
        }
        assert_eq!(Opening::asked_for("start=1000", 1000), Opening::whole(1000));
        let film = Opening::asked_for("start=100", 1000);
        assert_eq!((film.length(), film.in_file(13), film.in_file(912)), (913, 100, 999));
        let lead = |from, to| film.lead_between(from, to);
        assert_eq!(lead(0, 10).unwrap(), &b"FLV\x01\x05\x00\x00\x00\x09\x00"[..]);
        assert_eq!(lead(12, 900).unwrap(), &b"\x00"[..]);
        assert_eq!((lead(13, 20), Opening::whole(9).lead_between(0, 5)), (None, None));
    }
}
