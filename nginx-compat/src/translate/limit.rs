//! `limit_req` and `limit_conn`: how often and how many at once one key may ask.

use std::collections::{BTreeMap, HashMap};

use proxy_config::rate_limit::{RateLimit, WhenMissing, WhenOver};
use proxy_config::severity::Severity;
use proxy_config::units::{Duration, Per, Rate};

use crate::translate::scope::Scope;
use crate::translate::value::{slug, unique};
use crate::translate::variable::{Names, Place};
use crate::tree::Directive;
use crate::verdict::{Verdict, Verdicts};

/// nginx's default for `limit_req_status` and `limit_conn_status`.
const STATUS: u16 = 503;
/// Requests held at once: nginx holds any number.
const DELAYED_MAX: u32 = 100_000;

/// The zones of a configuration, and the limits made of those in use.
#[derive(Debug, Default)]
pub struct Limits<'a> {
    zones: HashMap<&'a str, &'a Directive>,
    pub limits: BTreeMap<String, RateLimit>,
}

impl<'a> Limits<'a> {
    pub fn new(zones: &[&'a Directive]) -> Limits<'a> {
        let named = zones.iter().filter_map(|zone| {
            let name = parameter(zone, "zone")?.split(':').next()?;
            Some((name, *zone))
        });
        Limits { zones: named.collect(), ..Limits::default() }
    }

    /// Names of the limits in effect at a place.
    pub fn of(
        &mut self,
        scope: &Scope<'a>,
        place: &Place,
        names: &mut Names<'a>,
        verdicts: &mut Verdicts,
    ) -> Vec<String> {
        let mut limits = Vec::new();
        for kind in ["limit_req", "limit_conn"] {
            for line in scope.effective(kind) {
                match self.one(line, scope, place, names, verdicts) {
                    Ok((limit, differences)) => {
                        let zone = zone_of(line);
                        let name = self.insert(zone, limit);
                        if !limits.contains(&name) {
                            limits.push(name);
                        }
                        verdicts.add(line, Verdict::with_differences(&differences));
                    }
                    Err(why) => verdicts.add(line, Verdict::unsupported(why)),
                }
            }
        }
        limits
    }

    fn insert(&mut self, zone: &str, limit: RateLimit) -> String {
        let slug = slug(zone);
        let same = |(name, known): &(&String, &RateLimit)| {
            **known == limit && name.starts_with(slug.as_str())
        };
        if let Some((name, _)) = self.limits.iter().find(same) {
            return name.clone();
        }
        let name = unique(&slug, |name| self.limits.contains_key(name));
        self.limits.insert(name.clone(), limit);
        name
    }

    fn one(
        &self,
        line: &'a Directive,
        scope: &Scope<'a>,
        place: &Place,
        names: &mut Names<'a>,
        verdicts: &mut Verdicts,
    ) -> Result<(RateLimit, Vec<String>), String> {
        let zone_name = zone_of(line);
        let zone = self.zones.get(zone_name).copied();
        let zone = zone.ok_or_else(|| format!("nginx refuses it: no zone {zone_name:?}"))?;
        let key = names.text(zone.argument(0).unwrap_or_default(), place, verdicts)?;
        let mut limit = RateLimit {
            key: Vec::new(),
            key_text: Some(key),
            zone: Some(zone_name.to_owned()),
            rate: None,
            burst: 1,
            concurrency_max: None,
            bandwidth_max: None,
            when_over: WhenOver::Reject,
            delay_max: Duration::secs(1),
            delayed_max: DELAYED_MAX,
            dry_run: false,
            cluster: None,
            keys_max: 100_000,
            told: false,
            when_missing: WhenMissing::Pass,
            status: status(line, scope, verdicts),
            log_level: log_level(line, scope, verdicts),
        };
        let mut differences = Vec::new();
        if line.name == "limit_conn" {
            let max: u32 = line.argument(1).and_then(|max| max.parse().ok()).unwrap_or(0);
            if max == 0 {
                return Err("nginx refuses it: invalid number of connections".to_owned());
            }
            limit.concurrency_max = Some(max);
        } else {
            requests(line, zone, &mut limit, &mut differences)?;
        }
        limit.dry_run = dry_run(line, scope, verdicts);
        verdicts.add(
            zone,
            Verdict::with_differences(&[
                "keys are remembered by their number (100000), not by the zone's size".to_owned(),
            ]),
        );
        Ok((limit, differences))
    }
}

fn requests(
    line: &Directive,
    zone: &Directive,
    limit: &mut RateLimit,
    differences: &mut Vec<String>,
) -> Result<(), String> {
    let rate = parameter(zone, "rate").ok_or("nginx refuses it: the zone has no rate")?;
    let (count, per) = match (rate.strip_suffix("r/s"), rate.strip_suffix("r/m")) {
        (Some(count), _) => (count, Per::Second),
        (_, Some(count)) => (count, Per::Minute),
        _ => return Err(format!("nginx refuses it: invalid rate {rate:?}")),
    };
    let count: u32 = count.parse().ok().filter(|count| *count > 0).ok_or("invalid rate")?;
    let burst = match parameter(line, "burst") {
        Some(burst) => burst.parse().map_err(|_| format!("invalid burst {burst:?}"))?,
        None => 0_u32,
    };
    limit.rate = Some(Rate { count: count.into(), per });
    // nginx takes one request and `burst` more; those more wait for their turn unless told not to.
    match (line.has("nodelay"), parameter(line, "delay")) {
        (true, _) => limit.burst = burst.saturating_add(1),
        (false, Some(delay)) => {
            let at_once: u32 = delay.parse().map_err(|_| format!("invalid delay {delay:?}"))?;
            limit.burst = at_once.min(burst).saturating_add(1);
            held(limit, burst - at_once.min(burst), count, per);
        }
        (false, None) => held(limit, burst, count, per),
    }
    if parameter(line, "burst").is_none() && line.has("nodelay") {
        differences.push("nodelay does nothing without burst in nginx either".to_owned());
    }
    Ok(())
}

/// Requests that wait: at most as long as the last of so many does.
fn held(limit: &mut RateLimit, waiting: u32, count: u32, per: Per) {
    if waiting == 0 {
        return;
    }
    limit.when_over = WhenOver::Delay;
    let millis = u64::from(waiting) * per.as_millis() / u64::from(count);
    limit.delay_max = Duration::millis(millis.max(1));
}

fn status(line: &Directive, scope: &Scope<'_>, verdicts: &mut Verdicts) -> u16 {
    let name = format!("{}_status", line.name);
    let Some(written) = scope.one(&name) else { return STATUS };
    verdicts.add(written, Verdict::exact());
    written.argument(0).and_then(|status| status.parse().ok()).unwrap_or(STATUS)
}

fn log_level(line: &Directive, scope: &Scope<'_>, verdicts: &mut Verdicts) -> Severity {
    let Some(written) = scope.one(&format!("{}_log_level", line.name)) else {
        return Severity::default();
    };
    verdicts.add(written, Verdict::exact());
    written.argument(0).and_then(Severity::named).unwrap_or_default()
}

fn dry_run(line: &Directive, scope: &Scope<'_>, verdicts: &mut Verdicts) -> bool {
    let Some(written) = scope.one(&format!("{}_dry_run", line.name)) else { return false };
    verdicts.add(written, Verdict::exact());
    written.has("on")
}

fn zone_of(line: &Directive) -> &str {
    match line.name.as_str() {
        "limit_conn" => line.argument(0).unwrap_or_default(),
        _ => parameter(line, "zone").unwrap_or_default(),
    }
}

fn parameter<'d>(line: &'d Directive, name: &str) -> Option<&'d str> {
    line.texts().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}
