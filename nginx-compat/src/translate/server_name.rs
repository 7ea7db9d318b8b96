//! `server_name`: the hosts a server answers for.

use proxy_config::host::{HostName, HostPattern, HostRegex};

use crate::translate::regex::of_whole_host;
use crate::tree::Directive;
use crate::verdict::Verdict;

/// Host patterns as Forebay has them.
#[derive(Debug, Default)]
pub struct Names {
    pub hosts: Vec<HostPattern>,
    /// What cannot be translated.
    pub lost: Vec<String>,
}

/// Reads one `server_name` line.
pub fn parse(directive: &Directive) -> Names {
    let mut names = Names::default();
    for word in directive.texts() {
        match hosts(word) {
            Ok(hosts) => names.hosts.extend(hosts),
            Err(why) => names.lost.push(why),
        }
    }
    names
}

impl Names {
    pub fn verdict(&self) -> Verdict {
        match self.lost.as_slice() {
            [] => Verdict::exact(),
            lost => Verdict::unsupported(lost.join("; ")),
        }
    }
}

fn hosts(word: &str) -> Result<Vec<HostPattern>, String> {
    if let Some(pattern) = word.strip_prefix('~') {
        return Ok(vec![HostPattern::Regex(HostRegex { regex: of_whole_host(pattern)? })]);
    }
    // The customary name that no host has.
    if word.bytes().all(|byte| byte == b'_') && !word.is_empty() {
        return Ok(Vec::new());
    }
    // A request without a Host.
    if word.is_empty() {
        return Ok(vec![HostPattern::Regex(HostRegex { regex: of_whole_host("^$")? })]);
    }
    let lower = word.trim_end_matches('.').to_ascii_lowercase();
    let hosts = match lower.strip_prefix('.') {
        Some(name) => vec![name.to_owned(), format!("*.{name}")],
        None => vec![lower],
    };
    let mut patterns = Vec::new();
    for host in hosts {
        match host.parse::<HostName>() {
            Ok(name) if host != "*" => patterns.push(HostPattern::Name(name)),
            Ok(_) => return Err("nginx refuses it: \"*\"".to_owned()),
            // Names that no host can have match nothing in nginx either.
            Err(_) if !host.contains('*') => {}
            Err(_) => return Err(format!("{host} is no host name Forebay can match")),
        }
    }
    Ok(patterns)
}

/// Where nginx looks among the names of an address, and the longer the sooner.
pub fn rank(host: &HostPattern) -> (u8, std::cmp::Reverse<usize>) {
    let (kind, length) = match host {
        HostPattern::Regex(regex) if regex.regex.as_str() == "(?i)^$" => (0, 0),
        HostPattern::Regex(_) => (3, 0),
        HostPattern::Name(name) => match name.canonical() {
            name if name.starts_with('*') => (1, name.len()),
            name if name.ends_with('*') => (2, name.len()),
            _ => (0, 0),
        },
    };
    (kind, std::cmp::Reverse(length))
}

/// Whether a wildcard or expression may take a host that another pattern says.
pub fn may_cover(wide: &HostPattern, host: &HostPattern) -> bool {
    match (wide, host) {
        (HostPattern::Regex(wide), HostPattern::Name(name)) => {
            let name = name.canonical();
            let whole = wide.regex.compile().is_ok_and(|regex| regex.is_match(&name));
            whole || name.contains('*')
        }
        (HostPattern::Regex(_), HostPattern::Regex(_)) => wide != host,
        (HostPattern::Name(wide), HostPattern::Name(host)) => {
            let (wide, host) = (wide.canonical(), host.canonical());
            if wide == host || !wide.contains('*') {
                return false;
            }
            match (wide.strip_prefix('*'), wide.strip_suffix('*')) {
                (Some(below), _) => host.ends_with('*') || host.ends_with(below),
                (_, Some(start)) => host.starts_with('*') || host.starts_with(start),
                _ => false,
            }
        }
        (HostPattern::Name(wide), HostPattern::Regex(_)) => wide.canonical().contains('*'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_names() {
        let shown = |word: &str| {
            let shown = |host: &HostPattern| match host {
                HostPattern::Name(name) => name.canonical(),
                HostPattern::Regex(host) => format!("~{}", host.regex),
            };
            hosts(word).map(|hosts| hosts.iter().map(shown).collect::<Vec<_>>().join(" "))
        };
        for (word, expected) in [
            ("A.Example", "a.example"),
            ("*.a.example", "*.a.example"),
            (".a.example", "a.example *.a.example"),
            ("www.a.*", "www.a.*"),
            ("_", ""),
            ("--", ""),
            ("", "~(?i)^$"),
            (r"~^www\d+\.", r"~(?i)^www\d+\..*"),
        ] {
            assert_eq!(shown(word), Ok(expected.to_owned()), "{word}");
        }
        for lost in ["~(a", "a.*.b", "*"] {
            assert!(hosts(lost).is_err(), "{lost}");
        }
        let covers =
            |wide: &str, host: &str| may_cover(&hosts(wide).unwrap()[0], &hosts(host).unwrap()[0]);
        assert!(covers("*.a.example", "b.a.example"));
        assert!(covers("*.a.example", "*.b.a.example"));
        assert!(!covers("*.a.example", "a.example"));
        assert!(!covers("*.a.example", "ba.example"));
        assert!(covers("www.*", "www.a"));
        assert!(covers("~^w", "www.a"));
    }
}
