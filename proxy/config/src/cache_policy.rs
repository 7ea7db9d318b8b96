//! Cache policies: what is kept, under which key, how long, and who may share it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::Template;
use crate::units::{ByteSize, Duration, Percent};

/// How the answers of a route are cached (RFC 9111; without further keys, exactly that).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CachePolicy {
    /// The cache that stores; a name under `caches`.
    pub cache: String,
    /// What makes two requests the same; a dot at the host's end and the scheme's own port do not count.
    #[serde(default)]
    pub key: CacheKey,
    /// How long answers are fresh.
    #[serde(default)]
    pub freshness: Freshness,
    /// How misses become requests to the origin.
    #[serde(default)]
    pub fill: FillRules,
    /// Texts with variables; where one is neither empty nor `0`, the origin is asked, and what it says is stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bypass: Vec<Template>,
    /// Texts with variables; where one is neither empty nor `0`, the answer is not stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_store: Vec<Template>,
    /// Large objects stored in parts; without it, whole, and none above the cache's `object_memory_max`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slices: Option<Slices>,
    /// Largest body stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_max: Option<ByteSize>,
    /// Requests for an object up to the one whose answer is stored; those before it go to the origin one by one.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub uses_min: u32,
    /// Whether a POST, PUT or DELETE that succeeds makes what is kept of its URI out of date (RFC 9111 section 4.4).
    #[serde(default = "yes", skip_serializing_if = "crate::written::is_true")]
    pub invalidate: bool,
    /// Headers whose values are tags to purge by.
    #[serde(default = "tag_headers", skip_serializing_if = "are_usual_tag_headers")]
    pub tag_headers: Vec<String>,
    /// HLS and DASH manifests are understood: freshness by role, prefetch, blocking reload; what
    /// players tell (CMCD) is counted by title. `video: {}` takes all defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video: Option<VideoRules>,
}

impl CachePolicy {
    /// The policy that says nothing but where answers are kept.
    pub fn in_cache(cache: impl Into<String>) -> CachePolicy {
        CachePolicy {
            cache: cache.into(),
            key: CacheKey::default(),
            freshness: Freshness::default(),
            fill: FillRules::default(),
            bypass: Vec::new(),
            no_store: Vec::new(),
            slices: None,
            body_max: None,
            uses_min: one(),
            invalidate: true,
            tag_headers: tag_headers(),
            video: None,
        }
    }
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_one(count: &u32) -> bool {
    *count == one()
}

/// What was not written is not written back while the key is refused.
fn are_usual_tag_headers(headers: &[String]) -> bool {
    headers == tag_headers()
}

fn tag_headers() -> Vec<String> {
    vec!["Surrogate-Key".to_owned(), "Cache-Tag".to_owned()]
}

/// What makes two requests the same. Method, scheme, host and path always count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CacheKey {
    /// Which query parameters count.
    pub query: QueryKey,
    /// Whether the order of query parameters counts.
    pub query_order: bool,
    /// Headers that count, beyond those of `Vary`; like those, as the upstream is asked with them.
    pub headers: Vec<String>,
    /// Cookies that count.
    pub cookies: Vec<String>,
    /// Claims of the verified token (`auth.jwt`) that count: `[tier]` keeps what each tier is answered apart. Without them
    /// an answer is for all whom the route's `auth` lets in, see `routes[].auth.jwt.cookie`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<String>,
    /// What counts in place of scheme, host and route (`http://backend`): what is asked of the upstream with the same path
    /// and query is the same, whoever asks. A purge finds it by this and the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Text with variables that takes the place of scheme, host, path and all else: requests with the same text are the
    /// same, whatever their route. A purge by URL finds what is stored under it where the text is
    /// that URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Template>,
}

impl Default for CacheKey {
    fn default() -> CacheKey {
        CacheKey {
            query: QueryKey::All,
            query_order: true,
            headers: Vec::new(),
            cookies: Vec::new(),
            claims: Vec::new(),
            origin: None,
            text: None,
        }
    }
}

/// Which query parameters count. CMCD never does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueryKey {
    All,
    None,
    /// Only these.
    Only(Vec<String>),
    /// All but these.
    Except(Vec<String>),
}

/// How long answers are fresh, and when stale ones are served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Freshness {
    /// Freshness whatever the origin says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_override: Option<Duration>,
    /// Freshness when the origin says nothing; without it, heuristics of RFC 9111 section 4.2.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_default: Option<Duration>,
    /// Freshness by status, when the origin says nothing: `404: 1s`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ttl_by_status: BTreeMap<String, Duration>,
    /// How long a stale answer is served while it is fetched anew (RFC 5861).
    pub stale_while_revalidate: Duration,
    /// How long a stale answer is served when the origin fails (RFC 5861); without it, as long as the
    /// origin says, or 10 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_if_error: Option<Duration>,
    /// When an answer that sets a cookie is stored; without it, `explicit`.
    #[serde(skip_serializing_if = "SetCookie::is_explicit")]
    pub set_cookie: SetCookie,
    /// Whether a client's `Cache-Control` may force a fetch.
    pub honor_request_cache_control: bool,
    /// Headers of answers that count for nothing here; they are sent on as they came. Where `set_cookie` is one of them, a
    /// cookie that is meant for one client goes to all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<IgnoredHeader>,
    /// Whether `X-Accel-Expires` (seconds, or `@` and a time) counts before all else.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub x_accel_expires: bool,
}

/// A header that may be passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IgnoredHeader {
    CacheControl,
    Expires,
    SetCookie,
    Vary,
}

impl Default for Freshness {
    fn default() -> Freshness {
        Freshness {
            ttl_override: None,
            ttl_default: None,
            ttl_by_status: BTreeMap::new(),
            stale_while_revalidate: Duration::millis(0),
            stale_if_error: None,
            set_cookie: SetCookie::Explicit,
            honor_request_cache_control: true,
            ignore: Vec::new(),
            x_accel_expires: false,
        }
    }
}

/// Whether an answer with `Set-Cookie` may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SetCookie {
    /// When the origin itself gives it freshness; a policy's freshness does not count.
    Explicit,
    /// Only when the origin says `public`, `s-maxage` or `CDN-Cache-Control`.
    Public,
    /// Never.
    Never,
}

impl SetCookie {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
    fn is_explicit(&self) -> bool {
        *self == SetCookie::Explicit
    }
}

/// How misses become requests to the origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FillRules {
    /// Whether requests for one object share one request to the origin.
    pub collapse: bool,
    /// How long a follower waits for a fill's head before it asks the origin itself.
    pub collapse_wait_max: Duration,
    /// What happens to a fill that no reader is left for.
    pub without_readers: WithoutReaders,
    /// Part of a body that must be there for `without_readers: finish_when_past` to finish it.
    pub finish_past: Percent,
    /// Times a broken fill is resumed with `Range` and `If-Range`.
    pub resumes_max: u32,
    /// Whether HEAD for what is not stored begins a fill too, which asks with GET; otherwise it goes to the origin as it is.
    #[serde(skip_serializing_if = "crate::written::is_default")]
    pub for_head: bool,
    /// Whether the origin is asked if a stale answer is still good (`If-None-Match`, `If-Modified-Since`); otherwise it is
    /// asked for the whole.
    #[serde(skip_serializing_if = "crate::written::is_true")]
    pub revalidate: bool,
}

impl Default for FillRules {
    fn default() -> FillRules {
        FillRules {
            collapse: true,
            collapse_wait_max: Duration::secs(5),
            without_readers: WithoutReaders::FinishWhenPast,
            finish_past: Percent::whole(50),
            resumes_max: 2,
            for_head: false,
            revalidate: true,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WithoutReaders {
    Finish,
    Stop,
    FinishWhenPast,
}

/// Large objects stored in parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Slices {
    /// Size of one slice.
    pub size: ByteSize,
    /// Slices fetched ahead of the reader.
    pub read_ahead: u32,
    /// Objects below this size are stored whole.
    pub object_min: ByteSize,
}

impl Default for Slices {
    fn default() -> Slices {
        Slices { size: ByteSize::mib(1), read_ahead: 2, object_min: ByteSize::mib(8) }
    }
}

/// What is done with HLS and DASH.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VideoRules {
    /// Freshness of a live playlist or DASH manifest whose origin says nothing, as a part of its target
    /// duration or update period.
    pub playlist_ttl: Percent,
    /// Freshness of a multivariant playlist whose origin says nothing.
    pub multivariant_ttl: Duration,
    /// Freshness of segments, and of playlists that have ended, whose origin says nothing.
    pub segment_ttl: Duration,
    /// Segments fetched before they are asked for: the newest of a live playlist, what follows in its
    /// playlist, what a player announces (CMCD `nor`). 0 fetches none.
    pub prefetch_segments: u32,
    /// LL-HLS blocking reload: one request to the origin for all who wait for the same part, in
    /// whatever order they write the parameters; what lies too far ahead is refused with 400.
    pub blocking_reload: bool,
    /// Time without a new segment after which a live stream counts as stalled.
    pub stalled_after: Duration,
}

impl Default for VideoRules {
    fn default() -> VideoRules {
        VideoRules {
            playlist_ttl: Percent::whole(50),
            multivariant_ttl: Duration::secs(10),
            segment_ttl: Duration::secs(3600),
            prefetch_segments: 1,
            blocking_reload: true,
            stalled_after: Duration::secs(30),
        }
    }
}
