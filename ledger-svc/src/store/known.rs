//! What an import asks of transfers before it books: under which of its keys something was booked, and which ids there are.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::error::StoreError;
use super::reader::{Arg, Reader};

/// Looked up at once.
const AT_ONCE: usize = 500;

/// Keys with what was booked under them. A name behind a point may be a word of the engine's own.
const KEYED: &str = "SELECT t.key, t.fingerprint, t.id FROM transfers AS t WHERE t.key IN (…)";
/// Those that an earlier version kept apart.
const KEYED_APART: &str = "SELECT k.key, k.fingerprint, t.id
     FROM idempotency_keys AS k JOIN transfers AS t ON t.seq = k.transfer_seq WHERE k.key IN (…)";
const IDS: &str = "SELECT t.id FROM transfers AS t WHERE t.id IN (…)";

/// The fingerprint of a request and the transfer it was booked as.
pub type Booked = (Vec<u8>, Uuid);

impl Reader {
    /// What was booked under these keys, by key.
    pub async fn booked_under(&self, keys: &[&str]) -> Result<HashMap<String, Booked>, StoreError> {
        let mut known = HashMap::new();
        for keys in keys.chunks(AT_ONCE) {
            let arguments: Vec<Arg<'_>> = keys.iter().map(|key| Arg::Text(key)).collect();
            for sql in [KEYED, KEYED_APART] {
                let sql = listing(sql, keys.len());
                let rows = self.rows_once(&sql, &arguments, |row| {
                    Ok((row.string(0)?, (row.bytes(1)?.to_vec(), row.uuid(2)?)))
                });
                known.extend(rows.await?);
            }
        }
        Ok(known)
    }

    /// Those of the transfers that there are.
    pub async fn there_are(&self, ids: &[Uuid]) -> Result<HashSet<Uuid>, StoreError> {
        let mut there = HashSet::new();
        for ids in ids.chunks(AT_ONCE) {
            let arguments: Vec<Arg<'_>> = ids.iter().map(|id| Arg::Uuid(*id)).collect();
            let sql = listing(IDS, ids.len());
            there.extend(self.rows_once(&sql, &arguments, |row| row.uuid(0)).await?);
        }
        Ok(there)
    }
}

fn listing(sql: &str, count: usize) -> String {
    sql.replace('…', &vec!["?"; count].join(", "))
}
