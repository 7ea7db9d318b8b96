//! Where messages go by syslog (RFC 3164), in nginx's words: `syslog:server=127.0.0.1:514,facility=local7,tag=nginx`.

use std::fmt;
use std::str::FromStr;

use crate::severity::Severity;
use crate::units::{UnitError, unit_error};

/// What such a target begins with.
pub const SCHEME: &str = "syslog:";
/// What syslog's numbers are called (RFC 3164 section 4.1.1), from 0.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "intern", "lpr", "news", "uucp", "clock", "authpriv",
    "ftp", "ntp", "audit", "alert", "cron", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];
/// Longest tag (RFC 3164 section 5.3).
const TAG_MAX: usize = 32;
const PORT: &str = "514";
const HINT: &str = "write `syslog:server=ADDRESS`, then perhaps `,facility=local7`, `,severity=info`, `,tag=forebay`, \
                    `,nohostname`";

/// A syslog server, and what stands before each message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    /// `host:port`, or `unix:` and a path.
    pub server: String,
    /// From 0 to 23.
    pub facility: u8,
    /// Of lines that have none of their own, those of access logs.
    pub severity: Option<Severity>,
    pub tag: String,
    pub hostname: bool,
}

impl Syslog {
    /// What stands in angle brackets before a message.
    pub fn priority(&self, of_message: Option<Severity>) -> u8 {
        let severity = of_message.or(self.severity).unwrap_or(Severity::Info);
        self.facility * 8 + severity.number()
    }
}

impl FromStr for Syslog {
    type Err = UnitError;

    /// Reads what follows `syslog:`.
    fn from_str(text: &str) -> Result<Syslog, UnitError> {
        let refuse = |why: String| Err(unit_error(why, HINT));
        let mut found = Syslog {
            server: String::new(),
            facility: 23,
            severity: None,
            tag: "nginx".to_owned(),
            hostname: true,
        };
        for word in text.split(',') {
            match word.split_once('=') {
                Some(("server", server)) => match address(server) {
                    Some(server) => found.server = server,
                    None => return refuse(format!("`{server}` is no server of syslog")),
                },
                Some(("facility", name)) => match number(name) {
                    Some(number) => found.facility = number,
                    None => return refuse(format!("`{name}` is no facility of syslog")),
                },
                Some(("severity", name)) => match Severity::named(name) {
                    Some(severity) => found.severity = Some(severity),
                    None => return refuse(format!("`{name}` is no severity")),
                },
                Some(("tag", tag)) => {
                    let is_tag = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    if tag.is_empty() || tag.len() > TAG_MAX || !tag.chars().all(is_tag) {
                        return refuse(format!(
                            "`{tag}` is no tag: letters, digits and `_`, 32 at most"
                        ));
                    }
                    tag.clone_into(&mut found.tag);
                }
                None if word == "nohostname" => found.hostname = false,
                _ => return refuse(format!("`{word}` is no parameter of syslog")),
            }
        }
        match found.server.is_empty() {
            true => refuse("no server of syslog is named".to_owned()),
            false => Ok(found),
        }
    }
}

fn number(facility: &str) -> Option<u8> {
    let place = FACILITIES.iter().position(|name| *name == facility)?;
    u8::try_from(place).ok()
}

/// With the port, which is 514 where none is written.
fn address(server: &str) -> Option<String> {
    if let Some(path) = server.strip_prefix("unix:") {
        return (!path.is_empty() && !path.contains('\0')).then(|| server.to_owned());
    }
    let host_ends = server.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match server[host_ends..].rfind(':') {
        Some(at) => (&server[..host_ends + at], &server[host_ends + at + 1..]),
        None => (server, PORT),
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    let fine = !host.is_empty()
        && host.chars().all(is_host)
        && port.parse::<u16>().is_ok_and(|port| port > 0);
    fine.then(|| format!("{host}:{port}"))
}

impl fmt::Display for Syslog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Syslog { server, facility, severity, tag, hostname } = self;
        let name = FACILITIES.get(usize::from(*facility)).copied().unwrap_or_default();
        write!(f, "{SCHEME}server={server},facility={name},tag={tag}")?;
        if let Some(severity) = severity {
            write!(f, ",severity={severity}")?;
        }
        f.write_str(if *hostname { "" } else { ",nohostname" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_as_people_write_them() {
        for (text, expected, priority) in [
            ("server=127.0.0.1", "server=127.0.0.1:514,facility=local7,tag=nginx", 190),
            (
                "severity=alert,server=[::1]:99,nohostname",
                "server=[::1]:99,facility=local7,tag=nginx,severity=alert,nohostname",
                185,
            ),
            (
                "server=unix:/dev/log,facility=user,tag=a_1",
                "server=unix:/dev/log,facility=user,tag=a_1",
                14,
            ),
        ] {
            let read: Syslog = text.parse().unwrap();
            assert_eq!(read.to_string(), format!("syslog:{expected}"));
            assert_eq!(read.priority(None), priority, "{text}");
            let again: Syslog = read.to_string()[SCHEME.len()..].parse().unwrap();
            assert_eq!(again, read);
        }
        let plain: Syslog = "server=a:1,facility=kern".parse().unwrap();
        assert_eq!(plain.priority(Some(Severity::Emerg)), 0);
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for text in [
            "",
            "server=",
            "server=a:0",
            "server=a b",
            "server=unix:",
            "facility=user",
            "server=a,facility=x",
            "server=a,severity=loud",
            "server=a,tag=",
            "server=a,tag=a-b",
            "server=a,colour=red",
        ] {
            assert!(text.parse::<Syslog>().is_err(), "{text}");
        }
    }
}
