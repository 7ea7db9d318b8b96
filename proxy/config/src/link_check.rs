//! Links that were signed for nginx's `secure_link` module, checked as it checks them, so that those already given out stay
//! good. MD5 with a secret in a text is what that module has; new links are better signed for `auth.signed_url`.

use std::time::UNIX_EPOCH;

use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, Engine};
use md5::{Digest, Md5};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::pattern::Template;
use crate::program::Walk;
use crate::template::{Compiled, Scope, TemplateError};

/// A link that was signed for nginx's `secure_link` module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckLink {
    /// Variable that is set: `1` when the link is right, `0` when it was right until its time, otherwise nothing.
    pub name: String,
    /// Variable that is set to the time until which the link is good, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// How the link is signed.
    pub by: LinkProof,
}

/// How a link is signed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LinkProof {
    /// By the MD5 of a text, as `secure_link` and `secure_link_md5` have it.
    Text(TextProof),
    /// By the MD5 of the rest of the path, as `secure_link_secret` has it; the variable is then that rest in place of `1`.
    Path(PathProof),
}

/// A checksum of a text that holds a secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TextProof {
    /// Checksum that the request brings, in base64url, and, behind a comma, until when the link is good, in seconds since
    /// 1970: `$query_md5,$query_expires`.
    pub given: Template,
    /// Text whose MD5 it must be; it may use the variable `expires` names.
    pub md5_of: Template,
}

/// A path `/PREFIX/CHECKSUM/REST`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PathProof {
    /// Word behind the rest whose MD5 the checksum is, in hex.
    pub word: String,
}

/// A check, made ready.
#[derive(Clone, Debug)]
pub(crate) struct LinkCheck {
    name: String,
    expires: Option<String>,
    proof: Proof,
}

#[derive(Clone, Debug)]
enum Proof {
    Text { given: Compiled, md5_of: Compiled },
    Path { word: String },
}

/// nginx reads no longer checksum: 16 bytes and their padding.
const GIVEN_BYTES_MAX: usize = 24;

/// nginx looks at no padding, and not at bits that are left over.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl LinkCheck {
    pub(crate) fn new(check: &CheckLink, scope: &Scope<'_>) -> Result<LinkCheck, TemplateError> {
        let proof = match &check.by {
            LinkProof::Text(text) => Proof::Text {
                given: Compiled::new(&text.given.0, scope)?,
                md5_of: Compiled::new(&text.md5_of.0, scope)?,
            },
            LinkProof::Path(path) => Proof::Path { word: path.word.clone() },
        };
        Ok(LinkCheck { name: check.name.clone(), expires: check.expires.clone(), proof })
    }

    /// Sets the variables to what the link is worth.
    pub(crate) fn follow(&self, facts: &Facts<'_>, walk: &mut Walk) {
        walk.variables.set(&self.name, String::new());
        if let Some(expires) = &self.expires {
            walk.variables.set(expires, String::new());
        }
        let worth = match &self.proof {
            Proof::Text { given, md5_of } => self.of_text(given, md5_of, facts, walk),
            Proof::Path { word } => of_path(facts.request_uri, word).map(str::to_owned),
        };
        walk.variables.set(&self.name, worth.unwrap_or_default());
    }

    fn of_text(
        &self,
        given: &Compiled,
        md5_of: &Compiled,
        facts: &Facts<'_>,
        walk: &mut Walk,
    ) -> Option<String> {
        let given = given.render(&walk.now(facts));
        let (sum, until) = match given.split_once(',') {
            Some((sum, until)) => (sum, Some((until, seconds(until)?))),
            None => (given.as_str(), None),
        };
        if let Some((text, _)) = until
            && let Some(expires) = &self.expires
        {
            walk.variables.set(expires, text.to_owned());
        }
        if sum.len() > GIVEN_BYTES_MAX {
            return None;
        }
        let sum = LENIENT.decode(sum.split('=').next().unwrap_or_default()).ok()?;
        let text = md5_of.render(&walk.now(facts));
        if !is_same(&sum, &Md5::digest(text.as_bytes())) {
            return None;
        }
        let now = facts.connection.now.and_then(|now| now.duration_since(UNIX_EPOCH).ok());
        let is_late = until.is_some_and(|(_, until)| until < now.map_or(0, |now| now.as_secs()));
        Some(if is_late { "0" } else { "1" }.to_owned())
    }
}

/// A time above zero, in digits alone.
fn seconds(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|seconds| is_number && *seconds > 0)
}

/// What follows the checksum in the path, if that is right.
fn of_path<'a>(asked: &'a str, word: &str) -> Option<&'a str> {
    let (_, rest) = asked.get(1..)?.split_once('/')?;
    let (sum, rest) = rest.split_once('/')?;
    let is_hex = sum.len() == 32 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || rest.is_empty() {
        return None;
    }
    let digest = Md5::new().chain_update(rest).chain_update(word).finalize();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    is_same(sum.to_ascii_lowercase().as_bytes(), hex.as_bytes()).then_some(rest)
}

/// Compares without telling by its time how much is alike.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::captures::Captures;
    use crate::facts::Maps;
    use crate::matching::Target;

    fn worth(by: LinkProof, asked: &str, now: u64) -> (String, String) {
        let check = CheckLink { name: "link".to_owned(), expires: Some("until".to_owned()), by };
        let set = ["link", "until"].into_iter().collect();
        let scope = Scope { set: Some(&set), ..Scope::default() };
        let check = LinkCheck::new(&check, &scope).unwrap();
        let (path, query) = asked.split_once('?').unwrap_or((asked, ""));
        let target = Target { listener: "l", host: "h", path, query, method: "GET", headers: None };
        let (captures, maps) = (Captures::default(), Maps::default());
        let mut facts = Facts { request_uri: asked, ..Facts::of(target, &captures, &maps) };
        facts.connection.now = Some(UNIX_EPOCH + Duration::from_secs(now));
        let mut walk = Walk::of(path, query);
        check.follow(&facts, &mut walk);
        (walk.variables.get("link").to_owned(), walk.variables.get("until").to_owned())
    }

    fn text() -> LinkProof {
        LinkProof::Text(TextProof {
            given: Template("$query_md5,$query_expires".to_owned()),
            md5_of: Template("$until$path_text secret".to_owned()),
        })
    }

    /// `printf '2147483647/s/link secret' | openssl md5 -binary | openssl base64 | tr +/ -_ | tr -d =`
    const SUM: &str = "0Xgm37lo5nFEuHMDKl_vQg";

    #[test]
    fn a_text_is_right_until_its_time() {
        let of = |sum: &str, until: &str, now| {
            worth(text(), &format!("/s/link?md5={sum}&expires={until}"), now)
        };
        let until = "2147483647";
        let pair = |link: &str, until: &str| (link.to_owned(), until.to_owned());
        assert_eq!(of(SUM, until, 2_147_483_647), pair("1", until));
        assert_eq!(of(SUM, until, 2_147_483_648), pair("0", until));
        assert_eq!(
            of(&format!("{SUM}=="), until, 1),
            pair("1", until),
            "padding counts for nothing"
        );
        for wrong in [SUM.get(1..).unwrap(), "", "AAAAAAAAAAAAAAAAAAAAAA", "a", "+"] {
            assert_eq!(of(wrong, until, 1), pair("", until), "{wrong}");
        }
        for late in ["", "0", "-1", "+5", "x", "99999999999999999999999"] {
            assert_eq!(of(SUM, late, 1), pair("", ""), "{late}");
        }
        assert_eq!(of(&format!("{SUM}AAAA"), until, 1), pair("", until));
    }

    #[test]
    fn a_path_is_what_follows_its_checksum() {
        let of = |asked: &str| {
            worth(LinkProof::Path(PathProof { word: "secret".to_owned() }), asked, 1).0
        };
        // printf 'a/b.txtsecret' | md5sum
        let sum = "245a63e18ff3ba6b9c9e1ffa7159a280";
        assert_eq!(of(&format!("/p/{sum}/a/b.txt")), "a/b.txt");
        assert_eq!(of(&format!("/p/{}/a/b.txt", sum.to_uppercase())), "a/b.txt");
        for wrong in [
            format!("/p/{sum}/a/b.tx"),
            format!("/p/{sum}/"),
            format!("/{sum}/a/b.txt"),
            "/".into(),
            String::new(),
        ] {
            assert_eq!(of(&wrong), "", "{wrong}");
        }
    }
}
