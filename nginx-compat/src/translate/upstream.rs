//! `upstream` blocks and plain addresses, as upstreams of the configuration. In nginx the timeouts
//! belong to locations, in Forebay to upstreams: one that is used with different timeouts becomes
//! several.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proxy_config::address::ServerAddress;
use proxy_config::units::Duration;
use proxy_config::upstream::{FastCgi, Server, Upstream, UpstreamProtocol, UpstreamTimeouts};

use crate::place::Files;
use crate::translate::accel::Internals;
use crate::translate::balance::{self, Fails};
use crate::translate::fastcgi;
use crate::translate::proxy_pass::{GRPC, Target};
use crate::translate::scope::Scope;
use crate::translate::secure;
use crate::translate::value::{slug, time, unique};
use crate::tree::{Directive, flattened};
use crate::verdict::{Verdict, Verdicts};

/// Answers for what is not translated: port 1 of this machine, where nothing listens, so that each
/// request gets 502 instead of another location's answer.
pub const CLOSED: &str = "not-translated";

/// The upstreams made so far.
#[derive(Debug, Default)]
pub struct Pools<'a> {
    blocks: HashMap<String, &'a Directive>,
    pub upstreams: BTreeMap<String, Upstream>,
    /// For each upstream the lines of the comment above it.
    pub origins: BTreeMap<String, Vec<String>>,
    /// The upstreams that were made for each block or address.
    by_authority: HashMap<String, Vec<String>>,
    pub internals: Internals,
}

impl<'a> Pools<'a> {
    pub fn new(blocks: &[&'a Directive]) -> Pools<'a> {
        let named = blocks.iter().rev().filter_map(|b| Some((b.argument(0)?.to_owned(), *b)));
        Pools { blocks: named.collect(), ..Pools::default() }
    }

    pub fn block(&self, authority: &str) -> Option<&'a Directive> {
        self.blocks.get(authority).copied()
    }

    /// The name of the upstream for a block's name or a plain `host:port`, as a place uses it.
    pub fn name_of(
        &mut self,
        target: &Target<'_>,
        scope: &Scope<'_>,
        timeouts: UpstreamTimeouts,
        verdicts: &mut Verdicts,
        files: &Files,
    ) -> Result<String, String> {
        self.name_with(target, scope, timeouts, verdicts, files, None)
    }

    /// The same, for one that runs scripts if it is told what they are told.
    pub fn name_with(
        &mut self,
        target: &Target<'_>,
        scope: &Scope<'_>,
        timeouts: UpstreamTimeouts,
        verdicts: &mut Verdicts,
        files: &Files,
        script: Option<FastCgi>,
    ) -> Result<String, String> {
        let authority = target.authority;
        let (upstream, origin) = match self.block(authority) {
            Some(block) => {
                let upstream = from_block(block, timeouts, (scope, target.family), verdicts)?;
                (upstream, format!("{}: {}", files.line(block.start), block.heading()))
            }
            None if authority.contains('$') => {
                return Err("a server that variables name is not translated here".to_owned());
            }
            None => {
                let address = server_address(authority)?;
                let mut upstream = Upstream { timeouts, ..Upstream::of([address]) };
                balance::failures(&mut upstream, &[], (scope, target.family), verdicts);
                (upstream, String::new())
            }
        };
        let mut upstream = upstream;
        if target.tls {
            upstream.tls = Some(secure::tls(target, scope, verdicts)?);
        }
        if target.family == GRPC {
            upstream.protocol = Some(UpstreamProtocol::Http2);
        }
        if let Some(script) = script {
            let kept = self.block(authority).and_then(fastcgi::keepalive).unwrap_or(0);
            upstream.protocol = Some(UpstreamProtocol::Fastcgi);
            upstream.fastcgi = Some(FastCgi { idle_max: script.idle_max * kept, ..script });
        }
        upstream.x_accel = self.internals.is_obeyed(scope, target.family, verdicts);
        let origins = if origin.is_empty() { Vec::new() } else { vec![origin] };
        Ok(self.keep(authority, authority, upstream, origins))
    }

    /// The name of an upstream that was made for this, under which there is one like it or it is from now on.
    pub fn keep(
        &mut self,
        wanted: &str,
        authority: &str,
        upstream: Upstream,
        origins: Vec<String>,
    ) -> String {
        let made = self.by_authority.entry(authority.to_owned()).or_default();
        let same = |name: &&String| self.upstreams.get(*name).is_some_and(|is| *is == upstream);
        if let Some(name) = made.iter().filter(same).min() {
            return name.clone();
        }
        let taken = |name: &str| self.upstreams.contains_key(name) || name == CLOSED;
        let name = unique(&slug(wanted), taken);
        self.upstreams.insert(name.clone(), upstream);
        made.push(name.clone());
        if !origins.is_empty() {
            self.origins.insert(name.clone(), origins);
        }
        name
    }

    /// The names of all `upstream` blocks.
    pub fn blocks(&self) -> Vec<String> {
        let mut names: Vec<String> = self.blocks.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// Forgets those that no route leads to, be it by what a request names.
    pub fn keep_only<'n>(&mut self, used: impl Iterator<Item = &'n String>) {
        let mut used: BTreeSet<String> = used.cloned().collect();
        let named = self.upstreams.iter().filter(|(name, _)| used.contains(*name));
        let named = named.filter_map(|(_, upstream)| upstream.by_request.as_ref());
        let named: Vec<String> =
            named.flat_map(|rules| rules.upstreams.values().cloned()).collect();
        used.extend(named);
        self.upstreams.retain(|name, _| used.contains(name));
    }

    /// The upstream that answers for what is not translated.
    pub fn closed(&mut self) -> String {
        self.upstreams.entry(CLOSED.to_owned()).or_insert_with(closed_upstream);
        let why = "Nothing listens there: requests for what is not translated get 502.";
        self.origins.insert(CLOSED.to_owned(), vec![why.to_owned()]);
        CLOSED.to_owned()
    }
}

/// Nothing listens there.
pub fn closed_upstream() -> Upstream {
    Upstream::of([ServerAddress::Socket(([127, 0, 0, 1], 1).into())])
}

/// Address of a server; nginx's default port is 80.
pub fn server_address(text: &str) -> Result<ServerAddress, String> {
    let fault = |why: String| format!("{text:?} is not an address Forebay can reach: {why}");
    if text.starts_with("unix:") {
        return text.parse().map_err(|error: proxy_config::units::UnitError| fault(error.message));
    }
    let has_port = text.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let full = if has_port { text.to_owned() } else { format!("{text}:80") };
    full.parse().map_err(|error: proxy_config::units::UnitError| fault(error.message))
}

fn from_block(
    block: &Directive,
    timeouts: UpstreamTimeouts,
    (scope, family): (&Scope<'_>, &str),
    verdicts: &mut Verdicts,
) -> Result<Upstream, String> {
    let mut upstream = Upstream { timeouts, ..Upstream::of([]) };
    let mut fails = Vec::new();
    for directive in flattened(block.children()) {
        let verdict = match directive.name.as_str() {
            "server" => match server(directive) {
                Ok((server, own, verdict)) => {
                    fails.push(own);
                    server.into_iter().for_each(|server| add(&mut upstream.servers, server));
                    verdict
                }
                Err(why) => Verdict::unsupported(why),
            },
            "zone" => Verdict::ignored("Forebay's threads share one state"),
            "keepalive" => Verdict::approximate(
                "unused connections are kept for their idle time, without a limit on their number",
            ),
            "keepalive_requests" | "keepalive_time" => {
                Verdict::ignored("when a connection is renewed; Forebay keeps it while it is good")
            }
            "keepalive_timeout" => match directive.argument(0).and_then(time) {
                Some(idle) if !idle.is_zero() => {
                    upstream.timeouts.idle = idle;
                    Verdict::exact()
                }
                _ => Verdict::unsupported("the idle time must be above zero"),
            },
            "hash" | "ip_hash" | "least_conn" | "random" => {
                balance::balance(directive, &mut upstream).unwrap_or_else(Verdict::unsupported)
            }
            "least_time" => Verdict::unsupported("servers are taken in turn instead"),
            _ => continue,
        };
        verdicts.add(directive, verdict);
    }
    if upstream.servers.is_empty() {
        let why = "no server of the upstream can be translated".to_owned();
        verdicts.add(block, Verdict::unsupported(why.clone()));
        return Err(why);
    }
    if upstream.servers.iter().all(|server| server.backup) {
        upstream.servers.iter_mut().for_each(|server| server.backup = false);
    }
    balance::failures(&mut upstream, &fails, (scope, family), verdicts);
    let differs = fails.iter().any(|own| *own != fails[0]);
    let differences = match differs && upstream.servers.len() > 1 {
        true => vec!["max_fails and fail_timeout are those of one server for all".to_owned()],
        false => Vec::new(),
    };
    verdicts.add(block, Verdict::with_differences(&differences));
    Ok(upstream)
}

/// A server that stands twice gets both shares, may have as many connections, and is tried as often.
fn add(servers: &mut Vec<Server>, server: Server) {
    match servers.iter_mut().find(|known| known.address == server.address) {
        Some(known) => {
            known.attempts_max += 1;
            if known.backup != server.backup {
                known.backup = false;
                return;
            }
            known.weight = known.weight.saturating_add(server.weight);
            known.connections_max = known
                .connections_max
                .zip(server.connections_max)
                .map(|(one, other)| one.saturating_add(other));
        }
        None => servers.push(server),
    }
}

/// One server, none when it is marked down, and when it counts as failed.
fn server(directive: &Directive) -> Result<(Option<Server>, Fails, Verdict), String> {
    let mut words = directive.texts();
    let mut server = Server::at(server_address(words.next().unwrap_or_default())?);
    let mut fails = Fails::default();
    let mut down = false;
    let mut lost = Vec::new();
    for word in words {
        let refused = || format!("nginx refuses it: {word}");
        match word.split_once('=').unwrap_or((word, "")) {
            ("weight", weight) => {
                let weight = weight.parse().ok().filter(|weight| *weight > 0);
                server.weight = weight.ok_or_else(refused)?;
            }
            ("down", "") => down = true,
            ("backup", "") => server.backup = true,
            ("max_fails", count) => fails.max = count.parse().map_err(|_| refused())?,
            ("fail_timeout", text) => fails.timeout = time(text).ok_or_else(refused)?,
            ("max_conns", count) => {
                let count = count.parse().map_err(|_| refused())?;
                server.connections_max = Some(count).filter(|count| *count > 0);
            }
            ("slow_start", text) => server.slow_start = time(text).filter(|time| !time.is_zero()),
            ("resolve" | "route" | "service" | "drain", _) => lost.push(word),
            _ => return Err(format!("nginx refuses it: invalid parameter \"{word}\"")),
        }
    }
    if down {
        return Ok((None, fails, Verdict::exact()));
    }
    let verdict = match lost.as_slice() {
        [] => Verdict::exact(),
        lost => Verdict::unsupported(format!("{}: not supported yet", lost.join(" "))),
    };
    Ok((Some(server), fails, verdict))
}

/// The timeouts in effect, nginx's own defaults where none is written.
pub fn timeouts(scope: &Scope<'_>, family: &str, verdicts: &mut Verdicts) -> UpstreamTimeouts {
    let mut read = |name: &str| {
        let default = Duration::secs(60);
        let Some(directive) = scope.one(&format!("{family}_{name}")) else { return default };
        match directive.argument(0).and_then(time) {
            Some(time) if !time.is_zero() => {
                verdicts.add(directive, Verdict::exact());
                time
            }
            _ => {
                verdicts.add(directive, Verdict::unsupported("it must be a time above zero"));
                default
            }
        }
    };
    let between_reads = read("read_timeout");
    UpstreamTimeouts {
        connect: read("connect_timeout"),
        first_byte: None,
        read: between_reads,
        write: read("send_timeout"),
        idle: Duration::secs(60),
        // A connection that was upgraded is waited for as long as any other.
        tunnel: between_reads,
    }
}
