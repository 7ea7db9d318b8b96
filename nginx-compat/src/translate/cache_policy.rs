//! What `proxy_cache_*` or `fastcgi_cache_*` in effect at a location says of its answers: key, freshness, staleness.

use proxy_config::cache_policy::{
    CachePolicy, FillRules, Freshness, IgnoredHeader, SetCookie, WithoutReaders,
};
use proxy_config::pattern::Template;
use proxy_config::units::Duration;

use crate::translate::cache_key;
use crate::translate::proxy_pass::PROXY;
use crate::translate::scope::Scope;
use crate::translate::value::time;
use crate::translate::variable::{Names, Place};
use crate::tree::Directive;
use crate::verdict::{Verdict, Verdicts};

/// What directives that say how a location caches are called, behind `proxy_` or `fastcgi_`.
pub const FAMILY: [&str; 15] = [
    "cache_background_update",
    "cache_bypass",
    "cache_convert_head",
    "cache_key",
    "cache_lock",
    "cache_lock_age",
    "cache_lock_timeout",
    "cache_max_range_offset",
    "cache_methods",
    "cache_min_uses",
    "cache_revalidate",
    "cache_use_stale",
    "cache_valid",
    "ignore_headers",
    "no_cache",
];

/// The directives of one family at a place.
#[derive(Clone, Copy)]
pub struct Lines<'s, 'a> {
    /// `proxy` or `fastcgi`.
    pub family: &'static str,
    pub scope: &'s Scope<'a>,
}

impl<'a> Lines<'_, 'a> {
    /// What a directive is called in full.
    pub fn name(&self, name: &str) -> String {
        format!("{}_{name}", self.family)
    }

    pub fn one(&self, name: &str) -> Option<&'a Directive> {
        self.scope.one(&self.name(name))
    }

    fn effective(&self, name: &str) -> &[&'a Directive] {
        self.scope.effective(&self.name(name))
    }

    /// Those of the place itself.
    pub fn own(&self) -> impl Iterator<Item = &'a Directive> {
        FAMILY.iter().flat_map(|name| self.scope.own(&self.name(name))).copied()
    }
}

/// The report says so of caches that are not asked to make GET of HEAD; replays look for it there.
pub const HEAD_IS_PASSED_ON: &str = "HEAD is passed on each time and what it brings is not kept";

/// Freshness by status, as the lines of `proxy_cache_valid` say together.
#[derive(Debug, Default, PartialEq)]
struct Valid {
    by_status: Vec<(u16, Duration)>,
    any: Option<Duration>,
}

/// The policy, without its cache's name, and what it does otherwise than nginx. `inactive` is how
/// long the zone keeps what is stale. The error says why the location must go uncached.
pub fn read(
    lines: Lines<'_, '_>,
    inactive: Duration,
    (place, names): (&Place, &mut Names<'_>),
    verdicts: &mut Verdicts,
) -> Result<(CachePolicy, Vec<String>), String> {
    let mut differences = vec![
        "what is cached is sent in part, and not at all to who has it, as RFC 9110 says; nginx sends parts only where the \
         upstream says that there are some, and knows a date by its very text. A 304 says no more than it has to"
            .to_owned(),
    ];
    let key = cache_key::read(lines, (place, names), verdicts, &mut differences)?;
    let mut texts = |name: &str| texts(name, lines, (place, &mut *names), verdicts);
    let (bypass, no_store) = (texts("cache_bypass")?, texts("no_cache")?);
    let valid = valid(lines, verdicts)?;
    let (ignore, x_accel_expires) = ignored_headers(lines, verdicts);
    let (stale_if_error, stale_while_revalidate) = stale(lines, inactive, verdicts);
    let fill = fill(lines, verdicts, &mut differences);
    rest(lines, verdicts);
    let uses_min = uses_min(lines, verdicts);
    let by_status = valid.by_status.iter();
    let policy = CachePolicy {
        key,
        freshness: Freshness {
            ttl_override: None,
            // nginx keeps nothing that neither the upstream nor `proxy_cache_valid` gives a time.
            ttl_default: Some(valid.any.unwrap_or(Duration::millis(0))),
            ttl_by_status: by_status.map(|(code, ttl)| (code.to_string(), *ttl)).collect(),
            stale_while_revalidate,
            stale_if_error: Some(stale_if_error),
            honor_request_cache_control: false,
            // nginx keeps nothing that sets a cookie.
            set_cookie: SetCookie::Never,
            ignore,
            x_accel_expires,
        },
        fill,
        bypass,
        no_store,
        uses_min,
        invalidate: false,
        ..CachePolicy::in_cache("")
    };
    Ok((policy, differences))
}

fn valid(lines: Lines<'_, '_>, verdicts: &mut Verdicts) -> Result<Valid, String> {
    let mut valid = Valid::default();
    for line in lines.effective("cache_valid") {
        let words: Vec<&str> = line.texts().collect();
        let Some((last, codes)) = words.split_last() else { continue };
        let ttl = time(last).ok_or_else(|| format!("{last:?} in {} is no time", line.name))?;
        let codes: &[&str] = if codes.is_empty() { &["200", "301", "302"] } else { codes };
        for code in codes {
            // The first line that speaks of a status holds.
            if *code == "any" {
                valid.any.get_or_insert(ttl);
                continue;
            }
            let code: u16 = code
                .parse()
                .ok()
                .filter(|code| (100..600).contains(code))
                .ok_or_else(|| format!("{code:?} in {} is no status", line.name))?;
            if valid.any.is_none() && valid.by_status.iter().all(|(known, _)| *known != code) {
                valid.by_status.push((code, ttl));
            }
        }
        verdicts.add(line, Verdict::exact());
    }
    Ok(valid)
}

/// The texts of `proxy_cache_bypass` or `proxy_no_cache`.
fn texts(
    name: &str,
    lines: Lines<'_, '_>,
    (place, names): (&Place, &mut Names<'_>),
    verdicts: &mut Verdicts,
) -> Result<Vec<Template>, String> {
    let mut texts = Vec::new();
    for line in lines.effective(name) {
        for text in line.texts() {
            texts.push(names.text(text, place, verdicts)?);
        }
        verdicts.add(line, Verdict::exact());
    }
    Ok(texts)
}

/// `proxy_ignore_headers`: what counts for nothing, and whether `X-Accel-Expires` counts.
fn ignored_headers(lines: Lines<'_, '_>, verdicts: &mut Verdicts) -> (Vec<IgnoredHeader>, bool) {
    const COUNTED: [(&str, IgnoredHeader); 4] = [
        ("cache-control", IgnoredHeader::CacheControl),
        ("expires", IgnoredHeader::Expires),
        ("set-cookie", IgnoredHeader::SetCookie),
        ("vary", IgnoredHeader::Vary),
    ];
    let (mut ignored, mut accel) = (Vec::new(), true);
    for line in lines.effective("ignore_headers") {
        let ignores = |name: &str| line.texts().any(|word| word.eq_ignore_ascii_case(name));
        ignored.extend(COUNTED.iter().filter(|(name, _)| ignores(name)).map(|(_, header)| *header));
        accel &= !ignores("x-accel-expires");
        verdicts.add(line, Verdict::exact());
    }
    (ignored, accel)
}

/// How long a stale answer serves when the upstream fails, and while it is fetched anew.
fn stale(
    lines: Lines<'_, '_>,
    inactive: Duration,
    verdicts: &mut Verdicts,
) -> (Duration, Duration) {
    let nothing = Duration::millis(0);
    let update = lines.one("cache_background_update");
    let in_background = update.is_some_and(|line| line.has("on"));
    let Some(line) = lines.one("cache_use_stale") else {
        if let Some(line) = update {
            let why =
                "without stale answers that are being updated it does nothing in nginx either";
            verdicts.add(line, Verdict::ignored(why));
        }
        return (nothing, nothing);
    };
    const FAILURES: [&str; 6] =
        ["error", "timeout", "http_500", "http_502", "http_503", "http_504"];
    let any_failure = FAILURES.iter().any(|failure| line.has(failure));
    let mut differences = Vec::new();
    if any_failure && !FAILURES.iter().all(|failure| line.has(failure)) {
        differences.push(
            "stale answers serve for failed connections, timeouts, 500, 502, 503 and 504 alike",
        );
    }
    if ["http_403", "http_404", "http_429"].iter().any(|status| line.has(status)) {
        differences.push("they do not serve for 403, 404 and 429");
    }
    let updating = line.has("updating");
    if updating && !in_background {
        differences.push("nobody waits for the update; in nginx the first to ask does");
    }
    let differences: Vec<String> = differences.into_iter().map(str::to_owned).collect();
    verdicts.add(line, Verdict::with_differences(&differences));
    if let Some(line) = update {
        verdicts.add(line, Verdict::exact());
    }
    (if any_failure { inactive } else { nothing }, if updating { inactive } else { nothing })
}

fn fill(lines: Lines<'_, '_>, verdicts: &mut Verdicts, differences: &mut Vec<String>) -> FillRules {
    // nginx goes on reading what it will keep, whoever has left.
    let mut fill = FillRules { without_readers: WithoutReaders::Finish, ..FillRules::default() };
    match lines.one("cache_lock") {
        Some(line) => {
            fill.collapse = line.has("on");
            verdicts.add(line, Verdict::exact());
        }
        None => differences.push(
            "requests for one object share one request to the upstream, as with proxy_cache_lock on"
                .to_owned(),
        ),
    }
    fill.revalidate = lines.one("cache_revalidate").is_some_and(|line| line.has("on"));
    let converts = lines.one("cache_convert_head");
    fill.for_head = lines.family == PROXY && !converts.is_some_and(|line| line.has("off"));
    if let Some(line) = converts {
        verdicts.add(line, Verdict::exact());
    }
    if !fill.for_head {
        differences.push(HEAD_IS_PASSED_ON.to_owned());
    }
    if let Some(line) = lines.one("cache_lock_timeout") {
        match line.argument(0).and_then(time).filter(|wait| wait.as_millis() > 0) {
            Some(wait) => {
                fill.collapse_wait_max = wait;
                verdicts.add(line, Verdict::exact());
            }
            None => verdicts.add(line, Verdict::unsupported("it is no time above zero")),
        }
    }
    fill
}

/// Requests for an answer up to the one that is kept.
fn uses_min(lines: Lines<'_, '_>, verdicts: &mut Verdicts) -> u32 {
    let Some(line) = lines.one("cache_min_uses") else { return 1 };
    let count = line.argument(0).and_then(|text| text.parse().ok()).filter(|count| *count > 0);
    let verdict = match count {
        Some(_) => Verdict::exact(),
        None => Verdict::unsupported("it is no number above zero"),
    };
    verdicts.add(line, verdict);
    count.unwrap_or(1)
}

fn rest(lines: Lines<'_, '_>, verdicts: &mut Verdicts) {
    let mut say = |name: &str, verdict: fn(&Directive) -> Verdict| {
        if let Some(line) = lines.one(name) {
            verdicts.add(line, verdict(line));
        }
    };
    say("cache_lock_age", |_| {
        Verdict::ignored("a shared request that stalls ends by the upstream's own timeouts")
    });
    say("cache_revalidate", |_| Verdict::exact());
    say("cache_methods", |line| match line.has("POST") {
        true => Verdict::approximate("only GET and HEAD are answered from the cache"),
        false => Verdict::exact(),
    });
    say("cache_max_range_offset", |_| {
        Verdict::approximate("a range into what is not there yet fetches the whole, however far in")
    });
}
