//! `server_name`: the hosts a server answers for.

use proxy_config::host::HostName;

use crate::tree::Directive;
use crate::verdict::Verdict;

/// Host names as Forebay writes them, lower case: `example.com`, `*.example.com`.
#[derive(Debug, Default)]
pub struct Names {
    pub hosts: Vec<String>,
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

fn hosts(word: &str) -> Result<Vec<String>, String> {
    let lower = word.trim_end_matches('.').to_ascii_lowercase();
    if word.is_empty() {
        return Err("requests without a Host reach the default server".to_owned());
    }
    if word.starts_with('~') {
        return Err(format!(
            "{word}: hosts by regular expression are not translated yet; list them"
        ));
    }
    if word.ends_with(".*") {
        return Err(format!("{word}: a wildcard at the end is not known; list the names"));
    }
    // Names that no host can have, such as the customary `_`, match nothing in nginx either.
    if word.bytes().all(|byte| byte == b'_') {
        return Ok(Vec::new());
    }
    let hosts = match lower.strip_prefix('.') {
        Some(name) => vec![name.to_owned(), format!("*.{name}")],
        None => vec![lower],
    };
    match hosts.iter().find(|host| *host == "*" || host.parse::<HostName>().is_err()) {
        Some(host) => Err(format!("{host} is no host name Forebay can match")),
        None => Ok(hosts),
    }
}

/// Whether a wildcard takes a host or another wildcard below it.
pub fn covers(wildcard: &str, host: &str) -> bool {
    let Some(below) = wildcard.strip_prefix('*') else { return false };
    let name = host.strip_prefix('*').unwrap_or(host);
    host != wildcard && name.ends_with(below) && name.len() >= below.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_names() {
        let host = |list: &[&str]| Ok(list.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>());
        assert_eq!(hosts("A.Example"), host(&["a.example"]));
        assert_eq!(hosts("*.a.example"), host(&["*.a.example"]));
        assert_eq!(hosts(".a.example"), host(&["a.example", "*.a.example"]));
        assert_eq!(hosts("_"), host(&[]));
        for lost in ["", "~^a", "www.*", "a b", "*"] {
            assert!(hosts(lost).is_err(), "{lost}");
        }
        assert!(covers("*.a.example", "b.a.example"));
        assert!(covers("*.a.example", "*.b.a.example"));
        assert!(!covers("*.a.example", "a.example"));
        assert!(!covers("*.a.example", "*.a.example"));
        assert!(!covers("*.a.example", "ba.example"));
    }
}
