//! Values as nginx writes them.

use proxy_config::access_log::LogTarget;
use proxy_config::units::{ByteSize, Duration};

/// A time: `60`, `60s`, `1m30s`, `250ms`, `1h 30m`. Units descend; a number alone is seconds.
pub fn time(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 8] = [
        ("y", 31_536_000_000),
        ("M", 2_592_000_000),
        ("w", 604_800_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    let mut rest = text.trim();
    let mut total = 0_u64;
    let mut from = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "" if rest.is_empty() => "s",
            unit => unit,
        };
        let index = from + UNITS[from..].iter().position(|(name, _)| *name == unit)?;
        total = total.checked_add(number.checked_mul(UNITS[index].1)?)?;
        from = index + 1;
        rest = rest[letters..].trim_start();
    }
    Some(Duration::millis(total))
}

/// A size as nginx writes it: bytes, or with `k`, `m` or `g`.
pub fn size(text: &str) -> Option<ByteSize> {
    let lower = text.to_ascii_lowercase();
    let (digits, unit) = match lower.strip_suffix(['k', 'm', 'g']) {
        Some(digits) => (digits, &lower[digits.len()..]),
        None => (lower.as_str(), ""),
    };
    let factor: u64 = match unit {
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => 1,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor).map(ByteSize::bytes)
}

/// What a log is called by where it goes to.
pub fn name_of_target(target: &LogTarget) -> String {
    let name = match target {
        LogTarget::File(path) => {
            path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
        }
        LogTarget::Syslog(_) => "syslog".to_owned(),
        other => other.to_string(),
    };
    slug(&name)
}

/// A name made of what was written: lower case, `-` for everything else, at most 50 characters, so
/// that a number fits behind it.
pub fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' => slug.push(c),
            _ if slug.ends_with('-') || slug.is_empty() => {}
            _ => slug.push('-'),
        }
        if slug.len() >= 50 {
            break;
        }
    }
    slug.trim_matches(['-', '_']).to_owned()
}

/// The name, or with a number behind it that makes it new: the first, where numbers were given out in order.
pub fn unique(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let name = if name.is_empty() { "unnamed" } else { name };
    if !taken(name) {
        return name.to_owned();
    }
    let numbered = |number: u64| format!("{name}-{number}");
    // Numbers are given out in order: the first that is free is looked for between one that is not and one that is.
    let (mut below, mut free) = (1, 2);
    while taken(&numbered(free)) {
        (below, free) = (free, free * 2);
    }
    while free - below > 1 {
        let middle = below + (free - below) / 2;
        match taken(&numbered(middle)) {
            true => below = middle,
            false => free = middle,
        }
    }
    numbered(free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_nginx_reads_them() {
        let cases = [
            ("60", Some(60_000)),
            ("60s", Some(60_000)),
            ("250ms", Some(250)),
            ("1m30s", Some(90_000)),
            ("1h 30m", Some(5_400_000)),
            ("1d", Some(86_400_000)),
            ("1M", Some(2_592_000_000)),
            ("1s1m", None),
            ("s", None),
            ("", None),
            ("-1", None),
            ("1x", None),
            ("99999999999999999999", None),
            ("9999999999999999y", None),
        ];
        for (text, expected) in cases {
            assert_eq!(time(text).map(Duration::as_millis), expected, "{text}");
        }
    }

    #[test]
    fn names_are_legal_and_new() {
        assert_eq!(slug("Shop.Example.com/api/ v1"), "shop-example-com-api-v1");
        assert_eq!(slug("/_/"), "");
        assert_eq!(unique("a", |name| ["a", "a-2"].contains(&name)), "a-3");
        assert_eq!(unique("", |_| false), "unnamed");
        let mut names = std::collections::HashSet::new();
        for number in 2..50 {
            let name = unique("b", |name| name == "b" || names.contains(name));
            assert_eq!(name, format!("b-{number}"));
            names.insert(name);
        }
    }

    #[test]
    fn sizes_as_nginx_reads_them() {
        let cases = [
            ("10", Some(10)),
            ("8k", Some(8 << 10)),
            ("2M", Some(2 << 20)),
            ("20g", Some(20 << 30)),
            ("", None),
            ("m", None),
            ("1t", None),
            ("99999999999999999999g", None),
        ];
        for (text, expected) in cases {
            assert_eq!(size(text).map(ByteSize::as_bytes), expected, "{text}");
        }
    }
}
