//! Private keys in PEM, plain or encrypted (PKCS #8, RFC 5958), and certificates.

use std::path::Path;

use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// What the PEM of an encrypted key begins with.
const ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";

/// The key of a file; `passwords` has pass phrases, one a line, of which one opens it if it is encrypted.
pub fn private_key(
    file: &Path,
    passwords: Option<&Path>,
) -> Result<PrivateKeyDer<'static>, String> {
    let unreadable = |error: String| format!("the key cannot be read: {error}");
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(error.to_string()))?;
    let Some(begins) = text.find(ENCRYPTED) else {
        return PrivateKeyDer::from_pem_slice(text.as_bytes())
            .map_err(|error| unreadable(error.to_string()));
    };
    let passwords = passwords.ok_or("the key is encrypted; name a `password_file`")?;
    let (_, sealed) =
        SecretDocument::from_pem(&text[begins..]).map_err(|error| unreadable(error.to_string()))?;
    let sealed = EncryptedPrivateKeyInfoRef::try_from(sealed.as_bytes())
        .map_err(|error| unreadable(error.to_string()))?;
    let phrases = std::fs::read_to_string(passwords)
        .map_err(|error| format!("{} cannot be read: {error}", passwords.display()))?;
    let opened =
        phrases.lines().find_map(|phrase| sealed.decrypt(phrase.trim_end_matches('\r')).ok());
    let opened =
        opened.ok_or_else(|| format!("no line of {} opens the key", passwords.display()))?;
    Ok(PrivatePkcs8KeyDer::from(opened.as_bytes().to_vec()).into())
}

/// The certificates of a PEM file, at least one.
pub fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unreadable = |error| format!("{} cannot be read: {error}", file.display());
    let chain = CertificateDer::pem_file_iter(file).map_err(unreadable)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    match chain.is_empty() {
        true => Err(format!("{} holds no PEM certificate", file.display())),
        false => Ok(chain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `openssl genpkey -algorithm ed25519 -aes128 -pass pass:secret`
    const KEY: &str = include_str!("encrypted_key.pem");

    #[test]
    fn one_of_several_phrases_opens_a_key() {
        let dir = tempfile::tempdir().unwrap();
        let (key, phrases) = (dir.path().join("key.pem"), dir.path().join("phrases"));
        std::fs::write(&key, KEY).unwrap();
        std::fs::write(&phrases, "wrong\r\nsecret\r\n").unwrap();
        assert!(private_key(&key, Some(&phrases)).is_ok());
        assert!(private_key(&key, None).unwrap_err().contains("password_file"));
        std::fs::write(&phrases, "wrong\n").unwrap();
        assert!(private_key(&key, Some(&phrases)).unwrap_err().contains("no line of"));
    }
}
