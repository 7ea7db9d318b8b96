//! A link of the chain of hashes, and what hashes are made from. What can be a link is said by `chain`.

use sha2::{Digest, Sha256};

/// SHA-256.
pub type Hash = [u8; 32];

/// Where the chain ends; `seq` 0 and zeros before the first link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub seq: i64,
    pub hash: Hash,
}

/// A row of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub seq: i64,
    /// What it is about, such as `transfer:12`.
    pub subject: String,
    pub hash: Hash,
}

/// Fields with their lengths, so that no two records read alike.
pub struct Digesting(Vec<u8>);

impl Digesting {
    pub fn new(domain: &str) -> Self {
        // Hashed in one go: feeding the hash field by field costs as much as hashing.
        let mut digest = Self(Vec::with_capacity(1024));
        digest.text(domain);
        digest
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub fn number(&mut self, number: i64) {
        self.bytes(&number.to_be_bytes());
    }

    pub fn number_if_any(&mut self, number: Option<i64>) {
        match number {
            Some(number) => self.number(number),
            None => self.bytes(&[]),
        }
    }

    pub fn done(self) -> Hash {
        Sha256::digest(&self.0).into()
    }
}
