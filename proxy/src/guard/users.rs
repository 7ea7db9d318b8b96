//! Files of users and hashes of their passwords, as Apache's `htpasswd` writes them: bcrypt (`-B`), MD5 in 1000 rounds
//! (`-m`, `$apr1$`) and SHA-1 (`-s`, `{SHA}`). Pure.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::Sha1;
use sha2::Digest as _;
use subtle::ConstantTimeEq as _;

/// Rounds of Apache's MD5.
const ROUNDS: usize = 1000;
/// The digits of crypt(3), in their order.
const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The hash of a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hash {
    Bcrypt(String),
    Apr1 { salt: String, digest: String },
    Sha1(Vec<u8>),
}

impl Hash {
    pub fn parse(text: &str) -> Option<Hash> {
        if ["$2a$", "$2b$", "$2y$"].iter().any(|start| text.starts_with(start)) {
            let whole = text.len() == 60 && text.is_ascii();
            return whole.then(|| Hash::Bcrypt(text.to_owned()));
        }
        if let Some(rest) = text.strip_prefix("$apr1$") {
            let (salt, digest) = rest.split_once('$')?;
            let whole = salt.len() <= 8 && digest.len() == 22;
            return whole.then(|| Hash::Apr1 { salt: salt.to_owned(), digest: digest.to_owned() });
        }
        let digest = STANDARD.decode(text.strip_prefix("{SHA}")?).ok()?;
        (digest.len() == 20).then_some(Hash::Sha1(digest))
    }

    /// Takes as long whatever is wrong. With bcrypt tens of milliseconds, on purpose.
    pub fn is_of(&self, password: &[u8]) -> bool {
        match self {
            Hash::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Hash::Apr1 { salt, digest } => {
                apr1(password, salt.as_bytes()).as_bytes().ct_eq(digest.as_bytes()).into()
            }
            Hash::Sha1(digest) => Sha1::digest(password)[..].ct_eq(digest).into(),
        }
    }
}

/// Users by name.
///
/// Errors: what is wrong with which line.
pub fn parse(text: &str) -> Result<HashMap<String, Hash>, String> {
    let mut users = HashMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fault = |why: &str| format!("line {}: {why}", index + 1);
        let (user, hash) = line.split_once(':').ok_or_else(|| fault("it is not `user:hash`"))?;
        let hash = Hash::parse(hash)
            .ok_or_else(|| fault("its hash is none of bcrypt, `$apr1$` and `{SHA}`"))?;
        if users.insert(user.to_owned(), hash).is_some() {
            return Err(fault(&format!("the user `{user}` is there already")));
        }
    }
    match users.is_empty() {
        true => Err("it has no user".to_owned()),
        false => Ok(users),
    }
}

/// Apache's variant of crypt's MD5 (apr_md5.c), as 22 digits.
fn apr1(password: &[u8], salt: &[u8]) -> String {
    let inner = Md5::new().chain_update(password).chain_update(salt).chain_update(password);
    let inner = inner.finalize();
    let mut first = Md5::new().chain_update(password).chain_update(b"$apr1$").chain_update(salt);
    for part in password.chunks(16) {
        first.update(&inner[..part.len()]);
    }
    let mut bits = password.len();
    while bits > 0 {
        first.update(if bits & 1 == 1 { &[0][..] } else { &password[..1] });
        bits >>= 1;
    }
    let mut sum = first.finalize();
    for round in 0..ROUNDS {
        let odd = round % 2 == 1;
        let mut next = Md5::new();
        next.update(if odd { password } else { &sum[..] });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if odd { &sum[..] } else { password });
        sum = next.finalize();
    }
    let mut text = String::with_capacity(22);
    for [high, middle, low] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        let bytes = [0, sum[high], sum[middle], sum[low]];
        digits(u32::from_be_bytes(bytes), 4, &mut text);
    }
    digits(u32::from(sum[11]), 2, &mut text);
    text
}

fn digits(mut number: u32, count: usize, text: &mut String) {
    for _ in 0..count {
        let digit = usize::try_from(number & 63).unwrap_or(0);
        text.push(char::from(DIGITS[digit]));
        number >>= 6;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `openssl passwd -apr1 -salt abcdefgh`, `openssl dgst -sha1 -binary | base64`, and a vector of bcrypt's own.
    #[test]
    fn hashes_are_those_of_other_programs() {
        for (hash, password) in [
            ("$apr1$abcdefgh$sIQmFnT1CuEXAsyjuXjUX/", "correct horse"),
            ("{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=", "correct horse"),
            ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
        ] {
            let parsed = Hash::parse(hash).unwrap();
            assert!(parsed.is_of(password.as_bytes()), "{hash}");
            for wrong in ["", "Correct horse", "U*U*"] {
                assert!(!parsed.is_of(wrong.as_bytes()), "{hash} {wrong:?}");
            }
        }
    }

    #[test]
    fn lines_that_cannot_be_used_are_named() {
        let good = "# people\n\nann:{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=\r\nbob:$apr1$abcdefgh$sIQmFnT1CuEXAsyjuXjUX/\n";
        assert_eq!(parse(good).unwrap().len(), 2);
        for (text, part) in [
            ("", "no user"),
            ("# nobody", "no user"),
            ("ann", "line 1: it is not"),
            ("# x\nann:secret", "line 2: its hash"),
            ("ann:$1$abc$def", "line 1: its hash"),
            ("ann:{SHA}AAAA", "line 1: its hash"),
            (
                "a:{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=\na:{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=",
                "line 2: the user",
            ),
        ] {
            let fault = parse(text).unwrap_err();
            assert!(fault.contains(part), "{text:?}: {fault}");
        }
    }
}
