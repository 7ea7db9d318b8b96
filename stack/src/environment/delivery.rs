//! The sections of what is kept and delivered on AWS: buckets and the CDN before them.

use proxy_config::units::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A bucket, on S3: private, encrypted, versioned.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Bucket {
    /// After how many days objects are deleted; without it they stay.
    pub expire: Option<Duration>,
    /// Pages that may upload with signed URLs: `https://portal.example.com`.
    pub uploads_from: Vec<String>,
}

/// A CDN before edge, buckets and functions, on CloudFront.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cdn {
    /// The name viewers reach it by, another than `edge.domain`; it stands in `edge.hosted_zone`.
    pub domain: String,
    /// The certificate for it, in us-east-1, where CloudFront looks: its ARN.
    pub certificate: String,
    /// A web ACL for CloudFront, in us-east-1: its ARN.
    pub firewall: String,
    /// The file of the public key (PEM) that signed URLs and cookies are checked with, relative to
    /// this file.
    #[serde(default)]
    pub signing_key: Option<std::path::PathBuf>,
    /// Two-letter codes of the countries that are served; without it, all.
    #[serde(default)]
    pub countries: Vec<String>,
    /// Where viewers are; edges elsewhere are not paid for.
    #[serde(default)]
    pub price_class: PriceClass,
    /// What is answered how; the first that matches counts.
    #[serde(default)]
    pub behaviours: Vec<Behaviour>,
    /// What is done with all else.
    #[serde(rename = "default")]
    pub otherwise: Target,
}

/// Where CloudFront answers from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PriceClass {
    /// Everywhere.
    #[default]
    All,
    /// North America, Europe, Asia, the Middle East and Africa.
    Most,
    /// North America and Europe.
    Least,
}

/// Requests of one kind.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Behaviour {
    /// The paths: `/live/*.m3u8`.
    pub paths: String,
    /// Where they are answered: `edge`, a name of `storage` or of `functions`.
    pub origin: String,
    /// What they are.
    pub class: ObjectClass,
    /// Whether only signed URLs and cookies get an answer.
    #[serde(default)]
    pub signed: bool,
}

/// What is done with a request.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Where it is answered: `edge`, a name of `storage` or of `functions`.
    pub origin: String,
    /// What it is.
    pub class: ObjectClass,
    /// Whether only signed URLs and cookies get an answer.
    #[serde(default)]
    pub signed: bool,
}

/// What kind of thing is asked for, and so how long it may be kept.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ObjectClass {
    /// Playlists of live streams: a second, and every query is another playlist.
    Playlist,
    /// Segments and whatever never changes under its name: a year.
    Segment,
    /// Pages and pictures: a minute, or what the origin says.
    Page,
    /// Answers of programs: never kept; every method, header and cookie passes.
    Api,
}
