//! API keys: who may do what. A key is 256 bits of chance, kept only as its SHA-256; its role says what it may do,
//! `rate` how often; `keyring` holds those in force.

pub mod rate;

use std::fmt;

use ::ring::rand::{SecureRandom, SystemRandom};
use jiff::Timestamp;
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use utoipa::ToSchema;

use self::rate::Rate;
use crate::link::Hash;
use crate::naming::{NameError, validate_text};
use crate::when::{write_instant, write_instant_or_null};

/// What every key begins with, so that scanners for secrets find one that leaked.
const MARK: &str = "fbl_";
/// Letters and digits behind it: 62^43 is a little more than 2^256.
const CHANCE: usize = 43;
/// How much of a key is shown and kept, to tell keys apart: 48 of its bits.
const PREFIX: usize = MARK.len() + 8;
/// Longest name in characters.
pub const NAME_CHARS_MAX: usize = 200;

/// What a key may do; `http::access` says which operations that is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads the books.
    Reader,
    /// Reads, opens accounts and books transfers.
    Poster,
    /// Reads, and sees keys and the log of administration.
    Auditor,
    /// Everything: keys, limits, closes and currencies too.
    Admin,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Reader, Self::Poster, Self::Auditor, Self::Admin];

    /// The word in the API and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Poster => "poster",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        }
    }

    /// The role named by a word of the database.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// A key itself. It is shown once, to whoever asked for it, and never written anywhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why a text is no key. The text is not repeated.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("it is no API key: one is {MARK} and {CHANCE} letters and digits")]
pub struct NoKey;

impl Secret {
    /// A new one, from the kernel's random numbers.
    pub fn generate() -> Self {
        const LETTERS: &[u8; 62] =
            b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let random = SystemRandom::new();
        let mut text = String::from(MARK);
        while text.len() < MARK.len() + CHANCE {
            let mut bytes = [0; 64];
            random.fill(&mut bytes).expect("the kernel has random numbers");
            // Bytes above the last multiple of 62 would make some letters likelier than others.
            let fair = bytes.into_iter().filter(|byte| *byte < 248).map(usize::from);
            let letters = fair.map(|byte| char::from(LETTERS[byte % LETTERS.len()]));
            text.extend(letters.take(MARK.len() + CHANCE - text.len()));
        }
        Self(text)
    }

    pub fn parse(text: &str) -> Result<Self, NoKey> {
        let rest = text.strip_prefix(MARK).ok_or(NoKey)?;
        let shaped = rest.len() == CHANCE && rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if shaped { Ok(Self(text.to_owned())) } else { Err(NoKey) }
    }

    /// What is stored instead. There is nothing to guess in 256 bits of chance, so nothing slow is needed.
    pub fn hash(&self) -> Hash {
        Sha256::digest(self.0.as_bytes()).into()
    }

    pub fn prefix(&self) -> &str {
        &self.0[..PREFIX]
    }

    /// For the one answer that shows it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", self.prefix())
    }
}

/// What an administrator posts to `/v1/keys`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyBody {
    /// What people call it, such as the service that uses it; 1 to 200 characters.
    #[schema(example = "checkout", min_length = 1, max_length = 200)]
    pub name: String,
    pub role: Role,
    /// From when it is refused, RFC 3339 with an offset and not in the past; never when left out.
    #[serde(default, deserialize_with = "read_expiry")]
    #[schema(value_type = Option<String>, format = DateTime, example = "2027-01-01T00:00:00Z")]
    pub expires_at: Option<Timestamp>,
    /// How often it may ask. No limit when left out.
    #[serde(default)]
    pub rate: Option<Rate>,
}

impl KeyBody {
    pub fn validate(&self) -> Result<(), NameError> {
        if self.name.is_empty() {
            return Err(NameError::TextEmpty { what: "key name" });
        }
        validate_text("key name", &self.name, NAME_CHARS_MAX)
    }

    /// Why a key would be none from the beginning, if it would.
    pub fn expired(&self, now: Timestamp) -> Option<String> {
        let at = self.expires_at.filter(|at| *at <= now)?;
        Some(format!("the key would have expired already: {at} is not later than now, {now:.0}"))
    }
}

/// A key to be booked, with what is kept of its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    pub body: KeyBody,
    pub prefix: String,
    pub hash: Hash,
}

impl NewKey {
    pub fn new(body: KeyBody, secret: &Secret) -> Self {
        Self { body, prefix: secret.prefix().to_owned(), hash: secret.hash() }
    }
}

/// A key as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyRow {
    pub id: i64,
    pub name: String,
    pub prefix: String,
    pub hash: Hash,
    pub role: Role,
    pub rate: Option<Rate>,
    pub created_at_us: i64,
    pub expires_at_us: Option<i64>,
}

/// A key as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ApiKey {
    /// Counts keys from 1.
    pub id: i64,
    #[schema(example = "checkout")]
    pub name: String,
    /// How the key begins; the rest is not kept.
    #[schema(example = "fbl_4Zc8Lq0T")]
    pub prefix: String,
    pub role: Role,
    /// How often it may ask; null when there is no limit.
    pub rate: Option<Rate>,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "write_instant")]
    pub created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "write_instant_or_null")]
    pub expires_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "write_instant_or_null")]
    pub revoked_at: Option<Timestamp>,
    /// To the minute; null when it was never used.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "write_instant_or_null")]
    pub last_used_at: Option<Timestamp>,
}

/// A new key, the only time it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CreatedKey {
    /// Send it as `Authorization: Bearer …`. It cannot be shown again.
    #[schema(example = "fbl_4Zc8Lq0T…")]
    pub key: String,
    #[serde(flatten)]
    pub listed: ApiKey,
}

fn read_expiry<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    match text.parse::<Timestamp>() {
        Ok(at) if at.as_nanosecond() % 1000 == 0 => Ok(Some(at)),
        _ => Err(de::Error::custom(format!(
            "expires_at {:?} is not an instant; write RFC 3339 with an offset, such as 2027-01-01T00:00:00Z",
            text.chars().take(40).collect::<String>()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_chance_and_only_its_beginning_is_ever_shown() {
        let (one, other) = (Secret::generate(), Secret::generate());
        assert_ne!(one.reveal(), other.reveal());
        assert_ne!(one.hash(), other.hash());
        assert_eq!(Secret::parse(one.reveal()), Ok(one.clone()));
        assert_eq!(one.reveal().len(), 47);
        assert!(one.reveal().starts_with(one.prefix()));
        assert_eq!(format!("{one:?}"), format!("{}…", one.prefix()));
        let body = KeyBody { name: "n".into(), role: Role::Reader, expires_at: None, rate: None };
        let kept = format!("{:?}", NewKey::new(body, &one));
        assert!(!kept.contains(&one.reveal()[PREFIX..]), "{kept}");
    }

    #[test]
    fn a_key_that_has_expired_is_none() {
        let at = |seconds: i64| {
            let expires_at = Some(Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(seconds));
            let body = KeyBody { name: "n".into(), role: Role::Reader, expires_at, rate: None };
            body.expired(Timestamp::UNIX_EPOCH).is_some()
        };
        assert_eq!([at(-1), at(0), at(1)], [true, true, false]);
    }

    #[test]
    fn letters_are_equally_likely() {
        let mut seen = [0_u32; 128];
        for _ in 0..500 {
            for byte in Secret::generate().reveal()[MARK.len()..].bytes() {
                seen[usize::from(byte)] += 1;
            }
        }
        let drawn: Vec<u32> = seen.into_iter().filter(|count| *count > 0).collect();
        // 347 of each are to be expected; six standard deviations are 112.
        assert_eq!(drawn.len(), 62);
        assert!(drawn.iter().all(|count| (235..460).contains(count)), "{drawn:?}");
    }

    #[test]
    fn what_is_no_key_is_not_looked_up() {
        let good = Secret::generate().reveal().to_owned();
        for bad in [
            "",
            "fbl_",
            &good[1..],
            &good[..46],
            &format!("{good}x"),
            &good.replacen("fbl_", "FBL_", 1),
            &format!("{}é", &good[..45]),
        ] {
            assert_eq!(Secret::parse(bad), Err(NoKey), "{bad}");
        }
    }

    #[test]
    fn roles_have_words() {
        for role in Role::ALL {
            assert_eq!(Role::from_word(role.as_str()), Some(role));
        }
        assert_eq!(Role::from_word("root"), None);
    }
}
