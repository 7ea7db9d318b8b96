//! PEM (RFC 7468), as far as one key needs it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What a public key of Ed25519 begins with (RFC 8410).
const PUBLIC: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

pub fn written(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in base64.as_bytes().chunks(64) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// What is between the lines of that label.
pub fn read(label: &str, text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (base64, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let base64: String = base64.split_whitespace().collect();
    STANDARD.decode(base64).ok()
}

/// Of Ed25519.
pub fn public(key: &[u8; 32]) -> String {
    written("PUBLIC KEY", &[&PUBLIC[..], key].concat())
}

pub fn read_public(text: &str) -> Option<[u8; 32]> {
    read("PUBLIC KEY", text)?.strip_prefix(&PUBLIC)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        assert_eq!(read_public(&public(&[7; 32])), Some([7; 32]));
        assert!(public(&[0; 32]).starts_with("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA"));
        let long = written("X", &[1; 100]);
        assert!(long.lines().all(|line| line.len() <= 64));
        assert_eq!(read("X", &long), Some(vec![1; 100]));
        for bad in ["", "-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----"] {
            assert_eq!(read_public(bad), None);
        }
    }
}
