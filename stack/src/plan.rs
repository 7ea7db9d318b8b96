//! What an environment becomes on this machine: children, files, addresses, URLs. Pure.
//!
//! The AWS target will get its own plan beside [`LocalPlan`], from the same [`Environment`].

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proxy_config::Upstream;
use proxy_config::address::{ListenAddress, ServerAddress};

use crate::environment::{CACHE_URL, Environment, LEDGER, Ledger, ORIGIN, Stream};
use crate::ports::Moved;
use crate::state::StateFolder;
use crate::stream::{self, Ffmpeg, FfmpegMissing, PLAYLIST};
use crate::supervisor::child::{ChildSpec, Stop};
use crate::supervisor::probe::Probe;

/// Where the ledger listens when that port is free.
pub const LEDGER_PORT: u16 = 8081;
/// Where the live origin listens when that port is free.
pub const ORIGIN_PORT: u16 = 8082;
/// What the names of children that make streams begin with.
pub const STREAM_PREFIX: &str = "stream ";
const LEDGER_ADMIN_PORT: u16 = 9091;

const PROXY_ADMIN: &str = "proxy admin";
const LEDGER_ADMIN: &str = "ledger admin";

/// Segments before a stream counts as there: what a player keeps between itself and the live edge.
const SEGMENTS_READY: usize = 3;

/// The addresses of a run, by what listens there.
pub type Addresses = BTreeMap<String, SocketAddr>;

/// What this machine has.
#[derive(Clone, Debug)]
pub struct Machine {
    /// This program; it is the live origin too.
    pub forebay: PathBuf,
    /// `forebay-proxy`.
    pub proxy: PathBuf,
    /// `forebay-ledger`.
    pub ledger: PathBuf,
    /// ffmpeg, or why there is none.
    pub ffmpeg: Result<Ffmpeg, FfmpegMissing>,
    /// `setpriv`, which ties a child's life to the supervisor's.
    pub setpriv: Option<PathBuf>,
    /// Whether hls.js is in this build.
    pub has_player: bool,
    /// Where this run keeps its files.
    pub state: StateFolder,
}

/// An environment resolved to this machine.
#[derive(Clone, Debug)]
pub struct LocalPlan {
    /// What is started.
    pub children: Vec<ChildSpec>,
    /// Files to write before that.
    pub files: Vec<(PathBuf, String)>,
    /// Folders to empty before that.
    pub fresh_folders: Vec<PathBuf>,
    /// Every URL, by its name in `status -o json`.
    pub urls: BTreeMap<String, String>,
    /// What is missing, and what was done instead.
    pub notes: Vec<String>,
    /// Ports that were taken.
    pub ports_moved: Vec<Moved>,
    /// What the ledger is to hold, and the base URL of its API.
    pub seed: Option<(String, Ledger)>,
    /// Commands to try.
    pub tries: Vec<String>,
}

/// The addresses an environment asks for; `any_port` asks for free ones instead.
pub fn wishes(environment: &Environment, any_port: bool) -> Vec<(String, SocketAddr)> {
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listeners = environment.proxy.listeners.iter().filter_map(|(name, listener)| {
        listener.address.socket().map(|address| (listener_name(name), address))
    });
    let mut wishes: Vec<(String, SocketAddr)> = listeners.collect();
    if let Some(address) = environment.proxy.admin.address.socket() {
        wishes.push((PROXY_ADMIN.to_owned(), address));
    }
    if environment.ledger.is_some() {
        wishes.push((LEDGER.to_owned(), loopback(LEDGER_PORT)));
        wishes.push((LEDGER_ADMIN.to_owned(), loopback(LEDGER_ADMIN_PORT)));
    }
    wishes.push((ORIGIN.to_owned(), loopback(ORIGIN_PORT)));
    // Port 0 is any free one. Whoever writes it runs several environments side by side, where the
    // ports nobody chose would only collide.
    let any_inner = wishes.iter().any(|(_, address)| address.port() == 0);
    for (name, address) in &mut wishes {
        let inner = [LEDGER, LEDGER_ADMIN, ORIGIN].contains(&name.as_str());
        if any_port || (inner && any_inner) {
            address.set_port(0);
        }
    }
    wishes
}

/// Resolves `environment` to this machine. `addresses` must hold every one of [`wishes`].
pub fn resolve(
    environment: &Environment,
    machine: &Machine,
    addresses: &Addresses,
    ports_moved: Vec<Moved>,
) -> LocalPlan {
    let state = &machine.state;
    let urls = urls(environment, machine, addresses);
    let mut children = Vec::new();
    if environment.ledger.is_some() {
        children.push(ledger(machine, addresses[LEDGER], addresses[LEDGER_ADMIN]));
    }
    children.push(origin(machine, addresses[ORIGIN]));
    let mut fresh_folders = vec![state.live()];
    if let Ok(ffmpeg) = &machine.ffmpeg {
        for (name, stream) in &environment.streams {
            let folder = state.live().join(name);
            children.push(live_stream(ffmpeg, name, stream, &folder));
            fresh_folders.push(folder);
        }
    }
    children.push(proxy(machine, addresses[PROXY_ADMIN]));
    let seed = environment
        .ledger
        .clone()
        .map(|ledger| (format!("http://{}/v1", addresses[LEDGER]), ledger));
    LocalPlan {
        children,
        files: vec![(state.proxy_document(), proxy_document(environment, addresses))],
        fresh_folders,
        notes: notes(environment, machine),
        ports_moved,
        seed,
        tries: tries(environment, &urls),
        urls,
    }
}

fn listener_name(name: &str) -> String {
    format!("listener {name}")
}

/// The proxy document with the addresses of this run.
fn proxy_document(environment: &Environment, addresses: &Addresses) -> String {
    let mut config = environment.proxy.clone();
    for (name, listener) in &mut config.listeners {
        if let Some(address) = addresses.get(&listener_name(name)) {
            listener.address = ListenAddress::Socket(*address);
        }
    }
    config.admin.address = ListenAddress::Socket(addresses[PROXY_ADMIN]);
    for name in [LEDGER, ORIGIN] {
        if let Some(address) = addresses.get(name) {
            let upstream = Upstream::of([ServerAddress::Socket(*address)]);
            config.upstreams.insert(name.to_owned(), upstream);
        }
    }
    // The environment's cache is on AWS only: here each limit counts for itself, and purges have
    // nobody to be carried to.
    for cache in config.caches.values_mut() {
        cache.purge_redis = cache.purge_redis.take().filter(|url| url != CACHE_URL);
    }
    for limit in config.rate_limits.values_mut() {
        limit.cluster = limit.cluster.take().filter(|cluster| cluster.redis != CACHE_URL);
    }
    config.to_yaml()
}

fn child(name: &str, argv: Vec<String>, directory: &Path, probe: Probe) -> ChildSpec {
    ChildSpec {
        name: name.to_owned(),
        argv,
        argv_again: None,
        directory: directory.to_owned(),
        probe,
        stop: Stop::Term,
        stop_stage: 2,
    }
}

fn ledger(machine: &Machine, listen: SocketAddr, admin: SocketAddr) -> ChildSpec {
    let argv = words(&[
        &machine.ledger.display(),
        &"serve",
        &"--listen",
        &listen,
        &"--admin-listen",
        &admin,
        &"--database",
        &format!("sqlite:{}", machine.state.ledger_data().display()),
        // An environment of this machine, for this machine: its pages and its curl lines work as they are.
        &"--auth",
        &"open",
    ]);
    let probe = Probe::Http { url: format!("http://{admin}/readyz") };
    ChildSpec { stop_stage: 1, ..child(LEDGER, argv, &machine.state.path, probe) }
}

fn origin(machine: &Machine, listen: SocketAddr) -> ChildSpec {
    let live = machine.state.live();
    let argv = words(&[
        &machine.forebay.display(),
        &"origin",
        &"--directory",
        &live.display(),
        &"--listen",
        &listen,
    ]);
    let probe = Probe::Http { url: format!("http://{listen}/healthz") };
    child(ORIGIN, argv, &machine.state.path, probe)
}

fn live_stream(ffmpeg: &Ffmpeg, name: &str, stream: &Stream, folder: &Path) -> ChildSpec {
    let (argv, again) = stream::argv(ffmpeg, name, stream);
    let probe = Probe::Playlist {
        path: folder.join(PLAYLIST),
        age_max: stream.segment.as_std() * 3 + Duration::from_secs(1),
        segments_min: SEGMENTS_READY.min(usize::try_from(stream.window).unwrap_or(usize::MAX)),
    };
    let spec = child(&format!("{STREAM_PREFIX}{name}"), argv, folder, probe);
    ChildSpec { argv_again: Some(again), ..spec }
}

fn proxy(machine: &Machine, admin: SocketAddr) -> ChildSpec {
    let document = machine.state.proxy_document();
    let argv = words(&[&machine.proxy.display(), &"run", &document.display()]);
    let probe = Probe::Http { url: format!("http://{admin}/readyz") };
    // First to go, and gently: what it has accepted still needs the ledger and the origin.
    ChildSpec {
        stop: Stop::Quit,
        stop_stage: 0,
        ..child("proxy", argv, &machine.state.path, probe)
    }
}

fn words(parts: &[&dyn std::fmt::Display]) -> Vec<String> {
    parts.iter().map(ToString::to_string).collect()
}

fn urls(
    environment: &Environment,
    machine: &Machine,
    addresses: &Addresses,
) -> BTreeMap<String, String> {
    let mut urls = BTreeMap::new();
    let mut add = |name: &str, url: String| urls.insert(name.to_owned(), url);
    let admin = format!("http://{}", reachable(addresses[PROXY_ADMIN]));
    add("proxy_metrics", format!("{admin}/metrics"));
    add("proxy_admin", admin);
    if let Some(address) = addresses.get(LEDGER_ADMIN) {
        let admin = format!("http://{}", reachable(*address));
        add("ledger_metrics", format!("{admin}/metrics"));
        add("ledger_admin", admin);
    }
    let Some(public) = public_base(environment, addresses) else {
        return urls;
    };
    add("page", format!("{public}/"));
    if environment.ledger.is_some() {
        add("ledger", format!("{public}/v1"));
        add("ledger_docs", format!("{public}/docs"));
        if environment.proxy.routes.iter().any(|route| route.name == "books") {
            add("ledger_books", format!("{public}/books/"));
        }
        add("ledger_openapi", format!("{public}/openapi.json"));
        add("trial_balance", format!("{public}/v1/trial-balance"));
    }
    if machine.ffmpeg.is_ok() {
        for (n, name) in environment.streams.keys().enumerate() {
            let key = if n == 0 { "playlist".to_owned() } else { format!("playlist_{name}") };
            add(&key, format!("{public}/live/{name}/{PLAYLIST}"));
        }
    }
    urls
}

/// The listener people use: the one called `public`, else the first.
fn public_base(environment: &Environment, addresses: &Addresses) -> Option<String> {
    let listeners = &environment.proxy.listeners;
    let (name, listener) = listeners.get_key_value("public").or_else(|| listeners.iter().next())?;
    let address = addresses.get(&listener_name(name))?;
    let scheme = if listener.tls.is_some() { "https" } else { "http" };
    Some(format!("{scheme}://{}", reachable(*address)))
}

/// An address that means "all of this machine's" is reached over loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

fn notes(environment: &Environment, machine: &Machine) -> Vec<String> {
    let mut notes = Vec::new();
    if let (Err(missing), false) = (&machine.ffmpeg, environment.streams.is_empty()) {
        notes.push(format!("There is NO LIVE STREAM: {missing}. Everything else runs."));
    }
    if !machine.has_player && !environment.streams.is_empty() {
        notes.push(
            "This build has no hls.js: the page plays only in browsers that play HLS themselves. \
             Run `npm ci` in stack/page and build again."
                .to_owned(),
        );
    }
    if machine.setpriv.is_none() {
        notes.push(
            "There is no setpriv (package util-linux): should this supervisor be killed with -9, \
             its children go on until the next `forebay up`."
                .to_owned(),
        );
    }
    if !environment.for_aws.is_empty() {
        let keys = environment.for_aws.join(", ");
        notes.push(format!("For AWS only, and without meaning on this machine: {keys}."));
    }
    notes
}

/// A transfer to post and the trial balance it changes, where the chart has two accounts for it.
fn tries(environment: &Environment, urls: &BTreeMap<String, String>) -> Vec<String> {
    let (Some(ledger), Some(api)) = (&environment.ledger, urls.get("ledger")) else {
        return Vec::new();
    };
    // A certificate made for this machine is usually signed by nobody curl knows.
    let curl = if api.starts_with("https") { "curl -sSk" } else { "curl -sS" };
    let mut tries = Vec::new();
    let accounts = &ledger.accounts;
    let pair = accounts.iter().find_map(|debit| {
        let fits = |credit: &&crate::environment::Account| {
            credit.currency == debit.currency && credit.code != debit.code
        };
        accounts.iter().find(fits).map(|credit| (&debit.code, &credit.code))
    });
    if let Some((debit, credit)) = pair {
        let body = serde_json::json!({
            "description": "A first transfer",
            "entries": [
                { "account": debit, "direction": "debit", "amount": "12.50" },
                { "account": credit, "direction": "credit", "amount": "12.50" },
            ],
        });
        tries.push(format!(
            "{curl} {api}/transfers -H 'content-type: application/json' \
             -H \"idempotency-key: try-$(date +%s)\" -d '{body}'"
        ));
    }
    tries.push(format!("{curl} {api}/trial-balance"));
    tries
}

#[cfg(test)]
mod tests {
    use proxy_config::{Config, Source};

    use super::*;
    use crate::validate;

    fn environment() -> Environment {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../environments/local.yaml");
        validate::environment(&root).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn machine(ffmpeg: Result<Ffmpeg, FfmpegMissing>) -> Machine {
        Machine {
            forebay: "/bin/forebay".into(),
            proxy: "/bin/forebay-proxy".into(),
            ledger: "/bin/forebay-ledger".into(),
            ffmpeg,
            setpriv: Some("/bin/setpriv".into()),
            has_player: true,
            state: StateFolder { path: "/state".into() },
        }
    }

    fn ffmpeg() -> Result<Ffmpeg, FfmpegMissing> {
        Ok(Ffmpeg { path: "/bin/ffmpeg".into(), clock_font: None })
    }

    /// Every wish granted, ten thousand ports higher.
    fn plan(environment: &Environment, machine: &Machine) -> LocalPlan {
        let addresses = wishes(environment, false)
            .into_iter()
            .map(|(name, address)| (name, SocketAddr::new(address.ip(), address.port() + 10_000)))
            .collect();
        resolve(environment, machine, &addresses, Vec::new())
    }

    #[test]
    fn the_proxy_document_holds_the_addresses_of_this_run() {
        let plan = plan(&environment(), &machine(ffmpeg()));
        let (path, text) = &plan.files[0];
        assert_eq!(path, Path::new("/state/proxy.yaml"));
        let config = Config::load(Source::new("proxy.yaml", text.as_str()))
            .unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(config.listeners["public"].address.to_string(), "127.0.0.1:18080");
        assert_eq!(config.admin.address.to_string(), "127.0.0.1:19090");
        let server = |name: &str| config.upstreams[name].servers[0].address.to_string();
        assert_eq!(server("ledger"), "127.0.0.1:18081");
        assert_eq!(server("origin"), "127.0.0.1:18082");
    }

    #[test]
    fn children_are_told_their_addresses_and_stop_in_order() {
        let plan = plan(&environment(), &machine(ffmpeg()));
        let mut children: Vec<(u8, &str, String)> = plan
            .children
            .iter()
            .map(|c| (c.stop_stage, c.name.as_str(), c.argv.join(" ")))
            .collect();
        children.sort();
        assert_eq!(
            children[0],
            (0, "proxy", "/bin/forebay-proxy run /state/proxy.yaml".to_owned())
        );
        assert_eq!(
            children[1],
            (
                1,
                "ledger",
                "/bin/forebay-ledger serve --listen 127.0.0.1:18081 \
                 --admin-listen 127.0.0.1:19091 --database sqlite:/state/ledger/ledger.sqlite \
                 --auth open"
                    .to_owned()
            )
        );
        assert_eq!(
            children[2],
            (
                2,
                "origin",
                "/bin/forebay origin --directory /state/live --listen 127.0.0.1:18082".to_owned()
            )
        );
        assert_eq!((children[3].0, children[3].1), (2, "stream clock"));
        assert_eq!(plan.fresh_folders, [Path::new("/state/live"), Path::new("/state/live/clock")]);
    }

    #[test]
    fn every_url_goes_through_the_proxy_except_the_admin_ones() {
        let plan = plan(&environment(), &machine(ffmpeg()));
        insta::assert_debug_snapshot!((plan.urls, plan.tries, plan.notes));
    }

    #[test]
    fn without_ffmpeg_everything_else_runs_and_it_is_said() {
        let missing = FfmpegMissing::NotInstalled { install: "install it" };
        let plan = plan(&environment(), &machine(Err(missing)));
        assert_eq!(plan.children.len(), 3);
        assert!(!plan.urls.contains_key("playlist"));
        assert_eq!(
            plan.notes,
            ["There is NO LIVE STREAM: ffmpeg is not installed; install it with: install it. \
              Everything else runs."]
        );
    }

    #[test]
    fn without_a_ledger_section_there_is_no_ledger() {
        let environment = Environment { ledger: None, ..environment() };
        let plan = plan(&environment, &machine(ffmpeg()));
        assert!(plan.children.iter().all(|child| child.name != "ledger"));
        assert!(plan.seed.is_none() && plan.tries.is_empty());
        assert!(!plan.urls.contains_key("ledger"));
    }

    #[test]
    fn any_port_means_every_port() {
        let wishes = wishes(&environment(), true);
        assert_eq!(wishes.len(), 5);
        assert!(wishes.iter().all(|(_, address)| address.port() == 0));
    }

    #[test]
    fn port_zero_in_the_file_means_any_there_and_behind() {
        let mut environment = environment();
        let public = environment.proxy.listeners.get_mut("public").unwrap();
        public.address = ListenAddress::Socket("127.0.0.1:0".parse().unwrap());
        let open: Vec<String> = wishes(&environment, false)
            .into_iter()
            .filter_map(|(name, address)| (address.port() == 0).then_some(name))
            .collect();
        assert_eq!(open, ["listener public", "ledger", "ledger admin", "origin"]);
    }

    #[test]
    fn an_address_of_all_interfaces_is_reached_over_loopback() {
        let of = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(of("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(of("[::]:80"), "[::1]:80");
        assert_eq!(of("192.0.2.1:80"), "192.0.2.1:80");
    }
}
