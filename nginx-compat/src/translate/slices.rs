//! `slice`: large answers that are fetched and kept in parts. In nginx it takes three lines (`slice`, `$slice_range` in the
//! key and in a `Range` to the upstream), here one key of the cache policy.

use proxy_config::cache_policy::Slices;
use proxy_config::units::ByteSize;

use crate::translate::scope::Scope;
use crate::translate::value::size;
use crate::tree::Directive;
use crate::verdict::{Verdict, Verdicts};

/// What slices may be of.
const LEAST: ByteSize = ByteSize::kib(64);
const MOST: ByteSize = ByteSize::mib(64);
/// Slices that the part of a cache for large answers, a half of it, must have room for.
const ROOM: u64 = 2;

/// The line in effect at a place whose answers are cached.
fn line<'a>(scope: &Scope<'a>) -> Option<&'a Directive> {
    let is_on = |line: &&Directive| !line.has("off") && !line.has("0");
    scope.one("proxy_cache").filter(is_on)?;
    scope.one("slice").filter(is_on)
}

/// Whether a line only asks the upstream for the slice that is due, which goes without saying.
pub fn is_own_range(scope: &Scope<'_>, header: &Directive) -> bool {
    let is_range = header.argument(0).is_some_and(|name| name.eq_ignore_ascii_case("range"));
    let value = header.argument(1).unwrap_or_default();
    is_range && ["$slice_range", "${slice_range}"].contains(&value) && line(scope).is_some()
}

/// A key without the slice: which part of an answer it is counts here by itself.
pub fn whole(scope: &Scope<'_>, key: &str) -> String {
    match line(scope) {
        Some(_) => key.replace("${slice_range}", "").replace("$slice_range", ""),
        None => key.to_owned(),
    }
}

/// The slices of a place, in a cache with so much memory.
pub fn slices(scope: &Scope<'_>, memory_max: ByteSize, verdicts: &mut Verdicts) -> Option<Slices> {
    let line = line(scope)?;
    let Some(asked) = line.argument(0).and_then(size) else {
        verdicts.add(line, Verdict::unsupported("it is no size"));
        return None;
    };
    let size = asked.max(LEAST).min(MOST);
    if size.as_bytes().saturating_mul(2 * ROOM) > memory_max.as_bytes() {
        let why = format!("its cache of {memory_max} has no room for slices of {size}");
        verdicts.add(line, Verdict::unsupported(why));
        return None;
    }
    let mut differences = Vec::new();
    if size != asked {
        differences.push(format!("slices are of {size}"));
    }
    verdicts.add(line, Verdict::with_differences(&differences));
    // nginx fetches the next slice when the one before it is sent.
    Some(Slices { size, read_ahead: 0, object_min: size })
}
