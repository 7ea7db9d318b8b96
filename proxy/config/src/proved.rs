//! What a client has proved of itself, as templates and keys see it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// Proofs of one request. Values are such that they can stand in a header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proved {
    /// The certificate that the client showed in the TLS handshake, verified unless the listener only asks for it.
    pub certificate: Option<Arc<Certificate>>,
    /// User of basic authentication.
    pub user: Option<String>,
    /// Claims of a verified token that are text, numbers or booleans.
    pub claims: BTreeMap<String, String>,
}

impl Proved {
    pub const fn nothing() -> Proved {
        Proved { certificate: None, user: None, claims: BTreeMap::new() }
    }
}

/// A client's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Distinguished name of its subject.
    pub subject: String,
    /// SHA-256 of the certificate, in hex.
    pub fingerprint: String,
    /// Distinguished name of its issuer.
    pub issuer: String,
    /// In hex.
    pub serial: String,
    /// `SUCCESS`, or `FAILED:` and why.
    pub verified: String,
    pub pem: String,
    /// SHA-1 of the certificate, in hex.
    pub sha1: String,
    pub valid_from: String,
    pub valid_until: String,
}

/// As in a URL: what is no letter, digit or one of `-._~` is escaped.
pub fn url_escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Text that can neither end a header nor begin a tag: anything but printable ASCII is escaped as in a URL,
/// and so are quotes, angle brackets, `&` and `%`.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (0x20..0x7f).contains(&byte) && !b"%\"'<>&\\`".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_do_harm_is_escaped() {
        assert_eq!(encoded("CN=a b, O=x/y+z:1@c"), "CN=a b, O=x/y+z:1@c");
        assert_eq!(encoded("a\r\nb<%\u{e9}"), "a%0D%0Ab%3C%25%C3%A9");
    }
}
