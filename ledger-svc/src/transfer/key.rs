//! The key a transfer is asked for under.

use std::sync::Arc;

use thiserror::Error;

/// Longest idempotency key in bytes.
pub const KEY_BYTES_MAX: usize = 255;

/// The client's name for one transfer: retrying under the same key never posts twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Arc<str>);

/// Why a header value is no idempotency key.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    #[error(
        "the Idempotency-Key header is missing; send a unique value per transfer, such as a UUID, and the same value when retrying"
    )]
    Missing,
    #[error("there are several Idempotency-Key headers; send exactly one")]
    Several,
    #[error("the Idempotency-Key is {0} bytes long; use 1 to {KEY_BYTES_MAX}")]
    Length(usize),
    #[error(
        "the Idempotency-Key contains something other than visible ASCII characters; use a UUID or similar"
    )]
    Characters,
}

impl IdempotencyKey {
    /// Takes 1 to 255 visible ASCII characters, verbatim.
    pub fn parse(value: &[u8]) -> Result<Self, KeyError> {
        if value.is_empty() || value.len() > KEY_BYTES_MAX {
            return Err(KeyError::Length(value.len()));
        }
        match std::str::from_utf8(value) {
            Ok(text) if text.bytes().all(|b| b.is_ascii_graphic()) => Ok(Self(text.into())),
            _ => Err(KeyError::Characters),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same text, not copied.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        assert!(IdempotencyKey::parse(&[b'k'; 255]).is_ok());
        assert_eq!(IdempotencyKey::parse(&[b'k'; 256]), Err(KeyError::Length(256)));
        assert_eq!(IdempotencyKey::parse(b""), Err(KeyError::Length(0)));
        for bad in [&b"a b"[..], b"\xff", b"a\tb", "schlüssel".as_bytes()] {
            assert_eq!(IdempotencyKey::parse(bad), Err(KeyError::Characters));
        }
    }
}
