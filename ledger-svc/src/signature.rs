//! The chain's head, signed with a key that is kept outside the database. Whoever can write every table can write the
//! whole chain anew; he cannot sign it.

pub mod pem;

use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::Serialize;
use thiserror::Error;
use utoipa::ToSchema;

use crate::hex::hex;
use crate::link::{Hash, Head};
use crate::when::write_instant;

/// An Ed25519 public key (RFC 8032).
pub type PublicKey = [u8; 32];

/// A signature as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureRow {
    pub id: i64,
    pub head: Head,
    pub public_key: PublicKey,
    pub signature: [u8; 64],
    pub signed_at_us: i64,
}

/// A signature as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Signature {
    /// Counts signatures from 1.
    pub id: i64,
    /// The number of the link that was the head.
    pub link: i64,
    /// Its hash, in hexadecimal.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    pub hash: String,
    /// Whose signature it is, in hexadecimal.
    pub public_key: String,
    /// Ed25519 over `forebay-ledger-head-1 LINK HASH MICROSECONDS`, the last since 1970, in hexadecimal.
    pub signature: String,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "write_instant")]
    pub signed_at: Timestamp,
}

/// The key that signs.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    pub public: PublicKey,
}

/// Why a file is no key to sign with.
#[derive(Debug, Error)]
pub enum SigningKeyError {
    #[error("cannot read {path}: {error}")]
    Read { path: String, error: std::io::Error },
    #[error("cannot write {path}: {error}")]
    Write { path: String, error: std::io::Error },
    #[error(
        "{path} can be read by others (mode {mode:03o}), and whoever reads it can sign; run chmod 600 {path}, or make a new key"
    )]
    Open { path: String, mode: u32 },
    #[error(
        "{0} holds no Ed25519 private key (PEM, PKCS #8); forebay-ledger signing-key create makes one"
    )]
    Shape(String),
    #[error("the system gives no random numbers")]
    Random,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", hex(&self.public))
    }
}

impl SigningKey {
    /// Makes a key in a new file that nobody but its owner can read.
    pub fn create(path: &Path) -> Result<Self, SigningKeyError> {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let made = made.map_err(|_| SigningKeyError::Random)?;
        let text = pem::written("PRIVATE KEY", made.as_ref());
        let options = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path);
        let written = options.and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        let failed = |error| SigningKeyError::Write { path: path.display().to_string(), error };
        written.map_err(failed)?;
        Self::parse(&text, path)
    }

    pub fn read(path: &Path) -> Result<Self, SigningKeyError> {
        let named = || path.display().to_string();
        let failed = |error| SigningKeyError::Read { path: named(), error };
        let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(SigningKeyError::Open { path: named(), mode });
        }
        Self::parse(&std::fs::read_to_string(path).map_err(failed)?, path)
    }

    /// A key of another program may lack its public half.
    fn parse(text: &str, path: &Path) -> Result<Self, SigningKeyError> {
        let shape = || SigningKeyError::Shape(path.display().to_string());
        let der = pem::read("PRIVATE KEY", text).ok_or_else(shape)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(|_| shape())?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| shape())?;
        Ok(Self { pair, public })
    }

    /// Signs a head; the row has no number yet.
    pub fn sign(&self, head: Head, now: Timestamp) -> SignatureRow {
        let signed_at_us = now.as_microsecond();
        let signature = self.pair.sign(&message(head.seq, &head.hash, signed_at_us));
        let mut bytes = [0; 64];
        bytes.copy_from_slice(signature.as_ref());
        SignatureRow { id: 0, head, public_key: self.public, signature: bytes, signed_at_us }
    }
}

impl SignatureRow {
    /// Whether it is what its key made of its head and its time.
    pub fn holds(&self) -> bool {
        let message = message(self.head.seq, &self.head.hash, self.signed_at_us);
        UnparsedPublicKey::new(&ED25519, &self.public_key).verify(&message, &self.signature).is_ok()
    }

    pub fn told(&self) -> Signature {
        Signature {
            id: self.id,
            link: self.head.seq,
            hash: hex(&self.head.hash),
            public_key: hex(&self.public_key),
            signature: hex(&self.signature),
            signed_at: Timestamp::from_microsecond(self.signed_at_us).unwrap_or_default(),
        }
    }
}

fn message(seq: i64, hash: &Hash, signed_at_us: i64) -> Vec<u8> {
    format!("forebay-ledger-head-1 {seq} {} {signed_at_us}", hex(hash)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_head_at_one_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let key = SigningKey::create(&path).unwrap();
        assert_eq!(SigningKey::read(&path).unwrap().public, key.public);
        assert!(!format!("{key:?}").contains("PRIVATE"));
        let row = key.sign(Head { seq: 7, hash: [3; 32] }, Timestamp::UNIX_EPOCH);
        assert!(row.holds());
        let changes: [fn(&mut SignatureRow); 5] = [
            |row| row.head.seq = 8,
            |row| row.head.hash = [4; 32],
            |row| row.signed_at_us = 1,
            |row| row.signature[0] ^= 1,
            |row| row.public_key = [9; 32],
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut other = row.clone();
            change(&mut other);
            assert!(!other.holds(), "change {number}");
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        SigningKey::create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(SigningKey::create(&path).unwrap_err().to_string().contains("cannot write"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let said = SigningKey::read(&path).unwrap_err().to_string();
        assert!(said.contains("mode 640") && said.contains("chmod 600"), "{said}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "text").unwrap();
        assert!(SigningKey::read(&path).unwrap_err().to_string().contains("no Ed25519"));
    }
}
