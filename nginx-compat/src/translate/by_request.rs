//! `proxy_pass` to a server that variables name, and `resolver`, which finds it.

use std::net::{IpAddr, SocketAddr};

use proxy_config::Upstream;
use proxy_config::by_request::{ByRequest, HostAsked};
use proxy_config::pattern::Template;
use proxy_config::units::Duration;
use proxy_config::upstream::{Resolve, UpstreamTimeouts};

use crate::translate::answer::Here;
use crate::translate::as_sent;
use crate::translate::proxy_pass::{PROXY, Target};
use crate::translate::scope::Scope;
use crate::translate::site::Work;
use crate::translate::value::time;
use crate::translate::variable::variables;
use crate::translate::{balance, secure};
use crate::tree::Directive;
use crate::verdict::{Verdict, Verdicts};

/// nginx's default for `resolver_timeout`.
const TIMEOUT: Duration = Duration::secs(30);
/// As long as any TTL there is.
const LASTING: Duration = Duration::secs(7 * 86_400);
/// Attempts that Forebay makes at most.
const ATTEMPTS_MAX: u32 = 10;

/// A server that requests name: the upstream that leaves it to them, and the text that says which.
pub struct ByVariables {
    pub upstream: String,
    pub server: Template,
    /// What `proxy_pass` says, as far as it is the same for all.
    pub tls: bool,
    pub differences: Vec<String>,
}

/// Whether what a `proxy_pass` says is text in which variables name the server.
pub fn is_named(pass: &Directive, target: &Result<Target<'_>, String>) -> bool {
    let url = pass.argument(0).unwrap_or_default();
    let names_server = target.as_ref().map_or(true, |target| target.authority.contains('$'));
    names_server && !variables(url).is_empty()
}

/// The upstream, and what names its server.
pub fn named<'a>(
    here: &Here<'_, 'a>,
    pass: &'a Directive,
    timeouts: UpstreamTimeouts,
    work: &mut Work<'_, 'a>,
) -> Result<ByVariables, String> {
    let url = pass.argument(0).unwrap_or_default();
    let (tls, text) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ if url.contains("://") => return Err("a scheme in a variable is not translated".into()),
        _ => (false, url),
    };
    let mut differences = Vec::new();
    if text == url {
        differences.push("a URL of https is refused, and one without a scheme is taken".to_owned());
    }
    let text = if here.place.puts_slash { as_sent::behind_slash(text) } else { text.to_owned() };
    let text = text.as_str();
    let server = work.names.text(text, here.place, work.verdicts)?;
    let target = Target { family: PROXY, authority: "$", tls, uri: None, by_variables: true };
    let resolver = resolver(here.scope, work.verdicts)?;
    let mut rules = ByRequest {
        any_server: true,
        host: HostAsked::Server,
        lookups_max: if resolver.is_some() { ByRequest::default().lookups_max } else { 0 },
        lookup_timeout: timeout(here.scope, work.verdicts),
        ..ByRequest::default()
    };
    // What has a port is no name of an upstream block.
    let authority = text.split(['/', '?']).next().unwrap_or(text);
    let has_port = authority.strip_prefix("unix:").unwrap_or(authority).contains(':');
    if !has_port || text == url {
        for block in work.pools.blocks() {
            let target = Target { authority: &block, ..target };
            let (scope, files) = (here.scope, work.files);
            let known = work.pools.name_of(&target, scope, timeouts.clone(), work.verdicts, files);
            if let Ok(known) = known {
                rules.upstreams.insert(block, known);
            }
        }
    }
    let mut retries = balance::next_upstream(here.scope, PROXY, true, work.verdicts);
    retries.attempts_max = balance::attempts(here.scope, PROXY, &retries, ATTEMPTS_MAX);
    let upstream = Upstream {
        timeouts,
        by_request: Some(rules),
        retries: Some(retries),
        resolve: resolver,
        x_accel: work.pools.internals.is_obeyed(here.scope, PROXY, work.verdicts),
        tls: tls.then(|| secure::tls(&target, here.scope, work.verdicts)).transpose()?,
        ..Upstream::of([])
    };
    let origin = format!("{}: {}", work.files.line(pass.start), pass.heading());
    let warning =
        "Any server may be asked, as in nginx; `allow` in place of `any_server` says which.";
    let origins = vec![origin, warning.to_owned()];
    let wanted = format!("by-request-of-line-{}", pass.start.line);
    let upstream = work.pools.keep(&wanted, url, upstream, origins);
    Ok(ByVariables { upstream, server, tls, differences })
}

/// Who is asked for names; nothing where nobody is.
fn resolver(scope: &Scope<'_>, verdicts: &mut Verdicts) -> Result<Option<Resolve>, String> {
    let Some(line) = scope.one("resolver") else { return Ok(None) };
    let read = read(line);
    let verdict = match &read {
        Err(why) => Verdict::unsupported(why.clone()),
        Ok(_) if line.has("ipv6=off") => Verdict::exact(),
        Ok(_) => Verdict::approximate(
            "IPv6 addresses are used only where a name has no other; of several servers another is \
             asked when one fails",
        ),
    };
    verdicts.add(line, verdict);
    read.map(Some)
}

fn read(line: &Directive) -> Result<Resolve, String> {
    let mut resolve =
        Resolve { interval_min: Duration::secs(1), interval_max: LASTING, servers: Vec::new() };
    for word in line.texts() {
        match word.split_once('=') {
            Some(("valid", text)) => {
                let valid = time(text).filter(|time| !time.is_zero());
                let valid = valid.ok_or_else(|| format!("nginx refuses it: {word}"))?;
                (resolve.interval_min, resolve.interval_max) = (valid, valid);
            }
            Some(("ipv6", "on" | "off") | ("ipv4", "on") | ("status_zone", _)) => {}
            Some(("ipv4", _)) => return Err("IPv4 addresses are always asked for".to_owned()),
            Some(_) => return Err(format!("nginx refuses it: invalid parameter \"{word}\"")),
            None => resolve.servers.push(server(word)?),
        }
    }
    Ok(resolve)
}

fn server(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>();
    let address = address.map_err(|_| format!("{text}: name servers are named by address"))?;
    Ok(SocketAddr::new(address, 53))
}

fn timeout(scope: &Scope<'_>, verdicts: &mut Verdicts) -> Duration {
    let Some(line) = scope.one("resolver_timeout") else { return TIMEOUT };
    let read = line.argument(0).and_then(time).filter(|time| !time.is_zero());
    let verdict = match read {
        Some(_) => Verdict::exact(),
        None => Verdict::unsupported("it must be a time above zero"),
    };
    verdicts.add(line, verdict);
    read.unwrap_or(TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::include::Includes;
    use crate::parse::parse_bytes;

    #[test]
    fn resolvers_as_people_write_them() {
        let read = |text: &str| {
            let parsed = parse_bytes("t", text.as_bytes(), Includes::Unfollowed);
            read(&parsed.document.directives[0]).map(|found| {
                let servers: Vec<_> = found.servers.iter().map(ToString::to_string).collect();
                (servers.join(" "), found.interval_max.as_millis())
            })
        };
        assert_eq!(
            read("resolver 127.0.0.1 [::1]:5353 [::2] valid=5s ipv6=off;"),
            Ok(("127.0.0.1:53 [::1]:5353 [::2]:53".to_owned(), 5000))
        );
        for (text, why) in [
            ("resolver dns.example;", "by address"),
            ("resolver 127.0.0.1 valid=x;", "refuses"),
            ("resolver 127.0.0.1 nonsense=1;", "invalid parameter"),
            ("resolver 127.0.0.1 ipv4=off;", "always"),
        ] {
            assert!(read(text).unwrap_err().contains(why), "{text}");
        }
    }
}
