//! How long an object is fresh by its role, where its origin does not say.

use thiserror::Error;

use crate::cache::object::Blocks;
use crate::video::Rules;
use crate::video::mpd::{self, Mpd, MpdFault};
use crate::video::playlist::{self, Media, Playlist, PlaylistFault};
use crate::video::reload::Reload;
use crate::video::role::{Format, Role};

/// Manifests above this are kept like anything else, and not read.
pub const BYTES_MAX: u64 = 8 * 1024 * 1024;
/// What a manifest is fresh for while nobody has read it: it may be a live one.
const UNREAD_TTL_MS: u64 = 1000;
/// What a live DASH manifest is about when it does not say.
const DASH_UPDATE_MS: u64 = 2000;
/// A blocking reload's answer never changes; it is kept this many target durations
/// (draft-pantos-hls-rfc8216bis, section 6.2.5.2).
const RELOAD_TARGETS: u64 = 6;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manifest {
    Multivariant,
    Media(Media),
    Dash(Mpd),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ManifestFault {
    #[error(transparent)]
    Playlist(#[from] PlaylistFault),
    #[error(transparent)]
    Mpd(#[from] MpdFault),
    #[error("it is compressed")]
    Compressed,
    #[error("it is larger than {BYTES_MAX} bytes")]
    TooLarge,
}

/// Reads a manifest's whole body; `compressed`: by its `Content-Encoding`.
pub fn read(format: Format, body: &Blocks, compressed: bool) -> Result<Manifest, ManifestFault> {
    if compressed {
        return Err(ManifestFault::Compressed);
    }
    if body.end() > BYTES_MAX {
        return Err(ManifestFault::TooLarge);
    }
    let bytes: Vec<u8> = body.iter().flat_map(|block| block.iter().copied()).collect();
    Ok(match format {
        Format::Hls => match playlist::read(&bytes)? {
            Playlist::Multivariant => Manifest::Multivariant,
            Playlist::Media(media) => Manifest::Media(media),
        },
        Format::Dash => Manifest::Dash(mpd::read(&bytes)?),
    })
}

impl Manifest {
    /// The label of the metric.
    pub fn kind(&self) -> &'static str {
        match self {
            Manifest::Multivariant => "hls_multivariant",
            Manifest::Media(_) => "hls_media",
            Manifest::Dash(_) => "dash",
        }
    }
}

/// Freshness in milliseconds; `None` leaves it to other rules. `reload`: what the request was to be held for.
pub fn ttl_ms(
    rules: &Rules,
    role: Role,
    read: Option<&Manifest>,
    reload: Option<Reload>,
) -> Option<u64> {
    // An origin that answers before what was asked for is there is asked again as for any playlist.
    let answers = |media: &Media| reload.is_some_and(|reload| media.has(reload));
    let live = |every_ms: u64| {
        let part = std::time::Duration::from_millis(every_ms).mul_f64(rules.playlist_ttl);
        u64::try_from(part.as_millis()).unwrap_or(u64::MAX)
    };
    Some(match (role, read) {
        (Role::Other, _) => return None,
        (Role::Segment, _) => rules.segment_ttl_ms,
        (Role::Manifest(_), None) => UNREAD_TTL_MS,
        (_, Some(Manifest::Multivariant)) => rules.multivariant_ttl_ms,
        (_, Some(Manifest::Media(media))) if media.ended => rules.segment_ttl_ms,
        (_, Some(Manifest::Media(media))) if answers(media) => RELOAD_TARGETS * media.target_ms,
        (_, Some(Manifest::Media(media))) => live(media.target_ms),
        (_, Some(Manifest::Dash(mpd))) if !mpd.is_live => rules.segment_ttl_ms,
        (_, Some(Manifest::Dash(mpd))) => {
            // A period of 0: whenever a segment has come.
            let update_ms = mpd.update_ms.filter(|ms| *ms > 0).or(mpd.segment_max_ms);
            live(update_ms.unwrap_or(DASH_UPDATE_MS))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_config::cache_policy::VideoRules;

    #[test]
    fn every_role_has_its_time() {
        let rules = Rules::new(&VideoRules::default());
        let media = |ended| {
            let segments = vec!["s7.ts".to_owned()];
            let media = Media { target_ms: 2000, ended, first: 7, segments, ..Media::default() };
            Manifest::Media(media)
        };
        let reload = |msn| Some(Reload { msn, part: None });
        let dash = |update_ms, segment_max_ms| {
            Manifest::Dash(Mpd { is_live: true, update_ms, segment_max_ms, tracks: Vec::new() })
        };
        let (hls, mpd) = (Role::Manifest(Format::Hls), Role::Manifest(Format::Dash));
        let cases = [
            (Role::Other, None, None, None),
            (Role::Segment, None, None, Some(3_600_000)),
            (hls, None, None, Some(1000)),
            (hls, Some(Manifest::Multivariant), None, Some(10_000)),
            (hls, Some(media(false)), None, Some(1000)),
            (hls, Some(media(false)), reload(7), Some(12_000)),
            (hls, Some(media(false)), reload(8), Some(1000)),
            (hls, Some(media(true)), None, Some(3_600_000)),
            (mpd, Some(Manifest::Dash(Mpd::default())), None, Some(3_600_000)),
            (mpd, Some(dash(Some(4000), None)), None, Some(2000)),
            (mpd, Some(dash(Some(0), Some(6000))), None, Some(3000)),
            (mpd, Some(dash(None, None)), None, Some(1000)),
        ];
        for (role, read, reload, expected) in cases {
            assert_eq!(ttl_ms(&rules, role, read.as_ref(), reload), expected, "{role:?} {read:?}");
        }
    }
}
