//! `upstream` blocks and plain addresses, as upstreams of the configuration. In nginx the timeouts
//! belong to locations, in Forebay to upstreams: one that is used with different timeouts becomes
//! several.

use std::collections::{BTreeMap, HashMap};

use proxy_config::address::ServerAddress;
use proxy_config::units::Duration;
use proxy_config::upstream::{Server, Upstream, UpstreamTimeouts};

use crate::place::Files;
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
    names: HashMap<(String, u64, u64, u64), String>,
    pub upstreams: BTreeMap<String, Upstream>,
    /// For each upstream the lines of the comment above it.
    pub origins: BTreeMap<String, Vec<String>>,
}

impl<'a> Pools<'a> {
    pub fn new(blocks: &[&'a Directive]) -> Pools<'a> {
        let named = blocks.iter().rev().filter_map(|b| Some((b.argument(0)?.to_owned(), *b)));
        Pools { blocks: named.collect(), ..Pools::default() }
    }

    pub fn block(&self, authority: &str) -> Option<&'a Directive> {
        self.blocks.get(authority).copied()
    }

    /// The name of the upstream for a block's name or a plain `host:port`, with these timeouts.
    pub fn name_of(
        &mut self,
        authority: &str,
        timeouts: UpstreamTimeouts,
        verdicts: &mut Verdicts,
        files: &Files,
    ) -> Result<String, String> {
        let UpstreamTimeouts { connect, read, write, .. } = &timeouts;
        let key = (authority.to_owned(), connect.as_millis(), read.as_millis(), write.as_millis());
        if let Some(name) = self.names.get(&key) {
            return Ok(name.clone());
        }
        let (upstream, origin) = match self.block(authority) {
            Some(block) => {
                let upstream = from_block(block, timeouts, verdicts)?;
                (upstream, format!("{}: {}", files.line(block.start), block.heading()))
            }
            None => {
                let address = server_address(authority)?;
                (Upstream { timeouts, ..Upstream::of([address]) }, String::new())
            }
        };
        let name =
            unique(&slug(authority), |name| self.upstreams.contains_key(name) || name == CLOSED);
        self.upstreams.insert(name.clone(), upstream);
        if !origin.is_empty() {
            self.origins.insert(name.clone(), vec![origin]);
        }
        self.names.insert(key, name.clone());
        Ok(name)
    }

    /// The upstream that answers for what is not translated.
    pub fn closed(&mut self) -> String {
        let nowhere = ServerAddress::Socket(([127, 0, 0, 1], 1).into());
        self.upstreams.entry(CLOSED.to_owned()).or_insert_with(|| Upstream::of([nowhere]));
        let why = "Nothing listens there: requests for what is not translated get 502.";
        self.origins.insert(CLOSED.to_owned(), vec![why.to_owned()]);
        CLOSED.to_owned()
    }
}

/// Address of a server; nginx's default port is 80.
pub fn server_address(text: &str) -> Result<ServerAddress, String> {
    let fault = |why: String| format!("{text:?} is not an address Forebay can reach: {why}");
    if text.starts_with("unix:") {
        return Err(fault("unix sockets are not supported yet; use 127.0.0.1 and a port".into()));
    }
    let has_port = text.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let full = if has_port { text.to_owned() } else { format!("{text}:80") };
    full.parse().map_err(|error: proxy_config::units::UnitError| fault(error.message))
}

fn from_block(
    block: &Directive,
    timeouts: UpstreamTimeouts,
    verdicts: &mut Verdicts,
) -> Result<Upstream, String> {
    let mut upstream = Upstream { timeouts, ..Upstream::of([]) };
    for directive in flattened(block.children()) {
        let verdict = match directive.name.as_str() {
            "server" => match server(directive) {
                Ok((server, verdict)) => {
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
            "hash" | "ip_hash" | "least_conn" | "random" | "least_time" => {
                Verdict::unsupported("servers are taken in turn; there is no other balance yet")
            }
            _ => continue,
        };
        verdicts.add(directive, verdict);
    }
    let differences = match upstream.servers.len() {
        0 => Err("no server of the upstream can be translated".to_owned()),
        1 => Ok(Vec::new()),
        _ => Ok(vec![
            "a request that one server fails is not tried on another (nginx: \
             proxy_next_upstream error timeout, max_fails=1)"
                .to_owned(),
        ]),
    };
    match &differences {
        Ok(differences) => verdicts.add(block, Verdict::with_differences(differences)),
        Err(why) => verdicts.add(block, Verdict::unsupported(why.clone())),
    }
    differences.map(|_| upstream)
}

/// A server that stands twice gets both shares.
fn add(servers: &mut Vec<Server>, server: Server) {
    match servers.iter_mut().find(|known| known.address == server.address) {
        Some(known) => known.weight = known.weight.saturating_add(server.weight),
        None => servers.push(server),
    }
}

/// One server; none when it is marked down.
fn server(directive: &Directive) -> Result<(Option<Server>, Verdict), String> {
    let mut words = directive.texts();
    let mut server = Server::at(server_address(words.next().unwrap_or_default())?);
    let mut down = false;
    let mut lost = Vec::new();
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("weight", weight) => {
                let weight = weight.parse().ok().filter(|weight| *weight > 0);
                server.weight = weight.ok_or_else(|| format!("nginx refuses it: {word}"))?;
            }
            ("down", "") => down = true,
            ("backup", "") => return Err("there are no backup servers yet; it is left out".into()),
            ("max_fails", "0") => {}
            ("max_fails" | "fail_timeout", _) => lost.push(word),
            ("max_conns", "0") => {}
            ("max_conns" | "slow_start" | "resolve" | "route" | "service" | "drain", _) => {
                lost.push(word);
            }
            _ => return Err(format!("nginx refuses it: invalid parameter \"{word}\"")),
        }
    }
    if down {
        return Ok((None, Verdict::exact()));
    }
    let verdict = match lost.as_slice() {
        [] => Verdict::exact(),
        lost => Verdict::unsupported(format!("{}: not supported yet", lost.join(" "))),
    };
    Ok((Some(server), verdict))
}

/// The timeouts in effect, nginx's own defaults where none is written.
pub fn timeouts(
    scope: &crate::translate::scope::Scope<'_>,
    verdicts: &mut Verdicts,
) -> UpstreamTimeouts {
    let mut read = |name: &str| {
        let default = Duration::secs(60);
        let Some(directive) = scope.one(name) else { return default };
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
    UpstreamTimeouts {
        connect: read("proxy_connect_timeout"),
        read: read("proxy_read_timeout"),
        write: read("proxy_send_timeout"),
        idle: Duration::secs(60),
    }
}
