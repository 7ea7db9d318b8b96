//! What a request means, as a hash: a retry under its key is known by it.

use sha2::{Digest, Sha256};

use super::entry::EntryBody;
use crate::metadata::Metadata;

/// SHA-256 over fields, each with its length before it, so that no two requests read alike.
pub struct Fingerprint(Vec<u8>);

impl Fingerprint {
    pub fn new(what: &str) -> Self {
        // Hashed in one go: feeding the hash field by field costs as much as hashing.
        let mut print = Self(Vec::with_capacity(512));
        print.field(what);
        print
    }

    pub fn field(&mut self, text: &str) {
        self.0.extend_from_slice(&(text.len() as u64).to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    pub fn entries(&mut self, entries: &[EntryBody]) {
        for entry in entries {
            self.field(&entry.account);
            self.field(entry.direction.as_str());
            self.field(&entry.amount.canonical());
        }
    }

    pub fn metadata(&mut self, metadata: &Metadata) {
        self.field("=metadata");
        self.field(&metadata.0.len().to_string());
        for (name, value) in &metadata.0 {
            self.field(name);
            self.field(value);
        }
    }

    pub fn done(self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }
}
