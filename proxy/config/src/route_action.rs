//! What a route does with a request besides passing it on.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::file_rules::{ModifiedSince, Mp4};
use crate::pattern::{Regex, Template};
use crate::rate_limit::RequestKey;
use crate::status_match::StatusMatch;
use crate::units::{ByteRate, ByteSize, Duration, Percent};

/// Several upstreams that share a route's requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The parts; their percentages sum to 100.
    pub parts: Vec<SplitPart>,
    /// Requests with the same key go the same way; without it, each is drawn by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sticky_by: Vec<RequestKey>,
}

/// One part of a split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitPart {
    /// A name under `upstreams`.
    pub upstream: String,
    /// Its share of the requests.
    pub share: Percent,
}

/// An answer that sends the client elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// Where to: `https://$host$request_uri`. Where it comes to nothing the answer is 500, and the proxy's log names the route.
    pub to: Template,
    /// 301, 302, 303, 307 or 308.
    #[serde(default = "redirect_status")]
    pub status: u16,
}

fn redirect_status() -> u16 {
    308
}

/// An answer written in the document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Respond {
    /// From 200 to 599.
    pub status: u16,
    /// The body; 204, 205 and 304 have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Template>,
    /// Headers: name to value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Template>,
}

/// Files of a directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// The directory; nothing outside it is ever served, nor any name that begins with a dot but
    /// `.well-known`. It may hold variables.
    pub root: Template,
    /// Part of the path that is taken off before looking in `root`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strip_prefix: Option<String>,
    /// Files looked for when the path is a directory; names may hold variables. One that begins with `/` is a path
    /// that is asked for inside the proxy.
    #[serde(default = "index")]
    pub index: Vec<Template>,
    /// Compressed neighbours (`.br`, `.zst`, `.gz`) are served when the client takes them.
    #[serde(default)]
    pub precompressed: bool,
    /// Neighbours ending in `.gz` are served by themselves: whatever their age, and where there is no other file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gzipped: Option<Gzipped>,
    /// Shows what is in a directory that has no index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listing: Option<Listing>,
    /// Largest number of ranges of one request that are answered in parts; without it, as many as are shorter than
    /// the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranges_max: Option<u32>,
    /// What stands before the path where a directory's own path is redirected to, `${origin}` for instance; without
    /// it, nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory_origin: Option<Template>,
    /// Types of files by their endings; a name under `media_types`. Without it, those of the proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_types: Option<String>,
    /// Whether the index of a directory is asked for anew, by its own path: another route may take it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub index_anew: bool,
    /// Whether films in FLV begin where `?start=BYTE` says, behind a header of their own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flv: bool,
    /// Films in MP4 that are cut to what `?start=SECONDS&end=SECONDS` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mp4: Option<Mp4>,
    /// Whether names that begin with a dot are served too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// Whether files have an `ETag`.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub etag: bool,
    /// When `If-Modified-Since` says that the client has it already; it counts only without `If-None-Match`.
    #[serde(default, skip_serializing_if = "ModifiedSince::is_default")]
    pub if_modified_since: ModifiedSince,
}

fn is_yes(is: &bool) -> bool {
    *is
}

/// Types of files by the endings of their names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MediaTypes {
    /// Ending without the dot, in lower case, and type: `m3u8: application/vnd.apple.mpegurl`.
    #[serde(default)]
    pub by_ending: BTreeMap<String, String>,
    /// Type of all others.
    #[serde(default = "bytes")]
    pub default: String,
}

fn bytes() -> String {
    "application/octet-stream".to_owned()
}

fn index() -> Vec<Template> {
    vec![Template("index.html".to_owned())]
}

/// Which clients a `.gz` neighbour is served to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gzipped {
    /// Who gets it.
    #[serde(default)]
    pub to: GzippedTo,
    /// Whether it is served with `Vary: Accept-Encoding`.
    #[serde(default = "yes")]
    pub vary: bool,
    /// Whether clients that speak HTTP/1.0 get it, too.
    #[serde(default)]
    pub http10: bool,
}

/// Who gets a neighbour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GzippedTo {
    /// Those who take it.
    #[default]
    Takers,
    /// All.
    All,
}

/// How a directory is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listing {
    /// What it looks like.
    pub format: ListingFormat,
    /// Whether times are those of the machine's zone, and not UTC.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub local_time: bool,
    /// Whether sizes in HTML are rounded to KiB, MiB and GiB.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rounded_sizes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListingFormat {
    Html,
    Json,
    /// JSON in a call of the function that the query parameter `callback` names.
    Jsonp,
    Xml,
}

/// A change of the request's target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rewrite {
    /// Takes the matched prefix off and puts this in its place; a path that a step has rewritten with `after: stay` stays as it is.
    PrefixTo(String),
    /// Replaces the whole path; may hold variables and a query, and with `?` at its end leaves the client's out.
    To(Template),
    /// Replaces what an expression finds in the path.
    Regex(RegexRewrite),
}

/// A rewrite by expression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegexRewrite {
    /// What to find.
    pub find: Regex,
    /// What to put in its place; `$1` or `$name` are captures.
    pub replace: Template,
}

/// Changes to headers, in this order: replace, remove, set, add, append.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderEdits {
    /// Takes all headers out first, but for `Host` and those that frame the message.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub remove_all: bool,
    /// Headers taken out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Headers that get exactly this value.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, Template>,
    /// Headers that get this value beside those they have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub add: BTreeMap<String, Template>,
    /// Further values, in this order; a name may stand here several times.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub append: Vec<HeaderAddition>,
    /// Values of headers in which something is replaced, before all other changes; for each value the
    /// first that finds something.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replace: Vec<HeaderReplacement>,
}

/// What is replaced in a header's values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderReplacement {
    /// Name of the header. In `Refresh` only what follows `url=` is looked at.
    pub name: String,
    /// What to find.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub find: Option<Regex>,
    /// What values must begin with, in place of `find`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_with: Option<Template>,
    /// What to put in its place; `$1` or `$name` are captures.
    pub with: Template,
}

/// One more value of a header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderAddition {
    /// Name of the header.
    pub name: String,
    /// The value.
    pub value: Template,
    /// Whether responses of every status get it, and not only 200, 201, 204, 206, 301 to 304, 307 and 308.
    #[serde(default = "yes")]
    pub always: bool,
    /// Whether it takes the place of the values the response has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
}

fn yes() -> bool {
    true
}

/// Another answer in place of an error. It has exactly one of `path` and `route`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorPage {
    /// Statuses it stands in for: `404`, or `4xx` and `5xx` for a whole class.
    pub statuses: Vec<StatusMatch>,
    /// Path asked for in its place, with GET, inside the proxy: `/errors/404.html`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Template>,
    /// Route that answers in its place; its name. It sees the path that the route which failed was asked for, before that one's `rewrite`. One that
    /// asks an upstream sees method and body too, if the body is kept, is no larger than 64 KiB, or nothing of it was read; otherwise, and where it has `files` or an answer of its own, it is asked with GET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Status sent; without it, the error's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Sends the status the page was answered with, in place of the error's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_status: bool,
    /// Answers with the page's own failure or redirect where it has one; without it, with the plain error it stands for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_failures: bool,
    /// Whether errors the upstream answered with are replaced too, not only the proxy's own.
    #[serde(default)]
    pub upstream_errors: bool,
}

/// One step of `try`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TryStep {
    /// A file below the root of `files`, if it is there; written with `/` at the end, the index of a directory.
    File(Template),
    /// A path asked for inside the proxy, with the request's method and body.
    Path(Template),
    /// A route that takes the request as it is; its name.
    Route(String),
    /// An error to answer with, from 400 to 599.
    Status(u16),
}

/// A copy of each request, sent elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// A name under `upstreams`.
    pub upstream: String,
    /// Path and query it is asked for; without it, those that the client asked for. What comes to no path is not copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Template>,
    /// Changes to the headers of copies, in place of the route's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_headers: Option<HeaderEdits>,
    /// Part of the requests that is copied.
    #[serde(default = "all")]
    pub share: Percent,
    /// Whether status and body of its answers are compared with those clients get, which takes a moment of the
    /// processor for each byte. What differs is counted and reported (`forebay-proxy mirrors`).
    #[serde(default)]
    pub compare: bool,
    /// Copies under way at once; above it no copy is made.
    #[serde(default = "in_flight_max")]
    pub in_flight_max: u32,
    /// Whether copies have the bodies of their requests; without, they are sent as soon as a request comes.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub body: bool,
    /// Largest body that is copied; requests with a larger one, or when the lane `bulk` has no memory left for it, are not.
    #[serde(default = "mirrored_body_max")]
    pub body_max: ByteSize,
    /// Further upstreams, each with a copy of what is copied; what they answer is not compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<OtherMirror>,
}

/// One more upstream that gets copies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtherMirror {
    /// A name under `upstreams`.
    pub upstream: String,
    /// Path and query it is asked for; without it, those that the client asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Template>,
    /// Changes to the headers of its copies, in place of the route's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_headers: Option<HeaderEdits>,
    /// Whether its copies have the bodies of their requests, where `body` is not off for all.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub body: bool,
}

impl Mirror {
    /// The paths that its upstreams are asked for, its own first.
    pub fn paths(&self) -> impl Iterator<Item = Option<&Template>> {
        let others = self.others.iter().map(|other| other.path.as_ref());
        std::iter::once(self.path.as_ref()).chain(others)
    }

    /// The changes to headers of copies for each of them.
    pub fn edits(&self) -> impl Iterator<Item = Option<&HeaderEdits>> {
        let others = self.others.iter().map(|other| other.request_headers.as_ref());
        std::iter::once(self.request_headers.as_ref()).chain(others)
    }

    pub fn bodies(&self) -> impl Iterator<Item = bool> {
        std::iter::once(self.body).chain(self.others.iter().map(|other| self.body && other.body))
    }
}

fn mirrored_body_max() -> ByteSize {
    ByteSize::bytes(64 * 1024)
}

fn all() -> Percent {
    Percent::whole(100)
}

fn in_flight_max() -> u32 {
    64
}

/// What is compressed with gzip, made plain for clients that do not take it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gunzip {
    /// Whether such answers say `Vary: Accept-Encoding`.
    #[serde(default = "yes")]
    pub vary: bool,
    /// Whether clients that speak HTTP/1.0 are taken to read gzip when they say so.
    #[serde(default)]
    pub http10: bool,
}

/// Texts in bodies that others take the place of. Case does not count for ASCII.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Substitutions {
    /// What is looked for, and what takes its place; of several that begin at the same place the first counts.
    pub pairs: Vec<Substitution>,
    /// Media types they are looked for in; `*` for all.
    pub types: Vec<String>,
    /// Whether each is replaced once.
    pub once: bool,
    /// Whether `Last-Modified` stays.
    pub keep_last_modified: bool,
}

impl Default for Substitutions {
    fn default() -> Substitutions {
        Substitutions {
            pairs: Vec::new(),
            types: vec!["text/html".to_owned()],
            once: true,
            keep_last_modified: false,
        }
    }
}

/// A text and what takes its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Substitution {
    /// What is looked for; one that comes to nothing is found nowhere.
    pub find: Template,
    /// What takes its place.
    pub with: Template,
}

/// How an upstream is asked otherwise than the client asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AskedAs {
    /// Method, in capitals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Body in place of the client's; empty for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Template>,
}

/// How fast one response is sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResponseRate {
    /// Bytes per second.
    pub rate: ByteRate,
    /// Bytes sent at once, before that.
    #[serde(default)]
    pub after: ByteSize,
}

/// Compression of responses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Compression {
    /// Offered codings, the preferred first.
    pub codings: Vec<Coding>,
    /// Media types that are compressed: `text/html`, or `text/*` for all of a kind.
    pub types: Vec<String>,
    /// Smallest body that is compressed.
    pub body_min: ByteSize,
    /// How hard each coding tries.
    pub levels: CompressionLevels,
    /// Statuses that are compressed; without it, all that have a body.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<u16>,
    /// Whether answers say `Vary: Accept-Encoding`. Without it, a cache in front may hand a client what it cannot read.
    #[serde(skip_serializing_if = "is_true")]
    pub vary: bool,
    /// Whether clients that speak HTTP/1.0 get it, too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub http10: bool,
    /// Which answers are compressed for requests with `Via`, those of other proxies; without it, all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when_proxied: Option<Vec<WhenProxied>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_true(value: &bool) -> bool {
    *value
}

/// What an answer must have to be compressed for another proxy; one is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenProxied {
    /// `Expires` in the past.
    Expired,
    /// `Cache-Control: no-cache`.
    NoCache,
    /// `Cache-Control: no-store`.
    NoStore,
    /// `Cache-Control: private`.
    Private,
    /// No `Last-Modified`.
    NoLastModified,
    /// No `ETag`.
    NoEtag,
    /// The request has `Authorization`.
    Auth,
}

/// How hard each coding tries: more takes more time for fewer bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CompressionLevels {
    /// From 1 to 9.
    pub gzip: u8,
    /// From 0 to 11; above 6 it is for what is compressed once and for all.
    pub brotli: u8,
    /// From 1 to 19.
    pub zstd: u8,
}

impl Default for CompressionLevels {
    fn default() -> CompressionLevels {
        CompressionLevels { gzip: 5, brotli: 4, zstd: 3 }
    }
}

impl CompressionLevels {
    pub fn of(&self, coding: Coding) -> u8 {
        match coding {
            Coding::Gzip => self.gzip,
            Coding::Brotli => self.brotli,
            Coding::Zstd => self.zstd,
        }
    }
}

impl Default for Compression {
    fn default() -> Compression {
        let types = [
            "text/*",
            "application/json",
            "application/javascript",
            "application/xml",
            "application/vnd.apple.mpegurl",
            "application/dash+xml",
            "image/svg+xml",
        ];
        Compression {
            codings: vec![Coding::Zstd, Coding::Brotli, Coding::Gzip],
            types: types.map(str::to_owned).to_vec(),
            body_min: ByteSize::bytes(1024),
            levels: CompressionLevels::default(),
            statuses: Vec::new(),
            vary: true,
            http10: false,
            when_proxied: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Coding {
    Gzip,
    Brotli,
    Zstd,
}

/// Timeouts of one route in place of its upstream's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteTimeouts {
    /// To connect to a server, TLS handshake included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Duration>,
    /// From a request having been sent to the head of its response. For requests with a body it takes the place of
    /// `read` as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Duration>,
    /// Between two reads of a response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<Duration>,
    /// Between two writes of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write: Option<Duration>,
    /// From a request's head to the end of its response. A request with a body may take longer by one `read`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<Duration>,
    /// How long a tunnel may carry nothing either way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Duration>,
}
