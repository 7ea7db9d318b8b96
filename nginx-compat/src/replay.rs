//! The same requests to real nginx and to Forebay, side by side on loopback, in front of the same
//! recording upstream: what a report claims, held against what happens.
//!
//! [`stage`] moves the configuration onto loopback, [`requests`] says what to ask, [`programs`]
//! runs the two, [`echo`] is the upstream, [`wire`] asks, [`compare`] finds differences (purely)
//! and [`account`] groups them by cause. [`log_lines`] are compared when both have ended.

pub mod account;
pub mod compare;
pub mod echo;
pub mod log_lines;
pub mod programs;
pub mod requests;
pub mod script;
pub mod stage;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use anyhow::Context as _;
use proxy_config::Config;
use proxy_config::address::ListenAddress;
use proxy_config::matching::{Router, Target};

use crate::replay::account::Account;
use crate::replay::compare::{Difference, Stated, compare};
use crate::replay::echo::Echo;
use crate::replay::programs::Program;
use crate::replay::requests::Request;
use crate::replay::stage::{Stage, addresses};
use crate::translate::upstream::CLOSED;
use crate::translate::{Translation, translate};
use crate::tree::{Document, walk};
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
    let listens = addresses(document);
    let nginx_ports = free_ports(&listens)?;
    let proxy_ports = free_ports(&listens)?;

    let for_nginx = Stage {
        folder: folder.path(),
        side: NGINX,
        ports: &nginx_ports,
        echo: &echo,
        pools: &pools,
    };
    let text = crate::print::print(&for_nginx.nginx(document)?);
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, text).context("nginx's configuration cannot be written")?;

    let for_proxy = Stage {
        folder: folder.path(),
        side: FOREBAY,
        ports: &proxy_ports,
        echo: &echo,
        pools: &pools,
    };
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
        foretold: foretold(&staged, &translation, &echo),
    };
    let found = judge.ask_both(requests, &echo, (&nginx_ports, &proxy_ports));
    proxy.stop();
    nginx.stop();
    let by_nginx = log_lines::read(folder.path(), NGINX);
    let mut by_proxy = log_lines::read(folder.path(), FOREBAY);
    let lines = by_proxy.values_mut().flatten();
    lines.for_each(|line| *line = with_ports_of(&nginx_ports, &proxy_ports, line));
    let mut account = Account::new(requests.len());
    for (number, mut differences, closed) in found {
        let stated = match closed {
            true => Some("a connection that is closed is logged otherwise; see return 444"),
            false => judge.of_lines(&differences),
        };
        let asked = (number, requests[number].target.as_str());
        differences.extend(log_lines::difference(asked, &by_nginx, &by_proxy, stated));
        account.add(&requests[number], differences);
    }
    Ok(account.sorted())
}

/// The number of a request, how the answers to it differ, and whether neither answered.
type Found = (usize, Vec<Difference>, bool);

/// The two listen on ports of their own, which answers may name.
fn same_ports(
    answer: &mut Result<wire::Answer, String>,
    seen: &mut [echo::Seen],
    nginx: &BTreeMap<SocketAddr, SocketAddr>,
    proxy: &BTreeMap<SocketAddr, SocketAddr>,
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
fn with_ports_of(
    nginx: &BTreeMap<SocketAddr, SocketAddr>,
    proxy: &BTreeMap<SocketAddr, SocketAddr>,
    text: &str,
) -> String {
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
    ports: &'a BTreeMap<SocketAddr, SocketAddr>,
    /// What is said of the configuration as a whole.
    foretold: Stated,
}

/// Pools that nothing translated leads to, and whether a location goes without its cache.
fn foretold(staged: &Document, translation: &Translation, echo: &Echo) -> Stated {
    let (mut lost, mut reached) = (BTreeSet::new(), BTreeSet::new());
    let (mut some_uncached, mut uncompressed, mut logs_differ) = (false, false, false);
    walk(&staged.directives, &mut |directive| {
        let unsupported = translation
            .verdicts
            .get(directive)
            .is_some_and(|verdict| verdict.exactness == Exactness::Unsupported);
        some_uncached |= unsupported && directive.name == "proxy_cache";
        uncompressed |= unsupported && directive.name == "gzip";
        let differs = translation
            .verdicts
            .get(directive)
            .is_some_and(|verdict| verdict.exactness >= Exactness::Approximate);
        logs_differ |= differs && ["access_log", "log_format"].contains(&directive.name.as_str());
        let url = match directive.name.as_str() {
            "proxy_pass" => directive.argument(0).and_then(|url| url.strip_prefix("http://")),
            "fastcgi_pass" => directive.argument(0),
            _ => None,
        };
        if let Some(url) = url {
            let authority = url.split(['/', '?']).next().unwrap_or_default();
            let pool = echo.pool_at(authority).unwrap_or_else(|| authority.to_owned());
            if unsupported {
                lost.insert(pool)
            } else {
                reached.insert(pool)
            };
        }
    });
    let lost_pools = lost.difference(&reached).cloned().collect();
    Stated { uncompressed, some_uncached, logs_differ, lost_pools, ..Stated::default() }
}

type Ports = BTreeMap<SocketAddr, SocketAddr>;

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
            let (Some(nginx_at), Some(proxy_at)) =
                (nginx_ports.get(&request.listen), proxy_ports.get(&request.listen))
            else {
                continue;
            };
            let by_nginx = wire::ask(*nginx_at, request, number);
            let seen_by_nginx = echo.take();
            let mut by_proxy = wire::ask(*proxy_at, request, number);
            let mut seen_by_proxy = echo.take();
            same_ports(&mut by_proxy, &mut seen_by_proxy, nginx_ports, proxy_ports);
            let stated = self.stated(request);
            let differences =
                compare((&by_nginx, &seen_by_nginx), (&by_proxy, &seen_by_proxy), &stated);
            found.push((number, differences, by_nginx.is_err() && by_proxy.is_err()));
        }
        found
    }

    /// Why lines of the log may differ, where answers differ so.
    fn of_lines(&self, differences: &[Difference]) -> Option<&'static str> {
        match () {
            () if self.foretold.logs_differ => {
                Some("a log is kept otherwise; see access_log and log_format")
            }
            () if !differences.is_empty() => Some("the answers differ"),
            () => None,
        }
    }

    fn stated(&self, request: &Request) -> Stated {
        let listener = self.config.listeners.iter().find(|(_, listener)| {
            listener.address.socket().as_ref() == self.ports.get(&request.listen)
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
        let route = self.router.find(&target).map(|index| &self.config.routes[index]);
        let closed = route.is_some_and(|route| route.upstream.as_deref() == Some(CLOSED));
        let caches = self.config.routes.iter().any(|route| route.cache_policy.is_some());
        Stated {
            asked: request.target.clone(),
            some_cached: caches,
            not_translated: closed,
            no_route: route.is_none(),
            cached: route.is_some_and(|route| route.cache_policy.is_some()),
            ..self.foretold.clone()
        }
    }
}

/// A free loopback port for each address, all different (they are held until all are known) and in
/// the order of the addresses, which decides where a translation has to choose.
fn free_ports(listens: &[SocketAddr]) -> anyhow::Result<BTreeMap<SocketAddr, SocketAddr>> {
    let held = listens
        .iter()
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<std::io::Result<Vec<_>>>()
        .context("no free port")?;
    let mut ports = held
        .iter()
        .map(TcpListener::local_addr)
        .collect::<std::io::Result<Vec<_>>>()
        .context("no free port")?;
    ports.sort_unstable();
    Ok(listens.iter().copied().zip(ports).collect())
}
