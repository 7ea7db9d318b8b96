//! Asks for segments before a player does: those that a playlist has just announced, the one that
//! follows what a player asks for, and the one it says it will ask for next.

use std::sync::Arc;

use http::header::HOST;
use http::{HeaderMap, Method};
use pingora::http::RequestHeader;
use proxy_config::matching::Target;

use crate::cache::key::Key;
use crate::cache::policy::Policy;
use crate::exchange::Exchange;
use crate::fill::origin::{Origin, Question};
use crate::fill::slice::Wants;
use crate::fill::task::Job;
use crate::generation::Generation;
use crate::path::normalize_target;
use crate::rules::edits;
use crate::video::manifest::Manifest;
use crate::video::mpd::Mpd;
use crate::video::playlist::Media;
use crate::video::reload::without_directives;
use crate::video::role::Role;

/// Segments of one playlist that are followed up; each costs a look at the routes.
const CHAINED_MAX: usize = 2000;

/// Which route a request came by: what it leads to is only asked for ahead when a player would
/// come by the same.
pub struct Reach {
    pub generation: Arc<Generation>,
    pub listener: String,
    /// The route's place in the document.
    pub route: usize,
    /// Path and query as the client wrote them, where a rewrite has changed them.
    pub asked: Option<String>,
}

/// On a route whose policy asks ahead, how that may be done for this request.
pub fn reach(listener: &str, exchange: &Exchange, policy: &Policy) -> Option<Arc<Reach>> {
    policy.video.as_ref()?;
    let reach = Reach {
        generation: Arc::clone(&exchange.generation),
        listener: listener.to_owned(),
        route: exchange.route.as_ref()?.index,
        asked: exchange.ruled.asked.clone(),
    };
    Some(Arc::new(reach))
}

impl Reach {
    /// The target that a reference leads to from a request; `None` when a player would come to another
    /// host or another route.
    fn target(&self, head: &RequestHeader, reference: &str) -> Option<String> {
        let own = std::str::from_utf8(head.raw_path()).ok()?;
        // A rewritten path is only known to lead where a relative reference does.
        if self.asked.is_some() && reference.starts_with('/') {
            return None;
        }
        let asked = resolve(self.asked.as_deref().unwrap_or(own), reference)?;
        let (path, query) = asked.split_once('?').unwrap_or((&asked, ""));
        let host = head.headers.get(HOST).and_then(|host| host.to_str().ok())?;
        let target = Target {
            listener: &self.listener,
            host,
            path,
            query,
            method: Method::GET.as_str(),
            headers: Some(&head.headers),
        };
        let same = self.generation.routes.router.find(&target) == Some(self.route);
        if self.asked.is_some() { resolve(own, reference) } else { Some(asked) }.filter(|_| same)
    }
}

/// A reference against the target it stands in (RFC 3986 section 5), on the same host only.
fn resolve(base: &str, reference: &str) -> Option<String> {
    let (has_scheme, reference) = match reference.find([':', '/', '?']) {
        Some(at) => (reference.as_bytes()[at] == b':', reference),
        None => (false, reference),
    };
    if has_scheme || reference.is_empty() || reference.starts_with("//") {
        return None;
    }
    let reference = reference.split('#').next().unwrap_or_default();
    let path = base.split('?').next().unwrap_or(base);
    let joined = if reference.starts_with('/') {
        reference.to_owned()
    } else {
        let folder = path.rfind('/').map_or("/", |end| &path[..=end]);
        format!("{folder}{reference}")
    };
    let form = normalize_target(joined.as_bytes()).ok()?;
    String::from_utf8(form.into_owned()).ok()
}

/// What a request leads to: what its player says it will ask for, and what follows it in its playlist.
pub fn after_request(
    policy: &Policy,
    origin: &Origin,
    head: &RequestHeader,
    tls: bool,
    nor: Option<&str>,
) -> Vec<String> {
    let (Some(rules), Some(reach)) = (&policy.video, &origin.reach) else { return Vec::new() };
    if Role::by_name(head.uri.path()) != Role::Segment || rules.prefetch_segments == 0 {
        return Vec::new();
    }
    let mut targets: Vec<String> =
        nor.and_then(|next| reach.target(head, next)).into_iter().collect();
    let windows = policy.cache.video.windows.lock();
    let own = std::str::from_utf8(head.raw_path()).unwrap_or_default();
    let mut at = uri(policy, head, own, tls);
    for _ in 0..rules.prefetch_segments {
        let Some(next) = windows.successor(&at) else { break };
        at = uri(policy, head, &next, tls);
        if !targets.contains(&next) {
            targets.push(next);
        }
    }
    targets
}

/// Takes in what a manifest says, and asks ahead for the newest of what it has announced.
pub fn after_manifest(job: &Job, manifest: &Manifest, now_ms: u64) {
    match manifest {
        Manifest::Media(media) => after_playlist(job, media, now_ms),
        Manifest::Dash(mpd) => after_mpd(job, mpd, now_ms),
        Manifest::Multivariant => {}
    }
}

fn after_playlist(job: &Job, media: &Media, now_ms: u64) {
    let Some(rules) = &job.policy.video else { return };
    let video = &job.policy.cache.video;
    let stream = without_directives(&job.fill.key.uri);
    let progress = video.windows.lock().advance(&stream, media, rules.stalled_after, now_ms);
    if let Some(stall) = progress.stall {
        video.tell_stall(&stream, stall);
    }
    let (all, count) = (&media.segments, media.segments.len().min(CHAINED_MAX));
    let listed = if media.ended { &all[..count] } else { &all[all.len() - count..] };
    let Some(targets) = chain(job, listed) else { return };
    if !media.ended {
        let newest = progress.new_segments.min(rules.prefetch_segments).min(targets.len());
        start(&job.policy, &job.origin, &job.question, &targets[targets.len() - newest..]);
    }
}

/// A manifest of DASH lists every representation, and players watch few: of a live one, what is new is asked
/// for where the segment before it was.
fn after_mpd(job: &Job, mpd: &Mpd, now_ms: u64) {
    let Some(rules) = &job.policy.video else { return };
    let per_track = CHAINED_MAX / mpd.tracks.len().max(1);
    for track in &mpd.tracks {
        let listed = track.references(mpd.is_live, now_ms, per_track);
        let Some(targets) = chain(job, &listed) else { continue };
        if !mpd.is_live {
            continue;
        }
        let head = &job.question.head;
        let edited = edits::as_asked(head, &job.question.edits);
        let headers = edited.as_ref().unwrap_or(&head.headers);
        let is_known = |target: &String| {
            let key = key(&job.policy, &job.question, (head, headers), target);
            job.policy.cache.knows(&key, headers)
        };
        let from = targets.len().saturating_sub(rules.prefetch_segments);
        let is_watched =
            from.checked_sub(1).is_some_and(|before| targets[before..].iter().any(is_known));
        if is_watched {
            start(&job.policy, &job.origin, &job.question, &targets[from..]);
        }
    }
}

/// Remembers what follows what, and returns the targets of these references. `None` where nothing is asked
/// ahead, or where one of them leads elsewhere.
fn chain(job: &Job, listed: &[String]) -> Option<Vec<String>> {
    let rules = job.policy.video.as_ref()?;
    let reach = job.origin.reach.as_ref().filter(|_| rules.prefetch_segments > 0)?;
    let head = &job.question.head;
    let targets: Option<Vec<String>> =
        listed.iter().map(|reference| reach.target(head, reference)).collect();
    let targets = targets?;
    let mut windows = job.policy.cache.video.windows.lock();
    windows.chain(&targets, |target| uri(&job.policy, head, target, job.question.tls));
    drop(windows);
    Some(targets)
}

/// `headers` are as the origin is asked with them.
fn key(
    policy: &Policy,
    like: &Question,
    (head, headers): (&RequestHeader, &HeaderMap),
    target: &str,
) -> Key {
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let scheme = if like.tls { "https" } else { "http" };
    policy.key.key(scheme, host, target, headers).proved(like.claims.as_ref())
}

fn uri(policy: &Policy, head: &RequestHeader, target: &str, tls: bool) -> Arc<str> {
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    policy.key.uri(if tls { "https" } else { "http" }, host, target)
}

/// Fills what is not there and not on its way. Nobody waits for it.
pub fn start(policy: &Arc<Policy>, origin: &Origin, like: &Question, targets: &[String]) {
    for target in targets {
        // Nobody has asked for it: it is no part of a trace.
        let mut question = Question { recorder: None, ..like.clone() };
        if Arc::make_mut(&mut question.head).set_raw_path(target.as_bytes()).is_err() {
            continue;
        }
        let edited = edits::as_asked(&question.head, &question.edits);
        let headers = edited.as_ref().unwrap_or(&question.head.headers);
        let key = key(policy, like, (&question.head, headers), target);
        match policy.cache.begin_ahead(&key, headers, policy) {
            Ok(fill) => {
                policy.cache.video.series.prefetch("begun");
                let (policy, origin) = (Arc::clone(policy), origin.clone());
                let (stale, wants) = (None, Wants::Whole);
                Job { fill, policy, origin, question, stale, wants }.start();
            }
            Err(reason) => policy.cache.video.series.prefetch(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn references_lead_somewhere_on_this_host_or_nowhere() {
        let cases = [
            ("/live/x.m3u8", "s1.ts", Some("/live/s1.ts")),
            ("/live/x.m3u8?a=/b", "s1.ts?t=1", Some("/live/s1.ts?t=1")),
            ("/live/hd/x.m3u8", "../s1.ts", Some("/live/s1.ts")),
            ("/live/x.m3u8", "/other/s1.ts#x", Some("/other/s1.ts")),
            ("/live/x.m3u8", "seg/a:b.ts", Some("/live/seg/a:b.ts")),
            ("/live/x.m3u8", "https://cdn.example/s1.ts", None),
            ("/live/x.m3u8", "//cdn.example/s1.ts", None),
            ("/live/x.m3u8", "data:,x", None),
            ("/live/x.m3u8", "", None),
        ];
        for (base, reference, expected) in cases {
            assert_eq!(resolve(base, reference).as_deref(), expected, "{reference}");
        }
    }

    proptest! {
        #[test]
        fn what_a_reference_leads_to_is_a_path_in_one_form(reference in ".{0,40}") {
            if let Some(target) = resolve("/a/b/c.m3u8", &reference) {
                prop_assert!(target.starts_with('/'));
                let again = normalize_target(target.as_bytes()).unwrap();
                prop_assert_eq!(again.as_ref(), target.as_bytes());
            }
        }
    }
}
