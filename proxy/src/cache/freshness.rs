//! May an answer be stored, how long is it fresh, and what may be done with it for a request
//! (RFC 9111, RFC 5861). Pure: every time is given, in milliseconds since 1970.

pub mod ahead;

use http::header::{AGE, DATE, EXPIRES, HeaderName, LAST_MODIFIED, SET_COOKIE, VARY};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use crate::cache::date::date_ms;
use crate::cache::directives::Directives;

/// Longest freshness that is guessed.
const HEURISTIC_MAX_MS: u64 = 24 * 3600 * 1000;
/// The guess: this part of the time since the last change (RFC 9111 section 4.2.2).
const HEURISTIC_PART: u64 = 10;
/// As good as for ever.
const LASTING_MS: u64 = 10 * 365 * 24 * 3600 * 1000;
/// How long an answer stands in for an origin that failed, when neither the origin nor the policy says
/// so (RFC 9111 section 4.2.4 allows it).
const STAND_IN_MS: u64 = 10_000;
/// Statuses that may be kept without being told so (RFC 9110 section 15.1), 206 apart.
const HEURISTIC_STATUSES: [u16; 11] = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];

/// What a policy says about freshness.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub ttl_override_ms: Option<u64>,
    pub ttl_default_ms: Option<u64>,
    pub ttl_by_status: Vec<(u16, u64)>,
    /// What the object is to a player; before `ttl_default_ms`, as it says more about it.
    pub ttl_by_role_ms: Option<u64>,
    /// 0 leaves it to the origin's `stale-while-revalidate`.
    pub stale_while_revalidate_ms: u64,
    /// `None` leaves it to the origin's `stale-if-error`, and without that to [`STAND_IN_MS`].
    pub stale_if_error_ms: Option<u64>,
    pub honor_request: bool,
    /// What sets a cookie is kept only when the origin says that it is for everyone.
    pub cookies_only_public: bool,
    /// What sets a cookie is not kept, whatever the origin says.
    pub cookies_never: bool,
    /// Fields that count for nothing.
    pub ignored: Vec<HeaderName>,
    /// `X-Accel-Expires` counts before all else.
    pub x_accel_expires: bool,
}

/// The names of all reasons for which an answer is not stored: those of [`Refusal`], and those that
/// have nothing to do with freshness.
pub const REFUSALS: [&str; 12] = [
    "no_store",
    "private",
    "authorization",
    "set_cookie",
    "vary_all",
    "status",
    "no_freshness",
    "stale_kept",
    "unframed",
    "tags",
    "too_large",
    "no_room",
];

/// Why an answer is not stored; the names are label values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    NoStore,
    Private,
    Authorization,
    SetCookie,
    VaryAll,
    Status,
    NoFreshness,
}

impl Refusal {
    pub fn name(self) -> &'static str {
        match self {
            Refusal::NoStore => "no_store",
            Refusal::Private => "private",
            Refusal::Authorization => "authorization",
            Refusal::SetCookie => "set_cookie",
            Refusal::VaryAll => "vary_all",
            Refusal::Status => "status",
            Refusal::NoFreshness => "no_freshness",
        }
    }
}

/// The times that rule one stored answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    arrived_ms: u64,
    initial_age_ms: u64,
    fresh_until_ms: u64,
    revalidate_until_ms: u64,
    error_until_ms: u64,
    /// `no-cache`: never used without asking.
    always_ask: bool,
    /// `must-revalidate` and its like: never used stale.
    never_stale: bool,
}

impl Times {
    /// Of an answer that is used once, now.
    pub fn spent(now_ms: u64) -> Times {
        Times {
            arrived_ms: now_ms,
            initial_age_ms: 0,
            fresh_until_ms: now_ms,
            revalidate_until_ms: now_ms,
            error_until_ms: now_ms,
            always_ask: true,
            never_stale: true,
        }
    }

    /// Of what never changes under its key.
    pub fn lasting(now_ms: u64) -> Times {
        let until_ms = now_ms + LASTING_MS;
        Times {
            arrived_ms: now_ms,
            initial_age_ms: 0,
            fresh_until_ms: until_ms,
            revalidate_until_ms: until_ms,
            error_until_ms: until_ms,
            always_ask: false,
            never_stale: false,
        }
    }

    /// The age (RFC 9111 section 4.2.3).
    pub fn age_ms(&self, now_ms: u64) -> u64 {
        self.initial_age_ms + now_ms.saturating_sub(self.arrived_ms)
    }

    pub fn is_fresh(&self, now_ms: u64) -> bool {
        now_ms < self.fresh_until_ms && !self.always_ask
    }

    /// Whether it was when it came.
    pub fn was_fresh(&self) -> bool {
        self.arrived_ms < self.fresh_until_ms
    }

    /// Freshness left; negative when stale.
    pub fn fresh_for_ms(&self, now_ms: u64) -> i64 {
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        signed(self.fresh_until_ms) - signed(now_ms)
    }

    /// The same, but stale from then on, and replaceable by stale answers as long as before.
    pub fn stale_from(self, at_ms: u64) -> Times {
        let earlier_ms = self.fresh_until_ms.saturating_sub(at_ms);
        Times {
            fresh_until_ms: self.fresh_until_ms - earlier_ms,
            revalidate_until_ms: self.revalidate_until_ms.saturating_sub(earlier_ms),
            error_until_ms: self.error_until_ms.saturating_sub(earlier_ms),
            ..self
        }
    }

    /// How long it may be used for anything yet, were it only for an origin that fails.
    pub fn usable_for_ms(&self, now_ms: u64) -> u64 {
        // Nobody asked for the short time that every answer stands in.
        let unasked_ms = self.fresh_until_ms + STAND_IN_MS;
        let on_error_ms = if self.error_until_ms > unasked_ms { self.error_until_ms } else { 0 };
        let last = self.fresh_until_ms.max(self.revalidate_until_ms).max(on_error_ms);
        last.saturating_sub(now_ms)
    }

    pub fn arrived_ms(&self) -> u64 {
        self.arrived_ms
    }

    /// Whether it may stand in for an origin that failed.
    pub fn serves_on_error(&self, request: &Directives, honor_request: bool, now_ms: u64) -> bool {
        let asked = if honor_request { request.stale_if_error.unwrap_or(0) * 1000 } else { 0 };
        let asked_until_ms = if self.never_stale { 0 } else { self.fresh_until_ms + asked };
        let forbidden = self.always_ask || (honor_request && request.no_cache);
        !forbidden && now_ms < self.error_until_ms.max(asked_until_ms)
    }
}

/// What to do for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    Hit,
    /// Answer now with what is stored, and ask for it anew beside that.
    HitAndRevalidate,
    /// Ask the origin whether what is stored still holds.
    Revalidate,
    Miss,
    /// `only-if-cached`, and it is not: 504.
    Unanswerable,
}

/// Whether a response may be stored, and for how long it is what.
pub fn assess(
    status: StatusCode,
    headers: &HeaderMap,
    with_authorization: bool,
    rules: &Rules,
    (asked_ms, arrived_ms): (u64, u64),
) -> Result<Times, Refusal> {
    let headers = &*rules.heeded(headers, arrived_ms);
    let said = Directives::of_response(headers);
    may_store(status, headers, &said, with_authorization, rules)?;
    let initial_age_ms = initial_age_ms(headers, asked_ms, arrived_ms);
    let aged = |lifetime_ms: u64| (arrived_ms + lifetime_ms).saturating_sub(initial_age_ms);
    let explicit = lifetime_ms(headers, &said, arrived_ms);
    let by_status = rules.ttl_by_status.iter().find(|(code, _)| *code == status.as_u16());
    let by_policy = by_status.map(|(_, ms)| *ms).or(rules.ttl_by_role_ms).or(rules.ttl_default_ms);
    let overridden = rules.ttl_override_ms.is_some() && status.as_u16() < 400;
    let fresh_until_ms = match (rules.ttl_override_ms.filter(|_| overridden), explicit, by_policy) {
        (Some(ttl_ms), _, _) => arrived_ms + ttl_ms,
        (None, Some(lifetime_ms), _) => aged(lifetime_ms),
        (None, None, Some(ttl_ms)) => arrived_ms + ttl_ms,
        (None, None, None) => aged(heuristic_ms(status, headers, &said, arrived_ms)),
    };
    let never_stale =
        !overridden && (said.must_revalidate || said.proxy_revalidate || said.s_maxage.is_some());
    let always_ask = !overridden && said.no_cache;
    // A failure does not stand in for another, and nobody is served one that is out of date.
    let failed = status.is_server_error();
    let never = never_stale || always_ask || failed;
    let said_ms = |seconds: Option<u64>| seconds.map(|seconds| seconds * 1000);
    let while_revalidating = Some(rules.stale_while_revalidate_ms).filter(|ms| *ms > 0);
    let while_revalidating = while_revalidating.or(said_ms(said.stale_while_revalidate));
    let on_error = rules.stale_if_error_ms.or(said_ms(said.stale_if_error));
    let stale_for = |ms: Option<u64>| if never { 0 } else { ms.unwrap_or(0) };
    let times = Times {
        arrived_ms,
        initial_age_ms,
        fresh_until_ms,
        revalidate_until_ms: fresh_until_ms + stale_for(while_revalidating),
        error_until_ms: fresh_until_ms + stale_for(on_error.or(Some(STAND_IN_MS))),
        always_ask,
        never_stale,
    };
    // That it might stand in unasked is no reason to keep what is of no other use.
    let useful_until_ms = times.revalidate_until_ms.max(fresh_until_ms + stale_for(on_error));
    let has_validator =
        headers.contains_key(http::header::ETAG) || headers.contains_key(LAST_MODIFIED);
    if useful_until_ms <= arrived_ms && (failed || !has_validator) {
        return Err(Refusal::NoFreshness);
    }
    // That something stale would do is no word that this is for everyone (RFC 9111 section 3).
    let by_policy = by_policy.is_some_and(|ms| ms > 0);
    let is_meant = overridden || explicit.is_some() || by_policy || said.public;
    if !is_meant && !HEURISTIC_STATUSES.contains(&status.as_u16()) {
        return Err(Refusal::Status);
    }
    Ok(times)
}

/// RFC 9111 section 3.
fn may_store(
    status: StatusCode,
    headers: &HeaderMap,
    said: &Directives,
    with_authorization: bool,
    rules: &Rules,
) -> Result<(), Refusal> {
    let shared = said.public || said.s_maxage.is_some() || said.targeted;
    let understood = status.canonical_reason().is_some();
    if matches!(status.as_u16(), ..200 | 206 | 304) || (said.must_understand && !understood) {
        return Err(Refusal::Status);
    }
    if said.no_store && !(said.must_understand && understood) {
        return Err(Refusal::NoStore);
    }
    if said.private {
        return Err(Refusal::Private);
    }
    if with_authorization && !shared && !said.must_revalidate {
        return Err(Refusal::Authorization);
    }
    // A session handed to strangers is worse than a miss: the origin has to have said that it is to be
    // kept (RFC 9111 section 7.3), and no policy says so in its place.
    let is_meant = shared || (!rules.cookies_only_public && is_explicit(headers));
    if headers.contains_key(SET_COOKIE) && (rules.cookies_never || !is_meant) {
        return Err(Refusal::SetCookie);
    }
    if headers.get_all(VARY).iter().any(|value| value.as_bytes().contains(&b'*')) {
        return Err(Refusal::VaryAll);
    }
    Ok(())
}

/// Whether the origin itself gives an answer some freshness.
pub fn is_explicit(headers: &HeaderMap) -> bool {
    lifetime_ms(headers, &Directives::of_response(headers), 0).is_some_and(|ms| ms > 0)
}

/// What the origin says, if it does (RFC 9111 section 4.2.1).
fn lifetime_ms(headers: &HeaderMap, said: &Directives, arrived_ms: u64) -> Option<u64> {
    if let Some(seconds) = said.s_maxage.or(said.max_age) {
        return Some(seconds * 1000);
    }
    if said.targeted || !headers.contains_key(EXPIRES) {
        return None;
    }
    // A date that cannot be read, and more than one, is in the past (section 5.3).
    let expires = single(headers, &EXPIRES).and_then(date_ms);
    let date = single(headers, &DATE).and_then(date_ms).unwrap_or(arrived_ms);
    Some(expires.map_or(0, |expires| expires.saturating_sub(date)))
}

fn heuristic_ms(
    status: StatusCode,
    headers: &HeaderMap,
    said: &Directives,
    arrived_ms: u64,
) -> u64 {
    if !said.public && !HEURISTIC_STATUSES.contains(&status.as_u16()) {
        return 0;
    }
    let date = single(headers, &DATE).and_then(date_ms).unwrap_or(arrived_ms);
    let changed = single(headers, &LAST_MODIFIED).and_then(date_ms);
    let since_ms = changed.map_or(0, |changed| date.saturating_sub(changed));
    (since_ms / HEURISTIC_PART).min(HEURISTIC_MAX_MS)
}

/// RFC 9111 section 4.2.3. `Date` has whole seconds: the end of its second is taken, or a segment
/// that lives for one second would be born old.
fn initial_age_ms(headers: &HeaderMap, asked_ms: u64, arrived_ms: u64) -> u64 {
    let date = single(headers, &DATE).and_then(date_ms).unwrap_or(arrived_ms);
    let apparent_ms = arrived_ms.saturating_sub(date.saturating_add(999));
    let aged_ms = age_ms(headers) + arrived_ms.saturating_sub(asked_ms);
    apparent_ms.max(aged_ms)
}

/// `Age`: the first member where there are several, nothing where that is no number (RFC 9111
/// section 5.1).
fn age_ms(headers: &HeaderMap) -> u64 {
    const OLD_S: u64 = 1 << 31;
    let first = headers.get(AGE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let text = first.split(',').next().unwrap_or("").trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = if is_number { text.parse().unwrap_or(OLD_S).min(OLD_S) } else { 0 };
    seconds * 1000
}

/// The one value of a field that may have no more.
pub fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.next().is_some() { None } else { first.to_str().ok() }
}

/// What to do for a request, given what is stored for it.
pub fn plan(
    stored: Option<&Times>,
    request: &Directives,
    honor_request: bool,
    now_ms: u64,
) -> Plan {
    let ignored = Directives::default();
    let request = if honor_request { request } else { &ignored };
    let without = if request.only_if_cached { Plan::Unanswerable } else { Plan::Miss };
    let Some(times) = stored else { return without };
    let ask = if request.only_if_cached { Plan::Unanswerable } else { Plan::Revalidate };
    if request.no_cache || times.always_ask {
        return ask;
    }
    let age_ms = times.age_ms(now_ms);
    let young = request.max_age.is_none_or(|seconds| age_ms < seconds.saturating_mul(1000));
    if times.is_fresh(now_ms) {
        let left_ms = times.fresh_until_ms - now_ms;
        let long = request.min_fresh.is_none_or(|seconds| left_ms >= seconds * 1000);
        return if young && long { Plan::Hit } else { ask };
    }
    let stale_ms = now_ms - times.fresh_until_ms;
    let tolerated = request.max_stale.is_some_and(|seconds| stale_ms <= seconds * 1000);
    if tolerated && young && !times.never_stale {
        return Plan::Hit;
    }
    let demands = request.max_age.is_some() || request.min_fresh.is_some();
    if now_ms < times.revalidate_until_ms && !demands {
        return if request.only_if_cached { Plan::Hit } else { Plan::HitAndRevalidate };
    }
    ask
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const NOW: u64 = 784_111_777_000;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn stored(fields: &[(&str, &str)], rules: &Rules) -> Result<Times, Refusal> {
        assess(StatusCode::OK, &headers(fields), false, rules, (NOW, NOW))
    }

    fn said(text: &str) -> Directives {
        Directives::of_request(&headers(&[("cache-control", text)]))
    }

    fn fresh_for(fields: &[(&str, &str)], rules: &Rules) -> i64 {
        stored(fields, rules).unwrap().fresh_for_ms(NOW)
    }

    #[test]
    fn lifetimes() {
        let tag = ("etag", "\"a\"");
        let cases: &[(&[(&str, &str)], i64)] = &[
            (&[("cache-control", "max-age=10")], 10_000),
            (&[("cache-control", "max-age=10, s-maxage=20")], 20_000),
            (&[("cache-control", "max-age=10"), ("age", "4")], 6_000),
            (&[("cache-control", "max-age=10"), ("date", "Sun, 06 Nov 1994 08:49:33 GMT")], 6_999),
            (&[("cache-control", "max-age=10"), ("date", "Sun, 06 Nov 1994 09:49:33 GMT")], 10_000),
            (
                &[
                    ("expires", "Sun, 06 Nov 1994 08:50:37 GMT"),
                    ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
                ],
                60_000,
            ),
            (&[("expires", "0"), tag], 0),
            (
                &[("expires", "Sun, 06 Nov 1994 08:50:37 GMT"), ("cache-control", "max-age=1")],
                1_000,
            ),
            (&[("last-modified", "Sun, 06 Nov 1994 08:32:57 GMT")], 100_000),
            (&[("cache-control", "max-age=1"), ("cdn-cache-control", "max-age=9")], 9_000),
        ];
        for (fields, expected_ms) in cases {
            assert_eq!(fresh_for(fields, &Rules::default()), *expected_ms, "{fields:?}");
        }
    }

    #[test]
    fn the_first_age_counts_if_it_is_one() {
        for (ages, left_ms) in [
            (&["-4"][..], 10_000),
            (&["4.0"], 10_000),
            (&["abc"], 10_000),
            (&["4;x"], 10_000),
            (&[""], 10_000),
            (&["4,"], 6_000),
            (&["4, 5"], 6_000),
            (&["4", "5"], 6_000),
            (&["0, old"], 10_000),
        ] {
            let mut fields = vec![("cache-control", "max-age=10"), ("etag", "\"a\"")];
            fields.extend(ages.iter().map(|age| ("age", *age)));
            assert_eq!(fresh_for(&fields, &Rules::default()), left_ms, "{ages:?}");
        }
    }

    #[test]
    fn the_policy_fills_in_and_overrides() {
        let default = Rules { ttl_default_ms: Some(700), ..Rules::default() };
        assert_eq!(fresh_for(&[], &default), 700);
        assert_eq!(fresh_for(&[("cache-control", "max-age=1")], &default), 1000);
        let by_status = Rules { ttl_by_status: vec![(200, 5)], ..default };
        assert_eq!(fresh_for(&[], &by_status), 5);
        let over = Rules { ttl_override_ms: Some(250), ..Rules::default() };
        let fields = [("cache-control", "no-cache, must-revalidate, max-age=9"), ("age", "100")];
        let times = stored(&fields, &over).unwrap();
        assert_eq!((times.fresh_for_ms(NOW), times.is_fresh(NOW)), (250, true));
        assert_eq!(times.age_ms(NOW + 500), 100_500);
        let not_found = assess(StatusCode::NOT_FOUND, &headers(&[]), false, &over, (NOW, NOW));
        assert_eq!(not_found, Err(Refusal::NoFreshness), "an error is not fresh by override");
    }

    #[test]
    fn what_may_be_stored() {
        let with = |status: u16, fields: &[(&str, &str)], authorized: bool| {
            let status = StatusCode::from_u16(status).unwrap();
            assess(status, &headers(fields), authorized, &Rules::default(), (NOW, NOW)).err()
        };
        let cc = |text| [("cache-control", text)];
        assert_eq!(with(200, &cc("max-age=1"), false), None);
        assert_eq!(with(200, &cc("max-age=1"), true), Some(Refusal::Authorization));
        assert_eq!(with(200, &cc("max-age=1, must-revalidate"), true), None);
        assert_eq!(with(200, &cc("s-maxage=1"), true), None);
        assert_eq!(with(599, &cc("max-age=1"), false), None);
        assert_eq!(with(599, &cc("max-age=1, must-understand"), false), Some(Refusal::Status));
        assert_eq!(with(200, &cc("no-store, must-understand, max-age=1"), false), None);
        assert_eq!(with(206, &cc("max-age=1"), false), Some(Refusal::Status));
        assert_eq!(with(304, &cc("max-age=1"), false), Some(Refusal::Status));
        assert_eq!(with(200, &[], false), Some(Refusal::NoFreshness));
        assert_eq!(with(200, &[("etag", "\"a\"")], false), None, "worth asking about");
        assert_eq!(with(503, &[("etag", "\"a\"")], false), Some(Refusal::NoFreshness));
        assert_eq!(with(302, &[("etag", "\"a\"")], false), Some(Refusal::Status));
        assert_eq!(with(302, &cc("max-age=1"), false), None);
    }

    #[test]
    fn what_sets_a_cookie_is_kept_only_when_the_origin_means_it() {
        let kept = |control: &str, rules: &Rules| {
            stored(&[("cache-control", control), ("set-cookie", "a=b"), ("etag", "\"a\"")], rules)
        };
        let own = Rules { ttl_override_ms: Some(9), ttl_default_ms: Some(9), ..Rules::default() };
        let strict = Rules { cookies_only_public: true, ..Rules::default() };
        assert!(kept("max-age=1", &Rules::default()).is_ok());
        assert_eq!(kept("x", &own), Err(Refusal::SetCookie), "a policy does not mean it");
        assert_eq!(kept("max-age=0", &own), Err(Refusal::SetCookie));
        assert_eq!(kept("max-age=1", &strict), Err(Refusal::SetCookie));
        for control in ["public", "s-maxage=1"] {
            assert!(kept(control, &strict).is_ok(), "{control}");
        }
    }

    #[test]
    fn what_is_done_with_what_is_stored() {
        let times = |text| {
            let fields = [("cache-control", text), ("etag", "\"a\"")];
            Some(stored(&fields, &Rules::default()).unwrap())
        };
        let swr = "max-age=10, stale-while-revalidate=5";
        let cases = [
            ("max-age=10", "", 9_999, Plan::Hit),
            ("max-age=10", "", 10_000, Plan::Revalidate),
            ("max-age=10", "no-cache", 0, Plan::Revalidate),
            ("max-age=10", "max-age=5", 4_999, Plan::Hit),
            ("max-age=10", "max-age=5", 5_000, Plan::Revalidate),
            ("max-age=10", "min-fresh=5", 5_000, Plan::Hit),
            ("max-age=10", "min-fresh=5", 5_001, Plan::Revalidate),
            ("max-age=10", "max-stale=5", 15_000, Plan::Hit),
            ("max-age=10", "max-stale=5", 15_001, Plan::Revalidate),
            ("max-age=10", "max-stale", 99_000_000, Plan::Hit),
            ("max-age=10, must-revalidate", "max-stale", 11_000, Plan::Revalidate),
            ("max-age=10", "only-if-cached", 10_000, Plan::Unanswerable),
            ("no-cache, max-age=10", "", 0, Plan::Revalidate),
            (swr, "", 14_999, Plan::HitAndRevalidate),
            (swr, "", 15_000, Plan::Revalidate),
            (swr, "max-age=60", 12_000, Plan::Revalidate),
            ("max-age=10, stale-while-revalidate=5, must-revalidate", "", 11_000, Plan::Revalidate),
        ];
        for (response, request, after_ms, expected) in cases {
            let got = plan(times(response).as_ref(), &said(request), true, NOW + after_ms);
            assert_eq!(got, expected, "{response} | {request} | {after_ms}");
        }
        assert_eq!(plan(None, &said(""), true, NOW), Plan::Miss);
        assert_eq!(plan(None, &said("only-if-cached"), true, NOW), Plan::Unanswerable);
        let ignored = plan(times("max-age=10").as_ref(), &said("no-cache"), false, NOW);
        assert_eq!(ignored, Plan::Hit, "the policy does not honor the request");
    }

    #[test]
    fn who_stands_in_for_a_failing_origin() {
        let serves = |response: &str, request: &str, after_ms: u64| {
            let fields = [("cache-control", response), ("etag", "\"a\"")];
            let times = stored(&fields, &Rules::default()).unwrap();
            times.serves_on_error(&said(request), true, NOW + after_ms)
        };
        assert!(serves("max-age=1, stale-if-error=5", "", 5_999));
        assert!(!serves("max-age=1, stale-if-error=5", "", 6_000));
        assert!(serves("max-age=1", "stale-if-error=15", 15_999));
        assert!(serves("max-age=1", "", 10_999) && !serves("max-age=1", "", 11_000));
        assert!(!serves("max-age=1, proxy-revalidate", "", 1_500));
        let never = Rules { stale_if_error_ms: Some(0), ..Rules::default() };
        let times = stored(&[("cache-control", "max-age=1, stale-if-error=5")], &never).unwrap();
        assert!(!times.serves_on_error(&said(""), true, NOW + 1_000), "the policy says so");
        assert!(!serves("max-age=1, must-revalidate, stale-if-error=5", "stale-if-error=5", 1_500));
        assert!(!serves("max-age=1, no-cache, stale-if-error=5", "", 0));
        assert!(!serves("max-age=1, stale-if-error=5", "no-cache", 2_000));
    }

    proptest! {
        /// Whatever is said, by either side: no panic, and never stale beyond what was allowed.
        #[test]
        fn arbitrary_messages(
            control in "[ -~]{0,60}", age in "[ -~]{0,12}", date in "[ -~]{0,30}",
            request in "[ -~]{0,40}", after_ms in 0u64..100_000_000_000,
        ) {
            let fields = [
                ("cache-control", control.as_str()), ("age", &age), ("date", &date),
                ("expires", &date), ("last-modified", &date),
            ];
            if let Ok(times) = stored(&fields, &Rules::default()) {
                let now_ms = NOW + after_ms;
                let got = plan(Some(&times), &said(&request), true, now_ms);
                if got == Plan::Hit && said(&request).max_stale.is_none() {
                    prop_assert!(now_ms < times.fresh_until_ms.max(times.revalidate_until_ms));
                }
                times.age_ms(now_ms);
                times.serves_on_error(&said(&request), true, now_ms);
            }
        }
    }
}
