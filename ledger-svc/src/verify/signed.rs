//! Signatures of the chain's head: each must be what its key made, over the link that the chain has at that place.

use std::collections::BTreeMap;

use super::finding::{Finding, wrong};
use crate::hex::hex;
use crate::link::{Hash, Link};
use crate::signature::{PublicKey, SignatureRow};

/// Signatures that the walk along the chain has not come to.
#[derive(Debug)]
pub struct Signed {
    ahead: BTreeMap<i64, Vec<(i64, Hash)>>,
    pub last: Option<(SignatureRow, usize)>,
}

impl Signed {
    /// Holds each against its key, in their order.
    pub fn new<'a>(
        rows: impl Iterator<Item = &'a SignatureRow>,
        keys: &[PublicKey],
    ) -> Result<Self, Finding> {
        let rows: BTreeMap<i64, &SignatureRow> = rows.map(|row| (row.id, row)).collect();
        let mut ahead: BTreeMap<i64, Vec<(i64, Hash)>> = BTreeMap::new();
        for row in rows.values() {
            if !row.holds() {
                return Err(bad(row.id, "it is not what its key made of that head"));
            }
            if !keys.is_empty() && !keys.contains(&row.public_key) {
                let whose = hex(&row.public_key);
                return Err(bad(
                    row.id,
                    &format!("it is by the key {whose}, not by one that was given"),
                ));
            }
            ahead.entry(row.head.seq).or_default().push((row.id, row.head.hash));
        }
        let last = rows.last_key_value().map(|(_, row)| ((*row).clone(), rows.len()));
        match last {
            None if !keys.is_empty() => Err(wrong(
                "head_signatures",
                "none",
                "no head was signed by the key that was given",
            )),
            last => Ok(Self { ahead, last }),
        }
    }

    /// The chain has this link: what was signed at its place must be it.
    pub fn pass(&mut self, link: &Link) -> Result<(), Finding> {
        for (id, hash) in self.ahead.remove(&link.seq).into_iter().flatten() {
            if hash != link.hash {
                let what = format!("it is over another link {} than the chain has", link.seq);
                return Err(bad(id, &what));
            }
        }
        Ok(())
    }

    /// The chain has ended.
    pub fn end(&self) -> Result<(), Finding> {
        let first = self.ahead.values().flatten().map(|(id, _)| *id).min();
        first.map_or(Ok(()), |id| Err(bad(id, "the chain ends before the link it is over")))
    }
}

fn bad(id: i64, what: &str) -> Finding {
    wrong("head_signatures", format!("id {id}"), what)
}
