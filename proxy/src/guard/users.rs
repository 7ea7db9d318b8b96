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

use crate::guard::des_crypt::{self, DIGITS};

/// Bytes of a SHA-1.
const SHA1_BYTES: usize = 20;
/// Rounds of MD5.
const ROUNDS: usize = 1000;

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

    /// How long [`Hash::is_of`] takes, to be held against other hashes: bcrypt by its cost, which each more doubles.
    fn slowness(&self) -> u32 {
        match self {
            Hash::Bcrypt(hash) => {
                100 + hash.get(4..6).and_then(|cost| cost.parse().ok()).unwrap_or(0)
            }
            Hash::Md5 { .. } => 2,
            Hash::Des(_) => 1,
            Hash::Sha1(_) | Hash::SaltedSha1 { .. } | Hash::Plain(_) => 0,
        }
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

/// The users of a file.
pub struct Users {
    by_name: HashMap<String, Hash>,
    /// Held against the password of a user that is not there, so that both take as long.
    decoy: Hash,
}

impl Users {
    fn new(by_name: HashMap<String, Hash>) -> Users {
        let slowest = by_name.values().max_by_key(|hash| hash.slowness()).cloned();
        // Where there is nobody, nobody is told from another.
        let decoy = slowest.unwrap_or_else(|| Hash::Plain(String::new()));
        Users { by_name, decoy }
    }

    /// What a user's password is held against, and whether there is that user.
    pub fn held_against(&self, user: &str) -> (&Hash, bool) {
        match self.by_name.get(user) {
            Some(hash) => (hash, true),
            None => (&self.decoy, false),
        }
    }
}

/// As many users of a file as can be understood, and the numbers of the lines that cannot; what is said of one twice,
/// first counts.
pub fn understood(text: &str) -> (Users, Vec<usize>) {
    let (mut users, mut skipped) = (HashMap::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // Behind another colon there may be a remark.
        let user = line.split_once(':').and_then(|(user, rest)| {
            let hash = rest.split(':').next().and_then(Hash::parse)?;
            Some((user.to_owned(), hash))
        });
        match user {
            Some((user, hash)) => {
                users.entry(user).or_insert(hash);
            }
            None => skipped.push(index + 1),
        }
    }
    (Users::new(users), skipped)
}

/// The users of a file that has no fault.
///
/// Errors: what is wrong with which line.
pub fn parse(text: &str) -> Result<Users, String> {
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
        false => Ok(Users::new(users)),
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
        let (users, skipped) =
            understood("a:$1$\nb:{PLAIN}x:remark\n\n# c:{PLAIN}y\nb:{PLAIN}z\nnothing\n");
        assert_eq!((users.by_name.len(), skipped), (1, vec![1, 6]));
        assert!(users.by_name["b"].is_of(b"x"));
    }

    #[test]
    fn a_user_that_is_not_there_takes_as_long_as_the_slowest() {
        let fast = "a:{PLAIN}x\nb:$apr1$abcdefgh$sIQmFnT1CuEXAsyjuXjUX/\nc:sa3tHJ3/KuYvI";
        let cheap = "d:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        let dear = "e:$2y$12$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        for (text, slowest) in [
            (fast.to_owned(), "b"),
            (format!("{cheap}\n{fast}"), "d"),
            (format!("{cheap}\n{dear}\n{fast}"), "e"),
            (format!("{dear}\n{cheap}"), "e"),
        ] {
            for users in [understood(&text).0, parse(&text).unwrap()] {
                let (decoy, is_known) = users.held_against("nobody");
                assert!(!is_known && *decoy == users.by_name[slowest], "{text}");
            }
        }
        assert!(!understood("").0.held_against("nobody").1);
    }

    #[test]
    fn lines_that_cannot_be_used_are_named() {
        let good = "# people\n\nann:{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=\r\nbob:$apr1$abcdefgh$sIQmFnT1CuEXAsyjuXjUX/\n";
        assert_eq!(parse(good).unwrap().by_name.len(), 2);
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
            let fault = parse(text).err().unwrap();
            assert!(fault.contains(part), "{text:?}: {fault}");
        }
    }
}
