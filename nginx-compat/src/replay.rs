//! The same requests to real nginx and to Forebay, side by side on loopback, in front of the same
//! recording upstream: what a report claims, held against what happens.
//!
//! [`stage`] moves the configuration onto loopback, [`requests`] says what to ask, [`programs`]
//! runs the two, [`echo`] is the upstream, [`wire`] and [`http2`] ask, [`compare`] finds differences (purely)
//! and [`account`] groups them by cause. [`log_lines`] are compared when both have ended.

pub mod account;
pub mod compare;
pub mod echo;
pub mod http2;
pub mod log_lines;
pub mod outside;
pub mod programs;
pub mod requests;
pub mod script;
pub mod stage;
pub mod stated;
pub mod wire;

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use anyhow::Context as _;
use proxy_config::address::ListenAddress;
use proxy_config::matching::{Router, Target};
use proxy_config::route_access::Auth;
use proxy_config::{Config, Route};

use crate::replay::account::Account;
use crate::replay::compare::{Difference, compare};
use crate::replay::echo::Echo;
use crate::replay::log_lines::Excuse;
use crate::replay::outside::Outside;
use crate::replay::programs::Program;
use crate::replay::requests::Request;
use crate::replay::stage::{Door, Ports, Stage, addresses};
use crate::replay::stated::Stated;
use crate::translate::answer_map::NOT_PUT_IN;
use crate::translate::upstream::CLOSED;
use crate::translate::{Translation, translate};
use crate::tree::{Directive, Document, flattened, walk};
use crate::verdict::Exactness;

/// Whose logs are whose.
const NGINX: &str = "nginx";
const FOREBAY: &str = "forebay";

/// The programs that are compared.
#[derive(Clone, Debug)]
pub struct Programs {
    pub nginx: PathBuf,
    pub proxy: PathBuf,
}

/// Asks both all requests, one after the other. Errors: a program that does not start, with what
/// it said, or a configuration of which nothing can be translated.
pub fn replay(
    document: &Document,
    requests: &[Request],
    programs: &Programs,
) -> anyhow::Result<Account> {
    let folder = tempfile::tempdir().context("no temporary folder")?;
    std::fs::create_dir(folder.path().join("cache")).context("no folder for caches")?;
    for side in [NGINX, FOREBAY] {
        let logs = log_lines::folder(folder.path(), side);
        std::fs::create_dir_all(logs).context("no folder for logs")?;
    }
    let echo = Echo::start().context("the recording upstream cannot listen")?;
    let pools = stage::pools(document);
    let speaking = stage::speaking_http2(document);
    let doors = doors(&addresses(document), &speaking);
    let [nginx_ports, proxy_ports] = free_ports(&doors)?;
    let requests = &requests::with_http2(requests, &speaking);

    let outside = || Outside { echo: &echo, pools: &pools, directives: &document.directives };
    let for_nginx =
        Stage { folder: folder.path(), side: NGINX, ports: &nginx_ports, outside: outside() };
    let text = crate::print::print(&for_nginx.nginx(document)?);
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, text).context("nginx's configuration cannot be written")?;

    let for_proxy =
        Stage { folder: folder.path(), side: FOREBAY, ports: &proxy_ports, outside: outside() };
    let staged = for_proxy.document(document)?;
    let translation = translate(&staged);
    let config = proxy_config_of(&translation)?;
    let yaml = folder.path().join("proxy.yaml");
    std::fs::write(&yaml, config.to_yaml()).context("the translation cannot be written")?;

    stage::furnish(folder.path(), document, requests);
    let nginx = Program::nginx(&programs.nginx, folder.path(), &file, &nginx_ports)?;
    let proxy = Program::proxy(&programs.proxy, folder.path(), &yaml, &proxy_ports)?;
    let judge = Judge {
        config: &config,
        router: Router::new(&config),
        ports: &proxy_ports,
        blocks: &translation.origins.blocks,
        foretold: foretold(&staged, &translation, &echo),
        uncached: Uncached::of(&staged, &translation),
    };
    let found = judge.ask_both(requests, &echo, (&nginx_ports, &proxy_ports));
    proxy.stop();
    nginx.stop();
    let by_nginx = log_lines::read(folder.path(), NGINX);
    let mut by_proxy = log_lines::read(folder.path(), FOREBAY);
    let lines = by_proxy.values_mut().flatten();
    lines.for_each(|line| *line = with_ports_of(&nginx_ports, &proxy_ports, line));
    let over_http2 = requests.iter().filter(|request| request.http2).count();
    let mut account = Account::new(requests.len(), over_http2);
    account.left_out = outside::left_out(document);
    for (number, mut differences) in found {
        let answers = tells_otherwise(&differences);
        let excuse = Excuse { other_logs: &judge.foretold.other_logs, answers };
        let asked = (number, requests[number].target.as_str());
        differences.extend(log_lines::difference(asked, &by_nginx, &by_proxy, excuse));
        account.add(&requests[number], differences);
    }
    Ok(account.sorted())
}

/// The number of a request, and how the answers to it differ.
type Found = (usize, Vec<Difference>);

/// The two listen on ports of their own, which answers may name.
fn same_ports(
    answer: &mut Result<wire::Answer, String>,
    seen: &mut [echo::Seen],
    nginx: &Ports,
    proxy: &Ports,
) {
    let fields = seen.iter_mut().flat_map(|seen| &mut seen.headers);
    let own = answer.iter_mut().flat_map(|answer| &mut answer.headers);
    for (_, value) in fields.chain(own) {
        *value = with_ports_of(nginx, proxy, value);
    }
    if let Ok(answer) = answer
        && let Ok(text) = std::str::from_utf8(&answer.body)
    {
        answer.body = with_ports_of(nginx, proxy, text).into_bytes();
    }
}

/// A text of Forebay's with nginx's ports.
fn with_ports_of(nginx: &Ports, proxy: &Ports, text: &str) -> String {
    let mut text = text.to_owned();
    for (listen, theirs) in proxy {
        let Some(ours) = nginx.get(listen) else { continue };
        text = text.replace(&theirs.port().to_string(), &ours.port().to_string());
    }
    text
}

/// The translation with what only this replay wants: an admin address of its own.
fn proxy_config_of(translation: &Translation) -> anyhow::Result<Config> {
    let mut config =
        translation.config.clone().context("nothing of the configuration can be translated")?;
    config.admin.address = ListenAddress::loopback(0);
    Ok(config)
}

/// What the report says beforehand of where a request goes.
struct Judge<'a> {
    config: &'a Config,
    router: Router,
    ports: &'a Ports,
    /// The directive that each route stands for, by its id.
    blocks: &'a [usize],
    /// What is said of the configuration as a whole.
    foretold: Stated,
    uncached: Uncached,
}

/// Which locations go without the cache they name.
#[derive(Default)]
struct Uncached {
    /// Ids of the blocks that name it themselves.
    blocks: BTreeSet<usize>,
    /// One that locations inherit goes unused: any of them may be meant.
    anywhere: bool,
}

impl Uncached {
    fn of(staged: &Document, translation: &Translation) -> Uncached {
        let mut uncached = Uncached::default();
        walk(&staged.directives, &mut |block| {
            let lost = flattened(block.children()).into_iter().any(|line| {
                line.name.ends_with("_cache") && is(translation, line, Exactness::Unsupported)
            });
            match block.name.as_str() {
                _ if !lost => {}
                "location" => drop(uncached.blocks.insert(block.id)),
                _ => uncached.anywhere = true,
            }
        });
        uncached
    }
}

fn is(translation: &Translation, line: &Directive, least: Exactness) -> bool {
    translation.verdicts.get(line).is_some_and(|verdict| verdict.exactness >= least)
}

/// Pools that nothing translated leads to, logs that are kept otherwise, answers that are not compressed.
fn foretold(staged: &Document, translation: &Translation, echo: &Echo) -> Stated {
    let (mut lost, mut reached) = (BTreeSet::new(), BTreeSet::new());
    let (mut uncompressed, mut other_logs, mut formats) = (false, BTreeSet::new(), BTreeSet::new());
    let mut not_put_in = BTreeSet::new();
    walk(&staged.directives, &mut |line| {
        let unsupported = is(translation, line, Exactness::Unsupported);
        uncompressed |= unsupported && line.name == "gzip";
        let says = |text| translation.verdicts.get(line).is_some_and(|it| it.text.contains(text));
        if line.name == "add_header" && says(NOT_PUT_IN) {
            not_put_in.extend(line.argument(0).map(str::to_ascii_lowercase));
        }
        if line.name == "log_format" && is(translation, line, Exactness::Approximate) {
            formats.extend(line.argument(0));
        }
        let url = match line.name.as_str() {
            "proxy_pass" => line.argument(0).and_then(|url| url.strip_prefix("http://")),
            "fastcgi_pass" => line.argument(0),
            _ => None,
        };
        if let Some(url) = url {
            let authority = url.split(['/', '?', '$']).next().unwrap_or_default();
            let pool = echo.pool_at(authority).unwrap_or_else(|| authority.to_owned());
            if unsupported {
                lost.insert(pool)
            } else {
                reached.insert(pool)
            };
        }
    });
    walk(&staged.directives, &mut |line| {
        let has_other_format = line.argument(1).is_some_and(|name| formats.contains(name));
        let differs = has_other_format || is(translation, line, Exactness::Approximate);
        if line.name == "access_log" && differs {
            let file = line.argument(0).and_then(|path| path.rsplit('/').next());
            other_logs.extend(file.map(str::to_owned));
        }
    });
    let lost_pools = lost.difference(&reached).cloned().collect();
    Stated { uncompressed, other_logs, not_put_in, lost_pools, ..Stated::default() }
}

/// Why lines of logs may differ, where answers do. What an upstream is told stands in no line.
fn tells_otherwise(differences: &[Difference]) -> Option<&'static str> {
    let shows = |cause: &str| {
        cause.starts_with("status ")
            || ["no answer", "upstream", "requests to the upstream"].contains(&cause)
    };
    differences.iter().any(|found| shows(&found.cause)).then_some("the answers differ")
}

fn door(request: &Request) -> Door {
    Door { listen: request.listen, http2: request.http2 }
}

/// The doors of these addresses, in their order.
fn doors(listens: &[SocketAddr], speaking: &BTreeSet<SocketAddr>) -> Vec<Door> {
    let first = |listen: &SocketAddr| Door { listen: *listen, http2: false };
    let second = |door: &Door| Door { http2: true, ..*door };
    let spoken = |door: &Door| speaking.contains(&door.listen);
    let mut doors: Vec<Door> = listens.iter().map(first).collect();
    doors.extend(doors.iter().filter(|door| spoken(door)).map(second).collect::<Vec<_>>());
    doors
}

impl Judge<'_> {
    /// Asks both all requests, one after the other.
    fn ask_both(
        &self,
        requests: &[Request],
        echo: &Echo,
        (nginx_ports, proxy_ports): (&Ports, &Ports),
    ) -> Vec<Found> {
        let mut found = Vec::new();
        for (number, request) in requests.iter().enumerate() {
            let door = door(request);
            let (Some(nginx_at), Some(proxy_at)) = (nginx_ports.get(&door), proxy_ports.get(&door))
            else {
                continue;
            };
            let by_nginx = wire::ask(*nginx_at, request, number);
            let seen_by_nginx = self.seen(echo, 0);
            let mut by_proxy = wire::ask(*proxy_at, request, number);
            let mut seen_by_proxy = self.seen(echo, seen_by_nginx.len());
            same_ports(&mut by_proxy, &mut seen_by_proxy, nginx_ports, proxy_ports);
            let stated = self.stated(request);
            let differences =
                compare((&by_nginx, &seen_by_nginx), (&by_proxy, &seen_by_proxy), &stated);
            found.push((number, differences));
        }
        found
    }

    /// What the upstream was asked, copies among it; so many are expected.
    fn seen(&self, echo: &Echo, expected: usize) -> Vec<echo::Seen> {
        let copies = self.config.routes.iter().any(|route| route.mirror.is_some());
        if copies { echo.take_settled(expected) } else { echo.take() }
    }

    fn stated(&self, request: &Request) -> Stated {
        let listener = self.config.listeners.iter().find(|(_, listener)| {
            listener.address.socket().as_ref() == self.ports.get(&door(request))
        });
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let target = Target {
            listener: listener.map_or("", |(name, _)| name),
            host: &request.host,
            path,
            query,
            method: &request.method,
            // No translated route asks for a header.
            headers: None,
        };
        let index = self.router.find(&target);
        let route = index.map(|index| &self.config.routes[index]);
        let block = index.and_then(|index| self.blocks.get(index));
        let caches = !self.config.cache_policies.is_empty();
        let policy = route.and_then(|route| route.cache_policy.as_ref());
        let policy = policy.and_then(|name| self.config.cache_policies.get(name));
        Stated {
            asked: request.target.clone(),
            not_translated: route.is_some_and(|route| route.upstream.as_deref() == Some(CLOSED)),
            uncached: policy.is_none()
                && (self.uncached.anywhere
                    || block.is_some_and(|id| self.uncached.blocks.contains(id))),
            cached: policy.is_some() || (caches && route.is_some_and(leads_on)),
            in_part: request.has("range"),
            if_modified: request.has("if-modified-since"),
            some_cached: caches,
            put_together: route.is_some_and(|route| route.includes.is_some()),
            changed: route
                .is_some_and(|route| route.substitutions.is_some() || route.gunzip.is_some()),
            asks_who: route.is_some_and(|route| matches!(route.auth, Some(Auth::Subrequest(_)))),
            head_is_passed_on: policy.is_some_and(|policy| !policy.fill.for_head),
            ..self.foretold.clone()
        }
    }
}

/// Whether requests of a route may be led to another: by what is tried, or by the index of a folder.
fn leads_on(route: &Route) -> bool {
    !route.tries.is_empty() || route.files.as_ref().is_some_and(|files| files.index_anew)
}

/// A free loopback port of either side's for each door, all different (they are held until all are known) and in
/// the order of the addresses, which decides where a translation has to choose.
fn free_ports(doors: &[Door]) -> anyhow::Result<[Ports; 2]> {
    let held = (0..2 * doors.len())
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<std::io::Result<Vec<_>>>()
        .context("no free port")?;
    let mut ports = held
        .iter()
        .map(TcpListener::local_addr)
        .collect::<std::io::Result<Vec<_>>>()
        .context("no free port")?;
    ports.sort_unstable();
    let (one, other) = ports.split_at(doors.len());
    Ok([one, other].map(|ports| doors.iter().copied().zip(ports.iter().copied()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_line_shows_excuses_it() {
        let of = |cause: &str| {
            let (cause, text) = (cause.to_owned(), String::new());
            tells_otherwise(&[Difference {
                cause,
                nginx: text.clone(),
                forebay: text,
                stated: None,
            }])
        };
        for shown in ["status 200 became 502", "no answer", "upstream", "requests to the upstream"]
        {
            assert_eq!(of(shown), Some("the answers differ"), "{shown}");
        }
        for hidden in
            ["host to the upstream", "target to the upstream", "x of the answer", "Location"]
        {
            assert_eq!(of(hidden), None, "{hidden}");
        }
    }
}
