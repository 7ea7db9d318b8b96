//! Who may use a route: by address, by proof, and from which web pages.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address::IpNetwork;
use crate::pattern::Template;
use crate::route_action::HeaderEdits;
use crate::units::Duration;

/// Access by address: `rules` first, then `deny`, then `allow`; with `allow` given, everyone else is refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// Rules in order: the first whose network has the client decides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<AccessRule>,
    /// Networks that may ask.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<IpNetwork>,
    /// Networks that may not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<IpNetwork>,
    /// Whether an address that may ask must still prove itself where the route has `auth`.
    #[serde(skip_serializing_if = "Satisfy::is_default")]
    pub satisfy: Satisfy,
    /// Hosts that may refer to this (`Referer`); without it, any. A request without `Referer` passes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub referers: Vec<String>,
}

/// Who the client is, where others connect on its behalf; in place of what the listener makes of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientRule {
    /// Networks of those who are believed.
    pub trusted_proxies: Vec<IpNetwork>,
    /// Whether those who connect by a Unix socket are.
    pub trust_unix: bool,
    /// Header with the client's address; without it, the PROXY protocol header of the connection says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Whether a list is followed from its end as far as its entries are trusted; without it, its last entry counts.
    pub recursive: bool,
}

/// What of address and proof is enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Satisfy {
    /// Both.
    #[default]
    All,
    /// One of them: an address that may ask proves nothing, any other must.
    Any,
}

impl Satisfy {
    fn is_default(&self) -> bool {
        *self == Satisfy::All
    }
}

/// One of several rules.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccessRule {
    /// This network may ask.
    Allow(IpNetwork),
    /// This network may not.
    Deny(IpNetwork),
}

/// What a request must prove.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// User and password (RFC 7617).
    Basic(BasicAuth),
    /// A signed token (RFC 7519).
    Jwt(JwtAuth),
    /// A signature in the URL or a cookie.
    SignedUrl(SignedUrl),
    /// Another service says.
    Subrequest(AuthSubrequest),
}

/// User and password.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// File with one `user:hash` a line, as `htpasswd` writes it: bcrypt (slow to guess, so best), `$apr1$` or `{SHA}`;
    /// also crypt(3) of DES and `$1$`, `{SSHA}` and `{PLAIN}`. With `reread` its name may hold variables.
    pub users_file: Template,
    /// Whether the file is read again when it has changed, and lines that cannot be understood are passed over. Without
    /// it, it is read when the document is loaded, and whole.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reread: bool,
    /// Shown to the person asked. One whose variables come to `off` asks nobody.
    pub realm: Template,
    /// How long a refusal is held back, so that guessing takes longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
}

/// A signed token: RS256 to RS512, PS256 to PS512, ES256, ES384, EdDSA, and HS256 to HS512 with keys in a file. It must
/// have `exp`, `iss` and `aud`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JwtAuth {
    /// URL of the keys (JWKS), fetched when the first token comes, again every 10 minutes, and when a token names a key
    /// that is not there, at most every 10 s. While it cannot be fetched, keys are used for 24 h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// File with the keys, in place of `jwks_url`; it may hold secrets (`oct`) too. Read when the document is loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<PathBuf>,
    /// `iss` the token must have.
    pub issuer: String,
    /// `aud`, of which the token must have one.
    pub audiences: Vec<String>,
    /// Difference of clocks that is forgiven.
    #[serde(default = "leeway")]
    pub leeway: Duration,
    /// Cookie that may hold the token; without it, only `Authorization`. On a route with a `cache_policy` it matters which of
    /// the two it is: what is answered to `Authorization` is kept only where the server says that it may be shared (RFC 9111
    /// section 3.5), but a cookie says nothing to a cache. An answer to one client is then served to every client whose token
    /// is valid, which is what segments of a video are for; what differs by client must say `Cache-Control: private` or
    /// `no-store`, or have what it differs by in the policy's `key` (`claims`, `cookies`, `headers`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
}

fn leeway() -> Duration {
    Duration::secs(30)
}

/// A signature in the URL or in a cookie scoped to a path. Its parameters go on to the upstream, and count in the cache's key: a policy's
/// `key: { query: { except: [expires, signature, scope] } }` lets all who may have a file share it. In a cookie it counts for
/// nothing there: what is kept is for all who may have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedUrl {
    /// How it is signed.
    pub format: SignatureFormat,
    /// Files with keys; any may have signed, so that keys can be rotated. For `cloudfront` public keys of RSA in PEM.
    pub key_files: Vec<PathBuf>,
    /// Cookie that carries the signature; without it, only the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignatureFormat {
    /// Forebay's own. URL parameters `expires` (seconds since 1970), `signature` and perhaps `scope`, or a
    /// cookie `SCOPE:EXPIRES:SIGNATURE`. The signature is HMAC-SHA-256 over scope, a line feed and expiry, in
    /// hex; a scope that ends in `/` covers all below it, and without one it is the path itself.
    Hmac,
    /// That of CloudFront's signed URLs and cookies (which need no `cookie`), with canned and custom policies. The URL that is
    /// signed is that of the request in its normal form, with `https` or `http`.
    Cloudfront,
}

/// Another service is asked; 2xx lets the request pass, 401 and 403 refuse it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthSubrequest {
    /// A name under `upstreams`.
    pub upstream: String,
    /// Path to ask for.
    pub path: String,
    /// Headers of its answer that are passed on with the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copy_headers: Vec<String>,
    /// Changes to the request's headers before the service is asked. Without them it is told what is asked for, in
    /// `X-Original-URI` and `X-Original-Method`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_headers: Option<HeaderEdits>,
    /// Variables that its answer gives, whichever it is: `{ user: $answer_x_user }`. The route's other texts may name them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, Template>,
}

/// Cross-origin requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Origins that may ask: `https://player.example.com`, or `*`.
    pub origins: Vec<String>,
    /// Methods they may use.
    #[serde(default = "methods")]
    pub methods: Vec<String>,
    /// Request headers they may send.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// Response headers they may see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose_headers: Vec<String>,
    /// Whether cookies may be sent.
    #[serde(default)]
    pub credentials: bool,
    /// How long the answer to a preflight is kept.
    #[serde(default = "max_age")]
    pub max_age: Duration,
}

fn methods() -> Vec<String> {
    vec!["GET".to_owned(), "HEAD".to_owned()]
}

fn max_age() -> Duration {
    Duration::secs(600)
}
