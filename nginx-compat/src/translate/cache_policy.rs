//! What `proxy_cache_*` in effect at a location says of its answers: key, freshness, staleness.

use proxy_config::cache_policy::{CachePolicy, FillRules, Freshness, SetCookie, WithoutReaders};
use proxy_config::pattern::Template;
use proxy_config::units::Duration;

use crate::translate::cache_key;
use crate::translate::scope::Scope;
use crate::translate::value::time;
use crate::translate::variable::{Names, Place};
use crate::tree::Directive;
use crate::verdict::{Verdict, Verdicts};

/// Directives that say how `proxy_cache` caches.
pub const FAMILY: [&str; 15] = [
    "proxy_cache_background_update",
    "proxy_cache_bypass",
    "proxy_cache_convert_head",
    "proxy_cache_key",
    "proxy_cache_lock",
    "proxy_cache_lock_age",
    "proxy_cache_lock_timeout",
    "proxy_cache_max_range_offset",
    "proxy_cache_methods",
    "proxy_cache_min_uses",
    "proxy_cache_revalidate",
    "proxy_cache_use_stale",
    "proxy_cache_valid",
    "proxy_ignore_headers",
    "proxy_no_cache",
];

/// Freshness by status, as the lines of `proxy_cache_valid` say together.
#[derive(Debug, Default, PartialEq)]
struct Valid {
    by_status: Vec<(u16, Duration)>,
    any: Option<Duration>,
}

/// The policy, without its cache's name, and what it does otherwise than nginx. `inactive` is how
/// long the zone keeps what is stale. The error says why the location must go uncached.
pub fn read(
    location: &Scope<'_>,
    inactive: Duration,
    (place, names): (&Place, &mut Names<'_>),
    verdicts: &mut Verdicts,
) -> Result<(CachePolicy, Vec<String>), String> {
    let mut differences = vec![
        "X-Accel-Expires is not understood, and answers that set cookies are kept when the upstream \
         says they may be shared"
            .to_owned(),
    ];
    let key = cache_key::read(location, (place, names), verdicts, &mut differences)?;
    let mut texts = |name: &str| texts(name, location, (place, &mut *names), verdicts);
    let (bypass, no_store) = (texts("proxy_cache_bypass")?, texts("proxy_no_cache")?);
    let valid = valid(location.effective("proxy_cache_valid"), verdicts)?;
    let ttl_override = ignored_headers(location, &valid, verdicts)?;
    let (stale_if_error, stale_while_revalidate) = stale(location, inactive, verdicts);
    let fill = fill(location, verdicts, &mut differences);
    rest(location, verdicts);
    let by_status = valid.by_status.iter();
    let policy = CachePolicy {
        key,
        freshness: Freshness {
            ttl_override,
            // nginx keeps nothing that neither the upstream nor `proxy_cache_valid` gives a time.
            ttl_default: Some(valid.any.unwrap_or(Duration::millis(0))),
            ttl_by_status: by_status.map(|(code, ttl)| (code.to_string(), *ttl)).collect(),
            stale_while_revalidate,
            stale_if_error: Some(stale_if_error),
            honor_request_cache_control: false,
            // nginx keeps nothing that sets a cookie.
            set_cookie: SetCookie::Public,
        },
        fill,
        bypass,
        no_store,
        ..CachePolicy::in_cache("")
    };
    Ok((policy, differences))
}

fn valid(lines: &[&Directive], verdicts: &mut Verdicts) -> Result<Valid, String> {
    let mut valid = Valid::default();
    for line in lines {
        let words: Vec<&str> = line.texts().collect();
        let Some((last, codes)) = words.split_last() else { continue };
        let ttl = time(last).ok_or_else(|| format!("{last:?} in proxy_cache_valid is no time"))?;
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
                .ok_or_else(|| format!("{code:?} in proxy_cache_valid is no status"))?;
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
    location: &Scope<'_>,
    (place, names): (&Place, &mut Names<'_>),
    verdicts: &mut Verdicts,
) -> Result<Vec<Template>, String> {
    let mut texts = Vec::new();
    for line in location.effective(name) {
        for text in line.texts() {
            texts.push(names.text(text, place, verdicts)?);
        }
        verdicts.add(line, Verdict::exact());
    }
    Ok(texts)
}

/// `proxy_ignore_headers`; the time to keep answers for when their own word does not count.
fn ignored_headers(
    location: &Scope<'_>,
    valid: &Valid,
    verdicts: &mut Verdicts,
) -> Result<Option<Duration>, String> {
    let mut ttl_override = None;
    for line in location.effective("proxy_ignore_headers") {
        let ignores = |name: &str| line.texts().any(|word| word.eq_ignore_ascii_case(name));
        let mut differences = Vec::new();
        match (ignores("Cache-Control"), ignores("Expires")) {
            (false, false) => {}
            (true, true) => {
                let of_200 = valid.by_status.iter().find(|(code, _)| *code == 200);
                let ttl = of_200.map(|(_, ttl)| *ttl).or(valid.any);
                ttl_override = Some(ttl.unwrap_or(Duration::millis(0)));
                differences.push("answers below 400 share one time; errors keep their own word");
            }
            _ => {
                let why = "proxy_ignore_headers names only one of Cache-Control and Expires";
                return Err(why.to_owned());
            }
        }
        if ignores("Set-Cookie") {
            differences.push("answers that set cookies are kept only when they say `public`");
        }
        if ignores("Vary") {
            differences.push("Vary counts");
        }
        let differences: Vec<String> = differences.into_iter().map(str::to_owned).collect();
        verdicts.add(line, Verdict::with_differences(&differences));
    }
    Ok(ttl_override)
}

/// How long a stale answer serves when the upstream fails, and while it is fetched anew.
fn stale(
    location: &Scope<'_>,
    inactive: Duration,
    verdicts: &mut Verdicts,
) -> (Duration, Duration) {
    let nothing = Duration::millis(0);
    let update = location.one("proxy_cache_background_update");
    let in_background = update.is_some_and(|line| line.has("on"));
    let Some(line) = location.one("proxy_cache_use_stale") else {
        if let Some(line) = update {
            let why = "without proxy_cache_use_stale updating it does nothing in nginx either";
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

fn fill(location: &Scope<'_>, verdicts: &mut Verdicts, differences: &mut Vec<String>) -> FillRules {
    // nginx goes on reading what it will keep, whoever has left.
    let mut fill = FillRules { without_readers: WithoutReaders::Finish, ..FillRules::default() };
    match location.one("proxy_cache_lock") {
        Some(line) => {
            fill.collapse = line.has("on");
            verdicts.add(line, Verdict::exact());
        }
        None => differences.push(
            "requests for one object share one request to the upstream, as with proxy_cache_lock on"
                .to_owned(),
        ),
    }
    if let Some(line) = location.one("proxy_cache_lock_timeout") {
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

fn rest(location: &Scope<'_>, verdicts: &mut Verdicts) {
    let mut say = |name: &str, verdict: fn(&Directive) -> Verdict| {
        if let Some(line) = location.one(name) {
            verdicts.add(line, verdict(line));
        }
    };
    say("proxy_cache_lock_age", |_| {
        Verdict::ignored("a shared request that stalls ends by the upstream's own timeouts")
    });
    say("proxy_cache_revalidate", |line| match line.has("on") {
        true => Verdict::exact(),
        false => Verdict::approximate("stale answers with a validator are asked for conditionally"),
    });
    say("proxy_cache_convert_head", |line| match line.has("off") {
        true => Verdict::approximate("HEAD is answered from what GET fetched"),
        false => Verdict::exact(),
    });
    say("proxy_cache_methods", |line| match line.has("POST") {
        true => Verdict::approximate("only GET and HEAD are answered from the cache"),
        false => Verdict::exact(),
    });
    say("proxy_cache_min_uses", |line| match line.argument(0) {
        Some("1") => Verdict::exact(),
        _ => Verdict::approximate("answers are kept from the first request on"),
    });
    say("proxy_cache_max_range_offset", |_| {
        Verdict::approximate("a range into what is not there yet fetches the whole, however far in")
    });
}
