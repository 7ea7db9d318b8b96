//! A document's cache policy made ready.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, EXPIRES, SET_COOKIE, VARY};
use http::{HeaderName, StatusCode};
use pingora::http::ResponseHeader;
use proxy_config::cache_policy::{CachePolicy, IgnoredHeader, SetCookie, WithoutReaders};

use crate::cache::Cache;
use crate::cache::freshness;
use crate::cache::key;
use crate::cache::slices;
use crate::cache::store::Limits;
use crate::video;
use crate::video::manifest::{self, Manifest};
use crate::video::reload;
use crate::video::role::Role;

pub struct Policy {
    pub name: String,
    pub cache: Arc<Cache>,
    pub key: key::Rules,
    pub freshness: freshness::Rules,
    pub collapse: bool,
    pub collapse_wait_max: Duration,
    pub without_readers: WithoutReaders,
    /// From 0.0 to 1.0.
    pub finish_past: f64,
    pub resumes_max: u32,
    /// Whether HEAD begins a fill.
    pub for_head: bool,
    /// Whether it is asked if a stale answer is still good.
    pub revalidate: bool,
    /// Largest body stored at all, whole or in slices.
    pub body_max: Option<u64>,
    /// Requests for an object up to the one whose answer is stored.
    pub uses_min: u32,
    pub slices: Option<slices::Rules>,
    pub tag_headers: Vec<HeaderName>,
    /// Whether what changes something makes its URI out of date.
    pub invalidates: bool,
    pub video: Option<video::Rules>,
}

impl Policy {
    /// The policy on one route: what routes answer differently is kept apart by the route's name.
    pub fn new(name: &str, config: &CachePolicy, route: &str, cache: Arc<Cache>) -> Policy {
        let said = &config.freshness;
        let by_status = said.ttl_by_status.iter();
        let holds_reloads = config.video.as_ref().is_some_and(|video| video.blocking_reload);
        Policy {
            name: name.to_owned(),
            cache,
            key: key::Rules::new(&config.key, route).with_directives(holds_reloads),
            freshness: freshness::Rules {
                ttl_override_ms: said.ttl_override.map(proxy_config::units::Duration::as_millis),
                ttl_default_ms: said.ttl_default.map(proxy_config::units::Duration::as_millis),
                ttl_by_status: by_status
                    .filter_map(|(status, ttl)| Some((status.parse().ok()?, ttl.as_millis())))
                    .collect(),
                ttl_by_role_ms: None,
                stale_while_revalidate_ms: said.stale_while_revalidate.as_millis(),
                stale_if_error_ms: said
                    .stale_if_error
                    .map(proxy_config::units::Duration::as_millis),
                honor_request: said.honor_request_cache_control,
                cookies_only_public: said.set_cookie == SetCookie::Public,
                cookies_never: said.set_cookie == SetCookie::Never,
                ignored: said.ignore.iter().map(|name| ignored(*name)).collect(),
                x_accel_expires: said.x_accel_expires,
            },
            collapse: config.fill.collapse,
            collapse_wait_max: config.fill.collapse_wait_max.as_std(),
            without_readers: config.fill.without_readers,
            finish_past: config.fill.finish_past.as_fraction(),
            resumes_max: config.fill.resumes_max,
            for_head: config.fill.for_head,
            revalidate: config.fill.revalidate,
            body_max: config.body_max.map(proxy_config::units::ByteSize::as_bytes),
            uses_min: config.uses_min,
            invalidates: config.invalidate,
            slices: config.slices.as_ref().map(|slices| slices::Rules {
                size: slices.size.as_bytes(),
                read_ahead: u64::from(slices.read_ahead),
                object_min: slices.object_min.as_bytes(),
            }),
            // Names that are none are reported by validation.
            tag_headers: config.tag_headers.iter().filter_map(|name| name.parse().ok()).collect(),
            video: config.video.as_ref().map(video::Rules::new),
        }
    }

    /// The rules for one answer: those of the policy, with a time for what it is to a player. `read`:
    /// what is in it, once that is known.
    pub fn rules_for(
        &self,
        uri: &str,
        answer: &ResponseHeader,
        read: Option<&Manifest>,
    ) -> Cow<'_, freshness::Rules> {
        let Some(video) = self.video.as_ref().filter(|_| answer.status == StatusCode::OK) else {
            return Cow::Borrowed(&self.freshness);
        };
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let role = Role::of(path, &answer.headers);
        let reload = reload::read(query).ok().flatten().filter(|_| video.blocking_reload);
        let ttl_by_role_ms = manifest::ttl_ms(video, role, read, reload);
        Cow::Owned(freshness::Rules { ttl_by_role_ms, ..self.freshness.clone() })
    }

    /// Longest body that is stored whole.
    pub fn body_bytes_max(&self) -> u64 {
        let object_max = self.cache.limits().object_max;
        self.body_max.map_or(object_max, |max| max.min(object_max))
    }

    /// Whether a fill that nobody waits for goes on. `length` is the body's, where it is known.
    pub fn finishes(&self, received: u64, length: Option<u64>) -> bool {
        match self.without_readers {
            WithoutReaders::Finish => true,
            WithoutReaders::Stop => false,
            // A body of unknown length may have no end.
            WithoutReaders::FinishWhenPast => {
                length.is_some_and(|length| received as f64 >= length as f64 * self.finish_past)
            }
        }
    }
}

fn ignored(name: IgnoredHeader) -> HeaderName {
    match name {
        IgnoredHeader::CacheControl => CACHE_CONTROL,
        IgnoredHeader::Expires => EXPIRES,
        IgnoredHeader::SetCookie => SET_COOKIE,
        IgnoredHeader::Vary => VARY,
    }
}

pub fn limits(config: &proxy_config::cache::Cache) -> Limits {
    let memory_max = config.memory_max.as_bytes();
    let share = u64::from(config.large_objects_max.hundredths());
    let large_max = u128::from(memory_max) * u128::from(share) / 10_000;
    Limits {
        memory_max,
        object_max: config.object_memory_max.as_bytes(),
        large_max: u64::try_from(large_max).unwrap_or(memory_max),
        large_min: config.large_object_min.as_bytes(),
    }
}
