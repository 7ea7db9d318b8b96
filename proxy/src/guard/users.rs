//! Files of users and hashes of their passwords, as Apache's `htpasswd` writes them: bcrypt (`-B`), MD5 in 1000 rounds
//! (`-m`, `$apr1$`) and SHA-1 (`-s`, `{SHA}`); and as nginx takes them besides: crypt(3) of DES and `$1$`, `{SSHA}`,
//! `{PLAIN}`. Pure.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::Sha1;
use sha2::Digest as _;
use subtle::ConstantTimeEq as _;

use crate::guard::des_crypt;

/// Bytes of a SHA-1.
const SHA1_BYTES: usize = 20;
/// Rounds of MD5.
const ROUNDS: usize = 1000;
/// The digits of crypt(3), in their order.
const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The hash of a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hash {
    Bcrypt(String),
    /// MD5 in 1000 rounds, as this mark says: `$apr1$` or `$1$`.
    Md5 {
        mark: &'static str,
        salt: String,
        digest: String,
    },
    Sha1(Vec<u8>),
    /// SHA-1 of the password and what follows it.
    SaltedSha1 {
        digest: Vec<u8>,
        salt: Vec<u8>,
    },
    Des(String),
    Plain(String),
}

impl Hash {
    pub fn parse(text: &str) -> Option<Hash> {
        if ["$2a$", "$2b$", "$2y$"].iter().any(|start| text.starts_with(start)) {
            let whole = text.len() == 60 && text.is_ascii();
            return whole.then(|| Hash::Bcrypt(text.to_owned()));
        }
        for mark in ["$apr1$", "$1$"] {
            let Some(rest) = text.strip_prefix(mark) else { continue };
            let (salt, digest) = rest.split_once('$')?;
            let whole = salt.len() <= 8 && digest.len() == 22;
            let (salt, digest) = (salt.to_owned(), digest.to_owned());
            return whole.then_some(Hash::Md5 { mark, salt, digest });
        }
        if let Some(password) = text.strip_prefix("{PLAIN}") {
            return Some(Hash::Plain(password.to_owned()));
        }
        if let Some(encoded) = text.strip_prefix("{SSHA}") {
            let mut digest = STANDARD.decode(encoded).ok()?;
            let salt = (digest.len() >= SHA1_BYTES).then(|| digest.split_off(SHA1_BYTES))?;
            return Some(Hash::SaltedSha1 { digest, salt });
        }
        if let Some(encoded) = text.strip_prefix("{SHA}") {
            let digest = STANDARD.decode(encoded).ok()?;
            return (digest.len() == SHA1_BYTES).then_some(Hash::Sha1(digest));
        }
        let is_des = text.len() == 13 && text.bytes().all(|byte| DIGITS.contains(&byte));
        is_des.then(|| Hash::Des(text.to_owned()))
    }

    /// Takes as long whatever is wrong. With bcrypt tens of milliseconds, on purpose.
    pub fn is_of(&self, password: &[u8]) -> bool {
        match self {
            Hash::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Hash::Md5 { mark, salt, digest } => md5_crypt(password, mark, salt.as_bytes())
                .as_bytes()
                .ct_eq(digest.as_bytes())
                .into(),
            Hash::Sha1(digest) => Sha1::digest(password)[..].ct_eq(digest).into(),
            Hash::SaltedSha1 { digest, salt } => {
                let own = Sha1::new().chain_update(password).chain_update(salt).finalize();
                own[..].ct_eq(digest).into()
            }
            Hash::Des(hash) => des_crypt::crypt(password, hash.as_bytes())
                .is_some_and(|own| own.as_bytes().ct_eq(hash.as_bytes()).into()),
            Hash::Plain(plain) => password.ct_eq(plain.as_bytes()).into(),
        }
    }
}

/// As many users of a file as can be understood; what is said of one twice, first counts.
pub fn understood(text: &str) -> HashMap<String, Hash> {
    let mut users = HashMap::new();
    for line in text.lines().map(str::trim_end).filter(|line| !line.starts_with('#')) {
        let Some((user, rest)) = line.split_once(':') else { continue };
        // Behind another colon there may be a remark.
        let Some(hash) = rest.split(':').next().and_then(Hash::parse) else { continue };
        users.entry(user.to_owned()).or_insert(hash);
    }
    users
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
            .ok_or_else(|| fault("its hash is of no kind that is known; bcrypt is best"))?;
        if users.insert(user.to_owned(), hash).is_some() {
            return Err(fault(&format!("the user `{user}` is there already")));
        }
    }
    match users.is_empty() {
        true => Err("it has no user".to_owned()),
        false => Ok(users),
    }
}

/// MD5 in 1000 rounds, as 22 digits: crypt's own (`$1$`), or Apache's (`$apr1$`), which differs by its mark.
fn md5_crypt(password: &[u8], mark: &str, salt: &[u8]) -> String {
    let inner = Md5::new().chain_update(password).chain_update(salt).chain_update(password);
    let inner = inner.finalize();
    let mut first = Md5::new().chain_update(password).chain_update(mark).chain_update(salt);
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
            ("$1$salt$qJH7.N4xYta3aEG/dfqo/0", "password"),
            ("{SSHA}yI6cZwQadOA1e+/f+T+H3eCQQhRzYWx0", "password"),
            ("{PLAIN}pass:word", "pass:word"),
            ("sa3tHJ3/KuYvI", "password"),
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
    fn what_can_be_understood_is() {
        let users = understood("a:$1$\nb:{PLAIN}x:remark\n# c:{PLAIN}y\nb:{PLAIN}z\nnothing\n");
        assert_eq!(users.len(), 1);
        assert!(users["b"].is_of(b"x"));
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
