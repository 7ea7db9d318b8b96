//! Which listeners are open, and what serves on them. A reload opens, closes and changes them. A socket that stays is
//! served anew while those who came before finish what they have begun: at no moment is there nobody to accept.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::mem::take;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use pingora::apps::{HttpServerOptions, ServerApp};
use pingora::listeners::L4BufferSettings;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use pingora::services::Service as _;
use pingora::services::listening::Service;
use proxy_config::Config;
use proxy_config::address::ListenAddress;
use proxy_config::listener::{Listener, ListenerTimeouts};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::connection::{Connections, Requests};
use crate::edge::Edge;
use crate::front::{self, Door};
use crate::listen::inherited::ADMIN;
use crate::listen::{BindFault, Socket, bind_one};
use crate::runtimes::Place;
use crate::state::State;
use crate::tls::certificates::Certificates;
use crate::tls::kept::Kept;
use crate::tls::shown::Shown;
use crate::tls::{self, Live, Spoken};
use crate::unfit::Unfit;
use crate::upstream::bounds::POOL_CONNECTIONS_MAX;
use crate::upstream::retry::ATTEMPTS_MAX;

/// What is read at once from a client that speaks TLS: a record. Without TLS a request's head and body have
/// buffers of their own, and another before them would be a copy more and 64 KiB for each idle connection.
const TLS_READ_BYTES: usize = 16 * 1024;

/// How long clients of a listener that is closed are told before their connections are.
pub const TOLD: Duration = Duration::from_secs(1);

/// The listeners that are open now.
#[derive(Default)]
pub struct Listening {
    open: Mutex<BTreeMap<String, Open>>,
    /// The admin listener's socket once more, for who takes over.
    admin: Mutex<Option<Socket>>,
    /// Told once connections that wait for a request are to be closed, too.
    leaving: Mutex<Vec<watch::Sender<bool>>>,
}

struct Open {
    /// Once more, to be served anew or handed over.
    socket: Socket,
    fixed: Fixed,
    spoken: Option<Live>,
    stop: watch::Sender<bool>,
    close: watch::Sender<bool>,
}

/// What serves on a listener is made with; all else is read from the generation in force.
#[derive(Clone, Debug, PartialEq)]
struct Fixed {
    address: ListenAddress,
    http2: bool,
    tls: bool,
    host_of_target: bool,
    connections_max: u32,
    backlog_max: Option<u32>,
    timeouts: ListenerTimeouts,
}

impl Fixed {
    fn of(listener: &Listener) -> Fixed {
        Fixed {
            address: listener.address.clone(),
            http2: listener.http2,
            tls: listener.tls.is_some(),
            host_of_target: listener.host_of_target,
            connections_max: listener.connections_max,
            backlog_max: listener.backlog_max,
            timeouts: listener.timeouts.clone(),
        }
    }
}

/// A listener about to be opened; its socket is bound.
struct Opening {
    name: String,
    listener: Listener,
    socket: Socket,
    /// The same once more, for what serves on it.
    served: Socket,
    spoken: Option<Spoken>,
}

/// It fails where the process may open no more files.
fn once_more(name: &str, socket: &Socket) -> Result<Socket, BindFault> {
    socket.duplicate().map_err(|error| BindFault {
        what: format!("listener `{name}`"),
        address: socket.address.to_string(),
        why: error.to_string(),
    })
}

/// What becomes of the listeners; dropped without being applied, it has changed nothing.
pub struct Change {
    opening: Vec<Opening>,
    renewed: Vec<(Live, Spoken)>,
    closing: Vec<String>,
}

/// The same with all that serves on them: there is nothing left that could fail.
pub struct Ready {
    opening: Vec<Made>,
    renewed: Vec<(Live, Spoken)>,
    closing: Vec<String>,
}

impl Change {
    /// Makes what serves. Pingora reads the system's authorities for each, and panics where it cannot.
    pub fn ready(self, state: &Arc<State>) -> Ready {
        let _on_runtime = state.runtimes.of(Place::Latency).enter();
        let Change { opening, renewed, closing } = self;
        let opening = opening.into_iter().map(|opening| opening.make(state)).collect();
        Ready { opening, renewed, closing }
    }
}

/// The change that opens everything, at start.
pub fn first(
    config: &Config,
    mut sockets: BTreeMap<String, Socket>,
    kept: &Kept,
) -> Result<Change, Unfit> {
    let mut opening = Vec::new();
    for (name, listener) in &config.listeners {
        let Some(socket) = sockets.remove(name) else { continue };
        let spoken = tls::spoken(name, listener, kept)?;
        opening.push(Opening::new(name, listener, socket, spoken)?);
    }
    Ok(Change { opening, renewed: Vec::new(), closing: Vec::new() })
}

impl Listening {
    /// Keeps the admin listener's socket for who takes over.
    pub fn keep_admin(&self, socket: &Socket) -> io::Result<()> {
        *self.admin.lock() = Some(socket.duplicate()?);
        Ok(())
    }

    /// Makes everything ready for the listeners of a document: reads certificates, binds what is not bound.
    pub fn prepare(&self, config: &Config, kept: &Kept) -> Result<Change, Unfit> {
        let open = self.open.lock();
        let (mut opening, mut renewed) = (Vec::new(), Vec::new());
        for (name, listener) in &config.listeners {
            let spoken = tls::spoken(name, listener, kept)?;
            let known = open.get(name);
            if let Some(same) = known.filter(|open| open.fixed == Fixed::of(listener)) {
                renewed.extend(same.spoken.clone().zip(spoken));
                continue;
            }
            // Its own socket, or that of one that is gone or elsewhere now.
            let at_address = |open: &Open| open.fixed.address == listener.address;
            let left = || {
                let stays = |name: &String| {
                    let same = |other: &Listener| other.address == listener.address;
                    config.listeners.get(name).is_some_and(same)
                };
                let left = open.iter().filter(|(name, _)| !stays(name));
                left.map(|(_, open)| open).find(|open| at_address(open))
            };
            let bound = known.filter(|open| at_address(open)).or_else(left);
            let socket = match bound {
                Some(open) => once_more(name, &open.socket),
                None => bind_one(&format!("listener `{name}`"), &listener.address),
            };
            let mut socket = socket?;
            socket.backlog_max = listener.backlog_max;
            opening.push(Opening::new(name, listener, socket, spoken)?);
        }
        let gone = open.keys().filter(|name| !config.listeners.contains_key(*name));
        Ok(Change { opening, renewed, closing: gone.cloned().collect() })
    }

    /// Puts a change into force. Who is connected to what is closed or changed finishes what has begun.
    pub fn apply(&self, change: Ready, state: &State) {
        let _on_runtime = state.runtimes.of(Place::Latency).enter();
        for (live, spoken) in change.renewed {
            live.store(Arc::new(spoken));
        }
        let mut open = self.open.lock();
        let mut left = Vec::new();
        for made in change.opening {
            let (name, anew) = made.serve();
            left.extend(open.insert(name, anew));
        }
        left.extend(change.closing.iter().filter_map(|name| open.remove(name)));
        for old in left {
            let is_used = open.values().any(|open| open.socket.address == old.socket.address);
            if let Some(file) = old.socket.file().filter(|_| !is_used) {
                // Gone already is gone enough.
                let _ = std::fs::remove_file(file);
            }
            old.retire();
        }
    }

    /// Where each listens.
    pub fn addresses(&self) -> BTreeMap<String, String> {
        let open = self.open.lock();
        open.iter().map(|(name, open)| (name.clone(), open.socket.address.to_string())).collect()
    }

    /// What each shows.
    pub fn certificates(&self) -> Vec<(String, Arc<Certificates>)> {
        let open = self.open.lock();
        let shown = |(name, open): (&String, &Open)| {
            let spoken = open.spoken.as_ref()?.load();
            Some((name.clone(), Arc::clone(&spoken.certificates)))
        };
        open.iter().filter_map(shown).collect()
    }

    /// Those that an OCSP response is sent with.
    pub fn stapled(&self) -> Vec<Arc<Shown>> {
        let all = self.certificates().into_iter().map(|(_, certificates)| certificates);
        let mut stapled: Vec<Arc<Shown>> = Vec::new();
        for shown in all.filter(|all| all.is_stapling).flat_map(|all| all.all().to_vec()) {
            if !stapled.iter().any(|other| Arc::ptr_eq(other, &shown)) {
                stapled.push(shown);
            }
        }
        stapled
    }

    /// All sockets once more, each with the name it is handed over under.
    pub fn duplicates(&self) -> io::Result<Vec<(String, OwnedFd)>> {
        let (open, admin) = (self.open.lock(), self.admin.lock());
        let listeners = open.iter().map(|(name, open)| (name.as_str(), &open.socket));
        let all = listeners.chain(admin.iter().map(|socket| (ADMIN, socket)));
        all.map(|(name, socket)| Ok((name.to_owned(), socket.duplicate()?.into()))).collect()
    }

    /// Lets nobody else in; returns the files of Unix sockets. Who holds sockets holds the queues of those who
    /// connect: they are let go of.
    pub fn stop(&self) -> Vec<PathBuf> {
        let admin = self.admin.lock().take();
        let mut leaving = self.leaving.lock();
        let mut files: Vec<PathBuf> = admin.iter().filter_map(Socket::file).collect();
        for one in take(&mut *self.open.lock()).into_values() {
            // Nobody listening any more is as good as being told.
            let _ = one.stop.send(true);
            files.extend(one.socket.file());
            leaving.push(one.close);
        }
        files
    }

    /// Closes the connections of those that are stopped and wait for a request.
    pub fn close(&self) {
        for close in self.leaving.lock().drain(..) {
            let _ = close.send(true);
        }
    }
}

impl Open {
    /// Ends it while the process goes on.
    fn retire(self) {
        let Open { stop, close, .. } = self;
        let _ = stop.send(true);
        tokio::spawn(async move {
            // Who was accepted last is still heard.
            tokio::time::sleep(TOLD).await;
            let _ = close.send(true);
        });
    }
}

impl Opening {
    fn new(
        name: &str,
        listener: &Listener,
        socket: Socket,
        spoken: Option<Spoken>,
    ) -> Result<Opening, BindFault> {
        let served = once_more(name, &socket)?;
        Ok(Opening { name: name.to_owned(), listener: listener.clone(), socket, served, spoken })
    }

    /// Makes what serves on it; must be called on the latency runtime.
    fn make(self, state: &Arc<State>) -> Made {
        let Opening { name, listener, socket, served, spoken } = self;
        let (stop, stopping) = watch::channel(false);
        let (close, closing) = watch::channel(false);
        let spoken = spoken.map(|spoken| Arc::new(ArcSwap::from_pointee(spoken)));
        let app = connections(&name, &listener, state, (spoken.clone(), closing));
        // Cleartext is read as it comes, and put together where it is written (`prompt`).
        let buffers = match listener.tls.is_some() {
            true => L4BufferSettings::default().read(TLS_READ_BYTES),
            false => L4BufferSettings::unbuffered(),
        };
        let open = Open { socket, fixed: Fixed::of(&listener), spoken, stop, close };
        Made { name, served, app, buffers, stopping, open }
    }
}

/// A listener and what serves on it, as soon as it is let.
struct Made {
    name: String,
    served: Socket,
    app: Connections,
    buffers: L4BufferSettings,
    stopping: watch::Receiver<bool>,
    open: Open,
}

impl Made {
    /// Must be called on the latency runtime.
    fn serve(self) -> (String, Open) {
        let Made { name, served, app, buffers, stopping, open } = self;
        start(name.clone(), served, app, buffers, stopping);
        (name, open)
    }
}

fn connections(
    name: &str,
    listener: &Listener,
    state: &Arc<State>,
    (spoken, closing): (Option<Live>, watch::Receiver<bool>),
) -> Connections {
    let conf = ServerConf {
        threads: Handle::current().metrics().num_workers(),
        max_retries: ATTEMPTS_MAX,
        upstream_keepalive_pool_size: POOL_CONNECTIONS_MAX,
        ..ServerConf::default()
    };
    let timeouts = listener.timeouts.clone();
    let edge =
        || Edge { listener: name.to_owned(), timeouts: timeouts.clone(), state: Arc::clone(state) };
    // Made in any case: its metrics say that it took nothing.
    let door = Some(Door::new(edge())).filter(|_| front::is_open());
    let mut proxy = http_proxy(&Arc::new(conf), edge());
    let mut options = HttpServerOptions::default();
    // `request` refuses it, in the proxy's own words.
    options.allow_connect_method_proxying = true;
    proxy.server_options = Some(options);
    let requests = Requests::new(Arc::new(proxy), state.runtimes.clone());
    Connections::new(name, listener, requests, spoken, (closing, door), state)
}

/// Starts a service; must be called on the latency runtime.
pub fn start<A>(
    name: String,
    socket: Socket,
    app: A,
    buffers: L4BufferSettings,
    stopping: watch::Receiver<bool>,
) where
    A: ServerApp + Send + Sync + 'static,
{
    let mut service = Service::new(name.clone(), app);
    let backlog = socket.backlog();
    let (listener, fds) = socket.into_service();
    service.add_listener(listener.l4_buffer(buffers));
    tokio::spawn(async move {
        let mut serving = pin!(service.start_service(Some(fds), stopping, 1));
        // The first poll listens.
        let begun = poll_fn(|context| Poll::Ready(serving.as_mut().poll(context))).await;
        let applied = backlog.and_then(|backlog| backlog.map_or(Ok(()), |backlog| backlog.apply()));
        if let Err(error) = applied {
            tracing::warn!(listener = name, %error, "backlog_max has no effect");
        }
        if begun.is_pending() {
            serving.await;
        }
    });
}

#[cfg(test)]
mod tests {
    use proxy_config::Source;

    use super::*;

    fn config(listeners: &str) -> Config {
        let text = format!(
            "version: 1\nlisteners: {listeners}\nupstreams: {{ u: {{ servers: [ {{ address: 127.0.0.1:1 }} ] }} }}\nroutes: [ {{ name: r, upstream: u }} ]\n"
        );
        match Config::load(Source::new("test.yaml", text)) {
            Ok(config) => config,
            Err(problems) => panic!("{problems}"),
        }
    }

    #[test]
    fn what_serves_is_made_anew_only_for_what_it_is_made_with() {
        let of = |listener: &str| {
            let config = config(&format!("{{ a: {{ address: 127.0.0.1:8080{listener} }} }}"));
            Fixed::of(&config.listeners["a"])
        };
        for (change, is_fixed) in [
            (", methods_refused: [ TRACE ]", false),
            (", keep_alive_requests_max: 9", false),
            (", http2: false", true),
            (", timeouts: { idle: 5s }", true),
            (", backlog_max: 9", true),
            (", connections_max: 9", true),
            (", host_of_target: true", true),
        ] {
            assert_eq!(of("") != of(change), is_fixed, "{change}");
        }
    }

    #[test]
    fn a_change_that_is_not_applied_binds_nothing_for_long() {
        let listening = Listening::default();
        let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = probe.local_addr().unwrap();
        let wanted = config(&format!("{{ a: {{ address: '{address}' }} }}"));
        let kept = Kept::default();
        let fault = listening.prepare(&wanted, &kept).err().unwrap().to_string();
        assert!(fault.contains("listener `a` cannot listen on"), "{fault}");
        drop(probe);
        let change = listening.prepare(&wanted, &kept).unwrap();
        assert_eq!(change.opening.len(), 1);
        assert!(std::net::TcpListener::bind(address).is_err(), "it is bound");
        drop(change);
        assert!(std::net::TcpListener::bind(address).is_ok());
        assert!(listening.addresses().is_empty());
    }
}
